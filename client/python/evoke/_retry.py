"""When a failed call is sent again: the table of errors in client/README.md as code."""

import dataclasses
import random
import time
from typing import Any, Awaitable, Callable, Optional

from grpc import StatusCode

from .errors import DeadlineExceeded, EvokeError

_REFUSING_UNAVAILABLE = frozenset(("LOADING", "DRAINING", "BEHIND"))  # others, such as COMMIT_UNKNOWN, may have applied
_NEVER_SURE = frozenset((StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED))


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How long to wait between attempts, in seconds: exponential with jitter, never less than the server asks for."""

    initial_backoff: float = 0.05
    max_backoff: float = 2.0
    multiplier: float = 2.0
    attempt_timeout: Optional[float] = None  # of one attempt; None: all the time that is left

    def backoff(self, failures: int) -> float:
        """Before the next attempt, after `failures` (at least 1) failed ones: half of it is random."""
        full = min(self.max_backoff, self.initial_backoff * self.multiplier ** min(failures - 1, 64))
        return full * random.uniform(0.5, 1.0)


def retriable(error: EvokeError) -> bool:
    """True when the same request may succeed later: unavailable, deadline, or full with a delay named.

    Cancelled without a reason is what gRPC answers for a call that a stopping server had not begun.
    """
    if error.code in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
        return True
    if error.code == StatusCode.CANCELLED:
        return not error.reason
    return error.code == StatusCode.RESOURCE_EXHAUSTED and error.retry_delay is not None


def surely_refused(error: EvokeError) -> bool:
    """True when the attempt that failed so was certainly not applied: the server itself said what it refused."""
    if not error.reason or error.code in _NEVER_SURE:
        return False
    return error.code != StatusCode.UNAVAILABLE or error.reason in _REFUSING_UNAVAILABLE


class Deadline:
    """A point in time that all attempts of one logical call share."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        return self._end - time.monotonic()


async def call(io: Any, attempt: Callable[[Optional[float]], Awaitable[Any]], deadline: Deadline, policy: RetryPolicy,
               mutates: bool) -> Any:
    """Returns attempt(timeout in seconds), repeated while that may help and there is time; io is what waits between.

    Raises the last EvokeError. Its outcome_unknown is True when `mutates` and any attempt may have been applied.
    """
    failures, unknown = 0, False
    while True:
        remaining = deadline.remaining()
        if remaining <= 0:
            raise DeadlineExceeded("the deadline of %g s had passed before the call" % deadline.seconds,
                                   outcome_unknown=unknown)
        timeout = min(remaining, policy.attempt_timeout or remaining)
        try:
            return await attempt(None if timeout == float("inf") else timeout)
        except EvokeError as error:
            failures += 1
            unknown = unknown or (mutates and not surely_refused(error))
            delay = max(policy.backoff(failures), error.retry_delay or 0.0)
            if retriable(error) and delay < deadline.remaining():
                await io.sleep(delay)
                continue
            error.outcome_unknown = unknown
            if failures > 1:
                error.message += " (after %d attempts in %.3g s)" % (failures, deadline.seconds -
                                                                     max(0.0, deadline.remaining()))
            raise
