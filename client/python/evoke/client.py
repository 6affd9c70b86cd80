"""Client of an Evoke server: makes, finds and removes memories."""

import functools
from typing import Any, Callable, Coroutine, Optional, Sequence, Tuple, Union

from . import _blocking, _retry, _transport
from ._client_calls import ClientCalls
from ._memory_calls import MemoryCalls
from .memory import Memory


def _making(call: Callable[..., Coroutine[Any, Any, MemoryCalls]]) -> Callable[..., Memory]:
    """The blocking twin of a call that returns a handle."""

    @functools.wraps(call)
    def blocking(self, *args, **options):
        return Memory._of(self, _blocking.run(call(self._calls, *args, **options)))

    return blocking


class Client:
    """Connects to one server, or to the first of several addresses that answers.

    address: "host:port", "unix:PATH", or a list of them. Further arguments by name, with their defaults:
    deadline (30): seconds that a call may take with all its retries unless it names its own (float("inf"): for ever).
    long_deadline (3600): the same for calls that read or write a whole memory (fork, snapshots, export, import).
    options: further gRPC channel options by name. retry: a RetryPolicy. tls: a Tls, or True for the system's roots; None:
    the connection is not encrypted. token_file: a file that holds the token of the caller, read when a connection is made
    and again when the server refuses what was in it. token: the token itself, which then is in pickles too. Without TLS a
    token goes to this machine only, unless allow_insecure_token is True.

    Nothing is sent before the first call. Thread-safe. Fork-safe: the child makes connections and sessions of its own.
    Pickles to its arguments, no socket. Usable in a with statement. Raises ValueError for arguments that cannot go
    together.
    """

    def __init__(self, address: Union[str, Sequence[str]] = "127.0.0.1:%d" % _transport.DEFAULT_PORT, **arguments: Any):
        self._calls = ClientCalls(address, _blocking.Blocking, **arguments)

    @property
    def addresses(self) -> Tuple[str, ...]:
        return self._calls.addresses

    @property
    def deadline(self) -> float:
        return self._calls.deadline

    @property
    def long_deadline(self) -> float:
        return self._calls.long_deadline

    @property
    def retry(self) -> _retry.RetryPolicy:
        return self._calls.retry

    create_memory = _making(ClientCalls.create_memory)
    plan_memory = _blocking.method(ClientCalls.plan_memory)

    def memory(self, name: str, *, uid: bytes = b"", epoch: Optional[int] = None) -> Memory:
        """A handle of the memory of this name; sends nothing. uid, epoch: refuse (StaleMemory) any other."""
        return Memory(self, name, uid=uid, epoch=epoch)

    list_memories = _blocking.method(ClientCalls.list_memories)
    delete_memory = _blocking.method(ClientCalls.delete_memory)
    fork = _making(ClientCalls.fork)
    restore = _making(ClientCalls.restore)
    restore_as = _making(ClientCalls.restore_as)
    list_snapshots = _blocking.method(ClientCalls.list_snapshots)
    import_file = _making(ClientCalls.import_file)
    status = _blocking.method(ClientCalls.status)
    wait_ready = _blocking.method(ClientCalls.wait_ready)

    def close(self) -> None:
        """Closes the connections. Calls in flight and later ones raise Cancelled."""
        self._calls.disconnect()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __repr__(self) -> str:
        return "evoke.Client(%s)" % self._calls.identity()

    def __getstate__(self):
        return self._calls.arguments()

    def __setstate__(self, state):
        self.__init__(**state)
