"""What calls return: small frozen records of NumPy arrays.

Shapes use rows = rows of the request, m = neighbors of a row, d = key_dim. Arrays are read-only views of the reply's
bytes; copy one to change it. The words (slot, value, hit, evict...) are those of the repository's README.
"""

import dataclasses
import enum
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

NO_SLOT = np.uint64(2**64 - 1)  # in `slots`, where a row wrote nothing


class Outcome(enum.IntEnum):
    """What became of a row of an update or train step."""

    NONE = 1     # it did not write (write = False, or skip)
    HIT = 2      # the nearest neighbor had the right value and was averaged with the query
    MERGED = 3   # a miss that reinforced another neighbor of its value (merge_on_miss)
    FOLDED = 4   # a miss that reinforced a slot that its batch had just taken (fold_misses)
    FREE = 5     # a miss written into a free slot
    EVICT = 6    # a miss that replaced one of the oldest slots
    DROPPED = 7  # a miss of an atomic batch that found no slot to replace; nothing was written


@dataclasses.dataclass(frozen=True)
class Header:
    """The state that a reply reflects."""

    memory: str      # name
    uid: bytes       # 16 bytes, new at every Create
    epoch: int       # which content: 1 at Create, +1 at every clear
    term: int        # who may write: 1 on a single node
    turn: int        # durable commits of the memory until then
    step: int        # observations written until then
    durability: str  # "memory", "wal" or "fsync"
    instance: bytes  # 16 bytes, new at every start of the server


@dataclasses.dataclass(frozen=True)
class Payload:
    """What a trainer gave along with an observation."""

    step: int    # of the observation
    data: bytes  # as given


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """The m nearest live slots of every row: similarity descending, then slot ascending. Skipped rows are zeros."""

    slots: np.ndarray             # [rows, m] uint64
    values: np.ndarray            # [rows, m] int64
    similarities: np.ndarray      # [rows, m] float32, inner product of unit vectors
    weights: np.ndarray           # [rows, m] float32, softmax over the m
    ages: np.ndarray              # [rows, m] uint64, observations since the slot was last written
    keys: Optional[np.ndarray]    # [rows, m, d] float32, if asked for
    payloads: Optional[Mapping[int, Tuple[Payload, ...]]]  # slot -> the first, then the latest ones; if asked for


@dataclasses.dataclass(frozen=True)
class QueryResult:
    """Answers of a query."""

    header: Header
    answered: np.ndarray     # [rows] bool: False when the memory is empty or the row was skipped
    values: np.ndarray       # [rows] int64: of the nearest neighbor; 0 where not answered
    confidences: np.ndarray  # [rows] float32: its softmax weight; 0 where not answered
    neighbors: Optional[Neighbors]


@dataclasses.dataclass(frozen=True)
class UpdateResult:
    """What an update wrote."""

    header: Header
    outcomes: np.ndarray  # [rows] uint8, see Outcome
    slots: np.ndarray     # [rows] uint64: the slot written; NO_SLOT where none was


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Answers, scores and writes of a train step. Answers and scores are those of the state before the batch."""

    header: Header
    answered: np.ndarray        # [rows] bool
    values: np.ndarray          # [rows] int64: of the nearest neighbor; 0 where not answered
    confidences: np.ndarray     # [rows] float32
    losses: np.ndarray          # [rows] float32, never reduced
    positive_found: np.ndarray  # [rows] bool: a slot of the right value was found
    negative_found: np.ndarray  # [rows] bool: a neighbor of another value was found
    outcomes: np.ndarray        # [rows] uint8, see Outcome
    slots: np.ndarray           # [rows] uint64; NO_SLOT where nothing was written
    gradients: Optional[np.ndarray]             # [rows, d] float32: d loss / d x; form "gradient"
    confidence_gradients: Optional[np.ndarray]  # [rows, d] float32: d confidence / d x; if asked for
    positive_keys: Optional[np.ndarray]         # [rows, d] float32, zeros where none; form "keys"
    negative_keys: Optional[np.ndarray]         # [rows, d] float32, zeros where none; form "keys"


@dataclasses.dataclass(frozen=True)
class Slot:
    """A live slot."""

    slot: int
    value: int
    written_step: int          # step of its last write
    age: int                   # step of the header - written_step
    hits: int                  # reinforcements since the value was written
    key: Optional[np.ndarray]  # [d] float32, unit norm; if asked for
    payloads: Optional[Tuple[Payload, ...]]  # the first, then the latest ones; if asked for


@dataclasses.dataclass(frozen=True)
class ValueSlots:
    """The live slots of a value."""

    value: int
    live_slots: int           # how many there are in all
    observations: int         # sum of 1 + hits over them
    slots: Tuple[Slot, ...]   # most recently written first, at most `limit`


@dataclasses.dataclass(frozen=True)
class SlotsResult:
    """Slots read by number and by value."""

    header: Header
    slots: Tuple[Slot, ...]          # the live ones of those asked for, in that order
    values: Tuple[ValueSlots, ...]   # one for each value asked for, in that order


@dataclasses.dataclass(frozen=True)
class Description:
    """Spec and figures of a memory."""

    name: str
    uid: bytes
    spec: Dict[str, Any]   # what create_memory takes, all defaults filled in; absent thresholds are off
    state: str             # "loading", "serving", "read_only", "failed" or "draining"
    epoch: int
    turn: int
    step: int
    live_slots: int
    distinct_values: int
    state_hash: str        # 32 hex digits
    shards: int
    index: str
    ram_bytes: int
    stored_bytes: int
    sessions: int
    slots_loaded: int      # while loading: live slots read so far
    slots_to_load: int     # while loading: in all
    message: str           # why, when read_only or failed


@dataclasses.dataclass(frozen=True)
class StateHash:
    """Names a state: equal hashes at equal steps are equal states."""

    header: Header
    state_hash: str  # 32 hex digits, high half first
    live_slots: int


@dataclasses.dataclass(frozen=True)
class Alarm:
    """What an operator should look at; it goes by itself when its cause does."""

    name: str              # "disk": writes are refused; "corrupt": damage was found
    memory: str            # whose
    message: str           # the cause, with the file, row or numbers that it is about
    active_seconds: float  # since it was raised


@dataclasses.dataclass(frozen=True)
class ServerStatus:
    """The server: version, readiness, limits, alarms."""

    version: str
    instance: bytes                     # 16 bytes, new at every start
    state: str                          # "loading", "serving" or "draining"
    uptime_seconds: float
    simd: str
    arithmetic_fingerprint: str         # equal ones give equal bits
    limits: Dict[str, int]
    memories: Tuple[Description, ...]   # ascending name
    alarms: Tuple[Alarm, ...]           # that are active, ascending memory; empty when all is well
