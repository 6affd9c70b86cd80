"""The client for programs with an event loop: the same calls, awaited, and as many at a time as there are tasks.

    async with evoke.aio.Client("127.0.0.1:7380") as client:
        memory = client.memory("birds")
        answers = await asyncio.gather(*(memory.query(x) for x in batches))     # all at once

Arguments, results, errors, retries, deadlines and sessions are those of evoke.Client and evoke.Memory, and so is the
code. Mutations of one handle that are awaited at the same time use a session each and come in any order: where the
order matters, await the first before the second is called.

Cancelling a task (or asyncio.wait_for, whose time is up) takes its result away, never half of an update. A read is
dropped. A mutation is carried on without its caller: it is applied once, unless the server refuses it or its deadline
passes first; calling it again would apply it again. Client.settle() waits for those, and so does closing the client.
Only the end of the loop itself (asyncio.run cancels every task) leaves one in doubt, as the end of the process would.
"""

import functools
from typing import Any, Sequence, Tuple, Union

from . import _overlapping, _transport
from ._client_calls import ClientCalls
from ._memory_calls import MemoryCalls


class Memory(MemoryCalls):
    """Handle of one memory: evoke.Memory with coroutines. Made by the Client's calls. Of no loop: several may use it."""

    @property
    def client(self) -> "Client":
        """The Client that this handle belongs to."""
        return self._client

    def __repr__(self) -> str:
        return "evoke.aio.Memory(%s)" % self.identity()

    def __getstate__(self):
        return dict(self.arguments(), client=self._client)

    def __setstate__(self, state):
        self.__init__(**state)


class Client(ClientCalls):
    """Connects to a server: evoke.Client, whose arguments it takes, with coroutines.

    sessions: how many mutations may be in flight at a time in one event loop; more of them wait for their turn (their
    deadline runs meanwhile). A server keeps 1,024 sessions of a memory and forgets the others, so mind the number of
    clients. progress functions are called in the loop's thread or in a thread that works on files. Thread-safe, and of no
    loop: made anywhere, used in several. Pickles to its arguments.
    """

    memory_type = Memory

    def __init__(self, address: Union[str, Sequence[str]] = "127.0.0.1:%d" % _transport.DEFAULT_PORT, *,
                 sessions: int = 16, **arguments: Any):
        if sessions < 1:
            raise ValueError("sessions is %r, expected at least 1" % (sessions,))
        self._sessions = sessions
        super().__init__(address, functools.partial(_overlapping.Overlapping, in_flight=sessions), **arguments)

    async def settle(self) -> Tuple[BaseException, ...]:
        """Waits for all mutations of this loop, those that go on although their tasks were cancelled among them.

        Returns the errors of such as failed with nobody to tell, since the last call; none: all of them were applied.
        """
        return await self._io.settle()

    async def close(self) -> None:
        """Waits as settle() does, then closes the connections. Calls in flight and later ones raise Cancelled."""
        try:
            await self.settle()
        finally:
            self.disconnect()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    def __repr__(self) -> str:
        return "evoke.aio.Client(%s)" % self.identity()

    def __getstate__(self):
        return dict(self.arguments(), sessions=self._sessions)

    def __setstate__(self, state):
        self.__init__(**state)
