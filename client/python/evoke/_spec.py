"""Between keyword arguments and the MemorySpec and MemoryDescription messages."""

import difflib
from typing import Any, Dict

import numpy as np

from . import results
from ._proto import admin_service_pb2, types_pb2

_ENUMS = {"write_rule": ("WRITE_RULE_", types_pb2.WriteRule), "batch": ("BATCH_MODE_", types_pb2.BatchMode),
          "durability": ("DURABILITY_", types_pb2.Durability)}
_FIELDS = {f.name: f for f in types_pb2.MemorySpec.DESCRIPTOR.fields}


def to_proto(spec: Dict[str, Any]) -> types_pb2.MemorySpec:
    """{"key_dim": 256, "durability": "wal", ...} as a message; None means not set.

    Raises TypeError for an unknown field, naming the nearest, and ValueError for a value that does not fit.
    """
    message = types_pb2.MemorySpec()
    for name, value in spec.items():
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            raise TypeError("unknown field %r of a memory's spec%s" % (name, "; did you mean %r?" % near[0]
                                                                      if near else ""))
        if value is None:
            continue
        if name in _ENUMS:
            prefix, enum = _ENUMS[name]
            try:
                value = enum.Value(prefix + str(value).upper())
            except ValueError:
                known = ", ".join(repr(_plain(prefix, n)) for n in enum.keys() if not n.endswith("_UNSPECIFIED"))
                raise ValueError("%s is %r, expected one of %s" % (name, value, known)) from None
        try:
            setattr(message, name, value)
        except (TypeError, ValueError) as error:
            raise ValueError("%s is %r: %s" % (name, value, error)) from None
    return message


def from_proto(message: types_pb2.MemorySpec) -> Dict[str, Any]:
    """The spec that a server returned; thresholds that are off are absent."""
    spec = {}
    for name, field in _FIELDS.items():
        if field.has_presence and not message.HasField(name):
            continue
        value = getattr(message, name)
        if name in _ENUMS:
            prefix, enum = _ENUMS[name]
            value = _plain(prefix, enum.Name(value)) if value in enum.values() else value
        elif field.type == field.TYPE_FLOAT:
            value = float(str(np.float32(value)))  # 0.1 as it was given, not 0.10000000149
        spec[name] = value
    return spec


def _plain(prefix: str, name: str) -> str:
    return name[len(prefix):].lower()


def description(message: admin_service_pb2.MemoryDescription) -> results.Description:
    fields = {name: getattr(message, name) for name in (
        "name", "uid", "epoch", "turn", "step", "live_slots", "distinct_values", "state_hash", "shards", "index",
        "ram_bytes", "stored_bytes", "sessions", "slots_loaded", "slots_to_load", "message")}
    return results.Description(spec=from_proto(message.spec), state=enum_name(
        admin_service_pb2.MemoryState, "MEMORY_STATE_", message.state), **fields)


def enum_name(enum, prefix: str, value: int) -> str:
    """The lower-case name of an enum value; "unknown" for one that this client does not know."""
    return _plain(prefix, enum.Name(value)) if value in enum.values() else "unknown"
