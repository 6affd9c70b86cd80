"""Exactly once: sessions and their numbers (semantics of a memory, "Exactly once").

Averaging a key is not idempotent, so every mutation carries a session (128 random bits) and a number; the server
recognises a repeated number and answers it with the stored reply. One mutation is in flight a session at a time, so
concurrent callers get a session each, from a pool that belongs to one handle of one memory uid.
"""

import os
import threading
from typing import Any, Awaitable, Callable, List, Optional

from . import _fork, _retry
from ._proto import types_pb2
from .errors import EvokeError, SessionError, SessionLost


class Session:
    """Numbers mutations 1, 2, 3... Not thread-safe: the pool lends it to one caller at a time."""

    def __init__(self, opened_after: int, generation: int):
        self.generation = generation  # of the pool when it was opened
        self._id = os.urandom(16)
        self._number = 1
        self._opened_after = opened_after

    def mutation(self) -> types_pb2.Mutation:
        """Names the next mutation; the same message until acknowledge()."""
        return types_pb2.Mutation(session=self._id, number=self._number, first_unacknowledged=self._number,
                                  opened_after=self._opened_after if self._number == 1 else 0)

    def acknowledge(self) -> None:
        """The reply has arrived."""
        self._number += 1


class SessionPool:
    """Idle sessions; thread-safe. A forked child starts with none, so that no session is used by two processes."""

    def __init__(self):
        self._lock = threading.Lock()
        self._idle: List[Session] = []
        self._generation = 0
        _fork.register(self)

    @property
    def generation(self) -> int:
        """How often retire() was called."""
        return self._generation

    def retire(self) -> None:
        """Gives all sessions up, those that are lent out as well: the server is about to forget them."""
        with self._lock:
            self._generation += 1
            self._idle = []

    def take(self) -> Optional[Session]:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def give(self, session: Session) -> None:
        with self._lock:
            if session.generation == self._generation:
                self._idle.append(session)

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self, in_child: bool) -> None:
        if in_child:
            self._lock = threading.Lock()
            self._idle = []
        else:
            self._lock.release()


async def mutate(io: Any, pool: SessionPool, last_turn: Callable[[bool, _retry.Deadline], Awaitable[int]],
                 send: Callable[[types_pb2.Mutation, Optional[float]], Awaitable[Any]], deadline: _retry.Deadline,
                 policy: _retry.RetryPolicy) -> Any:
    """Sends one mutation until it is answered or refused, and returns the reply.

    last_turn(refresh, deadline): a turn of this memory that was seen, asked for anew when refresh is True.
    send(mutation, timeout): one attempt. Afterwards the session goes back to the pool unless its next number is in
    doubt: an error whose outcome is unknown, or an interruption, gives the session up (the server forgets it in time).
    A forgotten session is replaced when the mutation surely was not applied; otherwise SessionLost is raised, and so it
    is when the pool was retired meanwhile: what was meant for the old content must not land on the restored one.
    """
    refused, generation = 0, pool.generation
    session = pool.take() or Session(await last_turn(False, deadline), generation)
    while True:
        try:
            reply = await _retry.call(io, lambda timeout: send(session.mutation(), timeout), deadline, policy,
                                      mutates=True)
        except SessionLost as error:
            refused += 1
            delay = 0.0 if refused == 1 else policy.backoff(refused)
            if error.outcome_unknown or delay >= deadline.remaining() or generation != pool.generation:
                raise
            await io.sleep(delay)
            session = Session(await last_turn(True, deadline), generation)
        except SessionError:
            raise
        except EvokeError as error:
            if not error.outcome_unknown:
                pool.give(session)  # a refused mutation consumes no number
            raise
        else:
            session.acknowledge()
            pool.give(session)
            return reply
