"""Accuracy of embeddings through a memory, by how often a class was seen before."""

import math
from typing import Callable, Dict

import numpy as np

from . import episodes

BUCKETS = (("0", 0, 0), ("1", 1, 1), ("2-4", 2, 4), ("5-9", 5, 9), ("10+", 10, 10 ** 9))

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 [rows, 28, 28] -> float32 [rows, key_dim]


def online(memory, embed: Embed, images: np.ndarray, rng, *, ways: int, shows: int, count: int) -> Dict:
    """`count` episodes, each in an emptied memory: accuracy on the drawing of a class seen exactly K times before.

    Returns {"seen": {"0": accuracy, ...}, "shots": {"1": {"accuracy", "interval", "count"}, ...}}; intervals are 95%.
    """
    right, total = np.zeros(shows, np.int64), np.zeros(shows, np.int64)
    for _ in range(count):
        e = episodes.online(rng, images.shape[0], images.shape[1], ways, shows, 1)
        embeddings = embed(images[e.classes[:, 0], e.drawings[:, 0]])
        memory.clear()
        for i in range(len(embeddings)):
            result = memory.train_step(embeddings[i:i + 1], e.labels[i])
            seen = e.seen[i, 0]
            right[seen] += bool(result.answered[0]) and result.values[0] == e.labels[i, 0]
            total[seen] += 1
    shots = {str(k): proportion(right[k], total[k]) for k in (1, 5) if k < shows}
    seen = {name: float(right[low:high + 1].sum() / total[low:high + 1].sum())
            for name, low, high in BUCKETS if total[low:high + 1].sum() > 0}
    return {"ways": ways, "episodes": count, "seen": seen, "shots": shots}


def support_query(memory, embed: Embed, images: np.ndarray, rng, *, ways: int, shots: int, count: int) -> Dict:
    """The clean protocol: learn `shots` drawings of each class, then ask for another one of each; {"accuracy", ...}."""
    right = total = 0
    for _ in range(count):
        e = episodes.support_query(rng, images.shape[0], images.shape[1], ways, shots)
        support = images[e.classes[:, None], e.support]
        embeddings = embed(np.concatenate([support.reshape((-1,) + support.shape[2:]), images[e.classes, e.query]]))
        memory.clear()
        for s in range(shots):
            memory.update(embeddings[s:ways * shots:shots], np.arange(ways))
        right += int((memory.query(embeddings[ways * shots:]).values == np.arange(ways)).sum())
        total += ways
    return {"ways": ways, "shots": shots, "episodes": count, **proportion(right, total)}


def proportion(right: int, total: int) -> Dict:
    """Accuracy with the half width of its 95% interval (Wilson's would be narrower near 1; this one is the usual)."""
    p = right / max(total, 1)
    return {"accuracy": float(p), "interval": float(1.96 * math.sqrt(max(p * (1 - p), 1e-12) / max(total, 1))),
            "count": int(total)}
