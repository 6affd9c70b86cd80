"""Client of an Evoke server: makes, finds and removes memories."""

import dataclasses
import os
import time
from typing import Any, Dict, Optional, Sequence, Tuple, Union

from . import _import_file, _progress, _retry, _security, _snapshot_calls, _spec, _transport, results, snapshots
from ._proto import admin_service_pb2 as admin_pb2
from ._proto import types_pb2
from .errors import DeadlineExceeded
from .memory import Memory


class Client:
    """Connects to one server, or to the first of several addresses that answers.

    address: "host:port", "unix:PATH", or a list of them. deadline: seconds that a call may take with all its retries
    unless it names its own (float("inf"): for ever). long_deadline: the same for calls that read or write a whole
    memory (fork, snapshots, export, import). options: further gRPC channel options by name. retry: waits.
    tls: a Tls, or True for the system's roots; None: the connection is not encrypted. token_file: a file that holds the
    token of the caller, read when a connection is made and again when the server refuses what was in it. token: the
    token itself, which then is in pickles too. Without TLS a token goes to this machine only, unless
    allow_insecure_token is True.

    Nothing is sent before the first call. Thread-safe. Fork-safe: the child makes connections and sessions of its own.
    Pickles to its arguments, no socket. Usable in a with statement. Raises ValueError for arguments that cannot go
    together.
    """

    def __init__(self, address: Union[str, Sequence[str]] = "127.0.0.1:%d" % _transport.DEFAULT_PORT, *,
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

    @property
    def addresses(self) -> Tuple[str, ...]:
        return self._addresses

    def create_memory(self, name: str, key_dim: int, capacity: int, *, if_not_exists: bool = False,
                      deadline: Optional[float] = None, **spec: Any) -> Memory:
        """Makes a memory of `capacity` slots of `key_dim` floats.

        spec: further fields of MemorySpec (types.proto): seed, choose_k, margin, inverse_temperature, age_noise, batch
        ("atomic", "sequential"), merge_on_miss, fold_misses, payload_history, partitions, durability ("memory", "wal",
        "fsync"), write_rule. if_not_exists: one of an equal spec that exists is taken instead.
        Raises AlreadyExists, SpecDiffers (names the field), TypeError for a field that does not exist.
        """
        message = _spec.to_proto(dict(spec, key_dim=key_dim, capacity=capacity))
        uid = b"" if if_not_exists else os.urandom(16)  # recognises a repeated request
        reply = self._call("CreateMemory", admin_pb2.CreateMemoryRequest(
            name=name, spec=message, uid=uid, if_not_exists=if_not_exists), deadline)
        memory = Memory(self, name, uid=reply.header.uid)
        memory._key_dim = reply.spec.key_dim or None
        memory._seen(reply)
        return memory

    def plan_memory(self, key_dim: int, capacity: int, *, deadline: Optional[float] = None,
                    **spec: Any) -> Dict[str, Union[int, float, bool]]:
        """What such a memory would take, by name of the fields of MemoryPlan (admin_service.proto); makes nothing.

        spec: as in create_memory. "fits" says whether the server's budget has room for its "ram_bytes".
        """
        message = _spec.to_proto(dict(spec, key_dim=key_dim, capacity=capacity))
        plan = self._call("CreateMemory", admin_pb2.CreateMemoryRequest(spec=message, dry_run=True), deadline).plan
        return {f.name: getattr(plan, f.name) for f in admin_pb2.MemoryPlan.DESCRIPTOR.fields}

    def memory(self, name: str, *, uid: bytes = b"", epoch: Optional[int] = None) -> Memory:
        """A handle of the memory of this name; sends nothing. uid, epoch: refuse (StaleMemory) any other."""
        return Memory(self, name, uid=uid, epoch=epoch)

    def list_memories(self, *, deadline: Optional[float] = None) -> Tuple[results.Description, ...]:
        """All memories, by name."""
        reply = self._call("ListMemories", admin_pb2.ListMemoriesRequest(), deadline)
        return tuple(_spec.description(m) for m in reply.memories)

    def delete_memory(self, name: str, *, uid: bytes = b"", deadline: Optional[float] = None) -> bool:
        """Deletes a memory and its data, the one of this uid only, if given. False when that one was gone already.

        Raises MemoryNotFound when no uid is given and there is none of this name.
        """
        if not uid:
            uid = self.memory(name).describe(deadline=deadline).uid  # a repeated request must not hit a new namesake
        return self._call("DeleteMemory", admin_pb2.DeleteMemoryRequest(name=name, uid=uid), deadline).deleted

    def fork(self, name: Union[str, Memory], new_name: str, *, deadline: Optional[float] = None) -> Memory:
        """Copies a memory under a new name: spec, step, slots and payloads of one turn; the copy's `origin` names it.

        From then on the two have nothing in common. Raises AlreadyExists when new_name is taken.
        """
        request = admin_pb2.ForkMemoryRequest(memory=_ref(name), name=new_name, uid=os.urandom(16))
        reply = self._call("ForkMemory", request, deadline, long=True)
        return self._made(new_name, reply, reply.origin)

    def restore(self, name: str, snapshot: snapshots.Named, **options: Any) -> Memory:
        """Memory.restore in place, for a memory of which there is no handle yet; returns the handle."""
        memory = self.memory(name)
        memory.restore(snapshot, **options)
        return memory

    def restore_as(self, new_name: str, snapshot: snapshots.Named, *, memory: Union[None, str, Memory] = None,
                   backup_folder: Optional[str] = None, progress: _progress.Wanted = None,
                   deadline: Optional[float] = None) -> Memory:
        """Makes a new memory out of a snapshot of `memory`, or of any memory with a snapshot in backup_folder."""
        identity, token = snapshots.names(snapshot)
        request = admin_pb2.RestoreSnapshotRequest(memory=_ref(memory), id=identity, token=token, new_name=new_name,
                                                   backup_folder=backup_folder, new_uid=os.urandom(16))
        reply = self._long("RestoreSnapshot", request, progress, "restore as %s" % new_name, deadline)
        return self._made(new_name, reply, reply.snapshot.token)

    def list_snapshots(self, backup_folder: str, *, deadline: Optional[float] = None) -> Tuple[snapshots.Snapshot, ...]:
        """Those of any memory in a folder below the server's backup-dir; "" is that itself."""
        reply = self._call("ListSnapshots", admin_pb2.ListSnapshotsRequest(backup_folder=backup_folder), deadline)
        return tuple(snapshots.from_proto(s) for s in reply.snapshots)

    def import_file(self, path: Union[str, "os.PathLike[str]"], name: Optional[str] = None, *,
                    spec: Optional[Dict[str, Any]] = None, progress: _progress.Wanted = None,
                    deadline: Optional[float] = None) -> Memory:
        """Makes the memory that Memory.export wrote: the same slots, bits, steps and payloads, under a new uid.

        name: by default the one in the file. spec: fields to change, for instance durability. Every part is compared
        with its checksum before anything is sent (DamagedFile names it), and the state hash at the end. What broke off
        is continued by the same call again; a memory that holds anything else raises SlotTaken.
        """
        with _progress.reporter(progress, "import of %s" % os.path.basename(os.fspath(path))) as report:
            return _import_file.run(self, os.fspath(path), name, spec, report, self._until(deadline, long=True))

    def status(self, *, deadline: Optional[float] = None) -> results.ServerStatus:
        """The server: version, readiness, limits, memories. Answers while it is still loading."""
        return _status_of(self._call("Status", admin_pb2.StatusRequest(), deadline))

    def wait_ready(self, timeout: float = 60.0) -> results.ServerStatus:
        """Waits until the server takes calls for all its memories. Raises Unavailable or DeadlineExceeded."""
        until = _retry.Deadline(timeout)
        while True:
            status = self.status(deadline=until.remaining())
            if status.state == "serving":
                return status
            if until.remaining() <= 0.05:
                raise DeadlineExceeded("the server is %s after %g s" % (status.state, timeout))
            time.sleep(0.05)

    def close(self) -> None:
        """Closes the connections. Calls in flight and later ones raise Cancelled."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __repr__(self) -> str:
        return "evoke.Client(%r)" % (self._addresses[0] if len(self._addresses) == 1 else list(self._addresses))

    def __getstate__(self):
        return {"address": self._addresses, "deadline": self.deadline, "options": self._options, "retry": self.retry,
                "long_deadline": self.long_deadline, **self._access}

    def __setstate__(self, state):
        self.__init__(**state)

    def _until(self, deadline: Optional[float], long: bool = False) -> _retry.Deadline:
        default = self.long_deadline if long else self.deadline
        return _retry.Deadline(default if deadline is None else deadline)

    def _policy(self, long: bool) -> _retry.RetryPolicy:
        """An attempt at a whole memory takes what it takes: cut short and repeated it would never end."""
        return dataclasses.replace(self.retry, attempt_timeout=None) if long else self.retry

    def _call(self, method: str, request: Any, deadline: Optional[float], long: bool = False) -> Any:
        """A call that may be repeated freely, until the deadline."""
        return _retry.call(lambda timeout: self._transport.call(method, request, timeout),
                           self._until(deadline, long), self._policy(long), mutates=False)

    def _long(self, method: str, request: Any, progress: _progress.Wanted, what: str, deadline: Optional[float]) -> Any:
        """The same for a call that tells its progress; its last message."""
        with _progress.reporter(progress, what) as report:
            return _retry.call(
                lambda timeout: _snapshot_calls.last_message(self, method, request, timeout, report),
                self._until(deadline, long=True), self._policy(long=True), mutates=False)

    def _made(self, name: str, reply: Any, origin: types_pb2.SnapshotToken) -> Memory:
        memory = Memory(self, name, uid=reply.header.uid)
        memory._origin = snapshots.token_from_proto(origin)
        memory._seen(reply)
        return memory


def _ref(memory: Union[None, str, Memory]) -> Optional[types_pb2.MemoryRef]:
    """By name, or as a handle pins it."""
    return types_pb2.MemoryRef(name=memory) if isinstance(memory, str) else memory and memory._ref()


def _status_of(reply: admin_pb2.StatusResponse) -> results.ServerStatus:
    return results.ServerStatus(
        version=reply.version, instance=reply.instance,
        state=_spec.enum_name(admin_pb2.ServerState, "SERVER_STATE_", reply.state),
        uptime_seconds=reply.uptime_seconds, simd=reply.simd, arithmetic_fingerprint=reply.arithmetic_fingerprint,
        limits={f.name: getattr(reply.limits, f.name) for f in admin_pb2.Limits.DESCRIPTOR.fields},
        memories=tuple(_spec.description(m) for m in reply.memories),
        alarms=tuple(results.Alarm(a.name, a.memory, a.message, a.active_seconds) for a in reply.alarms))
