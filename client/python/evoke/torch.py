"""A memory as a module of a PyTorch network.

    memory = evoke.torch.Memory(client.create_memory("birds", key_dim=128, capacity=10_000))
    answer = memory(embedding, labels)      # one round trip: answers, scores, and writes when training
    answer.loss.mean().backward()           # the server's gradient flows into `embedding`

Keys live in the server and carry no gradient (Kaiser et al., ICLR 2017, section 2), so the vectors d loss / d x and
d confidence / d x of each row are all that backward needs; the server returns them with the answer.
"""

import copy
import dataclasses
import math
import os
import threading
import warnings
from concurrent.futures import Future
from typing import Any, Callable, Dict, Optional, Sequence, Union

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from . import _recompute, results
from . import memory as _memory
from ._lane import Lane
from ._torch_call import Call
from .errors import EvokeError


@dataclasses.dataclass(frozen=True)
class Answer:
    """Answers for embeddings of shape [*lead, key_dim]; all tensors are [*lead], on the device of the input.

    Without labels only values, confidence and answered are set.
    """

    header: Optional[results.Header]  # None when there were no rows
    values: torch.Tensor              # int64: of the nearest neighbor; 0 where not answered
    confidence: torch.Tensor          # float32: its softmax weight; differentiable if asked for
    answered: torch.Tensor            # bool: False when the memory was empty or the row was left out
    loss: Optional[torch.Tensor] = None            # float32, per row, differentiable; 0 for rows left out
    positive_found: Optional[torch.Tensor] = None  # bool
    negative_found: Optional[torch.Tensor] = None  # bool
    outcomes: Optional[torch.Tensor] = None        # uint8, see evoke.Outcome
    slots: Optional[torch.Tensor] = None           # int64: the slot written; -1 where none was


class Handle:
    """An answer that may still be on its way. Made by Memory.submit. Thread-safe."""

    def __init__(self, outcome: Future, finish: Callable[[Any], Answer]):
        self._outcome, self._finish = outcome, finish
        self._lock = threading.Lock()
        self._answer: Optional[Answer] = None
        self._pid = os.getpid()

    def done(self) -> bool:
        """Whether result() would return, or raise, at once."""
        return os.getpid() != self._pid or self._outcome.done()

    def result(self, timeout: Optional[float] = None) -> Answer:
        """Waits for the answer; the same one every time. It hangs on x as if it had been there when x was submitted.

        Raises what the call raised; concurrent.futures.TimeoutError after `timeout` seconds, and it goes on. A forked
        child has the answers that its parent had taken, and a RuntimeError for the others.
        """
        if os.getpid() != self._pid:  # the locks here and in the future may have been copied in mid-use
            if self._answer is None:
                raise RuntimeError("this call was submitted by the process that forked this one")
            return self._answer
        result = self._outcome.result(timeout)
        with self._lock:
            if self._answer is None:
                self._answer, self._finish = self._finish(result), None
            return self._answer


class Memory(torch.nn.Module):
    """Wraps an evoke.Memory (or anything with its train_step, query and describe).

    ignore_index: labels with this value are padding: loss 0, nothing is read or written. confidence_gradient: make
    `confidence` differentiable in calls with labels. on_mismatch: what load_state_dict does when the memory is not the
    one, or not at the step, that was saved with the checkpoint: "raise", "warn" or "ignore".

    A call with labels writes in training mode and only scores in eval mode, unless `write` says otherwise. Calls of one
    module take effect in the order in which they were made, submitted ones too. Under torch.utils.checkpoint the
    recomputed call is not made again: it gets the outcome of the first.

    copy.deepcopy gives a module of the same memory that only reads (read_only is True; set it to False to let it write).
    A pickle is the module itself at another place: it writes if this one does, through connections of its own. Neither
    takes submitted calls along. No parameters. Thread-safe as the wrapped memory is. Raises what the wrapped memory raises.
    """

    def __init__(self, memory: "_memory.Memory", *, ignore_index: int = -100, confidence_gradient: bool = False,
                 on_mismatch: str = "raise"):
        super().__init__()
        if on_mismatch not in ("raise", "warn", "ignore"):
            raise ValueError("on_mismatch is %r, expected 'raise', 'warn' or 'ignore'" % on_mismatch)
        self.memory = memory
        self.ignore_index = ignore_index
        self.confidence_gradient = confidence_gradient
        self.on_mismatch = on_mismatch
        self.read_only = False
        self._lane = Lane()

    def forward(self, x: torch.Tensor, y: Optional[torch.Tensor] = None, *, mask: Optional[torch.Tensor] = None,
                write: Union[None, bool, torch.Tensor] = None,
                payloads: Optional[Sequence[Optional[bytes]]] = None) -> Answer:
        """x: [*lead, key_dim], any float type, strides and device. y: [*lead] int64. mask: [*lead] bool, True = use.

        write: None (training mode writes, eval mode does not), a bool, or [*lead] bool. payloads: one a row, row-major.
        All is computed in float32, whatever autocast says; the gradient arrives in the type of x.
        """
        return self._begin(x, y, mask, write, payloads, later=False).result()

    def submit(self, x: torch.Tensor, y: Optional[torch.Tensor] = None, *, mask: Optional[torch.Tensor] = None,
               write: Union[None, bool, torch.Tensor] = None,
               payloads: Optional[Sequence[Optional[bytes]]] = None) -> Handle:
        """Begins what forward() does and returns while it is under way, so that other layers compute meanwhile.

        The arguments may be changed afterwards. A call that was submitted is made, whether its result is asked for or not.
        """
        return self._begin(x, y, mask, write, payloads, later=True)

    def _begin(self, x, y, mask, write, payloads, later: bool) -> Handle:
        lead = tuple(x.shape[:-1])
        for name, t in (("y", y), ("mask", mask), ("write", write)):
            if isinstance(t, torch.Tensor) and tuple(t.shape) != lead:
                raise ValueError("%s has shape %s, expected %s" % (name, tuple(t.shape), lead))
        region = _recompute.region()
        attach = torch.is_grad_enabled() and x.requires_grad
        if not math.prod(lead):
            return Handle(_ended(None), lambda _: _nothing(x, lead, labelled=y is not None))
        asked, write = write is not None, self._writes(write, y is not None, region)
        # In checkpointed code the first run is often without gradients, and the second one cannot ask again.
        call = Call(self, x, y, mask, write, payloads, attach or region is not None, later)
        if region is None:
            outcome = (self._lane.put if later else self._lane.run)(call)
        else:
            digests = call.digests()
            outcome = region.find(self, *digests) if region.repeated else None
            if outcome is None and region.repeated and not (asked and region.empty()):
                raise RuntimeError("this call is repeated by activation checkpointing, and the outcome of the first one "
                                   "is not there: its labels or flags were others, or PyTorch %s is not known. Nothing "
                                   "was sent" % torch.__version__)
            outcome = outcome or (self._lane.put if later else self._lane.run)(call)
            region.keep(self, *digests, outcome)
        return Handle(outcome, lambda result: _answer(result, x, y is not None, attach))

    def _writes(self, write, labelled: bool, region) -> Union[bool, torch.Tensor]:
        """Which rows write: what was asked for, or what the mode says."""
        if write is None:
            write = self.training and labelled and not self.read_only
            if write and region is None and _recompute.in_backward():
                raise RuntimeError("a call that would write, within a backward pass: if it repeats one, as activation "
                                   "checkpointing does, it would write twice. Say write=True or write=False")
        elif self.read_only and (isinstance(write, torch.Tensor) or write):
            raise ValueError("write is asked for, and this module is a deep copy, which only reads (read_only)")
        return write

    def __deepcopy__(self, memo: Dict[int, Any]) -> "Memory":
        twin = memo[id(self)] = type(self).__new__(type(self))
        for name, value in self.__dict__.items():  # the handle is shared: it is safe to share, and may hold sessions
            twin.__dict__[name] = value if name == "memory" else copy.deepcopy(value, memo)
        twin.read_only = True
        return twin

    def get_extra_state(self) -> Dict[str, Any]:
        """Which memory at which point belongs to this checkpoint: name, uid, epoch, turn, step, state hash."""
        d = self.memory.describe()
        return {"name": d.name, "uid": d.uid.hex(), "epoch": d.epoch, "turn": d.turn, "step": d.step,
                "state_hash": d.state_hash}

    def set_extra_state(self, saved: Dict[str, Any]) -> None:
        """Compares the checkpoint's memory with the wrapped one, as on_mismatch says: uid, step and state hash.

        Epoch and turn are not compared: they have moved on when the memory was restored from the checkpoint's snapshot.
        """
        if self.on_mismatch == "ignore":
            return
        now = self.get_extra_state()
        differing = [key for key in ("uid", "step", "state_hash") if saved.get(key) != now[key]]
        if differing:
            text = "the checkpoint belongs to another state of memory %r: %s" % (now["name"], ", ".join(
                "%s %s, now %s" % (key, saved.get(key), now[key]) for key in differing))
            if self.on_mismatch == "raise":
                raise EvokeError(text)
            warnings.warn(text)

    def extra_repr(self) -> str:
        return "%r, ignore_index=%d" % (self.memory, self.ignore_index)


class _Attach(torch.autograd.Function):
    """Gives loss and confidence, which came over the wire, the gradients that came with them."""

    @staticmethod
    def forward(ctx, x, loss, confidence, loss_gradient, confidence_gradient):
        ctx.save_for_backward(loss_gradient, confidence_gradient)
        ctx.dtype = x.dtype
        if confidence_gradient is None:
            ctx.mark_non_differentiable(confidence)
        return loss, confidence

    @staticmethod
    @once_differentiable
    def backward(ctx, loss_weight, confidence_weight):
        loss_gradient, confidence_gradient = ctx.saved_tensors
        gradient = loss_weight.unsqueeze(-1) * loss_gradient
        if confidence_gradient is not None:
            gradient = gradient + confidence_weight.unsqueeze(-1) * confidence_gradient
        return gradient.to(ctx.dtype), None, None, None, None


def _ended(result: Any) -> Future:
    outcome: Future = Future()
    outcome.set_result(result)
    return outcome


def _answer(result: Any, x: torch.Tensor, labelled: bool, attach: bool) -> Answer:
    """The tensors of a result, hung on x when it wants gradients."""
    lead = tuple(x.shape[:-1])
    confidence, answered = _tensor(result.confidences, lead, x), _tensor(result.answered, lead, x)
    values = _tensor(result.values, lead, x)
    if not labelled:
        return Answer(header=result.header, values=values, confidence=confidence, answered=answered)
    loss = _tensor(result.losses, lead, x)
    with torch.set_grad_enabled(attach):
        if attach:
            loss, confidence = _Attach.apply(x, loss, confidence, _tensor(result.gradients, x.shape, x),
                                             _tensor(result.confidence_gradients, x.shape, x))
    return Answer(
        header=result.header, values=values, confidence=confidence, answered=answered, loss=loss,
        positive_found=_tensor(result.positive_found, lead, x), negative_found=_tensor(result.negative_found, lead, x),
        outcomes=_tensor(result.outcomes, lead, x), slots=_tensor(result.slots.astype(np.int64), lead, x))


def _tensor(a: Optional[np.ndarray], shape, like: torch.Tensor) -> Optional[torch.Tensor]:
    """A writable copy of the reply's array on the device of `like`."""
    return None if a is None else torch.from_numpy(np.array(a)).reshape(tuple(shape)).to(like.device)


def _nothing(x: torch.Tensor, lead, labelled: bool) -> Answer:
    """The answer for no rows; nothing is sent. Its loss hangs on x, so that backward works."""
    def empty(dtype):
        return torch.zeros(lead, dtype=dtype, device=x.device)

    if not labelled:
        return Answer(None, empty(torch.int64), empty(torch.float32), empty(torch.bool))
    return Answer(None, empty(torch.int64), empty(torch.float32), empty(torch.bool), loss=x.float().sum(-1),
                  positive_found=empty(torch.bool), negative_found=empty(torch.bool), outcomes=empty(torch.uint8),
                  slots=empty(torch.int64))
