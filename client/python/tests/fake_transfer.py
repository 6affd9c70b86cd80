"""The half of FakeServer that knows whole memories: rows, export and import, snapshots, fork."""

import hashlib

import numpy as np

from evoke._proto import admin_service_pb2 as admin_pb2
from evoke._proto import memory_service_pb2 as memory_pb2
from evoke._proto import types_pb2

COLUMNS = (("slots", "<u8"), ("values", "<i8"), ("written_steps", "<u8"), ("hits", "<u4"))


class FakeTransfer:
    """Keeps slots as they are imported, and copies of them as snapshots. No searching, no checking of norms.

    rows: [(slot, value, written step, hits, key bytes, ((place, step, data), ...)), ...] by step. kept: the snapshots,
    [(message, rows), ...]. Set by tests: spec, max_rows, chunk_rows (of an export's messages).
    """

    def __init__(self, fail):
        self._fail = fail
        self.rows, self.kept, self.copied = [], [], []
        self.spec = types_pb2.MemorySpec(key_dim=2, capacity=8)
        self.max_rows, self.chunk_rows = 1000, 1

    def state_hash(self):
        return hashlib.sha256(repr(sorted(r[:5] for r in self.rows)).encode()).hexdigest()[:32] if self.rows else "0" * 32

    def token(self):
        return types_pb2.SnapshotToken(uid=self.uid, epoch=self.epoch, turn=self.turn, step=self.step,
                                       state_hash=self.state_hash())

    def _StateHash(self, request, context):
        self._check(request.memory, context)
        return admin_pb2.StateHashResponse(header=self.header(), state_hash=self.state_hash(), live_slots=len(self.rows))

    def _GetSlots(self, request, context):
        held = {r[0]: r for r in self.rows}
        return memory_pb2.GetSlotsResponse(header=self.header(), slots=[
            memory_pb2.Slot(slot=s, value=held[s][1], written_step=held[s][2], hits=held[s][3], key=held[s][4])
            for s in request.slots if s in held])

    def _Import(self, request, context):
        self._check(request.memory, context)
        if request.WhichOneof("source") == "exact":
            rows = self._exact_rows(request.exact, context)
        else:
            new = request.new_rows
            keys = np.frombuffer(new.embeddings.data, "<f4").reshape(new.embeddings.rows, -1)
            rows = [(len(self.rows) + i, int(v), self.step + 1 + i, 0, keys[i].tobytes(),
                     ((0, self.step + 1 + i, new.payloads[i]),) if new.payloads and new.payloads[i] else ())
                    for i, v in enumerate(np.frombuffer(new.values, "<i8"))]
        if len(self.rows) + len(rows) > self.spec.capacity:
            self._fail(context, "RESOURCE_EXHAUSTED", "MEMORY_FULL")

        def effect():
            self.rows += rows
            self.step = request.step_after if request.HasField("step_after") else rows[-1][2]
            return memory_pb2.ImportResponse(
                header=self.header(), slots=np.array([r[0] for r in rows], "<u8").tobytes(), live_slots=len(self.rows),
                state_hash=self.state_hash())
        return self.once(request, context, effect)

    def _exact_rows(self, exact, context):
        columns = [np.frombuffer(getattr(exact, name), dtype).tolist() for name, dtype in COLUMNS]
        keys = np.frombuffer(exact.keys, "<f4").reshape(exact.rows, -1)
        return [tuple(c[i] for c in columns) + (keys[i].tobytes(), tuple(
            (p.place, p.step, p.data) for p in exact.payloads if p.row == i)) for i in range(exact.rows)]

    def _Export(self, request, context):
        self._check(request.memory, context)
        if request.HasField("required_turn") and request.required_turn != self.turn:
            self._fail(context, "FAILED_PRECONDITION", "EXPORT_CHANGED", {"turn": str(self.turn)})
        rows = [r for r in self.rows if r[2] > request.after_step]
        yield memory_pb2.ExportResponse(header=self.header(), spec=self.spec, state_hash=self.state_hash(),
                                        live_slots=len(self.rows), rows_to_come=len(rows))
        for at in range(0, len(rows), self.chunk_rows):
            chunk = rows[at:at + self.chunk_rows]
            message = types_pb2.SlotRows(rows=len(chunk), keys=b"".join(r[4] for r in chunk), **{
                name: np.array([r[i] for r in chunk], dtype).tobytes() for i, (name, dtype) in enumerate(COLUMNS)})
            for i, r in enumerate(chunk):
                for place, step, data in () if request.without_payloads else r[5]:
                    message.payloads.add(row=i, place=place, step=step, data=data)
            yield memory_pb2.ExportResponse(slots=message)

    def _ForkMemory(self, request, context):
        self._check(request.memory, context)
        header = self.header()
        header.memory, header.uid, header.turn, header.epoch = request.name, request.uid, 1, 1
        return admin_pb2.ForkMemoryResponse(header=header, origin=self.token())

    def _CreateSnapshot(self, request, context):
        self._check(request.memory, context)
        made = admin_pb2.Snapshot(id="%d-%d-%d" % (self.epoch, self.turn, len(self.kept)), memory="m", token=self.token(),
                                  spec=self.spec, live_slots=len(self.rows), bytes=100, files=2)
        self.kept.append((made, list(self.rows)))
        return self._long(admin_pb2.CreateSnapshotResponse, snapshot=made)

    def _ListSnapshots(self, request, context):
        kept = [m for m, _ in self.kept] if not request.HasField("backup_folder") else self.copied
        return admin_pb2.ListSnapshotsResponse(snapshots=kept)

    def _VerifySnapshot(self, request, context):
        return self._long(admin_pb2.VerifySnapshotResponse, snapshot=self._find(request, context)[0])

    def _CopySnapshot(self, request, context):
        self.copied.append(self._find(request, context)[0])
        return self._long(admin_pb2.CopySnapshotResponse, snapshot=self.copied[-1])

    def _DeleteSnapshot(self, request, context):
        before = len(self.kept)
        self.kept = [k for k in self.kept if k[0].id != request.id]
        return admin_pb2.DeleteSnapshotResponse(deleted=len(self.kept) < before)

    def _RestoreSnapshot(self, request, context):
        if not request.new_name:
            self._check(request.memory, context)
        if request.HasField("token") and request.token.uid != self.uid:
            self._fail(context, "FAILED_PRECONDITION", "TOKEN_MISMATCH")
        found, rows = self._find(request, context)
        if request.new_name:
            header = self.header()
            header.memory, header.uid = request.new_name, request.new_uid
            return self._long(admin_pb2.RestoreSnapshotResponse, snapshot=found, header=header, changed=True)
        changed = self.token() != found.token
        if changed:
            self.rows, self.step = list(rows), found.token.step
            self.epoch, self.turn = self.epoch + 1, self.turn + 1
            self.forget()
        return self._long(admin_pb2.RestoreSnapshotResponse, snapshot=found, header=self.header(), changed=changed)

    def _find(self, request, context):
        for made, rows in self.kept:
            token = getattr(request, "token", None)
            if made.id == request.id or (not request.id and token == made.token):
                return made, rows
        self._fail(context, "NOT_FOUND", "SNAPSHOT_NOT_FOUND")

    @staticmethod
    def _long(message, **result):
        return [message(progress=admin_pb2.Progress(phase="copy", done=50, total=100)),
                message(progress=admin_pb2.Progress(phase="copy", done=100, total=100)), message(**result)]
