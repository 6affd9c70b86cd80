"""Snapshots of a memory, and the token that ties one to a model checkpoint.

    snapshot = memory.snapshot()
    torch.save({"net": net.state_dict(), "memory": str(snapshot.token)}, "checkpoint.pt")
    ...
    memory.restore(saved["memory"])          # exactly that state, or an error
"""

import dataclasses
import re
from typing import Any, Dict, Tuple, Union

from . import _spec, results
from ._proto import admin_service_pb2, types_pb2
from .errors import InvalidArgument

_TEXT = re.compile(r"evoke1:([0-9a-f]{32}):(\d{1,20}):(\d{1,20}):(\d{1,20}):([0-9a-f]{32})", re.ASCII)


@dataclasses.dataclass(frozen=True)
class SnapshotToken:
    """Names one state of one memory. Equal tokens are equal states.

    Goes into a model checkpoint, pickled or as text: str(token) loads also where pickles of classes are refused.
    """

    uid: bytes       # 16 bytes: of the memory
    epoch: int       # which content
    turn: int        # of the last commit that the state holds
    step: int        # observations written until then
    state_hash: str  # 32 hex digits

    def __str__(self) -> str:
        return "evoke1:%s:%d:%d:%d:%s" % (self.uid.hex(), self.epoch, self.turn, self.step, self.state_hash)

    @classmethod
    def parse(cls, text: str) -> "SnapshotToken":
        """The token that str() gave. Raises InvalidArgument for anything else."""
        match = _TEXT.fullmatch(text)
        numbers = [int(g) for g in match.groups()[1:4]] if match else []
        if not match or max(numbers) >= 2**64:
            raise InvalidArgument("%r is no token: expected evoke1:<uid>:<epoch>:<turn>:<step>:<state hash>" % text,
                                  reason="BAD_ARGUMENT", metadata={"field": "token"})
        return cls(bytes.fromhex(match.group(1)), *numbers, match.group(5))


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A complete copy of a memory in a folder of the server, or of its backups."""

    id: str                # "<epoch>-<turn>-<UTC time>"
    memory: str            # name of the memory when it was made
    token: SnapshotToken   # the state that it holds
    spec: Dict[str, Any]   # as in Description
    live_slots: int
    bytes: int             # of its files
    files: int
    created_unix_ms: int   # by the server's wall clock
    scheduled: bool        # made by the server's schedule; only those does its retention remove


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a restore in place did."""

    header: results.Header  # of the memory now
    snapshot: Snapshot      # what was restored
    changed: bool           # False: the memory was in exactly that state already


Named = Union[SnapshotToken, Snapshot, str]  # a token, its text, a snapshot, or the id of one


def names(snapshot: Named) -> Tuple[str, Any]:
    """(id or "", token message or None) for a request. A Snapshot gives both, and the server compares them."""
    if isinstance(snapshot, Snapshot):
        return snapshot.id, token_to_proto(snapshot.token)
    if isinstance(snapshot, SnapshotToken):
        return "", token_to_proto(snapshot)
    if isinstance(snapshot, str) and snapshot:
        return ("", token_to_proto(SnapshotToken.parse(snapshot))) if snapshot.startswith("evoke") else (snapshot, None)
    raise InvalidArgument("%r names no snapshot: expected a token, its text, a Snapshot or an id" % (snapshot,),
                          reason="BAD_ARGUMENT", metadata={"field": "id"})


def id_of(snapshot: Union[Snapshot, str]) -> str:
    """The id of a snapshot that is given as such."""
    return snapshot.id if isinstance(snapshot, Snapshot) else snapshot


def token_to_proto(token: SnapshotToken) -> types_pb2.SnapshotToken:
    return types_pb2.SnapshotToken(uid=token.uid, epoch=token.epoch, turn=token.turn, step=token.step,
                                   state_hash=token.state_hash)


def token_from_proto(message: types_pb2.SnapshotToken) -> SnapshotToken:
    return SnapshotToken(message.uid, message.epoch, message.turn, message.step, message.state_hash)


def from_proto(message: admin_service_pb2.Snapshot) -> Snapshot:
    return Snapshot(token=token_from_proto(message.token), spec=_spec.from_proto(message.spec), **{
        name: getattr(message, name) for name in ("id", "memory", "live_slots", "bytes", "files", "created_unix_ms",
                                                  "scheduled")})
