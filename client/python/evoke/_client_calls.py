"""The calls of a client, written once, as coroutines: evoke.aio awaits them, evoke.Client runs them to their end."""

import dataclasses
import os
import time
from typing import Any, AsyncIterator, Callable, Dict, Optional, Sequence, Tuple, Union

from . import _import_file, _progress, _request, _retry, _security, _snapshot_calls, _spec, _transport, results, snapshots
from ._proto import admin_service_pb2 as admin_pb2
from ._proto import types_pb2
from .errors import DeadlineExceeded, Unauthenticated
from ._memory_calls import MemoryCalls


class ClientCalls:
    """Base of evoke.aio.Client, and what evoke.Client has inside; the arguments are theirs. Thread-safe.

    make_io: what the calls wait with, given the transport.
    """

    memory_type = MemoryCalls  # of the handles that it makes

    def __init__(self, address: Union[str, Sequence[str]], make_io: Callable[[_transport.Transport], Any], *,
                 deadline: float = 30.0, options: Optional[Dict[str, Any]] = None,
                 retry: Optional[_retry.RetryPolicy] = None, tls: Union[None, bool, _security.Tls] = None,
                 token: Optional[str] = None, token_file: Optional[str] = None, allow_insecure_token: bool = False,
                 long_deadline: float = 3600.0):
        self._addresses = _transport.addresses_of(address)
        self._options = dict(options or {})
        self.deadline = float(deadline)
        self.long_deadline = float(long_deadline)
        self.retry = retry or _retry.RetryPolicy()
        self._access = {"tls": tls, "token": token, "token_file": token_file,
                        "allow_insecure_token": allow_insecure_token}
        self._transport = _transport.Transport(self._addresses, self._options,
                                               _security.Security(self._addresses, **self._access))
        self._io = make_io(self._transport)

    def identity(self) -> str:
        return repr(self._addresses[0] if len(self._addresses) == 1 else list(self._addresses))

    def disconnect(self) -> None:
        """Closes the connections. Calls in flight and later ones raise Cancelled."""
        self._transport.close()

    def arguments(self) -> Dict[str, Any]:
        """What makes an equal client."""
        return {"address": self._addresses, "deadline": self.deadline, "options": self._options, "retry": self.retry,
                "long_deadline": self.long_deadline, **self._access}

    @property
    def addresses(self) -> Tuple[str, ...]:
        return self._addresses

    async def create_memory(self, name: str, key_dim: int, capacity: int, *, if_not_exists: bool = False,
                      deadline: Optional[float] = None, **spec: Any) -> MemoryCalls:
        """Makes a memory of `capacity` slots of `key_dim` floats.

        spec: further fields of MemorySpec (types.proto): seed, choose_k, margin, inverse_temperature, age_noise, batch
        ("atomic", "sequential"), merge_on_miss, fold_misses, payload_history, partitions, durability ("memory", "wal",
        "fsync"), write_rule. if_not_exists: one of an equal spec that exists is taken instead.
        Raises AlreadyExists, SpecDiffers (names the field), TypeError for a field that does not exist.
        """
        message = _spec.to_proto(dict(spec, key_dim=key_dim, capacity=capacity))
        uid = b"" if if_not_exists else os.urandom(16)  # recognises a repeated request
        reply = await self._call("CreateMemory", admin_pb2.CreateMemoryRequest(
            name=name, spec=message, uid=uid, if_not_exists=if_not_exists), deadline)
        memory = self.memory_type(self, name, uid=reply.header.uid)
        memory._key_dim = reply.spec.key_dim or None
        memory._seen(reply)
        return memory

    async def plan_memory(self, key_dim: int, capacity: int, *, deadline: Optional[float] = None,
                    **spec: Any) -> Dict[str, Union[int, float, bool]]:
        """What such a memory would take, by name of the fields of MemoryPlan (admin_service.proto); makes nothing.

        spec: as in create_memory. "fits" says whether the server's budget has room for its "ram_bytes".
        """
        message = _spec.to_proto(dict(spec, key_dim=key_dim, capacity=capacity))
        plan = (await self._call("CreateMemory", admin_pb2.CreateMemoryRequest(spec=message, dry_run=True), deadline)).plan
        return {f.name: getattr(plan, f.name) for f in admin_pb2.MemoryPlan.DESCRIPTOR.fields}

    def memory(self, name: str, *, uid: bytes = b"", epoch: Optional[int] = None) -> MemoryCalls:
        """A handle of the memory of this name; sends nothing. uid, epoch: refuse (StaleMemory) any other."""
        return self.memory_type(self, name, uid=uid, epoch=epoch)

    async def list_memories(self, *, deadline: Optional[float] = None) -> Tuple[results.Description, ...]:
        """All memories, by name."""
        reply = await self._call("ListMemories", admin_pb2.ListMemoriesRequest(), deadline)
        return tuple(_spec.description(m) for m in reply.memories)

    async def delete_memory(self, name: str, *, uid: bytes = b"", deadline: Optional[float] = None) -> bool:
        """Deletes a memory and its data, the one of this uid only, if given. False when that one was gone already.

        Raises MemoryNotFound when no uid is given and there is none of this name.
        """
        if not uid:
            uid = (await self.memory(name).describe(deadline=deadline)).uid  # a repeated request must not hit a new namesake
        return (await self._call("DeleteMemory", admin_pb2.DeleteMemoryRequest(name=name, uid=uid), deadline)).deleted

    async def fork(self, name: Union[str, MemoryCalls], new_name: str, *, deadline: Optional[float] = None) -> MemoryCalls:
        """Copies a memory under a new name: spec, step, slots and payloads of one turn; the copy's `origin` names it.

        From then on the two have nothing in common. Raises AlreadyExists when new_name is taken.
        """
        request = admin_pb2.ForkMemoryRequest(memory=_ref(name), name=new_name, uid=os.urandom(16))
        reply = await self._call("ForkMemory", request, deadline, long=True)
        return self._made(new_name, reply, reply.origin)

    async def restore(self, name: str, snapshot: snapshots.Named, **options: Any) -> MemoryCalls:
        """Memory.restore in place, for a memory of which there is no handle yet; returns the handle."""
        memory = self.memory(name)
        await memory.restore(snapshot, **options)
        return memory

    async def restore_as(self, new_name: str, snapshot: snapshots.Named, *, memory: Union[None, str, MemoryCalls] = None,
                   backup_folder: Optional[str] = None, progress: _progress.Wanted = None,
                   deadline: Optional[float] = None) -> MemoryCalls:
        """Makes a new memory out of a snapshot of `memory`, or of any memory with a snapshot in backup_folder."""
        identity, token = snapshots.names(snapshot)
        request = admin_pb2.RestoreSnapshotRequest(memory=_ref(memory), id=identity, token=token, new_name=new_name,
                                                   backup_folder=backup_folder, new_uid=os.urandom(16))
        reply = await self._long("RestoreSnapshot", request, progress, "restore as %s" % new_name, deadline)
        return self._made(new_name, reply, reply.snapshot.token)

    async def list_snapshots(self, backup_folder: str, *, deadline: Optional[float] = None) -> Tuple[snapshots.Snapshot, ...]:
        """Those of any memory in a folder below the server's backup-dir; "" is that itself."""
        reply = await self._call("ListSnapshots", admin_pb2.ListSnapshotsRequest(backup_folder=backup_folder), deadline)
        return tuple(snapshots.from_proto(s) for s in reply.snapshots)

    async def import_file(self, path: Union[str, "os.PathLike[str]"], name: Optional[str] = None, *,
                    spec: Optional[Dict[str, Any]] = None, progress: _progress.Wanted = None,
                    deadline: Optional[float] = None) -> MemoryCalls:
        """Makes the memory that Memory.export wrote: the same slots, bits, steps and payloads, under a new uid.

        name: by default the one in the file. spec: fields to change, for instance durability. Every part is compared
        with its checksum before anything is sent (DamagedFile names it), and the state hash at the end. What broke off
        is continued by the same call again; a memory that holds anything else raises SlotTaken.
        """
        with _progress.reporter(progress, "import of %s" % os.path.basename(os.fspath(path))) as report:
            return await _import_file.run(self, os.fspath(path), name, spec, report, self._until(deadline, long=True))

    async def status(self, *, deadline: Optional[float] = None) -> results.ServerStatus:
        """The server: version, readiness, limits, memories. Answers while it is still loading."""
        return _status_of(await self._call("Status", admin_pb2.StatusRequest(), deadline))

    async def wait_ready(self, timeout: float = 60.0) -> results.ServerStatus:
        """Waits until the server takes calls for all its memories. Raises Unavailable or DeadlineExceeded."""
        until = _retry.Deadline(timeout)
        while True:
            status = await self.status(deadline=until.remaining())
            if status.state == "serving":
                return status
            if until.remaining() <= 0.05:
                raise DeadlineExceeded("the server is %s after %g s" % (status.state, timeout))
            await self._io.sleep(0.05)

    def _until(self, deadline: Optional[float], long: bool = False) -> _retry.Deadline:
        default = self.long_deadline if long else self.deadline
        return _retry.Deadline(default if deadline is None else deadline)

    def _policy(self, long: bool) -> _retry.RetryPolicy:
        """An attempt at a whole memory takes what it takes: cut short and repeated it would never end."""
        return dataclasses.replace(self.retry, attempt_timeout=None) if long else self.retry

    async def _attempt(self, method: str, request: Any, timeout: Optional[float]) -> Any:
        """One attempt; another one when the owner of a refused token has been given another token since."""
        start = time.monotonic()
        try:
            return await self._io.call(method, request, timeout)
        except Unauthenticated:
            if not self._transport.has_another_token():
                raise
        return await self._io.call(method, request, _rest(timeout, start))

    async def _stream(self, method: str, request: Any, timeout: Optional[float]) -> AsyncIterator[Any]:
        """The same for a method that answers with a stream. To be closed (aclose)."""
        start, first = time.monotonic(), True
        while True:
            replies = self._io.stream(method, request, timeout if first else _rest(timeout, start))
            try:
                async for reply in replies:
                    yield reply
                return
            except Unauthenticated:  # refused before the first message
                if not first or not self._transport.has_another_token():
                    raise
                first = False
            finally:
                await replies.aclose()

    async def _call(self, method: str, request: Any, deadline: Union[None, float, _retry.Deadline],
                    long: bool = False) -> Any:
        """A call that may be repeated freely, until the deadline."""
        until = deadline if isinstance(deadline, _retry.Deadline) else self._until(deadline, long)
        with _request.one_call():
            return await _retry.call(self._io, lambda timeout: self._attempt(method, request, timeout), until,
                                     self._policy(long), mutates=False)

    async def _long(self, method: str, request: Any, progress: _progress.Wanted, what: str,
                    deadline: Optional[float]) -> Any:
        """The same for a call that tells its progress; its last message."""
        with _progress.reporter(progress, what) as report, _request.one_call():
            return await _retry.call(
                self._io, lambda timeout: _snapshot_calls.last_message(self, method, request, timeout, report),
                self._until(deadline, long=True), self._policy(long=True), mutates=False)

    def _made(self, name: str, reply: Any, origin: types_pb2.SnapshotToken) -> MemoryCalls:
        memory = self.memory_type(self, name, uid=reply.header.uid)
        memory._origin = snapshots.token_from_proto(origin)
        memory._seen(reply)
        return memory


def _ref(memory: Union[None, str, MemoryCalls]) -> Optional[types_pb2.MemoryRef]:
    """By name, or as a handle of either kind pins it."""
    memory = getattr(memory, "_calls", memory)
    return types_pb2.MemoryRef(name=memory) if isinstance(memory, str) else memory and memory._ref()


def _rest(timeout: Optional[float], start: float) -> Optional[float]:
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - start))


def _status_of(reply: admin_pb2.StatusResponse) -> results.ServerStatus:
    return results.ServerStatus(
        version=reply.version, instance=reply.instance,
        state=_spec.enum_name(admin_pb2.ServerState, "SERVER_STATE_", reply.state),
        uptime_seconds=reply.uptime_seconds, simd=reply.simd, arithmetic_fingerprint=reply.arithmetic_fingerprint,
        limits={f.name: getattr(reply.limits, f.name) for f in admin_pb2.Limits.DESCRIPTOR.fields},
        memories=tuple(_spec.description(m) for m in reply.memories),
        alarms=tuple(results.Alarm(a.name, a.memory, a.message, a.active_seconds) for a in reply.alarms))
