"""Drawings of characters: Omniglot from a file, or glyphs made here.

A data set is uint8 [classes, drawings, 28, 28], 0 = paper, 255 = full ink. Real Omniglot (Lake et al., 2015) has 1,623
classes of 20 drawings; the made ones are there so that the trainer runs anywhere, and are much easier.
"""

import pathlib
from typing import NamedTuple, Optional

import numpy as np

SIDE = 28
TRAIN_CLASSES = 1200  # of 1,623, chosen at random: the split of Matching Networks and of Kaiser et al.


class Split(NamedTuple):
    """Train and test classes have no character in common."""

    train: np.ndarray  # uint8 [classes, drawings, 28, 28]; with rotations by 90 degrees as classes of their own
    test: np.ndarray   # uint8 [classes, drawings, 28, 28]
    test_classes: np.ndarray  # int64 [classes]: number of each test class in the whole set
    source: str        # what this is, for people


def load(path: Optional[str], seed: int = 0) -> Split:
    """Reads DIR/omniglot/omniglot-28.npz or DIR/omniglot-28.npz; without a path makes glyphs. FileNotFoundError else."""
    if path is None:
        images = make_glyphs(classes=300, drawings=20, seed=seed)
        source = "generated stroke glyphs (no --data): 300 classes, much easier than Omniglot"
    else:
        images = np.load(_find(pathlib.Path(path)))["images"]
        source = "Omniglot: %d classes x %d drawings" % images.shape[:2]
    order = np.random.default_rng([seed, 1]).permutation(len(images))
    train_count = TRAIN_CLASSES if path is not None else len(images) * 3 // 4
    train, test = order[:train_count], np.sort(order[train_count:])
    rotated = np.concatenate([np.rot90(images[train], turns, axes=(2, 3)) for turns in range(4)])
    return Split(np.ascontiguousarray(rotated), images[test], test, source)


def _find(path: pathlib.Path) -> pathlib.Path:
    for candidate in (path / "omniglot" / "omniglot-28.npz", path / "omniglot-28.npz", path):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError("no omniglot-28.npz in %s or in its folder omniglot" % path)


def make_glyphs(classes: int, drawings: int, seed: int) -> np.ndarray:
    """uint8 [classes, drawings, 28, 28]: a class is two or three smooth strokes; each drawing shakes, turns and scales them."""
    rng = np.random.default_rng([seed, 2])
    images = np.zeros((classes, drawings, SIDE, SIDE), np.uint8)
    for c in range(classes):
        strokes = [rng.uniform(5, 23, (4, 2)) for _ in range(rng.integers(2, 4))]
        for d in range(drawings):
            turn, scale = rng.normal(0, 0.12), rng.normal(1, 0.08)
            cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
            shift = rng.normal(0, 0.8, 2)
            for stroke in strokes:
                points = (stroke + rng.normal(0, 0.7, stroke.shape)) - SIDE / 2
                points = points @ np.array([[cos, -sin], [sin, cos]]) + SIDE / 2 + shift
                _draw(images[c, d], points)
    return images


def _draw(image: np.ndarray, points: np.ndarray) -> None:
    """A cubic Bezier curve of the four points [4, 2], with a round pen of about two pixels."""
    t = np.linspace(0, 1, 60)[:, None]
    curve = ((1 - t) ** 3 * points[0] + 3 * (1 - t) ** 2 * t * points[1] + 3 * (1 - t) * t ** 2 * points[2]
             + t ** 3 * points[3])
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    near = ((ys[..., None] - curve[:, 1]) ** 2 + (xs[..., None] - curve[:, 0]) ** 2).min(-1)
    ink = np.clip(1.8 - np.sqrt(near), 0, 1) * 255
    np.maximum(image, ink.astype(np.uint8), out=image)


def pixels(images: np.ndarray) -> np.ndarray:
    """float32 [..., 784] in 0 .. 1: a drawing as its own embedding."""
    return images.reshape(images.shape[:-2] + (SIDE * SIDE,)).astype(np.float32) / 255


def as_text(image: np.ndarray) -> str:
    """A drawing for a terminal, 14 lines: each character is two rows of one column."""
    ink = image > 96
    marks = {(False, False): " ", (True, False): "\u2580", (False, True): "\u2584", (True, True): "\u2588"}
    return "\n".join("".join(marks[bool(a), bool(b)] for a, b in zip(ink[r], ink[r + 1])) for r in range(0, SIDE, 2))
