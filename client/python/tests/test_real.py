"""Against the built server (EVOKE_EVOKED): reading, writing, looking in, crash and restart, the life of evoke.local."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import evoke

E = np.eye(8, dtype=np.float32)


def test_teach_one_thing_and_ask_for_it(memory):
    memory.update(E[:3], [7, -8, 2**62], payloads=[b"seven", None, b"big"])
    answer = memory.query(3 * E[:3] + 0.1, keys=True, payloads=True)
    assert answer.values.tolist() == [7, -8, 2**62] and answer.answered.all()
    n = answer.neighbors
    assert n.slots.shape == (3, 3) and n.keys.shape == (3, 3, 8) and n.ages[:, 0].tolist() == [2, 1, 0]
    assert np.allclose(n.weights.sum(1), 1) and np.array_equal(n.weights[:, 0], answer.confidences)
    assert {slot: [p.data for p in ps] for slot, ps in n.payloads.items()} == {0: [b"seven"], 1: [], 2: [b"big"]}


def test_empty_memory_answers_nothing(memory):
    answer = memory.query(E[:2], neighbors=True)
    assert not answer.answered.any() and not answer.confidences.any() and answer.neighbors.slots.shape == (2, 0)


def test_hit_averages_and_outcomes_tell_so(memory):
    memory.update(E[0], 1)
    result = memory.train_step([E[0] + E[1], E[2]], [1, 2], form="keys")
    assert [evoke.Outcome(o) for o in result.outcomes] == [evoke.Outcome.HIT, evoke.Outcome.FREE]
    assert result.slots.tolist() == [0, 1]
    assert np.allclose(result.positive_keys[0], E[0]) and not result.positive_keys[1].any()
    assert np.allclose(result.negative_keys[1], E[0]) and not result.negative_keys[0].any()
    assert result.positive_found.tolist() == [True, False] and result.negative_found.tolist() == [False, True]
    slot = memory.get_slots(values=[1], keys=True).values[0].slots[0]
    q = (E[0] + E[1]) / np.sqrt(2)
    assert np.allclose(slot.key, (E[0] + q) / np.linalg.norm(E[0] + q), atol=1e-6) and slot.hits == 1


def test_rows_that_do_not_write_are_scored_and_change_nothing(memory):
    memory.update(E[:2], [1, 2])
    before = memory.state_hash()
    result = memory.train_step(E[:3], [2, 2, 2], write=False, skip=[False, False, True], form="gradient",
                               confidence_gradient=True)
    assert np.allclose(result.losses, [1.1, 0.0, 0.0]) and result.gradients.shape == (3, 8)
    assert [evoke.Outcome(o) for o in result.outcomes] == [evoke.Outcome.NONE] * 3
    assert (result.slots == evoke.NO_SLOT).all()
    assert memory.state_hash().state_hash == before.state_hash


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int32])
def test_input_types_give_the_same_answer(memory, dtype):
    memory.update(E[:4], [1, 2, 3, 4])
    assert memory.query((4 * E[:4]).astype(dtype)).values.tolist() == [1, 2, 3, 4]


def test_get_slots_by_number_and_by_value(memory):
    memory.update(E[:3], [5, 5, 6])
    got = memory.get_slots(slots=[2, 40], values=[5, 9], limit=1)
    assert [s.value for s in got.slots] == [6]
    assert [(v.value, v.live_slots, len(v.slots)) for v in got.values] == [(5, 2, 1), (9, 0, 0)]


def test_clear_empties_keeps_the_step_and_grows_the_epoch(memory):
    memory.update(E[:3], [1, 2, 3])
    pinned = memory.client.memory(memory.name, epoch=1)
    assert memory.clear() == 3
    d = memory.describe()
    assert (d.live_slots, d.step, d.epoch, d.state_hash) == (0, 3, 2, "0" * 32)
    with pytest.raises(evoke.StaleMemory):
        pinned.query(E[0])


def test_server_errors_arrive_with_reason_and_metadata(real, memory):
    with pytest.raises(evoke.InvalidArgument) as caught:
        memory.query([[np.nan] * 8])
    assert caught.value.reason == "NON_FINITE" and caught.value.metadata["row"] == "0"
    with pytest.raises(evoke.InvalidArgument) as caught:
        memory.query(np.zeros((1, 8)))
    assert caught.value.reason == "BAD_NORM"
    with pytest.raises(evoke.SpecDiffers):
        real.client.create_memory(memory.name, key_dim=9, capacity=64, if_not_exists=True, durability="memory")
    with pytest.raises(evoke.AlreadyExists):
        real.client.create_memory(memory.name, key_dim=8, capacity=64, durability="memory")
    with pytest.raises(evoke.MemoryNotFound):
        real.client.memory("nobody").query(E[0])


def test_existing_memory_is_taken_when_the_spec_is_equal(real, memory):
    again = real.client.create_memory(memory.name, key_dim=8, capacity=64, if_not_exists=True, durability="memory")
    assert again.uid == memory.uid
    assert memory.name in [d.name for d in real.client.list_memories()]
    assert memory.describe().spec["choose_k"] == 256


def test_many_threads_write_each_observation_once(memory):
    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            memory.update(rng.normal(size=(3, 8)), [seed] * 3)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert memory.describe().step == 8 * 20 * 3


def test_crash_in_the_middle_loses_and_repeats_nothing(tmp_path):
    """SIGKILL under load: the calls go on after the restart and every observation was written once."""
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    with evoke.local(str(tmp_path / "data"), deadline=60) as server:
        memory = server.client.create_memory("m", key_dim=8, capacity=1000, durability="wal")
        done, failures, stop = [], [], threading.Event()

        def work(seed):
            rng = np.random.default_rng(seed)
            try:
                while not stop.is_set():
                    memory.update(rng.normal(size=(2, 8)), [seed, seed])
                    done.append(seed)
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        for _ in range(3):
            seen = len(done)
            while len(done) < seen + 50 and not failures:
                time.sleep(0.01)
            server.kill()
            server.start()
        stop.set()
        for t in threads:
            t.join()
        assert not failures
        assert memory.describe().step == 2 * len(done)


def test_handle_in_another_process_sees_the_same_memory(memory):
    memory.update(E[0], 9)
    program = "import sys, pickle, numpy as np; sys.path[:0] = %r; m = pickle.loads(%r); m.update(np.eye(8)[1], 4); " \
              "print(m.query(np.eye(8)[:2]).values.tolist())" % ([p for p in sys.path if p], pickle.dumps(memory))
    out = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.strip() == "[9, 4]"


def test_local_keeps_a_given_folder_and_removes_a_temporary_one(real, tmp_path):
    path = str(tmp_path / "data")
    with evoke.local(path) as server:
        server.client.create_memory("m", key_dim=8, capacity=4).update(E[0], 3)
    with evoke.local(path) as server:
        assert server.client.memory("m").query(E[0]).values.tolist() == [3]
        pid = server.pid
    assert not os.path.exists("/proc/%d" % pid)
    with evoke.local() as server:
        temporary = server.data_dir
        assert os.path.isdir(temporary)
    assert not os.path.exists(temporary)


def test_local_server_dies_with_its_parent(real):
    program = "import sys, os, time; sys.path[:0] = %r; import evoke; s = evoke.local(); " \
              "print(s.pid, os.path.dirname(s.log_path), flush=True); time.sleep(60)" % [p for p in sys.path if p]
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid, folder = parent.stdout.readline().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 30
    while os.path.exists("/proc/%s" % pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists("/proc/%s" % pid)
    subprocess.run(["rm", "-r", folder], check=True)
