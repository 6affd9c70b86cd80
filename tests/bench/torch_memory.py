"""The paper's memory as a PyTorch module in process: what a researcher would write first, written well.

One step of Kaiser et al. (ICLR 2017), section 2: the nearest k keys of each query, the margin loss over them and its
gradient, ages, and the update: a right answer averages its key with the query, a wrong one overwrites the oldest slot.
No durability, no exactly-once, no order among the rows of a batch. Keys are [slots, dim] float32 on the CPU.
"""

import torch

CONFIGURATIONS = ("whole", "blocks", "bfloat16")
_BLOCK = 65536  # keys of one product, so that its scores stay smaller than memory


class TorchMemory:
    def __init__(self, slots: int, dim: int, k: int = 256, margin: float = 0.1, configuration: str = "whole", seed: int = 1):
        generator = torch.Generator().manual_seed(seed)
        self.keys = torch.nn.functional.normalize(torch.randn(slots, dim, generator=generator), dim=1)
        self.values = torch.randint(0, max(2, slots // 8), (slots,), generator=generator)
        self.ages = torch.randint(0, slots, (slots,), generator=generator)
        self.rough_keys = self.keys.bfloat16() if configuration == "bfloat16" else None
        self.k, self.margin, self.configuration = min(k, slots), margin, configuration

    def _nearest(self, q):
        """[rows, k] positions, the nearest first."""
        if self.configuration == "whole":
            return torch.topk(q @ self.keys.T, self.k, dim=1).indices
        if self.configuration == "bfloat16":  # not exact: nobody looks at what it left out
            return torch.topk(q.bfloat16() @ self.rough_keys.T, self.k, dim=1).indices
        best, at = [], []
        for begin in range(0, len(self.keys), _BLOCK):
            block = q @ self.keys[begin : begin + _BLOCK].T
            top = torch.topk(block, min(self.k, block.shape[1]), dim=1)
            best.append(top.values)
            at.append(top.indices + begin)
        order = torch.topk(torch.cat(best, dim=1), self.k, dim=1).indices
        return torch.gather(torch.cat(at, dim=1), 1, order)

    def step(self, queries, labels):
        """queries [rows, dim] that may require a gradient, labels [rows]: the loss; the memory is updated."""
        q = torch.nn.functional.normalize(queries, dim=1)
        with torch.no_grad():
            nearest = self._nearest(q)
        scores = torch.einsum("rd,rkd->rk", q, self.keys[nearest])
        right = self.values[nearest] == labels[:, None]
        positive = torch.where(right, scores, torch.full_like(scores, -2)).max(dim=1)
        negative = torch.where(right, torch.full_like(scores, -2), scores).max(dim=1)
        found = right.any(dim=1)
        loss = (torch.relu(negative.values - positive.values + self.margin) * found).sum()
        loss.backward()
        with torch.no_grad():
            self._update(q, labels, nearest[:, 0])
        return loss.detach()

    def _update(self, q, labels, first):
        hit = self.values[first] == labels
        self.ages += 1
        slots = first[hit]
        self._write(slots, torch.nn.functional.normalize(self.keys[slots] + q[hit], dim=1))
        misses = int((~hit).sum())
        if misses:
            oldest = torch.topk(self.ages, misses).indices
            self._write(oldest, q[~hit])
            self.values[oldest] = labels[~hit]

    def _write(self, slots, keys):
        self.keys[slots] = keys
        if self.rough_keys is not None:
            self.rough_keys[slots] = keys.bfloat16()
        self.ages[slots] = 0
