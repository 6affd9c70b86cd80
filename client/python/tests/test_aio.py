"""evoke.aio: calls that overlap, cancelled tasks, several loops; against the fake, and against the built server."""

import asyncio
import inspect
import os
import pickle
import threading

import numpy as np
import pytest

import evoke
from fake_server import OK, break_off, forget_sessions, lose_reply, refuse, stall

X, Y = np.eye(2, dtype=np.float32), np.array([1, 2])
E = np.eye(8, dtype=np.float32)


def quick(fake, **arguments):
    return evoke.aio.Client(fake.address, **dict(dict(deadline=10.0, retry=evoke.RetryPolicy(
        initial_backoff=0.001, max_backoff=0.01)), **arguments))


def numbers(fake):
    return [r.mutation.number for r in fake.requests["Update"]]


def sessions(fake):
    return {r.mutation.session for r in fake.requests["Update"]}


class Held:
    """An entry for the fake's script: the call arrives, and is answered when the test says so."""

    def __init__(self):
        self.arrived, self.go = threading.Event(), threading.Event()

    def __call__(self, fake, apply, context):
        self.arrived.set()
        assert self.go.wait(30)
        return apply()

    async def until_arrived(self):
        assert await asyncio.get_running_loop().run_in_executor(None, self.arrived.wait, 30)


def test_every_call_has_its_blocking_twin_with_the_same_arguments_and_words():
    def calls(cls):
        return {name: f for name, f in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}

    for blocking, overlapping in ((evoke.Client, evoke.aio.Client), (evoke.Memory, evoke.aio.Memory)):
        awaited = {n: f for n, f in calls(overlapping).items() if inspect.iscoroutinefunction(f)}
        for name, f in awaited.items():
            if name not in ("settle", "close"):
                twin = calls(blocking)[name]
                assert inspect.signature(twin) == inspect.signature(f) and twin.__doc__ == f.__doc__, name
                assert not inspect.iscoroutinefunction(twin)
        assert set(calls(blocking)) <= set(calls(overlapping)), blocking


def test_calls_of_many_tasks_are_in_flight_at_the_same_time(fake):
    held = [Held() for _ in range(8)]
    fake.script["Query"] = list(held)

    async def main():
        async with quick(fake) as client:
            memory = client.memory("m")
            tasks = [asyncio.ensure_future(memory.query(X)) for _ in held]
            for h in held:
                await h.until_arrived()  # all eight, before any is answered
            assert not any(t.done() for t in tasks)
            for h in held:
                h.go.set()
            assert [len(r.values) for r in await asyncio.gather(*tasks)] == [2] * 8

    asyncio.run(main())


def test_concurrent_mutations_use_a_session_each_and_later_ones_use_them_again(fake):
    fake.script["Update"] = [lose_reply(), OK, refuse("UNAVAILABLE"), lose_reply(), OK, stall(0.02)] * 8

    async def main():
        async with quick(fake, sessions=4) as client:
            memory = client.memory("m")
            await asyncio.gather(*(memory.update(X, Y) for _ in range(40)))
            await memory.update(X, Y)

    asyncio.run(main())
    assert fake.step == 41 * 2
    assert 2 <= len(sessions(fake)) <= 4


def test_a_deadline_passes_while_all_sessions_are_in_use(fake):
    held = Held()
    fake.script["Update"] = [held]

    async def main():
        async with quick(fake, sessions=1) as client:
            memory = client.memory("m")
            first = asyncio.ensure_future(memory.update(X, Y))
            await held.until_arrived()
            with pytest.raises(evoke.DeadlineExceeded) as caught:
                await memory.update(X, Y, deadline=0.05)
            assert not caught.value.outcome_unknown
            held.go.set()
            await first

    asyncio.run(main())
    assert fake.step == 2


def test_errors_and_retries_are_those_of_the_blocking_client(fake):
    async def main():
        async with quick(fake) as client:
            memory = client.memory("m")
            fake.script["Update"] = [refuse("UNAVAILABLE", "LOADING"), lose_reply(), OK]
            await memory.update(X, Y)
            assert numbers(fake) == [1, 1, 1] and fake.step == 2
            fake.script["Update"] = [refuse("DATA_LOSS", "CORRUPT_SLOT", {"a": "b"}), OK]
            with pytest.raises(evoke.DataLoss) as caught:
                await memory.update(X, Y)
            assert caught.value.metadata == {"a": "b"} and not caught.value.outcome_unknown
            await memory.update(X, Y)
            assert numbers(fake)[-2:] == [2, 2]
            fake.script["Update"] = [stall(0.4, apply_first=True)]
            with pytest.raises(evoke.DeadlineExceeded) as caught:
                await memory.update(X, Y, deadline=0.1)
            assert caught.value.outcome_unknown
            await memory.update(X, Y)
            fake.script["Update"] = [lose_reply(), forget_sessions()]
            with pytest.raises(evoke.SessionLost) as caught:
                await memory.update(X, Y)
            assert caught.value.outcome_unknown
            with pytest.raises(evoke.InvalidArgument):
                await memory.update(np.ones((2, 2)), [1])
            with pytest.raises(evoke.MemoryNotFound):
                await client.memory("nobody").query(X)
        with pytest.raises(evoke.Cancelled):
            await memory.query(X)

    asyncio.run(main())


@pytest.mark.parametrize("behave", [OK, lose_reply(), refuse("UNAVAILABLE", "LOADING")])
def test_cancelled_update_is_carried_on_and_applied_once(fake, behave):
    held = Held()

    def late(server, apply, context):
        held.arrived.set()
        assert held.go.wait(30)
        return (behave or (lambda s, a, c: a()))(server, apply, context)

    async def main():
        async with quick(fake) as client:
            memory = client.memory("m")
            await memory.update(X, Y)
            fake.script["Update"] = [late]
            task = asyncio.ensure_future(memory.update(X, Y))
            await held.until_arrived()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            held.go.set()
            assert await client.settle() == ()
            assert fake.step == 4
            await memory.update(X, Y)  # under the same session: nothing about it is in doubt

    asyncio.run(main())
    assert fake.step == 6 and len(sessions(fake)) == 1
    assert sorted(set(numbers(fake))) == [1, 2, 3]


def test_update_cancelled_while_it_waits_for_a_session_is_carried_on_too(fake):
    held = Held()
    fake.script["Update"] = [held]

    async def main():
        async with quick(fake, sessions=1) as client:
            memory = client.memory("m")
            first, second = (asyncio.ensure_future(memory.update(X, Y)) for _ in range(2))
            await held.until_arrived()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(second, 0.01)
            held.go.set()
            await first

    asyncio.run(main())  # closing the client waits for it
    assert fake.step == 4 and numbers(fake) == [1, 2]


def test_settle_tells_what_became_of_those_that_failed(fake):
    held = Held()

    def refused(server, apply, context):
        held(server, lambda: None, context)
        return refuse("DATA_LOSS", "CORRUPT_SLOT")(server, apply, context)

    async def main():
        async with quick(fake) as client:
            memory = client.memory("m")
            fake.script["Update"] = [refused]
            task = asyncio.ensure_future(memory.update(X, Y))
            await held.until_arrived()
            task.cancel()
            held.go.set()
            errors = await client.settle()
            assert [e.reason for e in errors] == ["CORRUPT_SLOT"]
            assert await client.settle() == ()

    asyncio.run(main())
    assert fake.step == 0


def test_cancelled_query_is_dropped_and_the_client_goes_on(fake):
    held, ended = Held(), threading.Event()

    def told(server, apply, context):
        assert context.add_callback(ended.set)
        return held(server, apply, context)

    fake.script["Query"] = [told]

    async def main():
        async with quick(fake) as client:
            memory = client.memory("m")
            task = asyncio.ensure_future(memory.query(X))
            await held.until_arrived()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.get_running_loop().run_in_executor(None, ended.wait, 30)
            held.go.set()
            assert len((await memory.query(X)).values) == 2

    asyncio.run(main())


def test_one_client_serves_loop_after_loop_and_loops_of_several_threads(fake):
    client = quick(fake, sessions=2)
    memory = client.memory("m")

    async def some():
        await asyncio.gather(*(memory.update(X, Y) for _ in range(10)))

    asyncio.run(some())
    threads = [threading.Thread(target=asyncio.run, args=(some(),)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    asyncio.run(client.close())
    assert fake.step == 40 * 2


def test_streams_are_awaited_and_continued(fake, tmp_path):
    fake.script["CreateSnapshot"] = [break_off(1)]
    told = []

    async def main():
        async with quick(fake) as client:
            memory = client.memory("m")
            snapshot = await memory.snapshot(progress=lambda *a: told.append(a))
            assert snapshot.id in [s.id for s in await memory.snapshots()]
            assert (await memory.restore(snapshot.token)).snapshot.id == snapshot.id

    asyncio.run(main())
    assert told and len(fake.kept) == 1


def test_cancelled_snapshot_ends_its_call(fake):
    arrived, ended = threading.Event(), threading.Event()

    def endless(server, apply, context):
        assert context.add_callback(ended.set)
        arrived.set()
        assert ended.wait(30)
        return []

    fake.script["CreateSnapshot"] = [endless]

    async def main():
        async with quick(fake) as client:
            wait = asyncio.get_running_loop().run_in_executor
            task = asyncio.ensure_future(client.memory("m").snapshot())
            assert await wait(None, arrived.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await wait(None, ended.wait, 30)

    asyncio.run(main())


def test_clients_and_handles_pickle(fake):
    async def main():
        client = quick(fake, sessions=3)
        memory = client.memory("m")
        await memory.update(X, Y)
        copy = pickle.loads(pickle.dumps(memory))
        await copy.update(X, Y)
        assert (copy.uid, copy.client.addresses, copy.client._sessions) == (memory.uid, client.addresses, 3)
        assert len(sessions(fake)) == 2
        assert "evoke.aio" in repr(copy) and "evoke.aio" in repr(client)
        await client.close()
        await copy.client.close()

    asyncio.run(main())


def test_no_session_at_all_is_refused():
    with pytest.raises(ValueError, match="sessions"):
        evoke.aio.Client(sessions=0)


def test_a_refused_token_is_read_again(fake, tmp_path):
    path = tmp_path / "token"
    path.write_text("old")

    def expired(server, apply, context):
        path.write_text("new")
        return refuse("UNAUTHENTICATED", "UNAUTHENTICATED")(server, apply, context)

    fake.script["Query"] = [expired, OK]

    async def main():
        async with quick(fake, token_file=str(path)) as client:
            await client.memory("m").query(X)

    asyncio.run(main())
    assert len(fake.requests["Query"]) == 2


# ---- the built server ----

def test_whole_surface_against_the_server(real, tmp_path):
    async def main():
        async with evoke.aio.Client(real.address) as client:
            memory = await client.create_memory("aio", key_dim=8, capacity=64, durability="wal")
            await memory.update(E[:3], [7, -8, 9], payloads=[b"seven", None, b"nine"])
            answer = await memory.query(E[:3], keys=True, payloads=True)
            assert answer.values.tolist() == [7, -8, 9]
            step = await memory.train_step(E[:2], [7, -8], form="gradient", confidence_gradient=True)
            assert [evoke.Outcome(o) for o in step.outcomes] == [evoke.Outcome.HIT] * 2
            assert [s.value for s in (await memory.get_slots(slots=[0, 2])).slots] == [7, 9]
            snapshot = await memory.snapshot()
            exported = await memory.export(tmp_path / "aio.npz")
            again = await client.import_file(tmp_path / "aio.npz", "aio-again", spec={"durability": "memory"})
            assert (await again.state_hash()).state_hash == exported.token.state_hash == snapshot.token.state_hash
            await memory.import_arrays(E[4:6], [1, 2])
            assert (await memory.restore(snapshot.token)).changed
            fork = await client.fork(memory, "aio-fork")
            assert fork.origin.uid == memory.uid and isinstance(fork, evoke.aio.Memory)
            assert {m.name for m in await client.list_memories()} >= {"aio", "aio-again", "aio-fork"}
            assert await memory.clear() == 3 and (await memory.describe()).live_slots == 0
            assert (await client.status()).state == (await client.wait_ready()).state == "serving"
            for m in (memory, again, fork):
                assert await m.delete()

    asyncio.run(main())


def test_tasks_cancelled_at_any_moment_lose_and_double_nothing(real):
    """Random cancels over 300 updates of one row: what was called is what was written, each once."""
    rng = np.random.default_rng(int(os.environ.get("EVOKE_TEST_SEED", "5")))

    async def main():
        async with evoke.aio.Client(real.address, sessions=5) as client:
            memory = await client.create_memory("aio-cancel", key_dim=8, capacity=1000, durability="memory")
            called = []

            async def one(i):
                called.append(i)
                await memory.update(rng.normal(size=8), i)

            for start in range(0, 300, 30):
                tasks = [asyncio.ensure_future(one(i)) for i in range(start, start + 30)]
                for _ in range(int(rng.integers(0, 40))):
                    await asyncio.sleep(0)
                for t in tasks:
                    if rng.random() < 0.5:
                        t.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert await client.settle() == ()
            described = await memory.describe()
            assert described.step == described.live_slots == len(called) > 150
            written = await memory.get_slots(values=called)
            assert [v.live_slots for v in written.values] == [1] * len(called)
            await memory.delete()

    asyncio.run(main())


def test_tasks_go_on_over_crashes_and_every_observation_is_written_once(real, tmp_path):
    """SIGKILL while many updates and reads are under way, some of them cancelled."""
    async def main(server):
        rng = np.random.default_rng(int(os.environ.get("EVOKE_TEST_SEED", "6")))
        wait = asyncio.get_running_loop().run_in_executor
        async with evoke.aio.Client(server.address, deadline=60, sessions=4) as client:
            memory = await client.create_memory("m", key_dim=8, capacity=4000, durability="wal")
            called, answered, stop = [], [], []

            async def work(cancelled):
                while not stop:
                    called.append(len(called))
                    try:
                        await asyncio.wait_for(memory.update(rng.normal(size=8), called[-1]), 0.002 if cancelled else None)
                    except asyncio.TimeoutError:
                        pass
                    await memory.query(rng.normal(size=8))
                    answered.append(0)

            tasks = [asyncio.ensure_future(work(i == 0)) for i in range(6)]
            for _ in range(2):
                seen = len(answered)
                while len(answered) < seen + 60 and not any(t.done() for t in tasks):
                    await asyncio.sleep(0.01)
                await wait(None, server.kill)
                await wait(None, server.start)
            stop.append(True)
            await asyncio.gather(*tasks)
            assert await client.settle() == ()
            described = await memory.describe()
            assert described.step == described.live_slots == len(called)

    with evoke.local(str(tmp_path / "data")) as server:
        asyncio.run(main(server))
