"""Where an answer came from: the drawings that a slot's key was made of."""

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from . import data


class Source(NamedTuple):
    """A drawing that the answering slot remembers, and how much of the key it nominally is."""

    drawing_class: int
    drawing: int
    step: int
    weight: float  # 1/2 for the latest observation, 1/4 for the one before, ...; the first has what is left


class Explanation(NamedTuple):
    asked: Tuple[int, int]  # (class, drawing)
    label: int
    answer: int
    confidence: float
    slot: int
    hits: int
    sources: List[Source]  # the first, then the latest ones


def payload(drawing_class: int, drawing: int) -> bytes:
    """What a trainer leaves in the memory with an observation."""
    return b"%d/%d" % (drawing_class, drawing)


def nominal_weights(hits: int, kept: int) -> List[float]:
    """Weights of the first payload and the kept - 1 latest of `hits` reinforcements.

    A hit makes the key the normalised mean of key and query, so each halves all that was there. Nominal, because the mean
    is normalised. Between the first and the latest ones there may be a gap that the ring no longer holds.
    """
    return [0.5 ** hits] + [0.5 ** (kept - i) for i in range(1, kept)]


def explain(memory, embedding: np.ndarray, asked: Tuple[int, int], label: int) -> Explanation:
    """Asks for one embedding [key_dim] and reads the answering slot."""
    found = memory.query(embedding[None], k=None, neighbors=True)
    slot = int(found.neighbors.slots[0, 0])
    [held] = memory.get_slots(slots=[slot], payloads=True).slots
    weights = nominal_weights(held.hits, len(held.payloads))
    sources = [Source(*map(int, p.data.split(b"/")), p.step, w) for p, w in zip(held.payloads, weights)]
    return Explanation(asked, label, int(found.values[0]), float(found.confidences[0]), slot, held.hits, sources)


def as_text(e: Explanation, images: np.ndarray) -> str:
    """The asked drawing beside the drawings that the answer came from, for a terminal."""
    shown = [("asked: class %d drawing %d" % e.asked, images[e.asked])]
    for s in e.sources:
        shown.append(("class %d drawing %d, weight %.3g" % (s.drawing_class, s.drawing, s.weight),
                      images[s.drawing_class, s.drawing]))
    blocks = [[title[:34].ljust(34)] + [line.ljust(34) for line in data.as_text(image).split("\n")]
              for title, image in shown]
    picture = "\n".join("  ".join(row).rstrip() for row in zip(*blocks))
    verdict = "right" if e.answer == e.label else "wrong, it is %d" % e.label
    return "%s\nanswer: %d (%s), confidence %.3f, from slot %d with %d hit(s): %s" % (
        picture, e.answer, verdict, e.confidence, e.slot, e.hits,
        ", ".join("class %d drawing %d (weight %.3g, step %d)" % (s.drawing_class, s.drawing, s.weight, s.step)
                  for s in e.sources))


def one_shot_answers(memory, embed, images: np.ndarray, rng, *, ways: int, count: int) -> Sequence[Explanation]:
    """A small life for the memory, then questions about what it saw rarely.

    Class 0 is shown once, the others four times; then `count` other drawings are asked, of class 0 first.
    """
    classes = rng.choice(images.shape[0], ways, replace=False)
    drawings = np.stack([rng.permutation(images.shape[1]) for _ in range(ways)])
    memory.clear()
    order = [(0, 0)] + [(c, d) for d in range(4) for c in range(1, ways)]
    for label, d in order:
        at = (int(classes[label]), int(drawings[label, d]))
        memory.update(embed(images[at][None]), [label], payloads=[payload(*at)])
    answers = []
    for i in range(count):
        label = i % ways
        at = (int(classes[label]), int(drawings[label, 5 + i // ways]))
        answers.append(explain(memory, embed(images[at][None])[0], at, label))
    return answers
