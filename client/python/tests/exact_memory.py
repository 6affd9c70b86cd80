"""A memory in NumPy, written from the semantics alone, to compare the service with: state, similarities and losses to
the bit; softmax, confidence and gradients up to rounding (NumPy's exp is not the server's).

Sections 1 to 5: ATOMIC and SEQUENTIAL batches, age noise, merge_on_miss, fold_misses, payload history. It has the calls
of evoke.Memory that the tests use, with the same results. One pass over the live keys a call; not thread-safe.
"""

import numpy as np

import exact_arithmetic as arithmetic
from evoke import results

NONE, HIT, MERGED, FOLDED, FREE, EVICT, DROPPED = (int(o) for o in results.Outcome)
_SMALL = np.float32(1e-6)


class ExactMemory:
    """See above. The arguments are the fields of a memory's spec."""

    def __init__(self, key_dim, capacity, *, seed=0, choose_k=256, margin=0.1, inverse_temperature=40.0, age_noise=None,
                 batch="atomic", merge_on_miss=None, fold_misses=None, payload_history=4):
        self.dim, self.capacity, self.seed, self.choose_k = key_dim, capacity, seed, choose_k
        self.margin, self.t = np.float32(margin), float(inverse_temperature)
        self.age_noise = min(capacity // 64, 4096) if age_noise is None else age_noise
        self.batch, self.history = batch, payload_history
        self.merge = None if merge_on_miss is None else np.float32(merge_on_miss)
        self.fold = None if fold_misses is None else np.float32(fold_misses)
        self.epoch, self.turn, self.step = 1, 0, 0
        self._free_all()

    def _free_all(self):
        self.keys = np.zeros((self.capacity, self.dim), np.float32)
        self.values = np.zeros(self.capacity, np.int64)
        self.written = np.zeros(self.capacity, np.uint64)
        self.hits = np.zeros(self.capacity, np.uint32)
        self.live = np.zeros(self.capacity, bool)
        self.payloads = {}  # slot -> [Payload]: the first, then the latest ones

    # ---- reading ----

    def query(self, x, k=None, inverse_temperature=None, neighbors=False, keys=False, payloads=False, skip=None):
        """As evoke.Memory.query."""
        q, skip = self._prepare(x, skip)
        found = self._search(q, k or self.choose_k, inverse_temperature or self.t)
        answered = ~skip & (found.m > 0)
        n = None
        if neighbors or keys or payloads:
            use = ~skip[:, None]
            slots = np.where(use, found.slots, 0)
            n = results.Neighbors(
                slots=slots.astype(np.uint64), values=np.where(use, self.values[slots], 0),
                similarities=np.where(use, found.similarities, np.float32(0)),
                weights=np.where(use, found.weights, 0).astype(np.float32),
                ages=np.where(use, self.step - self.written[slots].astype(np.int64), 0).astype(np.uint64),
                keys=self.keys[slots] * use[:, :, None] if keys else None,
                payloads={int(s): tuple(self.payloads.get(int(s), ())) for s in np.unique(slots[~skip])}
                if payloads else None)
        return results.QueryResult(header=self._header(), answered=answered,
                                   values=np.where(answered, found.values, 0),
                                   confidences=np.where(answered, found.confidences, np.float32(0)), neighbors=n)

    def get_slots(self, slots=(), values=(), limit=16, keys=False, payloads=False):
        """As evoke.Memory.get_slots."""
        by_value = []
        for v in values:
            of_value = self._slots_of(v)
            by_value.append(results.ValueSlots(int(v), len(of_value), int((1 + self.hits[of_value].astype(int)).sum()),
                                               tuple(self._slot(s, keys, payloads) for s in of_value[:limit])))
        return results.SlotsResult(self._header(), tuple(self._slot(s, keys, payloads) for s in slots if self.live[s]),
                                   tuple(by_value))

    def clear(self):
        """Frees every slot; returns how many were live. Step goes on, the epoch grows."""
        freed = int(self.live.sum())
        self._free_all()
        self.turn, self.epoch = self.turn + 1, self.epoch + 1
        return freed

    # ---- writing ----

    def update(self, x, y, *, write=None, skip=None, payloads=None):
        """As evoke.Memory.update."""
        r = self.train_step(x, y, write=write, skip=skip, payloads=payloads)
        return results.UpdateResult(r.header, r.outcomes, r.slots)

    def train_step(self, x, y, *, write=None, skip=None, payloads=None, form="scores", confidence_gradient=False):
        """As evoke.Memory.train_step."""
        q, skip = self._prepare(x, skip)
        rows = len(q)
        y = np.asarray(y, np.int64)
        writes = (np.ones(rows, bool) if write is None else np.broadcast_to(np.asarray(write, bool), rows)) & ~skip
        groups = [np.arange(rows)] if self.batch == "atomic" else [np.array([i]) for i in range(rows)]
        parts = []
        for group in groups:
            scores = self._score(x, q, y, skip, group, form, confidence_gradient)
            outcomes, slots = self._write(q, y, writes, group, scores, payloads)
            parts.append((scores, outcomes, slots))
        self.turn += int(writes.any())

        def joined(name):
            return None if getattr(parts[0][0], name) is None else np.concatenate([getattr(p[0], name) for p in parts])

        return results.TrainResult(
            header=self._header(), outcomes=np.concatenate([p[1] for p in parts]).astype(np.uint8),
            slots=np.concatenate([p[2] for p in parts]),
            **{name: joined(name) for name in ("answered", "values", "confidences", "losses", "positive_found",
                                               "negative_found", "gradients", "confidence_gradients", "positive_keys",
                                               "negative_keys")})

    def _score(self, x, q, y, skip, group, form, confidence_gradient):
        """Section 4 for the rows of `group`, on the state as it is now."""
        found = self._search(q[group], self.choose_k, self.t)
        use, m = ~skip[group], found.m
        equal = self.values[found.slots] == y[group][:, None]
        positive = _first(found.slots, equal)
        for i in np.flatnonzero(positive < 0):
            of_value = self._slots_of(y[group][i])
            positive[i] = of_value[0] if len(of_value) else -1
        negative = _first(found.slots, ~equal)
        k_p = np.where((positive >= 0)[:, None], self.keys[positive], np.float32(0))
        k_n = np.where((negative >= 0)[:, None], self.keys[negative], np.float32(0))
        zero = np.float32(0)
        s_p = np.where(positive >= 0, arithmetic.rowwise(q[group], k_p), zero)
        s_n = np.where(negative >= 0, arithmetic.rowwise(q[group], k_n), zero)
        neither = (positive < 0) & (negative < 0)
        loss = np.where(neither, zero, np.maximum(zero, (s_n - s_p) + self.margin))
        rows = np.asarray(x, np.float32).reshape(-1, self.dim)[group]
        n = np.where(use, np.sqrt((rows.astype(np.float64)**2).sum(1)), 1.0)[:, None]
        unit = q[group].astype(np.float64)

        def through_norm(g):
            return np.where(use[:, None], (g - unit * (unit * g).sum(1, keepdims=True)) / n, 0).astype(np.float32)

        grad = confidence_grad = None
        if form == "gradient":
            grad = through_norm((k_n - k_p).astype(np.float64) * (loss > 0)[:, None])
        if confidence_gradient:
            g = np.zeros((len(group), self.dim))
            if m:
                keys = self.keys[found.slots].astype(np.float64)
                w = found.weights
                g = self.t * w[:, :1] * (w[:, :, None] * (keys[:, :1] - keys))[:, 1:].sum(1)
            confidence_grad = through_norm(g)
        answered = use & (m > 0)
        return _Scores(found, dict(
            answered=answered, values=np.where(answered, found.values, 0),
            confidences=np.where(answered, found.confidences, zero), losses=np.where(use, loss, zero),
            positive_found=use & (positive >= 0), negative_found=use & (negative >= 0), gradients=grad,
            confidence_gradients=confidence_grad, positive_keys=k_p * use[:, None] if form == "keys" else None,
            negative_keys=k_n * use[:, None] if form == "keys" else None))

    def _write(self, q, y, writes, group, scores, payloads):
        """Section 5: hits and merges in item order, then the misses that are left."""
        found = scores.found
        outcomes = np.full(len(group), NONE)
        slots = np.full(len(group), results.NO_SLOT, np.uint64)
        touched, taken, misses = set(), [], []
        first_step = self.step
        mine = np.flatnonzero(writes[group])
        step_of = {int(i): first_step + j + 1 for j, i in enumerate(mine)}
        for i in step_of:
            row, value = group[i], y[group[i]]
            of_value = np.flatnonzero(self.values[found.slots[i]] == value) if found.m else ()
            target = None
            if found.m and len(of_value) and of_value[0] == 0:
                target, outcome = int(found.slots[i, 0]), HIT
            elif self.merge is not None and len(of_value) and found.similarities[i, of_value[0]] >= self.merge:
                target, outcome = int(found.slots[i, of_value[0]]), MERGED
            if target is None:
                misses.append(i)
                continue
            touched.add(target)
            outcomes[i], slots[i] = outcome, target
        for i in step_of:  # decided above on the state before; applied now
            if outcomes[i] in (HIT, MERGED):
                self._reinforce(int(slots[i]), q[group[i]], step_of[i], _payload(payloads, group[i]))
        for i in misses:
            row, value, step = group[i], y[group[i]], step_of[i]
            slot = self._foldable(q[row], value, taken)
            if slot is not None:
                self._reinforce(slot, q[row], step, _payload(payloads, row))
                outcomes[i], slots[i] = FOLDED, slot
                continue
            free = np.flatnonzero(~self.live)
            slot, outcome = (int(free[0]), FREE) if len(free) else (self._evict(step, touched, taken), EVICT)
            if slot is None:
                outcomes[i] = DROPPED
                continue
            self._insert(slot, q[row], value, step, _payload(payloads, row))
            taken.append(slot)
            outcomes[i], slots[i] = outcome, slot
        self.step = first_step + len(mine)
        return outcomes, slots

    def _foldable(self, q, value, taken):
        if self.fold is None or self.batch != "atomic":
            return None
        for slot in taken:
            if self.values[slot] == value and arithmetic.rowwise(q[None], self.keys[slot][None])[0] >= self.fold:
                return slot
        return None

    def _evict(self, step, touched, taken):
        allowed = self.live.copy()
        allowed[list(touched) + taken] = False
        candidates = np.flatnonzero(allowed)
        if not len(candidates):
            return None
        ages = step - self.written[candidates].astype(np.int64)
        near = candidates[ages + self.age_noise >= ages.max()]  # no other can win
        return int(max(near, key=lambda s: ((step - int(self.written[s])) * 2**32 + self.age_noise * arithmetic.noise(
            self.seed, step, int(s)) if self.age_noise else step - int(self.written[s]), -int(s))))

    def _reinforce(self, slot, q, step, payload):
        total = self.keys[slot] + q
        self.keys[slot] = q if arithmetic.norm(total[None])[0] < _SMALL else arithmetic.normalise(total[None])[0]
        self.written[slot] = step
        self.hits[slot] += 1
        kept = self.payloads.setdefault(slot, [])
        if payload and self.history > 1:
            kept.append(results.Payload(step, payload))
            del kept[1:len(kept) - (self.history - 1)]

    def _insert(self, slot, q, value, step, payload):
        self.keys[slot], self.values[slot], self.written[slot] = q, value, step
        self.hits[slot], self.live[slot] = 0, True
        self.payloads[slot] = [results.Payload(step, payload)] if payload and self.history else []

    # ---- shared ----

    def _prepare(self, x, skip):
        """[rows, d] unit rows (zeros where skipped) and [rows] bool."""
        x = np.asarray(x, np.float32)
        x = x.reshape(-1, x.shape[-1])
        skip = np.zeros(len(x), bool) if skip is None else np.broadcast_to(np.asarray(skip, bool), len(x))
        x = np.where(skip[:, None], np.float32(1), x)
        return np.where(skip[:, None], np.float32(0), arithmetic.normalise(x)), skip

    def _search(self, q, k, t):
        live = np.flatnonzero(self.live)
        m = min(k, len(live))
        s = arithmetic.similarity(q, self.keys[live])
        order = np.argsort(-s, axis=1, kind="stable")[:, :m]  # stable: equal ones by slot
        return _Found(m, live[order] if m else order, np.take_along_axis(s, order, 1), self.values, t)

    def _slots_of(self, value):
        """Live slots of a value, most recently written first."""
        slots = np.flatnonzero(self.live & (self.values == value))
        return slots[np.argsort(-self.written[slots].astype(np.int64), kind="stable")]

    def _slot(self, s, keys, payloads):
        return results.Slot(int(s), int(self.values[s]), int(self.written[s]), self.step - int(self.written[s]),
                            int(self.hits[s]), self.keys[s].copy() if keys else None,
                            tuple(self.payloads.get(int(s), ())) if payloads else None)

    def _header(self):
        return results.Header("exact", b"", self.epoch, 1, self.turn, self.step, "memory", b"\0" * 16)


class _Found:
    """Neighbors of rows: slots and similarities [rows, m] in order, their weights, the answer."""

    def __init__(self, m, slots, similarities, values, t):
        self.m, self.slots, self.similarities = m, slots, similarities
        self.weights = arithmetic.softmax(t, similarities) if m else np.zeros(similarities.shape)
        self.values = values[slots[:, 0]] if m else np.zeros(len(slots), np.int64)
        self.confidences = (self.weights[:, 0] if m else np.zeros(len(slots))).astype(np.float32)


class _Scores:
    def __init__(self, found, fields):
        self.found = found
        self.__dict__.update(fields)


def _first(slots, which):
    """[rows] first slot of each row where `which`; -1 where none."""
    if not slots.shape[1]:
        return np.full(len(slots), -1)
    at = which.argmax(1)
    rows = np.arange(len(slots))
    return np.where(which[rows, at], slots[rows, at], -1)


def _payload(payloads, row):
    return (payloads[row] or b"") if payloads is not None else b""
