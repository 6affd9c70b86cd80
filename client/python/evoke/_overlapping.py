"""Waits for gRPC in an event loop, so that calls of many tasks overlap. See _blocking.py for what an "io" is.

The connections are those of the blocking client: gRPC tells a finished call on a thread of its own, which wakes the
loop of the task that waits. So nothing here belongs to one loop, and a client can serve several, one after another or
in several threads.
"""

import asyncio
import collections
import contextlib
import contextvars
import functools
import threading
import weakref
from typing import Any, AsyncIterator, Callable, Coroutine, Deque, Optional, Set, Tuple, TypeVar

from . import _retry, _transport
from .errors import DeadlineExceeded

T = TypeVar("T")
_REMEMBERED = 1024  # errors of carried mutations that nobody asked for yet


class Overlapping:
    """Waits in the running event loop. Thread-safe. At most `in_flight` mutations of a loop are under way at a time."""

    def __init__(self, transport: _transport.Transport, in_flight: int):
        self._transport = transport
        self._in_flight = in_flight
        self._gates: "weakref.WeakKeyDictionary[Any, asyncio.Semaphore]" = weakref.WeakKeyDictionary()
        self._running: "weakref.WeakKeyDictionary[Any, Set[asyncio.Task]]" = weakref.WeakKeyDictionary()
        self._errors: Deque[BaseException] = collections.deque(maxlen=_REMEMBERED)

    async def call(self, method: str, request: Any, timeout: Optional[float]) -> Any:
        """One attempt; a task that is cancelled meanwhile cancels it."""
        loop = asyncio.get_running_loop()
        done: "asyncio.Future[None]" = loop.create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(wake)

        attempt = self._transport.start(method, request, timeout, tell)
        try:
            await done
        except asyncio.CancelledError:
            attempt.cancel()
            raise
        return attempt.result()

    async def stream(self, method: str, request: Any, timeout: Optional[float]) -> AsyncIterator[Any]:
        """One attempt, its messages awaited in a thread. Closing the generator, or cancelling its task, cancels it."""
        loop, calls, dropped = asyncio.get_running_loop(), [], threading.Event()

        def opened(call: Any) -> None:  # in the thread, perhaps when the task that wanted it is gone already
            calls.append(call)
            if dropped.is_set():
                call.cancel()

        replies = self._transport.stream(method, request, timeout, opened)
        try:
            while True:
                # The thread knows what the call is called.
                message = await loop.run_in_executor(None, contextvars.copy_context().run, next, replies, None)
                if message is None:
                    return
                yield message
        finally:
            dropped.set()
            for call in calls:
                call.cancel()
            with contextlib.suppress(ValueError):  # still running in its thread, where the cancelled call ends it
                replies.close()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[..., T], *args: Any) -> T:
        """function(*args) in a thread; a cancelled task waits for its end: no file is written behind its back."""
        future = asyncio.get_running_loop().run_in_executor(None, functools.partial(function, *args))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            future.cancelled() or future.exception()  # has been seen
            raise

    async def carry(self, mutation: Coroutine[Any, Any, T], deadline: _retry.Deadline) -> T:
        """Runs a mutation to its end even when its caller is cancelled.

        A number that was sent must be sent until its fate is known: given up in the middle, the update would be applied
        or not, and nobody could tell. So cancelling takes the result away, not the update.
        """
        task = asyncio.ensure_future(self._gated(mutation, deadline))
        running = self._running.setdefault(asyncio.get_running_loop(), set())
        running.add(task)
        task.add_done_callback(running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._abandoned)
            raise

    async def settle(self) -> Tuple[BaseException, ...]:
        """Waits for the mutations of this loop; returns the errors of carried ones that failed since the last time."""
        running = self._running.get(asyncio.get_running_loop())
        while running:
            await asyncio.wait(set(running))
        await asyncio.sleep(0)  # callbacks of tasks that are done come in the next round
        errors = []
        while self._errors:
            errors.append(self._errors.popleft())
        return tuple(errors)

    async def _gated(self, mutation: Coroutine[Any, Any, T], deadline: _retry.Deadline) -> T:
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = asyncio.Semaphore(self._in_flight)
        left = None if deadline.seconds == float("inf") else deadline.remaining()
        try:
            if gate.locked():
                await asyncio.wait_for(gate.acquire(), left)
            else:
                await gate.acquire()
        except BaseException as error:
            mutation.close()  # never begun
            if isinstance(error, asyncio.TimeoutError):
                raise DeadlineExceeded("the deadline of %g s passed while %d mutations were in flight" % (
                    deadline.seconds, self._in_flight)) from None
            raise
        try:
            return await mutation
        finally:
            gate.release()

    def _abandoned(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._errors.append(task.exception())
