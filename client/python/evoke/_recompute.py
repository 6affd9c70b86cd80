"""Finds out that a forward pass is run a second time by activation checkpointing, and what the first one brought.

Checkpointing forgets activations and runs part of the forward pass again during backward. A call of a memory in that
part must not be made again: it would write twice, and answer from another state. So the first run leaves its outcome
with an object that lives as long as the graph and that the second run can find: nothing is kept beyond the graph.

PyTorch has no way to ask for that object, but it is in the stack of both runs: the `ctx` of a function that recomputes
in its backward (use_reentrant=True, and checkpoint functions of other libraries); with use_reentrant=False the frame of
torch.utils.checkpoint (since 2.1; before, its dictionary of tensors). Where none is found, the second run is told so.
"""

import sys
from concurrent.futures import Future
from typing import Any, List, Optional, Tuple

import torch
from torch.autograd.function import FunctionCtx

_CHECKPOINT = "torch.utils.checkpoint"
_OUTCOMES = "_evoke_outcomes"  # attribute of such an object: [(module, what, embeddings, future), ...]


class Region:
    """Where in checkpointed code a call is made."""

    def __init__(self, first: List[Any], again: List[Any], repeated: bool):
        self._first, self._again = first, again  # the objects of runs for the first time, and of repeated ones
        self.repeated = repeated                 # this call was made before

    def find(self, module: Any, what: bytes, embeddings: bytes) -> Optional[Future]:
        """What the same call brought before; None: it is not known.

        The same labels and flags, and the same embeddings if possible: some devices do not compute the same bits twice.
        Equal calls are taken in turn, in the order in which they were made.
        """
        for owner in self._again:
            kept = [e for e in getattr(owner, _OUTCOMES, ()) if e[0] is module and e[1] == what]
            entry = next((e for e in kept if e[2] == embeddings), kept[0] if kept else None)
            if entry is not None:
                entries = getattr(owner, _OUTCOMES)
                del entries[next(i for i, e in enumerate(entries) if e is entry)]
                entries.append(entry)
                return entry[3]
        return None

    def empty(self) -> bool:
        """Whether the first run of what is repeated called no memory at all: so this is a call of the backward's own."""
        return not any(hasattr(owner, _OUTCOMES) for owner in self._again)

    def keep(self, module: Any, what: bytes, embeddings: bytes, outcome: Future) -> None:
        """For later runs of what runs for the first time now."""
        for owner in self._first:
            if not hasattr(owner, _OUTCOMES):
                setattr(owner, _OUTCOMES, [])
            getattr(owner, _OUTCOMES).append((module, what, embeddings, outcome))


def region() -> Optional[Region]:
    """Of the calling function; None outside of checkpointed code."""
    first, again, repeated, found = [], [], False, False
    frame = sys._getframe(1)
    while frame is not None:
        owner, is_again = _owner(frame)
        if is_again is not None:
            found, repeated = True, repeated or is_again
            if owner is not None:
                (again if is_again else first).append(owner)
        frame = frame.f_back
    return Region(first, again, repeated) if found else None


def in_backward() -> bool:
    """Whether a backward pass is under way in this thread. Before PyTorch 2 that cannot be told: False."""
    return getattr(torch._C, "_current_graph_task_id", lambda: -1)() != -1


def _owner(frame: Any) -> Tuple[Any, Optional[bool]]:
    """(the object that both runs share, whether this frame repeats); (None, None) for any other frame."""
    code, name = frame.f_code, frame.f_code.co_name
    if name in ("forward", "backward") and code.co_varnames[:1] == ("ctx",):
        ctx = frame.f_locals.get("ctx")
        return (ctx, name == "backward") if isinstance(ctx, FunctionCtx) else (None, None)
    if frame.f_globals.get("__name__") != _CHECKPOINT:
        return None, None
    variables = frame.f_locals
    if name.startswith("unpack"):
        return variables.get("frame", variables.get("storage")), True
    started = variables.get("gen")
    if getattr(started, "gi_frame", None) is not None:
        return started.gi_frame.f_locals.get("new_frame"), False
    return (variables["storage"], False) if name == "_checkpoint_without_reentrant" else (None, None)
