"""Progress of long calls: a bar for people, or a function of the caller's."""

import contextlib
import sys
from typing import Any, Callable, Iterator, Union

Report = Callable[[str, int, int], None]       # (phase, done, total or 0): bytes, or rows in the phases of _ROWS
Wanted = Union[None, bool, Report]              # what a `progress` argument may be

_ROWS = frozenset(("check", "export", "import"))


@contextlib.contextmanager
def reporter(progress: Wanted, what: str) -> Iterator[Report]:
    """A function that reports as `progress` asks: not at all (None, False), by a bar of tqdm (True), or by itself."""
    if not progress:
        yield lambda phase, done, total: None
    elif callable(progress):
        yield progress
    else:
        bar = _Bar(what)
        try:
            yield bar
        finally:
            bar.close()


class _Bar:
    """A bar on stderr for each phase; where stderr is no terminal, a line every few seconds. Thread-compatible."""

    def __init__(self, what: str):
        import tqdm  # imported when asked for only: the package itself needs NumPy and gRPC

        self._tqdm, self._what = tqdm.tqdm, what
        self._phase, self._bar = None, None  # type: Any, Any

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase:
            self.close()
            tty = sys.stderr.isatty()
            self._phase, self._bar = phase, self._tqdm(
                desc="%s: %s" % (self._what, phase), total=total or None, unit=" rows" if phase in _ROWS else "B",
                unit_scale=True, file=sys.stderr, ascii=not tty, mininterval=0.1 if tty else 5)
        self._bar.total = total or None
        if done < self._bar.n:  # begun again
            self._bar.reset()
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
