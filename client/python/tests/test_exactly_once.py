"""Sessions, numbers, retries and deadlines, against the scripted fake."""

import threading
import time

import numpy as np
import pytest

import evoke
from fake_server import OK, both, forget_sessions, lose_reply, refuse, stall

X, Y = np.eye(2, dtype=np.float32), np.array([1, 2])


def numbers(fake, method="Update"):
    return [r.mutation.number for r in fake.requests[method]]


def sessions(fake, method="Update"):
    return [r.mutation.session for r in fake.requests[method]]


def test_numbers_start_at_one_and_acknowledge_the_replies_before(fake, client):
    memory = client.memory("m")
    for _ in range(3):
        memory.update(X, Y)
    assert numbers(fake) == [1, 2, 3]
    assert [r.mutation.first_unacknowledged for r in fake.requests["Update"]] == [1, 2, 3]
    assert len(set(sessions(fake))) == 1
    assert fake.step == 6


def test_first_number_names_a_turn_that_was_seen(fake, client):
    fake.turn = 41
    client.memory("m").update(X, Y)
    assert fake.requests["Update"][0].mutation.opened_after == 41


def test_uid_is_pinned_after_the_first_reply(fake, client):
    memory = client.memory("m")
    memory.query(X)
    memory.query(X)
    assert [r.memory.uid for r in fake.requests["Query"]] == [b"", fake.uid]
    fake.uid = b"another memory.."
    with pytest.raises(evoke.StaleMemory):
        memory.query(X)


def test_epoch_is_pinned_when_given_and_follows_own_clears(fake, client):
    memory = client.memory("m", epoch=1)
    memory.clear()
    memory.update(X, Y)
    fake.epoch += 1
    with pytest.raises(evoke.StaleMemory):
        memory.update(X, Y)


def test_a_call_that_a_stopping_server_cancelled_is_retried(fake, client):
    fake.script["Update"] = [refuse("CANCELLED", ""), OK]
    client.memory("m").update(X, Y)
    assert numbers(fake) == [1, 1]


def test_a_closed_client_is_not_retried(fake, client):
    memory = client.memory("m")
    memory.query(X)
    client.close()
    with pytest.raises(evoke.Cancelled) as caught:
        memory.query(X)
    assert caught.value.reason == "CLIENT_CLOSED"


@pytest.mark.parametrize("reason", ["LOADING", "DRAINING", "COMMIT_UNKNOWN", "SOMETHING_NEW", ""])
def test_unavailable_is_retried_with_the_same_number(fake, client, reason):
    fake.script["Update"] = [refuse("UNAVAILABLE", reason), refuse("UNAVAILABLE", reason), OK]
    client.memory("m").update(X, Y)
    assert numbers(fake) == [1, 1, 1]
    assert len(set(sessions(fake))) == 1
    assert fake.step == 2


def test_lost_reply_is_answered_again_and_applied_once(fake, client):
    fake.script["TrainStep"] = [lose_reply(), lose_reply(reason="COMMIT_UNKNOWN"), OK]
    memory = client.memory("m")
    result = memory.train_step(X, Y)
    assert (result.header.step, fake.step) == (2, 2)
    assert memory.train_step(X, Y).header.step == 4
    assert numbers(fake, "TrainStep") == [1, 1, 1, 2]


def test_full_mailbox_is_retried_after_the_delay_that_the_server_names(fake, client):
    fake.script["Update"] = [refuse("RESOURCE_EXHAUSTED", "MAILBOX_FULL", delay=0.25), OK]
    start = time.monotonic()
    client.memory("m").update(X, Y)
    assert time.monotonic() - start >= 0.25
    assert fake.step == 2


def test_exhausted_without_a_delay_is_not_retried(fake, client):
    fake.script["Update"] = [refuse("RESOURCE_EXHAUSTED", "MEMORY_LIMIT"), OK]
    with pytest.raises(evoke.MemoryLimit) as caught:
        client.memory("m").update(X, Y)
    assert not caught.value.outcome_unknown
    assert len(fake.requests["Update"]) == 1


def test_server_side_deadline_is_retried_with_the_same_number(fake, client):
    fake.script["Update"] = [refuse("DEADLINE_EXCEEDED", "NOT_APPLIED"), OK]
    client.memory("m").update(X, Y)
    assert numbers(fake) == [1, 1]


@pytest.mark.parametrize("code, reason, expected", [
    ("INVALID_ARGUMENT", "NON_FINITE", evoke.InvalidArgument), ("FAILED_PRECONDITION", "READ_ONLY_DISK",
                                                                evoke.ReadOnlyDisk),
    ("DATA_LOSS", "CORRUPT_SLOT", evoke.DataLoss), ("UNIMPLEMENTED", "NOT_BUILT", evoke.Unimplemented)])
def test_refused_mutation_is_not_retried_and_consumes_no_number(fake, client, code, reason, expected):
    memory = client.memory("m")
    memory.update(X, Y)
    fake.script["Update"] = [refuse(code, reason), OK]
    with pytest.raises(expected) as caught:
        memory.update(X, Y)
    assert caught.value.reason == reason and not caught.value.outcome_unknown
    memory.update(X, Y)
    assert numbers(fake) == [1, 2, 2]
    assert len(set(sessions(fake))) == 1


def test_deadline_leaves_the_outcome_unknown_and_gives_the_session_up(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    fake.script["Update"] = [stall(0.6, apply_first=True), OK]
    with pytest.raises(evoke.DeadlineExceeded) as caught:
        memory.update(X, Y, deadline=0.2)
    assert caught.value.outcome_unknown and isinstance(caught.value, TimeoutError)
    memory.update(X, Y)
    assert numbers(fake) == [1, 2, 1]
    assert len(set(sessions(fake))) == 2


def test_refusal_after_a_lost_reply_leaves_the_outcome_unknown(fake, client):
    fake.script["Update"] = [refuse("UNAVAILABLE"), refuse("RESOURCE_EXHAUSTED", "MEMORY_LIMIT"), OK]
    memory = client.memory("m")
    with pytest.raises(evoke.MemoryLimit) as caught:
        memory.update(X, Y)
    assert caught.value.outcome_unknown
    memory.update(X, Y)
    assert len(set(sessions(fake))) == 2


def test_interruption_gives_the_session_up(fake, client, monkeypatch):
    memory = client.memory("m")
    memory.update(X, Y)
    with monkeypatch.context() as patched:
        def interrupted(*_):
            raise KeyboardInterrupt
        patched.setattr(client._calls._transport, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            memory.update(X, Y)
    memory.update(X, Y)
    assert len(set(sessions(fake))) == 2


def test_forgotten_session_is_replaced_when_surely_nothing_was_applied(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    fake.script["Update"] = [forget_sessions()]
    assert memory.update(X, Y).header.step == 4
    assert numbers(fake) == [1, 2, 1]
    assert fake.requests["Update"][-1].mutation.opened_after >= fake.forgotten_turn


def test_first_number_refused_as_too_early_is_sent_with_a_newer_turn(fake, client):
    memory = client.memory("m")
    memory.query(X)
    fake.turn = 9
    fake.forget()
    memory.update(X, Y)
    assert numbers(fake) == [1, 1]
    assert fake.requests["Update"][-1].mutation.opened_after == 9
    assert fake.step == 2


def test_forgotten_session_after_a_lost_reply_raises_session_lost(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    fake.script["Update"] = [lose_reply(), forget_sessions()]
    with pytest.raises(evoke.SessionLost) as caught:
        memory.update(X, Y)
    assert caught.value.outcome_unknown
    assert fake.step == 4  # it had been applied: a new session would have applied it twice
    memory.update(X, Y)
    assert fake.step == 6


def test_forgotten_first_number_after_a_lost_reply_raises_session_lost(fake, client):
    fake.script["Update"] = [both(lambda f, a, c: None, lose_reply()), forget_sessions()]
    with pytest.raises(evoke.SessionLost):
        client.memory("m").update(X, Y)
    assert fake.step == 2


def test_already_acknowledged_number_is_a_session_error(fake, client):
    fake.script["Update"] = [refuse("FAILED_PRECONDITION", "STEP_TOO_OLD", {"last_number": "7"})]
    with pytest.raises(evoke.SessionError) as caught:
        client.memory("m").update(X, Y)
    assert caught.value.metadata == {"last_number": "7"}


def test_rows_that_do_not_write_need_no_session(fake, client):
    memory = client.memory("m")
    memory.train_step(X, Y, write=False)
    memory.train_step(X, Y, write=[True, False], skip=[True, False])
    memory.update(X, Y, skip=True)
    assert not any(r.HasField("mutation") for m in ("TrainStep", "Update") for r in fake.requests[m])
    assert fake.step == 0


def test_clear_is_exactly_once(fake, client):
    fake.script["ClearMemory"] = [lose_reply(), OK]
    client.memory("m").clear()
    assert fake.epoch == 2


def test_concurrent_mutations_use_a_session_each_and_all_are_applied_once(fake, client):
    memory = client.memory("m")
    memory.describe()
    fake.script["Update"] = [lose_reply(), OK, refuse("UNAVAILABLE"), lose_reply(), OK, stall(0.05)] * 8
    failures = []

    def work():
        try:
            for _ in range(20):
                memory.update(X, Y)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert fake.step == 6 * 20 * 2
    assert 1 <= len(set(sessions(fake))) <= 6


def test_two_handles_never_share_a_session(fake, client):
    client.memory("m").update(X, Y)
    client.memory("m").update(X, Y)
    assert numbers(fake) == [1, 1]
    assert fake.step == 4


def test_server_that_restarts_is_found_again(fake, client):
    memory = client.memory("m")
    memory.update(X, Y)
    fake.stop()
    threading.Timer(0.4, fake.start).start()
    memory.update(X, Y)
    assert fake.step == 4


def test_unreachable_server_is_unavailable_at_the_deadline():
    start = time.monotonic()
    with evoke.Client("unix:/nonexistent/socket") as client:
        with pytest.raises(evoke.Unavailable) as caught:
            client.memory("m").query(X, deadline=0.5)
    assert isinstance(caught.value, ConnectionError) and not caught.value.outcome_unknown
    assert time.monotonic() - start < 1.5


def test_second_address_is_used_when_the_first_does_not_answer(fake):
    with evoke.Client(["unix:/nonexistent/socket", fake.address]) as client:
        client.memory("m").update(X, Y)
    assert fake.step == 2


def test_attempt_timeout_repeats_a_stalled_attempt(fake):
    fake.script["Update"] = [stall(1.0, apply_first=True), OK]
    retry = evoke.RetryPolicy(initial_backoff=0.001, attempt_timeout=0.2)
    with evoke.Client(fake.address, retry=retry) as client:
        client.memory("m").update(X, Y)
    assert numbers(fake) == [1, 1]
    assert fake.step == 2
