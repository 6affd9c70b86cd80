"""A memory: query it, train it, look into it."""

from typing import Optional

from . import _blocking, snapshots
from ._memory_calls import MemoryCalls


class Memory:
    """Handle of one memory of a server. Made by Client.memory, create_memory, fork, restore_as or import_file.

    Arguments named x are embeddings [rows, key_dim] (or one row [key_dim]), of any scale: NumPy, lists or torch
    tensors; y are int64 values [rows]; write and skip are None, a bool, or bools [rows]; deadline is in seconds and covers
    all retries (default: the client's). Every call raises EvokeError and its subclasses (see errors.py), nothing else.

    The handle learns the memory's uid from the first reply and pins it: when the name comes to mean another memory,
    calls raise StaleMemory. With an epoch given it pins that too, so a clear or restore by someone else is noticed.

    Mutations (update, train_step, clear, imports) are applied exactly once, however often a request has to be repeated; when the
    deadline passes first, the error's outcome_unknown says so. Thread-safe: concurrent mutations use a session each.
    Fork-safe. Pickles to (client, name, uid, epoch).
    """

    def __init__(self, client, name: str, uid: bytes = b"", epoch: Optional[int] = None):
        self._client = client
        self._calls = MemoryCalls(client._calls, name, uid, epoch)

    @classmethod
    def _of(cls, client, calls: MemoryCalls) -> "Memory":
        memory = cls.__new__(cls)
        memory._client, memory._calls = client, calls
        return memory

    @property
    def client(self):
        """The Client that this handle belongs to."""
        return self._client

    @property
    def name(self) -> str:
        return self._calls.name

    @property
    def uid(self) -> bytes:
        """16 bytes; b"" before the first reply."""
        return self._calls.uid

    @property
    def origin(self) -> Optional[snapshots.SnapshotToken]:
        """The state that this memory was made from, when this very handle came from fork or restore_as."""
        return self._calls.origin

    query = _blocking.method(MemoryCalls.query)
    update = _blocking.method(MemoryCalls.update)
    train_step = _blocking.method(MemoryCalls.train_step)
    get_slots = _blocking.method(MemoryCalls.get_slots)
    clear = _blocking.method(MemoryCalls.clear)
    describe = _blocking.method(MemoryCalls.describe)
    state_hash = _blocking.method(MemoryCalls.state_hash)
    delete = _blocking.method(MemoryCalls.delete)

    snapshot = _blocking.method(MemoryCalls.snapshot)
    snapshots = _blocking.method(MemoryCalls.snapshots)
    verify_snapshot = _blocking.method(MemoryCalls.verify_snapshot)
    copy_snapshot = _blocking.method(MemoryCalls.copy_snapshot)
    delete_snapshot = _blocking.method(MemoryCalls.delete_snapshot)
    restore = _blocking.method(MemoryCalls.restore)

    export = _blocking.method(MemoryCalls.export)
    import_arrays = _blocking.method(MemoryCalls.import_arrays)

    def __repr__(self) -> str:
        return "evoke.Memory(%s)" % self._calls.identity()

    def __getstate__(self):
        return dict(self._calls.arguments(), client=self._client)

    def __setstate__(self, state):
        self.__init__(**state)
