"""Snapshots, fork, export and import against the built server (EVOKE_EVOKED)."""

import glob
import os

import numpy as np
import pytest

import evoke

E = np.eye(8, dtype=np.float32)
DIM, ROWS = 64, 12_000  # three messages of an export


@pytest.fixture
def durable(real, request):
    """A fresh durable memory: key_dim 8, 16 slots, so that it evicts early."""
    m = real.client.create_memory("d-" + request.node.name[:100], key_dim=8, capacity=16, age_noise=4, durability="wal")
    yield m
    m.delete()


@pytest.fixture(scope="module")
def big(real):
    """A memory of 12,000 rows with a payload at every tenth, at a step after its last row."""
    m = real.client.create_memory("big", key_dim=DIM, capacity=ROWS + 100, durability="memory")
    rng = np.random.default_rng(5)
    m.import_arrays(rng.normal(size=(ROWS, DIM)), np.arange(ROWS),
                    payloads=[b"row %d" % i if i % 10 == 0 else None for i in range(ROWS)])
    m.update(rng.normal(size=(30, DIM)), np.arange(30))
    yield m
    m.delete()


def life(memory, seed, steps=12):
    """The same observations for the same seed: hits, misses and evictions."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        memory.train_step(rng.normal(size=(5, 8)), rng.integers(0, 9, 5), payloads=[b"p"] * 5)
    return memory.state_hash()


def state(memory):
    h = memory.state_hash()
    return h.header.step, h.state_hash, h.live_slots


def test_token_names_the_state_of_the_snapshot(durable):
    life(durable, 1)
    made, d = durable.snapshot(), durable.describe()
    assert made.token == evoke.SnapshotToken(d.uid, d.epoch, made.token.turn, d.step, d.state_hash)
    assert durable.snapshots() == (made,) and made.bytes > 0 and made.spec == d.spec
    assert durable.verify_snapshot(made, progress=lambda *p: None) == made
    assert durable.delete_snapshot(made) and not durable.delete_snapshot(made) and durable.snapshots() == ()


def test_restored_memory_goes_on_bitwise(durable):
    life(durable, 1)
    token = durable.snapshot().token
    first = life(durable, 2)
    result = durable.restore(str(token))
    assert (result.changed, result.header.epoch, state(durable)[:2]) == (True, 2, (token.step, token.state_hash))
    second = life(durable, 2)
    assert (first.state_hash, first.header.step) == (second.state_hash, second.header.step)
    assert second.header.turn > first.header.turn


def test_restore_of_the_state_that_is_there_changes_nothing(durable):
    life(durable, 1)
    assert not durable.restore(durable.snapshot().token).changed
    assert durable.describe().epoch == 1


def test_restore_refuses_the_token_of_another_memory(real, durable, memory):
    life(durable, 1)
    made = durable.snapshot()
    other = real.client.create_memory("other", key_dim=8, capacity=16, durability="wal")
    try:
        with pytest.raises(evoke.TokenMismatch):
            other.restore(made.token)
        with pytest.raises(evoke.SnapshotNotFound):
            durable.restore("1-1-never")
    finally:
        other.delete()
    with pytest.raises(evoke.FailedPrecondition) as caught:
        memory.snapshot()
    assert caught.value.reason == "EPHEMERAL"


def test_restore_that_requires_another_epoch_is_refused(real, durable):
    """As a repeated one does, whose first attempt was done: it would rewind what was written since."""
    life(durable, 1)
    token = durable.snapshot().token
    life(durable, 2)
    late = real.client.memory(durable.name, epoch=1)
    durable.restore(token)
    life(durable, 3)
    before = state(durable)
    with pytest.raises(evoke.StaleMemory):
        late.restore(token)
    assert state(durable) == before


def test_pinned_handles_notice_a_restore_and_the_restoring_one_goes_on(real, durable):
    life(durable, 1)
    token = durable.snapshot().token
    life(durable, 2)
    mine, other = (real.client.memory(durable.name, epoch=1) for _ in range(2))
    mine.restore(token)
    mine.update(E[0], 1)
    with pytest.raises(evoke.StaleMemory):
        other.update(E[0], 1)
    durable.update(E[0], 1)  # not pinned: its forgotten session is replaced


def test_restore_survives_a_crash(real, tmp_path):
    with evoke.local(str(tmp_path / "data"), deadline=60) as server:
        memory = server.client.create_memory("m", key_dim=8, capacity=16, durability="wal")
        life(memory, 1)
        token = memory.snapshot().token
        life(memory, 2)
        server.kill()
        server.start()
        memory.restore(token)
        server.kill()
        server.start()
        assert state(memory)[:2] == (token.step, token.state_hash)
        memory.update(E[0], 1)


def test_restore_as_and_fork_are_memories_of_their_own(real, durable):
    life(durable, 1)
    made, before = durable.snapshot(), state(durable)
    restored = real.client.restore_as(durable.name + "-restored", made, memory=durable)
    forked = real.client.fork(durable, durable.name + "-forked")
    try:
        assert state(restored) == state(forked) == before
        assert restored.origin == made.token == forked.origin
        assert len({durable.uid, restored.uid, forked.uid}) == 3 and forked.describe().epoch == 1
        assert life(restored, 2).state_hash == life(forked, 2).state_hash
        assert state(durable) == before
    finally:
        restored.delete()
        forked.delete()
    with pytest.raises(evoke.AlreadyExists):
        real.client.fork(durable, durable.name)


def test_damaged_snapshot_is_refused_and_the_memory_stays(real, durable):
    life(durable, 1)
    made = durable.snapshot()
    life(durable, 2)
    before = state(durable)
    [folder] = glob.glob(os.path.join(real.data_dir, "memories", durable.uid.hex(), "snapshots", made.id))
    path = max((p for p in glob.glob(folder + "/**", recursive=True) if p.endswith(".sst")), key=os.path.getsize)
    data = bytearray(open(path, "rb").read())
    data[len(data) // 3] ^= 1
    os.unlink(path)  # it may be a link to the live store's own file
    with open(path, "wb") as file:
        file.write(data)
    with pytest.raises(evoke.DataLoss, match=os.path.basename(path)):
        durable.verify_snapshot(made)
    with pytest.raises(evoke.DataLoss):
        durable.restore(made)
    assert state(durable) == before
    durable.update(E[0], 1)


def test_snapshot_is_copied_to_the_backups_and_restored_from_there(real, tmp_path):
    (tmp_path / "backups").mkdir()
    with evoke.local(str(tmp_path / "data"), arguments=["--backup-dir", str(tmp_path / "backups")]) as server:
        memory = server.client.create_memory("m", key_dim=8, capacity=16, durability="wal")
        life(memory, 1)
        made, before = memory.snapshot(), state(memory)
        copy = memory.copy_snapshot(made, "monday")
        assert copy.token == made.token
        assert memory.copy_snapshot(made, "monday").token == made.token
        assert [s.token for s in server.client.list_snapshots("monday")] == [made.token]
        memory.delete()
        again = server.client.restore_as("m", made.token, backup_folder="monday")
        assert state(again) == before


def test_export_is_read_by_numpy_and_comes_back_bit_for_bit(real, big, tmp_path):
    done = big.export(tmp_path / "big.npz")
    assert (done.token.step, done.token.state_hash, done.rows) == state(big)
    with np.load(tmp_path / "big.npz") as z:
        assert np.allclose(np.linalg.norm(z["keys"].astype(np.float64), axis=1), 1, atol=1e-6)
        assert (np.diff(z["written_steps"].astype(np.int64)) > 0).all() and len(np.unique(z["slots"])) == done.rows
        assert len(z["payload_rows"]) >= ROWS // 10 - 30
    copy = real.client.import_file(tmp_path / "big.npz", "big-copy", spec={"durability": "wal"})
    try:
        assert state(copy) == state(big) and copy.uid != big.uid

        def payloads(memory):
            return [(s.slot, s.hits, s.payloads) for s in memory.get_slots(slots=range(100), payloads=True).slots]
        assert payloads(copy) == payloads(big)
        again = copy.export(tmp_path / "copy.npz")
        assert again.token.state_hash == done.token.state_hash
        x = np.random.default_rng(9).normal(size=(40, DIM))
        assert copy.train_step(x, np.arange(40)).slots.tolist() == big.train_step(x, np.arange(40)).slots.tolist()
    finally:
        copy.delete()


def test_interrupted_export_is_continued(real, big, tmp_path, monkeypatch):
    transport, asked = real.client._calls._transport, []
    stream = transport.stream

    def interrupted(method, request, timeout):
        asked.append(request.after_step)
        for count, reply in enumerate(stream(method, request, timeout)):
            yield reply
            if len(asked) == 1 and count == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(transport, "stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        big.export(tmp_path / "big.npz")
    assert (tmp_path / "big.npz.partial" / "progress.json").exists()
    big.export(tmp_path / "big.npz")
    assert asked[0] == 0 < asked[1]
    copy = real.client.import_file(tmp_path / "big.npz", "big-continued", spec={"durability": "memory"})
    try:
        assert state(copy) == state(big)
    finally:
        copy.delete()


def test_interrupted_export_begins_anew_when_the_memory_changed(real, big, tmp_path, monkeypatch):
    transport = real.client._calls._transport
    stream = transport.stream

    def interrupted(method, request, timeout):
        yield from list(stream(method, request, timeout))[:2]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transport, "stream", interrupted)
        with pytest.raises(KeyboardInterrupt):
            big.export(tmp_path / "big.npz")
    big.update(np.ones(DIM), 3)
    assert big.export(tmp_path / "big.npz").token.state_hash == state(big)[1]


def test_import_goes_on_over_crashes_of_the_server_and_of_the_client(real, big, tmp_path):
    big.export(tmp_path / "big.npz")
    with evoke.local(str(tmp_path / "data"), deadline=60) as server:
        crashed = []

        def crash(phase, done, total):
            if phase == "import" and done and len(crashed) < 2:
                crashed.append(done)
                if len(crashed) == 2:
                    raise KeyboardInterrupt
                server.kill()
                server.start()

        with pytest.raises(KeyboardInterrupt):
            server.client.import_file(tmp_path / "big.npz", spec={"durability": "wal"}, progress=crash)
        server.kill()
        server.start()
        again = []
        memory = server.client.import_file(tmp_path / "big.npz", spec={"durability": "wal"},
                                           progress=lambda *p: again.append(p))
        assert [p[1] for p in again if p[0] == "import"][0] == crashed[1] > 0
        assert state(memory) == state(big)
        server.kill()
        server.start()
        assert state(memory) == state(big)


def test_import_refuses_a_memory_that_holds_something_else(real, big, tmp_path):
    big.export(tmp_path / "big.npz")
    other = real.client.create_memory("not-empty", **dict(big.describe().spec))
    try:
        other.update(np.ones(DIM), 1)
        before = state(other)
        with pytest.raises(evoke.SlotTaken):
            real.client.import_file(tmp_path / "big.npz", "not-empty")
        with pytest.raises(evoke.SpecDiffers):
            real.client.import_file(tmp_path / "big.npz", "not-empty", spec={"capacity": ROWS + 101})
        assert state(other) == before
    finally:
        other.delete()


def test_corrupted_member_is_named_and_nothing_is_made(real, big, tmp_path):
    big.export(tmp_path / "big.npz")
    data = bytearray((tmp_path / "big.npz").read_bytes())
    data[len(data) // 2] ^= 1  # the keys are most of the file
    (tmp_path / "big.npz").write_bytes(data)
    with pytest.raises(evoke.DamagedFile, match="keys.npy has sha256"):
        real.client.import_file(tmp_path / "big.npz", "never")
    assert "never" not in [d.name for d in real.client.list_memories()]


def test_evictions_follow_the_ages_of_imported_arrays(real):
    memory = real.client.create_memory("aged", key_dim=8, capacity=4, age_noise=0, durability="memory")
    try:
        result = memory.import_arrays(5 * E[:4], [0, 1, 2, 3], ages=[5, 1, 9, 3], payloads=[b"a", None, b"c", b"d"])
        assert sorted(result.slots.tolist()) == [0, 1, 2, 3]
        held = {s.value: s for s in memory.get_slots(slots=range(4), keys=True, payloads=True).slots}
        assert all(np.array_equal(held[v].key, E[v]) and held[v].hits == 0 for v in range(4))
        assert [held[v].age for v in range(4)] == [2, 0, 3, 1] and held[2].payloads[0].data == b"c"
        evicted = [int(memory.update(E[4 + i], 10 + i).slots[0]) for i in range(4)]
        assert evicted == [int(result.slots[row]) for row in (2, 0, 3, 1)]
        with pytest.raises(evoke.MemoryFull):
            memory.import_arrays(E[:1], [1])
    finally:
        memory.delete()
