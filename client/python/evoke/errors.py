"""The exceptions of this package, one for each thing that a caller may want to do something about.

Every one carries the gRPC status code, the stable reason of the server (proto/README.md lists them), its metadata, and
whether the outcome of a mutation is unknown. Those that have a Python counterpart (ValueError, LookupError,
TimeoutError, ConnectionError) derive from it as well.
"""

from typing import Dict, Optional

import grpc

from . import _status

_Code = grpc.StatusCode


class EvokeError(Exception):
    """Something failed. Immutable; can be pickled.

    code: grpc.StatusCode of the reply. reason: stable string of the server such as "MAILBOX_FULL", "" when the error
    did not come from the server itself. metadata: further facts by name, all strings. retry_delay: seconds that the
    server asks to wait, or None. outcome_unknown: True when a mutation may or may not have been applied (a deadline
    passed, a reply was lost); False when it surely was not. request_id: of the call, "" before it was sent: what to look
    for in the server's log, and to quote.
    """

    default_code = _Code.UNKNOWN

    def __init__(self, message: str, *, code: Optional[grpc.StatusCode] = None, reason: str = "",
                 metadata: Optional[Dict[str, str]] = None, retry_delay: Optional[float] = None,
                 outcome_unknown: bool = False, request_id: str = ""):
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_delay = retry_delay
        self.outcome_unknown = outcome_unknown
        self.request_id = request_id

    def __str__(self) -> str:
        name = self.code.name + (" / " + self.reason if self.reason else "")
        return "%s: %s%s%s" % (name, self.message, " (outcome unknown)" if self.outcome_unknown else "",
                               " (request %s)" % self.request_id if self.request_id else "")

    def __reduce__(self):
        state = {"code": self.code, "reason": self.reason, "metadata": self.metadata,
                 "retry_delay": self.retry_delay, "outcome_unknown": self.outcome_unknown,
                 "request_id": self.request_id}
        return _restore, (type(self), self.message, state)


def _restore(cls, message, state):
    return cls(message, **state)


class InvalidArgument(EvokeError, ValueError):
    """A shape, number or argument is wrong: the same call can never succeed."""
    default_code = _Code.INVALID_ARGUMENT


class NotFound(EvokeError, LookupError):
    """What was named does not exist."""
    default_code = _Code.NOT_FOUND


class MemoryNotFound(NotFound):
    """There is no memory of this name."""


class SnapshotNotFound(NotFound):
    """There is no complete snapshot of this id, or with this token."""


class AlreadyExists(EvokeError):
    """A memory of this name exists already."""
    default_code = _Code.ALREADY_EXISTS


class SpecDiffers(AlreadyExists):
    """A memory of this name exists with another spec; metadata["field"] names the field."""


class FailedPrecondition(EvokeError):
    """The call does not fit the state of the server; something has to be done first."""
    default_code = _Code.FAILED_PRECONDITION


class StaleMemory(FailedPrecondition):
    """The name now means another memory, or its content was cleared since: get a new handle."""


class TokenMismatch(FailedPrecondition):
    """The token is of another memory, or of another state than the snapshot named with it."""


class SlotTaken(FailedPrecondition):
    """Rows to be imported as they were do not fit a memory that holds something else."""


class ExportChanged(FailedPrecondition):
    """The memory went on since the export that is to be continued."""


class ReadOnlyDisk(FailedPrecondition):
    """The server's disk refuses writes; reads go on, and writes will when the disk has recovered."""


class SessionError(FailedPrecondition):
    """The numbering of mutations broke: a session was used by two processes, or this library has a bug."""


class SessionLost(SessionError):
    """The server forgot the session of a mutation whose reply was lost: it may or may not have been applied."""


class ResourceExhausted(EvokeError):
    """A limit of the server is reached."""
    default_code = _Code.RESOURCE_EXHAUSTED


class MailboxFull(ResourceExhausted):
    """Too much work is waiting for this memory."""


class MemoryLimit(ResourceExhausted):
    """The server has no room in RAM for this."""


class MemoryFull(ResourceExhausted):
    """More rows are to be imported than there are free slots."""


class UnacknowledgedLimit(ResourceExhausted):
    """Too many replies of a session are unacknowledged."""


class Unavailable(EvokeError, ConnectionError):
    """The server cannot be reached, is starting, or is stopping; it was retried until the deadline."""
    default_code = _Code.UNAVAILABLE


class DeadlineExceeded(EvokeError, TimeoutError):
    """The deadline of the call passed. For a mutation see outcome_unknown."""
    default_code = _Code.DEADLINE_EXCEEDED


class Cancelled(EvokeError):
    """The call was cancelled, for instance because the client was closed."""
    default_code = _Code.CANCELLED


class DataLoss(EvokeError):
    """Stored data is damaged."""
    default_code = _Code.DATA_LOSS


class DamagedFile(DataLoss, ValueError):
    """An export file is not what its checksums say; metadata["member"] names the part."""


class Unauthenticated(EvokeError):
    """No token, or a bad one."""
    default_code = _Code.UNAUTHENTICATED


class PermissionDenied(EvokeError, PermissionError):
    """The role of the caller is too low, or the memory is not one that it may name."""
    default_code = _Code.PERMISSION_DENIED


class Unimplemented(EvokeError, NotImplementedError):
    """The server does not know this call, or was built without this part (reason NOT_BUILT)."""
    default_code = _Code.UNIMPLEMENTED


class Internal(EvokeError):
    """A bug of the server, or a reply that makes no sense."""
    default_code = _Code.INTERNAL


_BY_REASON = {
    "MEMORY_NOT_FOUND": MemoryNotFound, "SPEC_DIFFERS": SpecDiffers, "STALE_MEMORY": StaleMemory,
    "READ_ONLY_DISK": ReadOnlyDisk, "SESSION_UNKNOWN": SessionLost, "STEP_OUT_OF_ORDER": SessionError,
    "SNAPSHOT_NOT_FOUND": SnapshotNotFound, "TOKEN_MISMATCH": TokenMismatch, "SLOT_TAKEN": SlotTaken,
    "EXPORT_CHANGED": ExportChanged, "MEMORY_FULL": MemoryFull,
    "STEP_TOO_OLD": SessionError, "STEP_REUSED": SessionError, "MAILBOX_FULL": MailboxFull,
    "MEMORY_LIMIT": MemoryLimit, "UNACKNOWLEDGED_LIMIT": UnacknowledgedLimit,
}
_BY_CODE = {cls.default_code: cls for cls in (
    InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, ResourceExhausted, Unavailable, DeadlineExceeded,
    Cancelled, DataLoss, Unauthenticated, PermissionDenied, Unimplemented, Internal)}


def from_rpc_error(error: grpc.RpcError, what: str, request_id: str = "") -> EvokeError:
    """The exception for a failed gRPC call; `what` says which call on which object, for the message."""
    code = error.code() or _Code.UNKNOWN
    status = None
    for key, value in error.trailing_metadata() or ():
        if key == _status.TRAILER:
            status = value
    details = _status.decode(status)
    cls = _BY_REASON.get(details.reason) or _BY_CODE.get(code, EvokeError)
    return cls("%s: %s" % (what, error.details()), code=code, reason=details.reason, metadata=details.metadata,
               retry_delay=details.retry_delay, request_id=request_id)
