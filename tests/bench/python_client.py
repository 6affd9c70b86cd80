#!/usr/bin/env python3
"""What the Python client costs beside gRPC itself: the same bytes to the same server, with and without it.

    EVOKE_EVOKED=build/ci/bin/evoked build/venv/bin/python tests/bench/python_client.py [--json FILE] [--smoke]

A call of 64 x 128 to a small ephemeral memory, so that little of the time is the server's; to an empty one ("empty"), so
that next to none is. "bare" is grpcio with bytes
that were made before; "typed" lets it also make and read the messages. The kinds take turns, a few calls each, so that
what else the machine does meets all alike; `ratio` is the median, over the rounds, of a kind's time to that of "bare".
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time

import grpc
import numpy as np

import evoke
from evoke._proto import memory_service_pb2 as pb

ROWS, DIM, CHOOSE_K = 64, 128, 16
QUERY, TRAIN_STEP = "/evoke.v1.MemoryService/Query", "/evoke.v1.MemoryService/TrainStep"
IN_FLIGHT = (1, 4, 16, 64)


class Setting:
    """A server, its memories, and requests to them."""

    def __init__(self, server, steps):
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(ROWS, DIM)).astype(np.float32), rng.integers(0, 50, ROWS)
        self.address = server.address
        self.memory, self.other, self.empty = (server.client.create_memory(
            name, key_dim=DIM, capacity=4096, choose_k=CHOOSE_K, durability="memory") for name in ("one", "two", "none"))
        self.memory.update(self.x, self.y)
        self.other.update(self.x, self.y)
        self.channel = grpc.insecure_channel(server.address)
        embeddings = {"data": self.x.tobytes(), "dtype": 1, "rows": ROWS, "dim": DIM}
        self.query, self.ask_empty = (pb.QueryRequest(memory={"name": m.name, "uid": m.uid}, embeddings=embeddings)
                                      for m in (self.memory, self.empty))
        session, turn = os.urandom(16), self.other.describe().turn
        self.steps = [pb.TrainStepRequest(
            memory={"name": "two", "uid": self.other.uid}, embeddings=embeddings,
            values=self.y.astype("<i8").tobytes(), form=pb.RETURN_FORM_GRADIENT,
            mutation={"session": session, "number": n, "first_unacknowledged": n, "opened_after": turn if n == 1 else 0})
            .SerializeToString() for n in range(1, steps + 1)]


def blocking(setting):
    """kind -> (one call, the kind that it is compared with)."""
    bare = setting.channel.unary_unary(QUERY)
    typed = setting.channel.unary_unary(QUERY, pb.QueryRequest.SerializeToString, pb.QueryResponse.FromString)
    step, data, steps = setting.channel.unary_unary(TRAIN_STEP), setting.query.SerializeToString(), iter(setting.steps)
    memory, empty, x, y = setting.memory, setting.empty, setting.x, setting.y
    ask_empty = setting.ask_empty.SerializeToString()
    return {
        "query bare": (lambda: bare(data, timeout=30), "query bare"),
        "query typed": (lambda: typed(setting.query, timeout=30), "query bare"),
        "query evoke": (lambda: memory.query(x), "query bare"),
        "empty query bare": (lambda: bare(ask_empty, timeout=30), "empty query bare"),
        "empty query evoke": (lambda: empty.query(x), "empty query bare"),
        "train_step bare": (lambda: step(next(steps), timeout=30), "train_step bare"),
        "train_step evoke": (lambda: memory.train_step(x, y, form="gradient"), "train_step bare"),
    }


def measure(kinds, rounds, calls):
    """[{what, median_us, ratio, calls}] in the order of `kinds`."""
    times = {name: [] for name in kinds}
    for call, _ in kinds.values():
        call()
    for _ in range(rounds):
        for name, (call, _) in kinds.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - start) / calls)
    return [{"what": name, "median_us": round(statistics.median(times[name]) * 1e6, 1),
             "ratio": round(statistics.median(a / b for a, b in zip(times[name], times[base])), 3),
             "calls": rounds * calls} for name, (_, base) in kinds.items()]


async def overlapping(setting, rounds, calls):
    """[{what, in_flight, calls_per_s, ratio}]: ratio to one call at a time of the same kind, round by round."""
    async with evoke.aio.Client(setting.address, sessions=max(IN_FLIGHT)) as client:
        memory = client.memory("one")
        kinds = {"aio query": lambda: memory.query(setting.x),
                 "aio train_step": lambda: memory.train_step(setting.x, setting.y, form="gradient")}
        rates = {(name, n): [] for name in kinds for n in IN_FLIGHT}
        for _ in range(rounds):
            for name, n in rates:
                left = iter(range(calls))

                async def work():
                    for _ in left:
                        await kinds[name]()

                start = time.perf_counter()
                await asyncio.gather(*(work() for _ in range(n)))
                rates[name, n].append(calls / (time.perf_counter() - start))
    return [{"what": name, "in_flight": n, "calls_per_s": round(statistics.median(rates[name, n]), 1),
             "ratio": round(statistics.median(a / b for a, b in zip(rates[name, n], rates[name, 1])), 3),
             "calls": rounds * calls} for name, n in rates]


def machine():
    model = "unknown"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), model)
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
            "python": platform.python_version(), "grpc": grpc.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the result there as well")
    parser.add_argument("--smoke", action="store_true", help="a few calls of each, to see that it runs")
    options = parser.parse_args()
    rounds, calls = (2, 3) if options.smoke else (150, 20)
    with evoke.local() as server:
        setting = Setting(server, rounds * calls + 1)
        simd = server.client.status().simd
        rows = measure(blocking(setting), rounds, calls)
        rows += asyncio.run(overlapping(setting, *((2, 8) if options.smoke else (15, 256))))
    result = {"command": " ".join(["python_client.py"] + sys.argv[1:]), "machine": dict(machine(), simd=simd),
              "rows_of_a_call": ROWS, "key_dim": DIM, "choose_k": CHOOSE_K, "results": rows}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
