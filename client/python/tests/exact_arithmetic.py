"""The numbers of a memory in NumPy, to the bit (semantics of a memory, sections 2 and 5).

similarity(a, b) is a float32 inner product in 16 accumulators with fused multiply-adds. NumPy has no fused
multiply-add, so `_fma` makes one: the product of two float32 is exact in float64; the sum is rounded to odd, which a
second rounding to float32 cannot spoil (Boldo and Melquiond, 2008).
"""

import numpy as np

LANES = 16
_MASK = (1 << 64) - 1


def similarity(a, b):
    """a: [n, d], b: [m, d] float32 -> [n, m] float32."""
    a, b = np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32)
    out = np.empty((len(a), len(b)), np.float32)
    for i, row in enumerate(a):
        out[i] = rowwise(np.broadcast_to(row, b.shape), b)
    return out


def rowwise(a, b):
    """a, b: [n, d] float32 -> [n] float32: similarity of a[i] and b[i]."""
    n, d = a.shape
    chunks = -(-d // LANES)
    wide_a, wide_b = np.zeros((n, chunks * LANES)), np.zeros((n, chunks * LANES))
    wide_a[:, :d], wide_b[:, :d] = a, b
    acc = np.zeros((n, LANES), np.float32)
    for c in range(chunks):
        part = slice(c * LANES, (c + 1) * LANES)
        acc = _fma(wide_a[:, part], wide_b[:, part], acc)
    for half in (8, 4, 2, 1):
        acc = acc[:, :half] + acc[:, half:2 * half]
    return acc[:, 0]


def _fma(x, y, z):
    """float32 values in float64 arrays x, y; float32 z -> float32 x * y + z, rounded once."""
    p, c = x * y, z.astype(np.float64)
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)  # s + error is exact (Knuth)
    bits = s.view(np.int64)
    away = np.where((error > 0) == (s > 0), 1, -1)  # towards the exact value: away from zero, or towards it
    bits = bits + np.where((error != 0) & (bits & 1 == 0), away, 0)
    return bits.view(np.float64).astype(np.float32)


def norm(x):
    """[n, d] float32 -> [n] float32."""
    return np.sqrt(rowwise(x, x))


def normalise(x):
    """[n, d] float32 -> rows of norm 1, component by component."""
    return x / norm(x)[:, None]


def softmax(t, similarities):
    """[n, m] float32 -> [n, m] float64, softmax(t * similarities)."""
    z = t * similarities.astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def noise(seed, step, slot):
    """High 32 bits of XXH3-64 with `seed` of (step u64, slot u64): the random choice among the oldest slots."""
    # The two secrets are bytes 24 to 40 and 40 to 56 of XXH3's default secret, folded.
    flip_low = ((0x1F67B3B7A4A44072 ^ 0x78E5C0CC4EE679CB) + seed) & _MASK
    flip_high = ((0x2172FFCC7DD05A82 ^ 0x8E2443F7744608B8) - seed) & _MASK
    low, high = step ^ flip_low, slot ^ flip_high
    product = low * high
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    h = (16 + swapped + high + ((product & _MASK) ^ (product >> 64))) & _MASK
    h ^= h >> 37
    h = (h * 0x165667919E3779F9) & _MASK
    return (h ^ (h >> 32)) >> 32
