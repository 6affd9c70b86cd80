"""Client of Evoke, a memory server for neural networks.

    import evoke
    memory = evoke.Client("127.0.0.1:7380").create_memory("birds", key_dim=128, capacity=10_000)
    memory.update(embedding, 17)             # seen once
    memory.query(another).values             # -> array([17])

Imports NumPy and gRPC only. evoke.aio is the same for event loops; evoke.torch (a memory as a module of a network) is
imported by those who want it.
"""

from . import aio
from ._local import Local, local
from ._request import request_scope
from ._retry import RetryPolicy
from ._security import Tls
from ._transfer_calls import Exported, Imported
from .client import Client
from .errors import (AlreadyExists, Cancelled, DamagedFile, DataLoss, DeadlineExceeded, EvokeError, ExportChanged,
                     FailedPrecondition, Internal, InvalidArgument, MailboxFull, MemoryFull, MemoryLimit,
                     MemoryNotFound, NotFound, PermissionDenied, ReadOnlyDisk, ResourceExhausted, SessionError,
                     SessionLost, SlotTaken, SnapshotNotFound, SpecDiffers, StaleMemory, TokenMismatch,
                     Unauthenticated, Unavailable, Unimplemented, UnacknowledgedLimit)
from .memory import Memory
from .results import (NO_SLOT, Alarm, Description, Header, Neighbors, Outcome, Payload, QueryResult, ServerStatus,
                      Slot, SlotsResult, StateHash, TrainResult, UpdateResult, ValueSlots)
from .snapshots import Restored, Snapshot, SnapshotToken

__version__ = "0.1.0"

__all__ = [name for name in dir() if not name.startswith("_")]
