"""A memory as a module of a PyTorch network.

    memory = evoke.torch.Memory(client.create_memory("birds", key_dim=128, capacity=10_000))
    answer = memory(embedding, labels)      # one round trip: answers, scores, and writes when training
    answer.loss.mean().backward()           # the server's gradient flows into `embedding`

Keys live in the server and carry no gradient (Kaiser et al., ICLR 2017, section 2), so the vectors d loss / d x and
d confidence / d x of each row are all that backward needs; the server returns them with the answer.
"""

import dataclasses
import warnings
from typing import Any, Dict, Optional, Sequence, Union

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from . import memory as _memory
from . import results
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


class Memory(torch.nn.Module):
    """Wraps an evoke.Memory (or anything with its train_step, query and describe).

    ignore_index: labels with this value are padding: loss 0, nothing is read or written. confidence_gradient: make
    `confidence` differentiable in calls with labels. on_mismatch: what load_state_dict does when the memory is not the
    one, or not at the step, that was saved with the checkpoint: "raise", "warn" or "ignore".

    A call with labels writes in training mode and only scores in eval mode, unless `write` says otherwise. The call is
    not repeatable, so keep it out of activation checkpointing or recompute with write=False. No parameters. Thread-safe
    as the wrapped memory is. Raises what the wrapped memory raises.
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

    def forward(self, x: torch.Tensor, y: Optional[torch.Tensor] = None, *, mask: Optional[torch.Tensor] = None,
                write: Union[None, bool, torch.Tensor] = None,
                payloads: Optional[Sequence[Optional[bytes]]] = None) -> Answer:
        """x: [*lead, key_dim], any float type and strides. y: [*lead] int64. mask: [*lead] bool, True = use.

        write: None (training mode writes, eval mode does not), a bool, or [*lead] bool. payloads: one a row, row-major.
        The gradient is computed in float32 and arrives in the type of x.
        """
        lead, dim = tuple(x.shape[:-1]), x.shape[-1]
        rows = _sendable(x.detach()).reshape(-1, dim)
        skip = None if mask is None else ~_flat(mask, lead, "mask").bool()
        if y is None:
            return self._query(x, rows, lead, skip)
        labels = _flat(y, lead, "y").long()
        ignored = labels == self.ignore_index
        skip = ignored if skip is None else skip | ignored
        if write is None:
            write = self.training
        if isinstance(write, torch.Tensor):
            write = _flat(write, lead, "write").bool().numpy()
        else:
            write = None if write else np.zeros(len(rows), bool)
        wants = torch.is_grad_enabled() and x.requires_grad
        if not len(rows):
            return _nothing(x, lead, labelled=True)
        result = self.memory.train_step(
            rows, labels.numpy(), write=write, skip=skip.numpy() if bool(skip.any()) else None, payloads=payloads,
            form="gradient" if wants else "scores", confidence_gradient=wants and self.confidence_gradient)
        loss, confidence = _tensor(result.losses, lead, x), _tensor(result.confidences, lead, x)
        if wants:
            loss, confidence = _Attach.apply(x, loss, confidence, _tensor(result.gradients, x.shape, x),
                                             _tensor(result.confidence_gradients, x.shape, x))
        return Answer(
            header=result.header, values=_tensor(result.values, lead, x), confidence=confidence,
            answered=_tensor(result.answered, lead, x), loss=loss,
            positive_found=_tensor(result.positive_found, lead, x),
            negative_found=_tensor(result.negative_found, lead, x), outcomes=_tensor(result.outcomes, lead, x),
            slots=_tensor(result.slots.astype(np.int64), lead, x))

    def _query(self, x, rows, lead, skip) -> Answer:
        if not len(rows):
            return _nothing(x, lead, labelled=False)
        result = self.memory.query(rows, skip=None if skip is None else skip.numpy())
        return Answer(header=result.header, values=_tensor(result.values, lead, x),
                      confidence=_tensor(result.confidences, lead, x), answered=_tensor(result.answered, lead, x))

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


def _sendable(x: torch.Tensor) -> torch.Tensor:
    """On the CPU, in a type that travels as it is (the server computes in float32 either way)."""
    x = x.cpu()
    return x if x.dtype in (torch.float32, torch.float16, torch.bfloat16) else x.float()


def _flat(t: torch.Tensor, lead, what: str) -> torch.Tensor:
    if tuple(t.shape) != lead:
        raise ValueError("%s has shape %s, expected %s" % (what, tuple(t.shape), lead))
    return t.detach().cpu().reshape(-1)


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
