"""Snapshots, tokens, restore and fork, against the scripted fake."""

import pickle
import threading

import numpy as np
import pytest

import evoke
from fake_server import OK, break_off, lose_reply, refuse, stall

X, Y = np.eye(2, dtype=np.float32), np.array([1, 2])
TOKEN = evoke.SnapshotToken(bytes(range(16)), 3, 41, 2**64 - 1, "0123456789abcdef" * 2)


def test_token_goes_through_text_and_pickles():
    assert str(TOKEN) == "evoke1:000102030405060708090a0b0c0d0e0f:3:41:18446744073709551615:" + "0123456789abcdef" * 2
    assert evoke.SnapshotToken.parse(str(TOKEN)) == TOKEN == pickle.loads(pickle.dumps(TOKEN))
    with pytest.raises(AttributeError):
        TOKEN.step = 1


@pytest.mark.parametrize("text", ["", "evoke1", str(TOKEN)[:-1], str(TOKEN) + "\n", " " + str(TOKEN), str(TOKEN).upper(),
                                  str(TOKEN).replace("evoke1", "evoke2"), str(TOKEN).replace(":3:", ":-3:"),
                                  str(TOKEN).replace("18446744073709551615", "18446744073709551616")])
def test_text_that_is_no_token_is_refused(text):
    with pytest.raises(evoke.InvalidArgument, match="is no token"):
        evoke.SnapshotToken.parse(text)


def test_token_survives_a_checkpoint_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2), "token": TOKEN, "text": str(TOKEN)}, tmp_path / "c.pt")
    saved = torch.load(tmp_path / "c.pt")
    assert saved["token"] == evoke.SnapshotToken.parse(saved["text"]) == TOKEN


def test_snapshot_names_the_state_and_tells_its_progress(fake, client):
    memory, told = client.memory("m"), []
    memory.update(X, Y)
    made = memory.snapshot(progress=lambda *p: told.append(p))
    assert (made.token.uid, made.token.turn, made.token.step) == (fake.uid, fake.turn, 2)
    assert memory.snapshots() == (made,) and made.spec["capacity"] == 8
    assert told == [("copy", 50, 100), ("copy", 100, 100)]


def test_progress_ends_at_its_total_whenever_it_was_told_last(fake, client):
    fake.script["CreateSnapshot"] = [lambda fake, apply, context: [apply()[0], apply()[2]]]
    told = []
    client.memory("m").snapshot(progress=lambda *p: told.append(p))
    assert told == [("copy", 50, 100), ("copy", 100, 100)]


def test_progress_true_is_a_bar_on_stderr(client, capfd):
    pytest.importorskip("tqdm")
    client.memory("m").snapshot(progress=True)
    assert "snapshot of m: copy: 100%" in capfd.readouterr().err


def test_snapshot_whose_reply_was_lost_is_found_not_made_again(fake, client):
    memory = client.memory("m")
    older = memory.snapshot()
    fake.script["CreateSnapshot"] = [break_off(1), OK]
    made = memory.snapshot()
    assert len(fake.kept) == 2 and len(fake.requests["CreateSnapshot"]) == 2
    assert made.id == fake.kept[1][0].id != older.id


def test_snapshot_that_was_refused_is_asked_for_again(fake, client):
    fake.script["CreateSnapshot"] = [refuse("UNAVAILABLE", "LOADING"), refuse("RESOURCE_EXHAUSTED", "OPEN_LIMIT", delay=0.01),
                                     OK]
    client.memory("m").snapshot()
    assert len(fake.kept) == 1


def test_long_calls_have_a_deadline_of_their_own(fake, client):
    slow = evoke.Client(fake.address, deadline=0.2, long_deadline=30)
    fake.script["CreateSnapshot"] = [stall(0.5)]
    assert slow.memory("m").snapshot().id
    fake.script["CreateSnapshot"] = [stall(2)]
    with pytest.raises(evoke.DeadlineExceeded):
        slow.memory("m").snapshot(deadline=0.2)
    assert pickle.loads(pickle.dumps(slow)).long_deadline == 30


def test_long_calls_are_not_cut_into_attempts(fake):
    hasty = evoke.Client(fake.address, retry=evoke.RetryPolicy(attempt_timeout=0.2))
    fake.script["CreateSnapshot"] = [stall(0.5)]
    hasty.memory("m").snapshot()
    assert len(fake.requests["CreateSnapshot"]) == 1


def test_restore_rewinds_and_the_handle_goes_on(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    token = memory.snapshot().token
    memory.update(X, Y)
    result = memory.restore(str(token))
    assert (result.changed, result.header.step, result.header.epoch) == (True, 2, 2)
    memory.update(X, Y)
    assert fake.step == 4
    last = fake.requests["Update"][-1].mutation
    assert (last.number, last.opened_after) == (1, fake.turn - 1)  # a session of its own, opened after the restore


def test_restore_moves_a_pinned_epoch_on_and_others_notice(fake, client):
    memory, other = client.memory("m", epoch=1), client.memory("m", epoch=1)
    token = memory.snapshot().token
    memory.update(X, Y)
    memory.restore(token)
    memory.update(X, Y)
    with pytest.raises(evoke.StaleMemory):
        other.update(X, Y)


def test_restore_of_the_present_state_changes_nothing(fake, client):
    memory = client.memory("m", epoch=1)
    memory.update(X, Y)
    assert not memory.restore(memory.snapshot().token).changed
    memory.update(X, Y)
    assert fake.epoch == 1


def test_restore_takes_a_token_its_text_an_id_or_a_snapshot(fake, client):
    memory = client.memory("m")
    made = memory.snapshot()
    for given, names in ((made.token, (False, True)), (str(made.token), (False, True)), (made.id, (True, False)),
                         (made, (True, True))):
        memory.restore(given)
        request = fake.requests["RestoreSnapshot"][-1]
        assert (bool(request.id), request.HasField("token")) == names
    for senseless in ("", None, 7, b"1-1"):
        with pytest.raises(evoke.InvalidArgument):
            memory.restore(senseless)


def test_restore_refuses_a_token_of_another_memory_and_unknown_ids(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    with pytest.raises(evoke.TokenMismatch):
        memory.restore(TOKEN)
    with pytest.raises(evoke.SnapshotNotFound):
        memory.restore("1-1-never")
    memory.update(X, Y)
    assert fake.step == 4


def test_restore_whose_reply_was_lost_is_done_once(fake, client):
    memory = client.memory("m")
    token = memory.snapshot().token
    memory.update(X, Y)
    fake.script["RestoreSnapshot"] = [break_off(1)]
    result = memory.restore(token)
    assert (fake.epoch, fake.step) == (2, 0) and result.changed and result.header.epoch == 2
    memory.update(X, Y)


def test_repeated_restore_does_not_rewind_what_others_wrote_after_the_first(fake, client):
    memory, other = client.memory("m"), client.memory("m")
    token = memory.snapshot().token
    memory.update(X, Y)

    def restored_and_written(fake, apply, context):
        apply()
        fake.step += 5  # by somebody else, before the request comes again
        refuse("UNAVAILABLE")(fake, apply, context)

    fake.script["RestoreSnapshot"] = [restored_and_written]
    with pytest.raises(evoke.StaleMemory) as caught:
        memory.restore(token)
    assert caught.value.outcome_unknown and fake.step == 5
    other.update(X, Y)


def test_mutation_in_flight_over_a_restore_does_not_land_on_the_restored_content(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    token = memory.snapshot().token
    arrived, restored, errors = threading.Event(), threading.Event(), []

    def held_up(fake, apply, context):
        arrived.set()
        restored.wait()
        return apply()

    def late():
        try:
            memory.update(X, Y)
        except evoke.SessionLost as error:
            errors.append(error)

    fake.script["Update"] = [held_up]
    thread = threading.Thread(target=late)
    thread.start()
    arrived.wait()
    fake.rows = [(0, 1, 1, 0, b"key", ())]  # so that there is something to restore
    memory.restore(token)
    restored.set()
    thread.join()
    assert len(errors) == 1 and not errors[0].outcome_unknown
    assert fake.step == 2


def test_restore_as_a_new_memory_is_repeated_with_the_same_uid(fake, client):
    made = client.memory("m").snapshot()
    fake.script["RestoreSnapshot"] = [break_off(2), OK]
    copy = client.restore_as("copy", made, memory="m")
    uids = {r.new_uid for r in fake.requests["RestoreSnapshot"]}
    assert uids == {copy.uid} and copy.name == "copy" and copy.origin == made.token
    client.restore_as("copy", made.token, backup_folder="b")
    assert not fake.requests["RestoreSnapshot"][-1].HasField("memory")
    assert fake.requests["RestoreSnapshot"][-1].backup_folder == "b"


def test_restore_by_name_gives_the_handle(fake, client):
    token = client.memory("m").snapshot().token
    client.restore("m", token).update(X, Y)
    assert fake.step == 2


def test_fork_is_repeated_with_the_same_uid_and_names_its_origin(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    fake.script["ForkMemory"] = [lose_reply(), OK]
    copy = client.fork(memory, "copy")
    assert {r.uid for r in fake.requests["ForkMemory"]} == {copy.uid}
    assert copy.origin == evoke.SnapshotToken(fake.uid, 1, fake.turn, 2, fake.state_hash()) and memory.origin is None
    assert client.fork("m", "another").uid != copy.uid


def test_verify_copy_list_and_delete(fake, client):
    memory = client.memory("m")
    made = memory.snapshot()
    fake.script["VerifySnapshot"] = [break_off(1), OK]
    assert memory.verify_snapshot(made) == made == memory.verify_snapshot(made.id)
    fake.script["VerifySnapshot"] = [refuse("DATA_LOSS", "CORRUPT_SNAPSHOT")]
    with pytest.raises(evoke.DataLoss):
        memory.verify_snapshot(made)
    assert memory.copy_snapshot(made, "tape") == made
    assert memory.snapshots(backup_folder="tape") == client.list_snapshots("tape") == (made,)
    fake.script["DeleteSnapshot"] = [lose_reply(), OK]
    assert not memory.delete_snapshot(made) and not fake.kept  # the first request had done it


def test_stream_without_a_result_is_an_error_of_the_server(fake, client):
    fake.script["VerifySnapshot"] = [lambda fake, apply, context: list(apply())[:2]]
    memory = client.memory("m")
    made = memory.snapshot()
    with pytest.raises(evoke.Internal):
        memory.verify_snapshot(made)
