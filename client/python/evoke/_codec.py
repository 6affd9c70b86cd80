"""Between arrays and the bytes of the protos (types.proto names the conventions). Pure functions, thread-safe.

Inputs may be NumPy arrays, anything with __array__, nested lists, or CPU tensors of PyTorch, which are recognised by
their methods: torch is never imported here.
"""

import math
import sys
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from . import results
from ._proto import types_pb2
from .errors import Internal, InvalidArgument

# As they travel: what has one of these types is sent without a conversion.
_WIRE = {np.dtype("<f4"): types_pb2.DTYPE_FLOAT32, np.dtype("<f2"): types_pb2.DTYPE_FLOAT16}
_TYPES = {name: np.dtype(name) for name in ("u1", "<u8", "<i8", "<f4")}  # of replies
_DURABILITY = {types_pb2.DURABILITY_MEMORY: "memory", types_pb2.DURABILITY_WAL: "wal",
               types_pb2.DURABILITY_FSYNC: "fsync"}


def array(x: Any) -> np.ndarray:
    """x as a NumPy array; a tensor is detached and brought to the CPU."""
    return _numbers(x)[0]


def floats(x: Any) -> np.ndarray:
    """The same for numbers that NumPy is to compute with: bfloat16 is widened, exactly. A mapped array stays mapped."""
    a, bfloat16 = _numbers(x)
    return (a.astype(np.uint32) << 16).view(np.float32) if bfloat16 else a


def _numbers(x: Any) -> Tuple[np.ndarray, bool]:
    """x as a NumPy array, and whether it is bfloat16, which NumPy lacks: it comes as uint16 bits."""
    if hasattr(x, "detach") and hasattr(x, "cpu"):  # a tensor of PyTorch
        x = x.detach().cpu()
        if str(x.dtype) == "torch.bfloat16":
            int16 = sys.modules[type(x).__module__.partition(".")[0]].int16
            return x.contiguous().view(int16).numpy().view(np.uint16), True
        x = x.numpy()
    x = np.asarray(x)
    if x.dtype.kind == "V" and x.dtype.name == "bfloat16":  # of the package ml_dtypes
        return np.ascontiguousarray(x).view(np.uint16), True
    return x, False


def matrix(x: Any, key_dim: Optional[int] = None) -> Dict[str, Any]:
    """[rows, dim] or one row [dim] as the fields of a Matrix: so the bytes are copied once, into the request.

    float32, float16 and bfloat16 travel as they are, others as float32. Raises InvalidArgument (BAD_SHAPE) when x is not
    one or two dimensional or, with a known key_dim, has another one.
    """
    x, bfloat16 = _numbers(x)
    if x.ndim == 1:
        x = x[None, :]
    if x.ndim != 2:
        raise InvalidArgument("embeddings must be [rows, key_dim] or [key_dim], not %s" % (x.shape,),
                              reason="BAD_SHAPE")
    if key_dim is not None and x.shape[1] != key_dim:
        raise InvalidArgument("embeddings have %d dimensions, the memory expects %d" % (x.shape[1], key_dim),
                              reason="BAD_SHAPE")
    dtype = types_pb2.DTYPE_BFLOAT16 if bfloat16 else _WIRE.get(x.dtype)
    if dtype is None:
        if x.dtype.kind not in "fiub":
            raise InvalidArgument("embeddings must be numbers, not %s" % x.dtype, reason="BAD_SHAPE")
        dtype = types_pb2.DTYPE_FLOAT32
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which the server refuses, naming the row
            x = x.astype(np.float32)
    return {"data": x.tobytes(), "dtype": dtype, "rows": x.shape[0], "dim": x.shape[1]}


def int64(y: Any, rows: int, what: str) -> bytes:
    """[rows] integers as bytes; a scalar stands for one row."""
    y = np.atleast_1d(array(y))
    if y.dtype.kind not in "iub":
        raise InvalidArgument("%s must be integers, not %s" % (what, y.dtype), reason="BAD_SHAPE")
    if y.dtype == np.uint64 and y.size and y.max() >= 2**63:
        raise InvalidArgument("%s do not fit int64" % what, reason="BAD_SHAPE")
    _check_rows(y, rows, what)
    return y.astype("<i8").tobytes()


def flags(mask: Any, rows: int, what: str) -> Optional[np.ndarray]:
    """None, one bool for all rows, or [rows] bools -> None or [rows] bool."""
    if mask is None:
        return None
    mask = array(mask)
    if mask.dtype != np.bool_:
        raise InvalidArgument("%s must be bool, not %s" % (what, mask.dtype), reason="BAD_SHAPE")
    if mask.ndim == 0:
        return np.full(rows, bool(mask))
    _check_rows(mask, rows, what)
    return mask


def _check_rows(a: np.ndarray, rows: int, what: str) -> None:
    if a.shape != (rows,):
        raise InvalidArgument("%s have shape %s, expected (%d,)" % (what, a.shape, rows), reason="BAD_SHAPE")


def bits(mask: Optional[np.ndarray]) -> bytes:
    """Bools packed eight to a byte, row 0 lowest; None gives b"" (the default of the field)."""
    return b"" if mask is None else np.packbits(mask, bitorder="little").tobytes()


def payloads(given: Optional[Sequence[Optional[bytes]]], rows: int) -> Sequence[bytes]:
    """None, or one bytes (or None) for each row."""
    if given is None:
        return ()
    given = [p or b"" for p in given]
    if len(given) != rows:
        raise InvalidArgument("%d payloads for %d rows" % (len(given), rows), reason="BAD_SHAPE")
    return given


def unbits(data: bytes, rows: int) -> np.ndarray:
    """[rows] bool."""
    if len(data) != (rows + 7) // 8:
        raise Internal("the reply has %d bytes of bits for %d rows" % (len(data), rows))
    return np.unpackbits(np.frombuffer(data, np.uint8), count=rows, bitorder="little").view(np.bool_)


def unpack(data: bytes, dtype: str, shape: Tuple[int, ...]) -> np.ndarray:
    """A read-only array of the reply. Raises Internal when the byte count is another."""
    kind = _TYPES[dtype]
    expected = math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise Internal("the reply has %d bytes for %s%s, expected %d" % (len(data), dtype, list(shape), expected))
    return np.frombuffer(data, kind).reshape(shape)


def header(message: types_pb2.ReplyHeader) -> results.Header:
    return results.Header(message.memory, message.uid, message.epoch, message.term, message.turn, message.step,
                          _DURABILITY.get(message.durability, "unknown"), message.instance)


def payload_tuple(messages) -> Tuple[results.Payload, ...]:
    return tuple(results.Payload(p.step, p.data) for p in messages)
