"""Makes os.fork() safe for objects that hold connections or locks.

gRPC must not be in a call while the process forks. So before a fork every registered object is brought to rest (calls
in flight are waited for, new ones held back);
afterwards the parent goes on, and the child makes connections and sessions
of its own. Threads: the hooks run in the forking thread, in order of registration.
"""

import os
import weakref

_registered = []  # weak references, in order of registration


def register(obj) -> None:
    """Has obj._before_fork(), then obj._after_fork(in_child=...) called around every fork, as long as it lives."""
    _registered.append(weakref.ref(obj, _forget))


def _forget(reference) -> None:
    try:
        _registered.remove(reference)
    except ValueError:
        pass


_resting = []  # strong references during a fork


def _before() -> None:
    _resting.extend(obj for obj in [r() for r in list(_registered)] if obj is not None)
    for obj in _resting:
        obj._before_fork()


def _after(in_child: bool) -> None:
    while _resting:
        _resting.pop()._after_fork(in_child=in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=lambda: _after(False), after_in_child=lambda: _after(True))
