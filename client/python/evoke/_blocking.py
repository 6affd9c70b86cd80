"""Runs the calls, which are written once as coroutines, for a program without an event loop.

Every place where a call may wait is a method of its "io". The one here waits by blocking the thread, so a coroutine
that is given it never suspends, and one send(None) runs it from beginning to end. No event loop is made, used or needed;
a program that has one may call from it, at the price of standing still meanwhile.
"""

import functools
import time
from typing import Any, AsyncIterator, Awaitable, Callable, Coroutine, Optional, TypeVar

from . import _retry, _transport

T = TypeVar("T")


class Blocking:
    """Waits in the calling thread. Thread-safe. Raises what the transport raises."""

    def __init__(self, transport: _transport.Transport):
        self._transport = transport

    async def call(self, method: str, request: Any, timeout: Optional[float]) -> Any:
        """One attempt of a method that answers with one message."""
        return self._transport.call(method, request, timeout)

    async def stream(self, method: str, request: Any, timeout: Optional[float]) -> AsyncIterator[Any]:
        """One attempt of a method that answers with many. Closing the generator cancels it."""
        replies = self._transport.stream(method, request, timeout)
        try:
            for reply in replies:
                yield reply
        finally:
            replies.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def work(self, function: Callable[..., T], *args: Any) -> T:
        """function(*args), which reads or writes files."""
        return function(*args)

    def carry(self, mutation: Coroutine[Any, Any, T], deadline: _retry.Deadline) -> Awaitable[T]:
        """Runs a mutation. (In an event loop, until its end even when its caller is cancelled.)"""
        return mutation


def run(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call whose io is Blocking."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    call.close()
    raise RuntimeError("a blocking call wanted to wait for an event loop")


def method(call: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """The blocking twin of a coroutine function, for a class whose `_calls` is an object of that function's class."""

    @functools.wraps(call)
    def blocking(self, *args, **options):
        return run(call(self._calls, *args, **options))

    return blocking
