"""The memory in this process, in NumPy: what the service is compared with, and what a broken one would do.

Follows semantics.md sections 3 to 5 for ATOMIC batches without noise, merging or folding. Similarities are NumPy's, not
the canonical sum, so predictions are equal to the service's except on ties of a few ulps; bits are not. It takes the place
of an evoke.Memory in evoke.torch.Memory and in the trainers' evaluation. Not thread-safe.
"""

from typing import Any, Optional

import numpy as np

from evoke import results

_HIT, _FREE, _EVICT, _DROPPED, _NONE = 2, 5, 6, 7, 1
_NO_SLOT = np.uint64(2 ** 64 - 1)


class TwinMemory:
    """key_dim, capacity, choose_k, margin and inverse_temperature as in a spec.

    evict: "oldest", or "newest" as a defect. average: False leaves a key as it is on a hit, as a defect.
    """

    def __init__(self, key_dim: int, capacity: int, *, choose_k: int = 256, margin: float = 0.1,
                 inverse_temperature: float = 40, evict: str = "oldest", average: bool = True):
        self.keys = np.zeros((capacity, key_dim), np.float32)
        self.values = np.zeros(capacity, np.int64)
        self.written = np.zeros(capacity, np.int64)
        self.live = 0  # slots 0 .. live - 1: free ones are taken lowest first
        self.step = 0
        self.choose_k, self.margin, self.t = choose_k, np.float32(margin), inverse_temperature
        self.evict, self.average = evict, average

    def clear(self) -> None:
        self.live = 0

    def query(self, x: Any) -> results.QueryResult:
        """Values [rows] and confidences [rows]; no neighbors."""
        q, _ = _normalise(x)
        answered, values, confidences = np.zeros(len(q), bool), np.zeros(len(q), np.int64), np.zeros(len(q), np.float32)
        for i, row in enumerate(q):
            near, _, weights = self._neighbors(row)
            if len(near):
                answered[i], values[i], confidences[i] = True, self.values[near[0]], weights[0]
        return results.QueryResult(header=None, answered=answered, values=values, confidences=confidences, neighbors=None)

    def update(self, x: Any, y: Any, **kwargs) -> results.TrainResult:
        return self.train_step(x, y, **kwargs)

    def train_step(self, x: Any, y: Any, *, write: Any = None, skip: Any = None, payloads=None, form: str = "scores",
                   confidence_gradient: bool = False) -> results.TrainResult:
        """x [rows, key_dim], y [rows]; form "scores" or "gradient"."""
        q, norms = _normalise(x)
        y = np.asarray(y, np.int64)
        rows, dim = q.shape
        write = np.ones(rows, bool) if write is None else np.broadcast_to(np.asarray(write, bool), rows)
        skip = np.zeros(rows, bool) if skip is None else np.asarray(skip, bool)
        out = {"answered": np.zeros(rows, bool), "values": np.zeros(rows, np.int64),
               "confidences": np.zeros(rows, np.float32), "losses": np.zeros(rows, np.float32),
               "positive_found": np.zeros(rows, bool), "negative_found": np.zeros(rows, bool),
               "outcomes": np.full(rows, _NONE, np.uint8), "slots": np.full(rows, _NO_SLOT, np.uint64)}
        gradients = np.zeros((rows, dim), np.float32)
        nearest = np.full(rows, -1)
        for i in np.flatnonzero(~skip):
            near, similarities, weights = self._neighbors(q[i])
            if not len(near):
                continue
            nearest[i] = near[0]
            out["answered"][i], out["values"][i], out["confidences"][i] = True, self.values[near[0]], weights[0]
            positive, negative = self._sides(near, y[i])
            side = {}
            for name, slot in (("positive", positive), ("negative", negative)):
                out[name + "_found"][i] = slot is not None
                key = self.keys[slot] if slot is not None else np.zeros(dim, np.float32)
                side[name] = key, (key @ q[i] if slot is not None else np.float32(0))
            loss = (side["negative"][1] - side["positive"][1]) + self.margin
            if loss > 0:
                out["losses"][i] = loss
                g = (side["negative"][0] - side["positive"][0]).astype(np.float64)
                gradients[i] = (g - q[i] * (q[i] @ g)) / norms[i]
        self._write(q, y, nearest, write & ~skip, out)
        return results.TrainResult(header=None, **out, gradients=gradients if form == "gradient" else None,
                                   confidence_gradients=None, positive_keys=None, negative_keys=None)

    def _neighbors(self, q: np.ndarray):
        similarities = self.keys[:self.live] @ q
        near = np.lexsort((np.arange(self.live), -similarities))[:self.choose_k]
        powers = np.exp(self.t * (similarities[near].astype(np.float64) - similarities.max(initial=-2)))
        return near, similarities[near], powers / max(powers.sum(), 1e-300)

    def _sides(self, near: np.ndarray, value: int):
        """Positive and negative slot, or None; the positive falls back to the value's most recently written slot."""
        same = self.values[near] == value
        negative = near[np.argmin(same)] if not same.all() else None
        if same.any():
            return near[np.argmax(same)], negative
        of_value = np.flatnonzero(self.values[:self.live] == value)
        return (of_value[np.argmax(self.written[of_value])] if len(of_value) else None), negative

    def _write(self, q, y, nearest, write, out) -> None:
        steps = self.step + np.cumsum(write)
        hit = write & (nearest >= 0) & (self.values[nearest] == y)
        for i in np.flatnonzero(hit):
            slot = nearest[i]
            if self.average:
                mean = self.keys[slot] + q[i]
                self.keys[slot] = mean / np.linalg.norm(mean)
            self.written[slot] = steps[i]
            out["outcomes"][i], out["slots"][i] = _HIT, slot
        taken = set(nearest[hit].tolist())
        for i in np.flatnonzero(write & ~hit):
            slot = self._slot_for_miss(taken)
            out["outcomes"][i] = _DROPPED if slot is None else _FREE if slot == self.live else _EVICT
            if slot is None:
                continue
            self.live = max(self.live, slot + 1)
            self.keys[slot], self.values[slot], self.written[slot] = q[i], y[i], steps[i]
            taken.add(slot)
            out["slots"][i] = slot
        self.step += int(write.sum())

    def _slot_for_miss(self, taken) -> Optional[int]:
        if self.live < len(self.keys):
            return self.live
        order = np.argsort(self.written)
        for slot in order if self.evict == "oldest" else order[::-1]:
            if int(slot) not in taken:
                return int(slot)
        return None


def _normalise(x: Any):
    x = np.asarray(x, np.float32)
    norms = np.linalg.norm(x, axis=-1)
    return x / np.maximum(norms, np.float32(1e-30))[:, None], norms
