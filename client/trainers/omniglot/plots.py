"""Pictures of a run: its learning curve, and a few answers with the drawings they came from."""

from typing import Dict, List, Sequence

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from . import explain  # noqa: E402


def learning_curve(path: str, curve: List[Dict], results: Dict) -> None:
    """curve: [{"iteration", "loss", "one_shot"}, ...] of training; the evaluations before and after as points."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    iterations = [c["iteration"] for c in curve]
    left.plot(iterations, [c["loss"] for c in curve])
    left.set(xlabel="iteration", ylabel="memory loss per row", title="loss")
    right.plot(iterations, [100 * c["one_shot"] for c in curve], label="training, 1-shot among all labels in the memory")
    for when, x in (("before", 0), ("after", iterations[-1] if iterations else 0)):
        for k, marker in (("1", "o"), ("5", "s")):
            shot = results.get(when, {}).get("online", {}).get("shots", {}).get(k)
            if shot:
                right.errorbar([x], [100 * shot["accuracy"]], [100 * shot["interval"]], fmt=marker,
                               label="test %s training, %s-shot" % (when, k))
    right.set(xlabel="iteration", ylabel="accuracy, %", title="%d-way" % results["ways"], ylim=(0, 101))
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def answers(path: str, explanations: Sequence[explain.Explanation], images) -> None:
    """One row an answer: the drawing that was asked, then the drawings behind the slot that answered."""
    columns = 1 + max(len(e.sources) for e in explanations)
    figure, axes = pyplot.subplots(len(explanations), columns, figsize=(1.7 * columns, 1.9 * len(explanations)),
                                   squeeze=False)
    for row, e in zip(axes, explanations):
        for axis in row:
            axis.axis("off")
        row[0].imshow(255 - images[e.asked], cmap="gray")
        row[0].set_title("asked: %d\nanswer %d, %.2f" % (e.label, e.answer, e.confidence), fontsize=8,
                         color="black" if e.answer == e.label else "red")
        for axis, s in zip(row[1:], e.sources):
            axis.imshow(255 - images[s.drawing_class, s.drawing], cmap="gray")
            axis.set_title("step %d\nweight %.3g" % (s.step, s.weight), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
