"""A server whose faults are scripted, for tests of retries, deadlines, lost replies, sessions and error details.

It keeps the exactly-once contract for real (sessions, numbers, stored replies) but no keys: an update of n writing rows
adds n to the step. Every RPC takes the next entry of script[method], if any, before or after its normal work:

    fake.script["Update"] = [refuse("UNAVAILABLE", "LOADING"), lose_reply(), OK]
"""

import collections
import os
import struct
import threading
import time
from concurrent import futures

import grpc
import numpy as np

from evoke._proto import admin_service_pb2 as admin_pb2
from evoke._proto import admin_service_pb2_grpc, memory_service_pb2_grpc, types_pb2
from evoke._proto import memory_service_pb2 as memory_pb2
from fake_transfer import FakeTransfer

OK = None


def refuse(code, reason="", metadata=None, delay=None, message="as scripted"):
    """The request fails before it is applied."""
    def behave(fake, apply, context):
        fail(context, code, reason, metadata, delay, message)
    return behave


def lose_reply(code="UNAVAILABLE", reason="", delay=None):
    """The request is applied, but the client sees an error."""
    def behave(fake, apply, context):
        apply()
        fail(context, code, reason, None, delay, "reply lost")
    return behave


def stall(seconds, apply_first=False):
    """Nothing comes back for a while."""
    def behave(fake, apply, context):
        if apply_first:
            apply()
        time.sleep(seconds)
        return OK if apply_first else apply()
    return behave


def break_off(after, code="UNAVAILABLE", reason=""):
    """The request is applied; of the stream that answers it only the first `after` messages arrive."""
    def behave(fake, apply, context):
        def some():
            yield from list(apply())[:after]
            fail(context, code, reason, None, None, "stream broken")
        return some()
    return behave


def forget_sessions():
    """The server forgets all sessions, as after too many others, then handles the request."""
    def behave(fake, apply, context):
        fake.forget()
        return apply()
    return behave


def both(first, second):
    """`first` for its effect on the fake, then `second`."""
    def behave(fake, apply, context):
        first(fake, lambda: None, context)
        return second(fake, apply, context)
    return behave


def _field(number, data):
    data = data.encode() if isinstance(data, str) else data
    assert len(data) < 128 * 128
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + length + data


def status_bytes(code, reason="", metadata=None, delay=None, domain="evoke"):
    """A serialised google.rpc.Status with ErrorInfo and RetryInfo."""
    out = bytes([8, code]) + _field(2, "message")
    if reason:
        info = _field(1, reason) + _field(2, domain)
        for key, value in (metadata or {}).items():
            info += _field(3, _field(1, key) + _field(2, value))
        out += _field(3, _field(1, "type.googleapis.com/google.rpc.ErrorInfo") + _field(2, info))
    if delay is not None:
        nanos, digits = int(delay % 1 * 1e9), b""
        while True:
            digits += bytes([nanos & 127 | (128 if nanos > 127 else 0)])
            nanos >>= 7
            if not nanos:
                break
        duration = bytes([8, int(delay)]) + b"\x10" + digits
        out += _field(3, _field(1, "type.googleapis.com/google.rpc.RetryInfo") + _field(2, _field(1, duration)))
    return out


def fail(context, code, reason="", metadata=None, delay=None, message="as scripted"):
    status = getattr(grpc.StatusCode, code)
    if reason or delay is not None:
        context.set_trailing_metadata((("grpc-status-details-bin",
                                        status_bytes(status.value[0], reason, metadata, delay)),))
    context.abort(status, message)


class FakeServer(FakeTransfer):
    """Listens on 127.0.0.1. Attributes to look at: step, requests[method] (all that arrived), metadata[method], and those of FakeTransfer."""

    def __init__(self):
        self.script = collections.defaultdict(list)
        self.requests = collections.defaultdict(list)
        self.metadata = collections.defaultdict(list)  # method -> the metadata of each request, as a dict
        self.uid, self.epoch, self.turn, self.step = os.urandom(16), 1, 1, 0
        self.sessions = {}         # id -> (last number, first unacknowledged, {number: (body, reply)})
        self.forgotten_turn = 0
        self.alarms = []           # that Status tells
        self.max_in_flight = 0
        self._in_flight = collections.Counter()
        self._lock = threading.RLock()
        self._port = 0
        super().__init__(fail)
        self.start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self._port

    def start(self):
        """Listens (again, on the same port)."""
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(_Servicer(self), self._server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(_Servicer(self), self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:%d" % self._port)
        self._server.start()

    def stop(self):
        self._server.stop(0).wait()

    def forget(self):
        with self._lock:
            self.forgotten_turn = self.turn
            self.sessions.clear()

    def header(self):
        return types_pb2.ReplyHeader(memory="m", uid=self.uid, epoch=self.epoch, term=1, turn=self.turn, step=self.step,
                                     durability=types_pb2.DURABILITY_FSYNC, instance=b"i" * 16)

    def handle(self, method, request, context):
        with self._lock:
            self.requests[method].append(type(request).FromString(request.SerializeToString()))
            self.metadata[method].append(dict(context.invocation_metadata()))
            behave = self.script[method].pop(0) if self.script[method] else OK

        def apply():
            with self._lock:
                return getattr(self, "_" + method)(request, context)

        result = (behave(self, apply, context) if behave else OK) or apply()
        return iter(result) if isinstance(result, list) else result  # a list answers with a stream

    def once(self, request, context, effect):
        """The exactly-once contract around effect() -> reply; also checks that a session has one call in flight."""
        mutation = request.mutation
        body = type(request).FromString(request.SerializeToString())
        body.ClearField("mutation")
        if len(mutation.session) != 16:
            fail(context, "INVALID_ARGUMENT", "BAD_ARGUMENT", {"field": "mutation"})
        last, acknowledged, replies = self.sessions.get(mutation.session, (0, 1, {}))
        meta = {"last_number": str(last)}
        if last == 0 and (mutation.number != 1 or mutation.opened_after < self.forgotten_turn):
            fail(context, "FAILED_PRECONDITION", "SESSION_UNKNOWN", meta)
        if mutation.number > last + 1:
            fail(context, "FAILED_PRECONDITION", "STEP_OUT_OF_ORDER", meta)
        if mutation.number <= last:
            if mutation.number not in replies:
                fail(context, "FAILED_PRECONDITION", "STEP_TOO_OLD", meta)
            old_body, reply = replies[mutation.number]
            if old_body != body.SerializeToString(deterministic=True):
                fail(context, "INVALID_ARGUMENT", "STEP_REUSED", meta)
            return reply
        self.turn += 1
        reply = effect()
        replies = {n: r for n, r in replies.items() if n >= mutation.first_unacknowledged}
        replies[mutation.number] = (body.SerializeToString(deterministic=True), reply)
        self.sessions[mutation.session] = (mutation.number, mutation.first_unacknowledged, replies)
        return reply

    def _check(self, ref, context):
        if ref.name != "m":
            fail(context, "NOT_FOUND", "MEMORY_NOT_FOUND", {"memory": ref.name})
        if (ref.uid and ref.uid != self.uid) or (ref.HasField("epoch") and ref.epoch != self.epoch):
            fail(context, "FAILED_PRECONDITION", "STALE_MEMORY", {"memory": ref.name})

    def _writing(self, request):
        rows = request.embeddings.rows

        def flags(data, default):
            if not data:
                return np.full(rows, default)
            return np.unpackbits(np.frombuffer(data, np.uint8), count=rows, bitorder="little").astype(bool)
        return int((flags(request.write, True) & ~flags(request.skip, False)).sum())

    def _mutate(self, request, context, effect):
        self._check(request.memory, context)
        if self._writing(request) == 0:
            if request.HasField("mutation"):
                fail(context, "INVALID_ARGUMENT", "BAD_ARGUMENT", {"field": "mutation"})
            return effect()
        return self.once(request, context, effect)

    def _Update(self, request, context):
        def effect():
            self.step += self._writing(request)
            rows = request.embeddings.rows
            return memory_pb2.UpdateResponse(header=self.header(), rows=rows, outcomes=bytes([5] * rows),
                                             slots=struct.pack("<%dQ" % rows, *range(rows)))
        return self._mutate(request, context, effect)

    def _TrainStep(self, request, context):
        def effect():
            self.step += self._writing(request)
            rows, dim = request.embeddings.rows, request.embeddings.dim
            ones, bits = np.ones(rows, "<f4").tobytes(), np.packbits(np.ones(rows, bool), bitorder="little").tobytes()
            grads = np.full((rows, dim), 2, "<f4").tobytes()
            return memory_pb2.TrainStepResponse(
                header=self.header(), rows=rows, answered=bits, values=request.values, confidences=ones, losses=ones,
                positive_found=bits, negative_found=bits, outcomes=bytes([5] * rows),
                slots=struct.pack("<%dQ" % rows, *range(rows)),
                gradients=grads if request.form == memory_pb2.RETURN_FORM_GRADIENT else b"",
                confidence_gradients=grads if request.confidence_gradient else b"")
        return self._mutate(request, context, effect)

    def _ClearMemory(self, request, context):
        self._check(request.memory, context)

        def effect():
            self.epoch += 1
            return admin_pb2.ClearMemoryResponse(header=self.header(), freed_slots=self.step)
        return self.once(request, context, effect)

    def _Query(self, request, context):
        self._check(request.memory, context)
        rows = request.embeddings.rows
        return memory_pb2.QueryResponse(header=self.header(), rows=rows, answered=bytes((rows + 7) // 8),
                                        values=bytes(8 * rows), confidences=bytes(4 * rows))

    def _DescribeMemory(self, request, context):
        self._check(request.memory, context)
        return admin_pb2.DescribeMemoryResponse(header=self.header(), description=admin_pb2.MemoryDescription(
            name="m", uid=self.uid, spec=self.spec, turn=self.turn, step=self.step, epoch=self.epoch,
            state=admin_pb2.MEMORY_STATE_SERVING, live_slots=len(self.rows), state_hash=self.state_hash()))

    def _CreateMemory(self, request, context):
        if request.uid:
            self.uid = request.uid
        return admin_pb2.CreateMemoryResponse(header=self.header(), spec=request.spec, created=True)

    def _DeleteMemory(self, request, context):
        return admin_pb2.DeleteMemoryResponse(uid=request.uid, deleted=True)

    def _Status(self, request, context):
        return admin_pb2.StatusResponse(version="fake", state=admin_pb2.SERVER_STATE_SERVING,
                                        limits=admin_pb2.Limits(max_rows=self.max_rows), alarms=self.alarms)


class _Servicer:
    """Every method of both services goes to FakeServer.handle."""

    def __init__(self, fake):
        self._fake = fake

    def __getattr__(self, method):
        return lambda request, context: self._fake.handle(method, request, context)
