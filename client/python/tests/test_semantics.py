"""The semantics: an exact memory in NumPy against the golden traces, and the service against that memory."""

import ctypes
import ctypes.util
import struct

import numpy as np
import pytest

import exact_arithmetic as arithmetic
from evoke import Outcome
from exact_memory import ExactMemory

GOLDEN = {  # (options): (batch, step after, hash after)
    "atomic": [(0, 1, "fce9211e92268bf888fe0cdd05a45ec1"), (9, 23, "68fb2190e55a6a884d6beba2e23b1cba"),
               (30, 85, "f47ffecd11c678337f8b9ede5f725571"), (39, 109, "0c47e953b0bc67f97e085cf79f967083")],
    "thresholds": [(9, 23, "4a17470c526952c511f856d20b44e513"), (30, 85, "c57969662cc66c992f2864140da0540f"),
                   (39, 109, "9c3633fa19192644f57f66a2d7c8ca34")],
    "sequential": [(6, 16, "9701053aa49f2983e726a23fe7637b3b"), (30, 85, "430c49d77081a09e93754bd2794829d8"),
                   (39, 109, "e3371d62f6465686269ca0a1f267cf7b")],
}
OPTIONS = {"atomic": {}, "thresholds": {"fold_misses": 0.0, "merge_on_miss": 0.25},
           "sequential": {"batch": "sequential"}}


def batch(b):
    rows = 12 if b == 30 else 1 + b % 4
    e = np.arange(20)
    x = np.array([(7 * (b % 5) + 3 * j + 5 * e + e * e * (j % 3 + 1)) % 23 - 11 for j in range(rows)], np.float32)
    return x, np.array([(b // 3 + j % 3) % 4 for j in range(rows)])


def state_hash(exact):
    name = ctypes.util.find_library("xxhash")
    if not name:
        pytest.skip("needs libxxhash to compute state hashes")

    class Hash(ctypes.Structure):
        _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]

    xxh = ctypes.CDLL(name).XXH3_128bits
    xxh.restype, xxh.argtypes = Hash, [ctypes.c_char_p, ctypes.c_size_t]
    total = 0
    for s in np.flatnonzero(exact.live):
        record = struct.pack("<QqQII", s, exact.values[s], exact.written[s], exact.hits[s], 0) + exact.keys[s].tobytes()
        h = xxh(record, len(record))
        total += h.high << 64 | h.low
    return "%032x" % (total % 2**128)


def test_noise_is_the_hash_of_step_and_slot():
    assert arithmetic.noise(42, 5, 3) == 376191944


@pytest.mark.parametrize("which", GOLDEN)
def test_golden_hash_trace(which):
    exact = ExactMemory(20, 8, seed=42, choose_k=4, age_noise=2, **OPTIONS[which])
    expected = {b: rest for b, *rest in GOLDEN[which]}
    for b in range(40):
        exact.update(*batch(b))
        if b in expected:
            assert [exact.step, state_hash(exact)] == expected[b]


def test_fused_multiply_add_rounds_once():
    """Where float64 would round to a tie of float32 first: 1 + 2^-24 + 2^-60 must go up, 1 + 2^-24 - 2^-60 down."""
    one = np.ones((1, 16), np.float32)
    for sign, expected in ((1, 1 + 2.0**-23), (-1, 1.0)):
        x = np.full((1, 16), 2.0**-12 * (1 + sign * 2.0**-18))
        y = np.full((1, 16), 2.0**-12 * (1 + sign * 2.0**-18))
        assert arithmetic._fma(x, y, one)[0, 0] == np.float32(expected)


def test_payloads_are_the_first_and_the_latest():
    exact = ExactMemory(2, 4, payload_history=3)
    for i in range(6):
        exact.update([[1.0, 0.0]], [7], payloads=[b"%d" % i])
    assert [p.data for p in exact.payloads[0]] == [b"0", b"4", b"5"]


def test_corner_cases_of_merge_and_fold():
    e = np.eye(4, dtype=np.float32)
    exact = ExactMemory(4, 2, choose_k=2, age_noise=0, merge_on_miss=0.0)
    exact.update(e[:1], [1])
    exact.update(e[1:2], [2])
    r = exact.update([[1, 2, 0, 0], e[1], e[2]], [1, 2, 3])
    assert [Outcome(o).name for o in r.outcomes] == ["MERGED", "HIT", "DROPPED"]
    assert state_hash(exact) == "59e436370f076ec91949c5906a3df816"


@pytest.mark.parametrize("options", [{}, {"batch": "sequential"}, {"merge_on_miss": 0.3, "fold_misses": 0.5}])
def test_service_equals_the_exact_memory_on_random_logs(real, options):
    """Same log: equal predictions, losses, outcomes, slots, key bits, payloads; gradients up to rounding."""
    spec = dict(key_dim=24, capacity=40, seed=5, choose_k=6, age_noise=8, **options)
    name = "exact" + "".join("-" + option for option in options)
    memory, exact = real.client.create_memory(name, durability="memory", **spec), ExactMemory(**spec)
    rng = np.random.default_rng(11)
    centers = rng.normal(size=(12, 24))
    for step in range(60):
        rows = int(rng.integers(1, 12))
        y = rng.integers(0, 12, rows)
        x = (centers[y] + 0.8 * rng.normal(size=(rows, 24))).astype(np.float32)
        given = dict(write=rng.random(rows) < 0.9, skip=rng.random(rows) < 0.1, form="gradient",
                     payloads=[b"%d/%d" % (step, i) for i in range(rows)], confidence_gradient=True)
        a, b = memory.train_step(x, y, **given), exact.train_step(x, y, **given)
        for field in ("answered", "values", "losses", "positive_found", "negative_found", "outcomes", "slots"):
            assert np.array_equal(getattr(a, field), getattr(b, field)), (step, field)
        for field in ("confidences", "gradients", "confidence_gradients"):
            assert np.allclose(getattr(a, field), getattr(b, field), rtol=1e-4, atol=2e-5), (step, field)
        assert a.header.step == b.header.step
        if step == 30:
            assert memory.clear() == exact.clear()
    assert memory.state_hash().state_hash == state_hash(exact)
    got, own = (m.get_slots(range(40), payloads=True) for m in (memory, exact))
    assert [s.payloads for s in got.slots] == [s.payloads for s in own.slots]
    q = rng.normal(size=(9, 24)).astype(np.float32)
    a, b = memory.query(q, neighbors=True), exact.query(q, neighbors=True)
    assert np.array_equal(a.values, b.values) and np.array_equal(a.neighbors.slots, b.neighbors.slots)
    assert np.array_equal(a.neighbors.similarities, b.neighbors.similarities)
    memory.delete()
