"""One call of a memory, out of tensors of any device, type and strides."""

import hashlib
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
import torch


class Call:
    """One call of the wrapped memory. Its tensors are on their way to the CPU from the constructor on."""

    def __init__(self, module: Any, x: torch.Tensor, y: Optional[torch.Tensor], mask: Optional[torch.Tensor],
                 write: Union[bool, torch.Tensor], payloads: Optional[Sequence[Optional[bytes]]], wants: bool,
                 later: bool):
        self._module, self._payloads, self._wants = module, None if payloads is None else list(payloads), wants
        given = [x, y, mask, write if isinstance(write, torch.Tensor) else None]
        self._write = None if given[3] is not None else write
        self._tensors = [None if t is None else _staged(t.detach(), later) for t in given]
        self._copied = [torch.cuda.current_stream(t.device).record_event() for t in given if t is not None and t.is_cuda]
        self._dim = x.shape[-1]

    def __call__(self) -> Any:
        """Makes it; returns what train_step or query returned."""
        rows, labels, write, skip = self._rows()
        memory = self._module.memory
        if labels is None:
            return memory.query(rows, skip=skip)
        return memory.train_step(rows, labels, write=write, skip=skip, payloads=self._payloads,
                                 form="gradient" if self._wants else "scores",
                                 confidence_gradient=self._wants and self._module.confidence_gradient)

    def digests(self) -> Tuple[bytes, bytes]:
        """Two equal calls have equal ones: of everything but the embeddings, and of those."""
        rows, labels, write, skip = self._rows()
        what = hashlib.sha256(repr((tuple(rows.shape), rows.dtype, write is None, skip is None)).encode())
        for a in (labels, write, skip):
            what.update(b"" if a is None else a.tobytes())
        return what.digest(), hashlib.sha256(rows.contiguous().view(torch.uint8).numpy()).digest()

    def _rows(self):
        """(rows [n, dim], labels [n] or None, write [n] or None for all, skip [n] or None for none); waits for copies."""
        for event in self._copied:
            event.synchronize()
        x, y, mask, write = self._tensors
        rows = _sendable(x).reshape(-1, self._dim)
        skip = None if mask is None else ~mask.reshape(-1).bool()
        if y is None:
            return rows, None, None, None if skip is None else skip.numpy()
        labels = y.reshape(-1).long()
        ignored = labels == self._module.ignore_index
        skip = ignored if skip is None else skip | ignored
        if write is not None:
            write = write.reshape(-1).bool().numpy()
        elif not self._write:
            write = np.zeros(len(rows), bool)
        return rows, labels.numpy(), write, skip.numpy() if bool(skip.any()) else None


def _staged(t: torch.Tensor, later: bool) -> torch.Tensor:
    """t on the CPU, as a copy when it is used later. From a GPU that is not waited for: the stream copies in its turn."""
    if t.is_cuda and later:
        host = torch.empty(t.shape, dtype=t.dtype, pin_memory=True)
        return host.copy_(t, non_blocking=True)
    return t.to("cpu", copy=later)


def _sendable(x: torch.Tensor) -> torch.Tensor:
    """In a type that travels as it is (the server computes in float32 either way)."""
    return x if x.dtype in (torch.float32, torch.float16, torch.bfloat16) else x.float()
