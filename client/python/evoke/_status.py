"""Decodes the error details of a reply: google.rpc.Status in the trailer grpc-status-details-bin.

By hand (a few varints), so that no google.rpc descriptor is registered: that would clash with the package
googleapis-common-protos. Bytes that cannot be decoded give empty details, never an exception: the status code of the
call says enough.
"""

from typing import Dict, Iterator, NamedTuple, Optional, Tuple, Union

TRAILER = "grpc-status-details-bin"
DOMAIN = "evoke"


class Details(NamedTuple):
    """What a server said about an error besides its code and message."""

    reason: str = ""  # stable name, for instance "MAILBOX_FULL"; empty when the error is not the server's own
    metadata: Dict[str, str] = {}
    retry_delay: Optional[float] = None  # seconds to wait at least; None: waiting is not known to help


def decode(status_bytes: Optional[bytes]) -> Details:
    """Reads ErrorInfo (of domain "evoke") and RetryInfo from a serialised google.rpc.Status."""
    reason, metadata, delay = "", {}, None
    try:
        for field, detail in _fields(status_bytes or b""):
            if field != 3:
                continue
            parts = dict(_fields(detail))
            name = bytes(parts.get(1, b"")).decode("utf-8").rpartition("/")[2]
            value = parts.get(2, b"")
            if name == "google.rpc.ErrorInfo":
                info_reason, domain, info_metadata = _error_info(value)
                if domain == DOMAIN:
                    reason, metadata = info_reason, info_metadata
            elif name == "google.rpc.RetryInfo":
                duration = dict(_fields(dict(_fields(value)).get(1, b"")))
                delay = max(0.0, _signed(duration.get(1, 0)) + _signed(duration.get(2, 0)) * 1e-9)
    except (ValueError, IndexError, TypeError, AttributeError):
        return Details()
    return Details(reason, metadata, delay)


def _error_info(data: bytes) -> Tuple[str, str, Dict[str, str]]:
    reason, domain, metadata = "", "", {}
    for field, value in _fields(data):
        if field == 1:
            reason = value.decode("utf-8")
        elif field == 2:
            domain = value.decode("utf-8")
        elif field == 3:
            entry = dict(_fields(value))
            metadata[entry.get(1, b"").decode("utf-8")] = entry.get(2, b"").decode("utf-8")
    return reason, domain, metadata


def _fields(data: bytes) -> Iterator[Tuple[int, Union[int, bytes]]]:
    """The fields of a message in wire order: (number, int of a varint or bytes of anything longer)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire_type = key & 7
        if wire_type == 0:
            value, at = _varint(data, at)
        else:
            if wire_type == 2:
                length, at = _varint(data, at)
            elif wire_type in (1, 5):
                length = 8 if wire_type == 1 else 4
            else:
                raise ValueError("wire type %d" % wire_type)
            if at + length > len(data):
                raise ValueError("truncated")
            value, at = data[at:at + length], at + length
        yield key >> 3, value


def _varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("varint too long")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
