"""Client of an Evoke server: makes, finds and removes memories."""

import os
import time
from typing import Any, Dict, Optional, Sequence, Tuple, Union

from . import _retry, _security, _spec, _transport, results
from ._proto import admin_service_pb2 as admin_pb2
from .errors import DeadlineExceeded, EvokeError, Unavailable
from .memory import Memory


class Client:
    """Connects to one server, or to the first of several addresses that answers.

    address: "host:port", "unix:PATH", or a list of them. deadline: seconds that a call may take with all its retries
    unless it names its own (float("inf"): for ever). options: further gRPC channel options by name. retry: waits.
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
                 token: Optional[str] = None, token_file: Optional[str] = None, allow_insecure_token: bool = False):
        self._addresses = _transport.addresses_of(address)
        self._options = dict(options or {})
        self.deadline = float(deadline)
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
                **self._access}

    def __setstate__(self, state):
        self.__init__(**state)

    def _call(self, method: str, request: Any, deadline: Optional[float]) -> Any:
        """A call that may be repeated freely, until the deadline."""
        until = _retry.Deadline(self.deadline if deadline is None else deadline)
        return _retry.call(lambda timeout: self._transport.call(method, request, timeout), until, self.retry,
                           mutates=False)


def _status_of(reply: admin_pb2.StatusResponse) -> results.ServerStatus:
    return results.ServerStatus(
        version=reply.version, instance=reply.instance,
        state=_spec.enum_name(admin_pb2.ServerState, "SERVER_STATE_", reply.state),
        uptime_seconds=reply.uptime_seconds, simd=reply.simd, arithmetic_fingerprint=reply.arithmetic_fingerprint,
        limits={f.name: getattr(reply.limits, f.name) for f in admin_pb2.Limits.DESCRIPTOR.fields},
        memories=tuple(_spec.description(m) for m in reply.memories))
