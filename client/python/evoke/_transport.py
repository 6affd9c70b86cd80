"""One attempt of a call: channels, addresses, forks. Knows nothing of retries or sessions."""

import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import grpc

from . import _fork, _request, _security, errors
from ._proto import admin_service_pb2_grpc, memory_service_pb2_grpc

DEFAULT_PORT = 7380

# Messages: the server has the limits; a client that had its own would find them in production. Retries: ours (see
# _retry.py), because gRPC's buffer gives up silently on a normal training batch. Proxy: a memory is next door.
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_DRAIN_SECONDS = 2.0  # how long a fork waits for calls of other threads


def addresses_of(address: Union[str, Sequence[str]]) -> Tuple[str, ...]:
    """Checks one address or several: "host", "host:port", "[v6]:port" or "unix:PATH". Raises ValueError."""
    given = tuple(address) if isinstance(address, (list, tuple)) else (address,)
    if not given or not all(isinstance(a, str) and a for a in given):
        raise ValueError("address must be host:port, unix:PATH, or a list of them, not %r" % (address,))
    return tuple(a if a.startswith("unix:") or ":" in a else "%s:%d" % (a, DEFAULT_PORT) for a in given)


class _Line(NamedTuple):
    """A connection to one address."""

    position: int          # of the address
    channel: grpc.Channel
    metadata: Any          # of every call: the token that was read when it was made
    calls: Dict[str, Any]  # method -> what calls it


class Attempt:
    """A call that was started. Thread-safe."""

    def __init__(self, transport: "Transport", method: str, line: _Line, names: _request.Names, call: Any):
        self._transport, self._method, self._line, self._names, self._call = transport, method, line, names, call

    def cancel(self) -> None:
        self._call.cancel()

    def result(self) -> Any:
        """After done() was called. Raises EvokeError."""
        try:
            return self._call.result()
        except grpc.RpcError as error:
            raise self._transport._failed(self._method, error, self._line, self._names) from None


class Transport:
    """Sends requests to the first address that answers; goes on to the next when one is unavailable.

    Thread-safe and fork-safe. Channels are made at the first call and made anew after a fork.
    """

    def __init__(self, addresses: Tuple[str, ...], options: Optional[Dict[str, Any]] = None,
                 security: Optional[_security.Security] = None):
        self._addresses = addresses
        self._security = security or _security.Security(addresses, None, None, None, False)
        merged = dict(_OPTIONS)
        merged.update(options or {})
        self._options = list(merged.items())
        self._lock = threading.Lock()  # guards all below
        self._changed = threading.Condition(self._lock)  # a fork began or ended, or during one a call ended
        self._lines: Dict[int, _Line] = {}  # by position in addresses
        self._refused: Any = None  # the metadata whose token the server last refused
        self._current = 0      # position of the address in use
        self._in_flight = 0
        self._forking = False
        self._closed = False
        _fork.register(self)

    def call(self, method: str, request: Any, timeout: Optional[float]) -> Any:
        """One attempt of `method`, at most `timeout` seconds (None: no limit). Raises EvokeError, nothing else."""
        line, names = self._begin(method), _request.current()
        try:
            return line.calls[method](request, timeout=timeout, metadata=_metadata(line, names))
        except (grpc.RpcError, ValueError) as error:
            raise self._failed(method, error, line, names) from None
        finally:
            self._end()

    def start(self, method: str, request: Any, timeout: Optional[float], done: Callable[[], None]) -> "Attempt":
        """The same without waiting. done(): called from any thread, once the attempt has its result. Raises EvokeError."""
        line, names = self._begin(method), _request.current()
        try:
            call = line.calls[method].future(request, timeout=timeout, metadata=_metadata(line, names))
        except (grpc.RpcError, ValueError) as error:
            self._end()
            raise self._failed(method, error, line, names) from None

        def ended(_) -> None:
            self._end()
            done()

        call.add_done_callback(ended)
        return Attempt(self, method, line, names, call)

    def stream(self, method: str, request: Any, timeout: Optional[float],
               opened: Callable[[grpc.Call], None] = lambda call: None) -> Iterator[Any]:
        """One attempt of a method that answers with a stream: its messages, one after another.

        Closing the generator cancels the call. A server that is gone is noticed by the channel's keepalive. opened: is
        given the call, for another thread to cancel.
        """
        line, names = self._begin(method), _request.current()
        try:
            replies = line.calls[method](request, timeout=timeout, metadata=_metadata(line, names))
            opened(replies)
            try:
                yield from replies
            finally:
                replies.cancel()
        except (grpc.RpcError, ValueError) as error:
            raise self._failed(method, error, line, names) from None
        finally:
            self._end()

    def _begin(self, method: str) -> "_Line":
        """The connection to use; the call counts as in flight until _end()."""
        with self._lock:
            while self._forking:
                self._changed.wait()
            if self._closed:
                raise errors.Cancelled("%s: the client is closed" % method, reason="CLIENT_CLOSED")
            line = self._lines.get(self._current) or self._connect(self._current)
            self._in_flight += 1
            return line

    def _end(self) -> None:
        with self._lock:
            self._in_flight -= 1
            if self._forking:
                self._changed.notify_all()

    def has_another_token(self) -> bool:
        """Its owner may have been given another one since the file was read. (A read does not hold the lock.)"""
        return self._security.metadata() != self._refused

    def close(self) -> None:
        """Closes the channels; calls in flight and later ones raise Cancelled."""
        with self._lock:
            self._closed = True
            lines, self._lines = self._lines, {}
        for line in lines.values():
            line.channel.close()

    def _connect(self, position: int) -> "_Line":
        metadata = self._security.metadata()
        channel = self._security.channel(self._addresses[position], self._options)
        stubs = (memory_service_pb2_grpc.MemoryServiceStub(channel), admin_service_pb2_grpc.AdminServiceStub(channel))
        line = self._lines[position] = _Line(position, channel, metadata, {**vars(stubs[0]), **vars(stubs[1])})
        return line

    def _failed(self, method: str, error: Exception, line: "_Line", names: _request.Names) -> errors.EvokeError:
        if not isinstance(error, grpc.RpcError):  # "Cannot invoke RPC on closed channel!"
            return errors.Unavailable("%s: %s" % (method, error), request_id=names.request_id or "")
        failure = errors.from_rpc_error(error, method, names.request_id or "")
        with self._lock:
            ours = self._lines.get(line.position) is line
            if failure.code == grpc.StatusCode.UNAUTHENTICATED and ours:
                self._refused = self._lines.pop(line.position).metadata  # the next connection reads the token anew
            if failure.code == grpc.StatusCode.UNAVAILABLE and self._current == line.position:
                self._current = (line.position + 1) % len(self._addresses)
            if failure.code == grpc.StatusCode.UNAVAILABLE and not failure.reason and ours:
                # The connection is broken. gRPC would make a new one with a back-off of its own, and only while some
                # call polls; a new channel tries at once, so that _retry.py alone decides how often.
                self._lines.pop(line.position, None)
        return failure

    def _before_fork(self) -> None:
        """Holds new calls back and waits for those in flight; connections stay open, unused, until after the fork.

        They are not closed: gRPC tears a channel down on threads of its own, which its fork handler then waits for, for
        ever. For the same reason GRPC_ENABLE_FORK_SUPPORT is left alone: set to 1, it closes the channels in the child
        and ends the child when that is not over at once.
        """
        self._changed.acquire()  # held over the fork, so that no other thread owns it in the child
        self._forking = True
        give_up = time.monotonic() + _DRAIN_SECONDS
        while self._in_flight and time.monotonic() < give_up:
            self._changed.wait(0.1)

    def _after_fork(self, in_child: bool) -> None:
        if in_child:
            _abandoned.append(self._lines)
            self._lines = {}
            self._lock = threading.Lock()
            self._changed = threading.Condition(self._lock)
            self._in_flight = 0
            self._forking = False
            return
        self._forking = False
        self._changed.notify_all()
        self._changed.release()


def _metadata(line: _Line, names: _request.Names) -> Any:
    """Of an attempt: the token, and what the call is called."""
    return (line.metadata or ()) + names.metadata()


_abandoned: List[Any] = []  # channels of a parent process: destroying them in the child would disturb the parent's
