#!/usr/bin/env python3
"""The same searches and updates in PyTorch on a GPU, written well: what a researcher has without a server.

  tests/bench/gpu_torch.py --n=524288 --d=128 --k=256 --batches=1,16,64,256,1024

A search is a product, a topk and the answers back in the host's memory; an update puts as many keys into their places as
there are rows. Each precision is measured: float32, TF32, and bfloat16 (whose order is not exact, and nobody looks at what
it left out). Outputs are allocated once; where all scores do not fit, keys go by blocks. Prints one JSON object a batch and
precision, or says that there is no GPU.
"""

import argparse
import json
import statistics
import time

WARM_UP = 3
SCORES_BYTES = 16 << 30  # of one product at most


class Keys:
    def __init__(self, torch, n, d, k, precision):
        self.torch, self.k = torch, min(k, n)
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        generator = torch.Generator(device="cuda").manual_seed(1)
        self.keys = torch.empty(n, d, device="cuda", dtype=self.dtype)
        for begin in range(0, n, 1 << 20):  # so that no second copy of all is needed
            part = torch.randn(min(1 << 20, n - begin), d, device="cuda", generator=generator)
            self.keys[begin:begin + len(part)] = torch.nn.functional.normalize(part, dim=1)

    def prepare(self, batch):
        torch, n = self.torch, len(self.keys)
        self.block = min(n, max(self.k, SCORES_BYTES // (batch * self.keys.element_size())))
        self.scores = torch.empty(batch, self.block, device="cuda", dtype=self.dtype)
        self.best = torch.empty(batch, self.k, device="cuda", dtype=self.dtype)
        self.at = torch.empty(batch, self.k, device="cuda", dtype=torch.int64)
        self.host_best = torch.empty(batch, self.k, dtype=self.dtype, pin_memory=True)
        self.host_at = torch.empty(batch, self.k, dtype=torch.int64, pin_memory=True)

    def search(self, host_rows):
        """host_rows: [batch, d] pinned. The answers are in the host's memory when it returns."""
        torch = self.torch
        rows = host_rows.to("cuda", non_blocking=True).to(self.dtype)
        parts = []
        for begin in range(0, len(self.keys), self.block):
            keys = self.keys[begin:begin + self.block]
            scores = self.scores[:, :len(keys)]
            torch.mm(rows, keys.T, out=scores) if len(keys) == self.block else scores.copy_(rows @ keys.T)
            if len(keys) == len(self.keys):
                torch.topk(scores, self.k, dim=1, out=(self.best, self.at))
            else:
                best, at = torch.topk(scores, min(self.k, len(keys)), dim=1)
                parts.append((best, at + begin))
        if parts:
            best, at = (torch.cat(all_of, dim=1) for all_of in zip(*parts))
            torch.topk(best, self.k, dim=1, out=(self.best, self.at))
            self.at.copy_(torch.gather(at, 1, self.at))
        self.host_best.copy_(self.best, non_blocking=True)
        self.host_at.copy_(self.at, non_blocking=True)
        torch.cuda.synchronize()

    def update(self, host_rows, host_positions):
        positions = host_positions.to("cuda", non_blocking=True)
        self.keys.index_copy_(0, positions, host_rows.to("cuda", non_blocking=True).to(self.dtype))


def median_seconds(work, rounds):
    times = []
    for round_ in range(-WARM_UP, rounds):
        begin = time.perf_counter()
        work()
        if round_ >= 0:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def measure(torch, options, precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    keys = Keys(torch, options.n, options.d, options.k, precision)
    for batch in options.batches:
        keys.prepare(batch)
        rows = torch.nn.functional.normalize(torch.randn(batch, options.d), dim=1).pin_memory()
        positions = torch.randperm(options.n)[:batch].pin_memory()
        searching = median_seconds(lambda: keys.search(rows), options.rounds)

        def step():
            keys.update(rows[:len(positions)], positions)
            keys.search(rows)

        updating = median_seconds(step, options.rounds)
        print(json.dumps({"index": "torch_" + precision, "device": torch.cuda.get_device_name(0), "cuda": torch.version.cuda,
                          "torch": torch.__version__, "n": options.n, "d": options.d, "k": options.k, "batch": batch,
                          "ms": 1e3 * searching, "queries_per_s": batch / searching, "update_ms": 1e3 * updating}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=524288)
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--k", type=int, default=256)
    parser.add_argument("--batches", type=lambda text: [int(b) for b in text.split(",")], default=[1, 16, 64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--precision", action="append", choices=["float32", "tf32", "bfloat16"])
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("no GPU: PyTorch is not installed")
        return
    if not torch.cuda.is_available():
        print("no GPU: PyTorch %s sees none" % torch.__version__)
        return
    with torch.no_grad():
        for precision in options.precision or ["float32", "tf32", "bfloat16"]:
            try:
                measure(torch, options, precision)
            except torch.cuda.OutOfMemoryError as error:
                print(json.dumps({"index": "torch_" + precision, "n": options.n, "d": options.d, "error": str(error)}), flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
