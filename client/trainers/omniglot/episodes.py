"""N-way K-shot protocols: which drawings are shown, in which order."""

from typing import NamedTuple

import numpy as np


class Episodes(NamedTuple):
    """`count` episodes side by side, `length` drawings each."""

    classes: np.ndarray   # int64 [length, count]: of the data set
    drawings: np.ndarray  # int64 [length, count]
    labels: np.ndarray    # int64 [length, count]: 0 .. ways - 1, of the episode
    seen: np.ndarray      # int64 [length, count]: how often the label was shown before


def online(rng: np.random.Generator, class_count: int, drawing_count: int, ways: int, shows: int, count: int) -> Episodes:
    """Drawings of `ways` classes, `shows` of each, shuffled so that every class is shown once before any is shown twice.

    The protocol of Kaiser et al., section 4.1 (after Santoro et al., 2016): answer, then learn the right answer. No
    drawing comes twice in an episode. Requires: shows <= drawing_count.
    """
    length = ways * shows
    out = [np.empty((length, count), np.int64) for _ in range(4)]
    for e in range(count):
        chosen = rng.choice(class_count, ways, replace=False)
        order = np.concatenate([rng.permutation(ways), rng.permutation(np.repeat(np.arange(ways), shows - 1))])
        drawings = np.stack([rng.permutation(drawing_count)[:shows] for _ in range(ways)])
        seen = np.zeros(ways, np.int64)
        for i, label in enumerate(order):
            for a, v in zip(out, (chosen[label], drawings[label, seen[label]], label, seen[label])):
                a[i, e] = v
            seen[label] += 1
    return Episodes(*out)


class Support(NamedTuple):
    """A clean episode: `shots` drawings of each class are learned, then one other drawing of each is asked."""

    classes: np.ndarray  # int64 [ways]
    support: np.ndarray  # int64 [ways, shots]: drawings
    query: np.ndarray    # int64 [ways]: a drawing each


def support_query(rng: np.random.Generator, class_count: int, drawing_count: int, ways: int, shots: int) -> Support:
    """Requires: shots < drawing_count."""
    drawings = np.stack([rng.permutation(drawing_count)[:shots + 1] for _ in range(ways)])
    return Support(rng.choice(class_count, ways, replace=False), drawings[:, :shots], drawings[:, shots])
