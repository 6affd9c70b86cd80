"""The calls of a memory, written once, as coroutines: evoke.aio awaits them, evoke.Memory runs them to their end."""

import threading
from typing import Any, Awaitable, Dict, Optional, Sequence, Union

import numpy as np

from . import _codec, _fork, _request, _retry, _sessions, _spec, results, snapshots
from ._proto import admin_service_pb2 as admin_pb2
from ._proto import memory_service_pb2 as memory_pb2
from ._proto import types_pb2
from ._snapshot_calls import SnapshotCalls
from ._transfer_calls import TransferCalls
from .errors import InvalidArgument

_FORMS = {"scores": memory_pb2.RETURN_FORM_SCORES, "gradient": memory_pb2.RETURN_FORM_GRADIENT,
          "keys": memory_pb2.RETURN_FORM_KEYS}


class MemoryCalls(SnapshotCalls, TransferCalls):
    """Base of evoke.aio.Memory, and what evoke.Memory has inside. All state is here: uid, turn, sessions. Thread-safe.

    Arguments named x are embeddings [rows, key_dim] (or one row [key_dim]), of any scale: NumPy, lists or torch
    tensors; y are int64 values [rows]; write and skip are None, a bool, or bools [rows]; deadline is in seconds and
    covers all retries (default: the client's). Every call raises EvokeError and its subclasses (see errors.py), nothing else.
    """

    def __init__(self, client, name: str, uid: bytes = b"", epoch: Optional[int] = None):
        self._client = client  # a ClientCalls
        self._name = name
        self._pool = _sessions.SessionPool()
        self._lock = threading.Lock()  # guards all below
        self._uid = uid
        self._epoch = epoch
        self._turn: Optional[int] = None     # the highest seen of this uid
        self._key_dim: Optional[int] = None  # once known
        self._origin: Optional[snapshots.SnapshotToken] = None
        _fork.register(self)

    def identity(self) -> str:
        return "%r%s" % (self._name, ", uid=%s" % self._uid.hex() if self._uid else "")

    def arguments(self) -> Dict[str, Any]:
        """What makes an equal handle, but for the client."""
        return {"name": self._name, "uid": self._uid, "epoch": self._epoch}

    @property
    def name(self) -> str:
        return self._name

    @property
    def uid(self) -> bytes:
        """16 bytes; b"" before the first reply."""
        return self._uid

    @property
    def origin(self) -> Optional[snapshots.SnapshotToken]:
        """The state that this memory was made from, when this very handle came from fork or restore_as."""
        return self._origin

    async def query(self, x: Any, k: Optional[int] = None, inverse_temperature: Optional[float] = None,
              neighbors: bool = False, keys: bool = False, payloads: bool = False, skip: Any = None, *,
              min_turn: Optional[int] = None, deadline: Optional[float] = None) -> results.QueryResult:
        """The value nearest to each row, and its confidence; on request the neighbors with keys and payloads.

        k and inverse_temperature default to the spec's. Rows with skip are padding: zeros come back. Changes nothing.
        min_turn: answer only from a state of at least this turn.
        """
        matrix = _codec.matrix(x, self._key_dim)
        rows = matrix["rows"]
        request = memory_pb2.QueryRequest(memory=self._names(min_turn), embeddings=matrix, neighbors=bool(neighbors),
                                          neighbor_keys=bool(keys), neighbor_payloads=bool(payloads), k=k,
                                          inverse_temperature=inverse_temperature)
        if skip is not None:
            request.skip = _codec.bits(_codec.flags(skip, rows, "skip"))
        reply = await self._read("Query", request, deadline)
        found = None
        if neighbors or keys or payloads:
            shape = (rows, reply.neighbor_count)
            found = results.Neighbors(
                slots=_codec.unpack(reply.neighbor_slots, "<u8", shape),
                values=_codec.unpack(reply.neighbor_values, "<i8", shape),
                similarities=_codec.unpack(reply.neighbor_similarities, "<f4", shape),
                weights=_codec.unpack(reply.neighbor_weights, "<f4", shape),
                ages=_codec.unpack(reply.neighbor_ages, "<u8", shape),
                keys=_codec.unpack(reply.neighbor_keys, "<f4", shape + (matrix["dim"],)) if keys else None,
                payloads={s.slot: _codec.payload_tuple(s.payloads) for s in reply.payloads} if payloads else None)
        return results.QueryResult(
            header=_codec.header(reply.header), answered=_codec.unbits(reply.answered, rows),
            values=_codec.unpack(reply.values, "<i8", (rows,)),
            confidences=_codec.unpack(reply.confidences, "<f4", (rows,)), neighbors=found)

    async def update(self, x: Any, y: Any, *, write: Any = None, skip: Any = None,
               payloads: Optional[Sequence[Optional[bytes]]] = None,
               deadline: Optional[float] = None) -> results.UpdateResult:
        """Writes observations (x, y), all rows or none. payloads: at most 4,096 bytes a row, kept with the slot."""
        request, writes = self._observations(memory_pb2.UpdateRequest, x, y, write, skip, payloads)
        reply = await self._send("Update", request, writes, deadline)
        rows = request.embeddings.rows
        return results.UpdateResult(header=_codec.header(reply.header),
                                    outcomes=_codec.unpack(reply.outcomes, "u1", (rows,)),
                                    slots=_codec.unpack(reply.slots, "<u8", (rows,)))

    async def train_step(self, x: Any, y: Any, *, write: Any = None, skip: Any = None,
                   payloads: Optional[Sequence[Optional[bytes]]] = None, form: str = "scores",
                   confidence_gradient: bool = False, deadline: Optional[float] = None) -> results.TrainResult:
        """Answers, scores and writes observations in one round trip, all rows or none.

        form: "scores", "gradient" (d loss / d x as well) or "keys" (the positive and the negative key). Rows with
        write=False are answered and scored alike but change nothing; when no row writes, the call is a read.
        """
        if form not in _FORMS:
            raise InvalidArgument("form is %r, expected one of %s" % (form, ", ".join(map(repr, _FORMS))),
                                  reason="BAD_ARGUMENT")
        request, writes = self._observations(memory_pb2.TrainStepRequest, x, y, write, skip, payloads)
        request.form = _FORMS[form]
        request.confidence_gradient = bool(confidence_gradient)
        reply = await self._send("TrainStep", request, writes, deadline)
        rows = request.embeddings.rows

        def vectors(data: bytes, asked: bool) -> Optional[np.ndarray]:
            return _codec.unpack(data, "<f4", (rows, request.embeddings.dim)) if asked else None

        return results.TrainResult(
            header=_codec.header(reply.header), answered=_codec.unbits(reply.answered, rows),
            values=_codec.unpack(reply.values, "<i8", (rows,)),
            confidences=_codec.unpack(reply.confidences, "<f4", (rows,)),
            losses=_codec.unpack(reply.losses, "<f4", (rows,)),
            positive_found=_codec.unbits(reply.positive_found, rows),
            negative_found=_codec.unbits(reply.negative_found, rows),
            outcomes=_codec.unpack(reply.outcomes, "u1", (rows,)), slots=_codec.unpack(reply.slots, "<u8", (rows,)),
            gradients=vectors(reply.gradients, form == "gradient"),
            confidence_gradients=vectors(reply.confidence_gradients, confidence_gradient),
            positive_keys=vectors(reply.positive_keys, form == "keys"),
            negative_keys=vectors(reply.negative_keys, form == "keys"))

    async def get_slots(self, slots: Sequence[int] = (), values: Sequence[int] = (), limit: Optional[int] = None,
                  keys: bool = False, payloads: bool = False, *, min_turn: Optional[int] = None,
                  deadline: Optional[float] = None) -> results.SlotsResult:
        """Reads live slots by number and by value (at most `limit`, default 16, of each value, newest first)."""
        request = memory_pb2.GetSlotsRequest(
            memory=self._ref(min_turn), slots=[int(s) for s in slots], values=[int(v) for v in values],
            limit=limit or 0, keys=bool(keys), payloads=bool(payloads))
        reply = await self._read("GetSlots", request, deadline)

        def slot(s: memory_pb2.Slot) -> results.Slot:
            return results.Slot(slot=s.slot, value=s.value, written_step=s.written_step, age=s.age, hits=s.hits,
                                key=np.frombuffer(s.key, "<f4") if keys else None,
                                payloads=_codec.payload_tuple(s.payloads) if payloads else None)

        return results.SlotsResult(
            header=_codec.header(reply.header), slots=tuple(slot(s) for s in reply.slots),
            values=tuple(results.ValueSlots(value=v.value, live_slots=v.live_slots, observations=v.observations,
                                            slots=tuple(slot(s) for s in v.slots)) for v in reply.values))

    async def clear(self, *, deadline: Optional[float] = None) -> int:
        """Frees every slot, exactly once, in order with other mutations; returns how many were live.

        The epoch grows by 1; a handle that pinned the epoch goes on with the new one.
        """
        reply = await self._send("ClearMemory", admin_pb2.ClearMemoryRequest(memory=self._ref()), True, deadline)
        with self._lock:
            if self._epoch is not None:
                self._epoch = max(self._epoch, reply.header.epoch)
        return reply.freed_slots

    async def describe(self, *, deadline: Optional[float] = None) -> results.Description:
        """Spec and figures of this memory."""
        return await self._describe(self._client._until(deadline))

    async def state_hash(self, *, deadline: Optional[float] = None) -> results.StateHash:
        """Names the state: equal hashes at equal steps are equal states."""
        reply = await self._read("StateHash", admin_pb2.StateHashRequest(memory=self._ref()), deadline)
        return results.StateHash(_codec.header(reply.header), reply.state_hash, reply.live_slots)

    async def delete(self, *, deadline: Optional[float] = None) -> bool:
        """Deletes this memory and its data; False when it was gone already."""
        if not self._uid:
            await self.describe(deadline=deadline)
        return await self._client.delete_memory(self._name, uid=self._uid, deadline=deadline)

    # ---- one call ----

    def _observations(self, message, x, y, write, skip, payloads):
        """The request without its mutation, and whether any row writes."""
        matrix = _codec.matrix(x, self._key_dim)
        rows = matrix["rows"]
        write, skip = _codec.flags(write, rows, "write"), _codec.flags(skip, rows, "skip")
        request = message(memory=self._names(), embeddings=matrix, values=_codec.int64(y, rows, "values"),
                          write=_codec.bits(write), skip=_codec.bits(skip), payloads=_codec.payloads(payloads, rows))
        if skip is None:
            return request, bool(rows) if write is None else bool(write.any())
        return request, bool((~skip if write is None else write & ~skip).any())

    def _ref(self, min_turn: Optional[int] = None) -> types_pb2.MemoryRef:
        return types_pb2.MemoryRef(**self._names(min_turn))

    def _names(self, min_turn: Optional[int] = None) -> Dict[str, Any]:
        """The fields of a MemoryRef."""
        with self._lock:
            return {"name": self._name, "uid": self._uid, "epoch": self._epoch, "min_turn": min_turn}

    async def _read(self, method: str, request: Any, deadline: Union[None, float, _retry.Deadline]) -> Any:
        return self._seen(await self._client._call(method, request, deadline))

    async def _send(self, method: str, request: Any, writes: bool, deadline: Optional[float]) -> Any:
        """Sends a request that is a mutation when any of its rows writes."""
        if not writes:
            return await self._read(method, request, deadline)
        until, io = self._client._until(deadline), self._client._io

        def send(mutation: types_pb2.Mutation, timeout: Optional[float]) -> Awaitable[Any]:
            request.mutation.CopyFrom(mutation)
            request.memory.uid = self._uid
            return self._client._attempt(method, request, timeout)

        with _request.one_call():
            return self._seen(await io.carry(
                _sessions.mutate(io, self._pool, self._last_turn, send, until, self._client.retry), until))

    async def _last_turn(self, refresh: bool, deadline: _retry.Deadline) -> int:
        if refresh or self._turn is None or not self._uid:
            await self._describe(deadline)
        return self._turn

    async def _describe(self, deadline: _retry.Deadline) -> results.Description:
        request = admin_pb2.DescribeMemoryRequest(memory=self._ref())
        reply = await self._read("DescribeMemory", request, deadline)
        with self._lock:
            self._key_dim = reply.description.spec.key_dim or None
        return _spec.description(reply.description)

    def _seen(self, reply: Any) -> Any:
        """Learns uid and turn from a reply's header; returns the reply."""
        header = reply.header
        with self._lock:
            self._uid = self._uid or header.uid
            if header.uid == self._uid:
                self._turn = max(self._turn or 0, header.turn)
        return reply

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self, in_child: bool) -> None:
        if in_child:
            self._lock = threading.Lock()
        else:
            self._lock.release()
