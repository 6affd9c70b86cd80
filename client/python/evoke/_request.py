"""What calls are called in the logs of the server: the id of a request, and the trace that it is part of."""

import contextlib
import contextvars
import os
import re
from typing import Iterator, NamedTuple, Optional, Tuple

_ID = re.compile(r"[A-Za-z0-9._:/+=@,-]{1,128}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Names(NamedTuple):
    """Of a call, or of the calls of a scope; what is None is not named."""

    request_id: Optional[str] = None
    traceparent: Optional[str] = None

    def metadata(self) -> Tuple[Tuple[str, str], ...]:
        pairs = (("x-request-id", self.request_id), ("traceparent", self.traceparent))
        return tuple((key, value) for key, value in pairs if value is not None)


_current: "contextvars.ContextVar[Names]" = contextvars.ContextVar("evoke_request", default=Names())


def current() -> Names:
    """Of the call under way; outside of one, of the scope."""
    return _current.get()


@contextlib.contextmanager
def request_scope(request_id: Optional[str] = None, traceparent: Optional[str] = None) -> Iterator[None]:
    """Names the calls that are made inside, by this thread or task and the tasks that it starts there.

        with evoke.request_scope(request_id=headers.get("x-request-id"), traceparent=headers.get("traceparent")):
            memory.query(x)

    request_id: 1 to 128 of letters, digits and "._-:/+=@,"; it is in the logs of the server, and in the request_id of an
    error. By default each call has one of its own, the same for all its attempts. traceparent: W3C Trace Context, version
    00. What is neither, or None, is as if it were not given: it may come from anywhere. Scopes nest.
    """
    outer = _current.get()
    names = Names(request_id if request_id is not None and _ID.fullmatch(request_id) else outer.request_id,
                  traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else outer.traceparent)
    token = _current.set(names)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def one_call() -> Iterator[None]:
    """All attempts inside are one call: they have one id, and so has what a call asks on its way."""
    names = _current.get()
    if names.request_id is not None:
        yield
        return
    token = _current.set(names._replace(request_id=os.urandom(8).hex()))  # the system's: a forked child has others
    try:
        yield
    finally:
        _current.reset(token)
