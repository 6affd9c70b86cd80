"""Calls one after another, in a thread of their own."""

import contextvars
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Optional

from . import _fork


class Lane:
    """Runs functions in the order in which they were put in. Thread-safe.

    Its thread comes with the first put() and goes with the lane, after its last function; the interpreter waits for it
    at exit. A copy or a pickle is a new lane. A forked child has an empty one; what was under way is the parent's.
    """

    def __init__(self):
        self._lock = threading.Lock()  # guards all below
        self._thread: Optional[ThreadPoolExecutor] = None
        self._last: Optional[Future] = None
        _fork.register(self)

    def put(self, function: Callable[[], Any]) -> Future:
        """Has it run later."""
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="evoke-lane")
            self._last = self._thread.submit(contextvars.copy_context().run, function)  # request_scope reaches it
            return self._last

    def run(self, function: Callable[[], Any]) -> Future:
        """Runs it here, at once, when nothing is under way; otherwise as put() does."""
        with self._lock:
            idle = self._last is None or self._last.done()
        if not idle:
            return self.put(function)
        outcome: Future = Future()
        try:
            outcome.set_result(function())
        except Exception as error:  # noqa: BLE001  (raised by outcome.result())
            outcome.set_exception(error)
        return outcome

    def __reduce__(self):
        return Lane, ()

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self, in_child: bool) -> None:
        if in_child:
            self._lock = threading.Lock()
            self._thread = self._last = None
        else:
            self._lock.release()
