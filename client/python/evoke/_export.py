"""Writes an export: columns grow in FILE.partial, which a later call continues, and become one file at the end."""

import contextlib
import fcntl
import json
import os
from typing import Any, Dict, Optional

import numpy as np

from . import _export_file, _progress, _request, _retry, _spec
from ._proto import memory_service_pb2 as memory_pb2
from ._proto import types_pb2
from .errors import ExportChanged, FailedPrecondition, Internal

_PARTIAL_FORMAT = "evoke-export-partial 1"
_COMMIT_BYTES = 64 << 20  # what a crash loses at most; a sync of ten files every MiB would be most of the time
_ROW_COLUMNS = ("slots", "values", "written_steps", "hits")


class Partial:
    """The folder FILE.partial: a raw file for each column, and progress.json, which says how much of them counts.

    `state` is what progress.json holds: the header of the file to be, "rows" (whole ones), "last_step" (of the last of
    them), "payload_count" and "payload_size". None: nothing yet. One process at a time, held by a lock. What is in
    the files beyond the committed state is cut off when the folder is opened again.
    """

    def __init__(self, path: str):
        self.path, self.folder = path, path + ".partial"
        os.makedirs(self.folder, exist_ok=True)
        self._lock = open(self._of("lock"), "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise FailedPrecondition("another process exports to %s" % path, reason="EXPORT_RUNS") from None
        self._files = {name: open(self._of(name + ".raw"), "ab") for name in _export_file.COLUMNS}
        self.state: Optional[Dict[str, Any]] = self._load()
        self._uncommitted = 0  # bytes
        self._cut()

    def reset(self) -> None:
        """Forgets everything."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._of("progress.json"))
        self.state = None
        self._cut()

    def begin(self, header: Dict[str, Any]) -> None:
        """The state that is exported, as the server's first message tells it. Raises ExportChanged for another one."""
        if self.state is None:
            self.state = dict(header, rows=0, last_step=0, payload_count=0, payload_size=0)
        elif any(self.state[name] != header[name] for name in ("uid", "epoch", "turn", "state_hash", "payloads")):
            raise ExportChanged("the memory is not in the state that the export began with", reason="EXPORT_CHANGED")

    def append(self, rows: types_pb2.SlotRows) -> None:
        """Adds a message of the stream, all of it. Raises Internal when its columns do not fit each other."""
        dim, n, state = self.state["spec"]["key_dim"], rows.rows, self.state
        columns = {name: getattr(rows, name) for name in _ROW_COLUMNS + ("keys",)}
        for name, data in columns.items():
            expected = n * np.dtype(_export_file.COLUMNS[name]).itemsize * (dim if name == "keys" else 1)
            if len(data) != expected:
                raise Internal("Export: %d bytes of %s for %d rows, expected %d" % (len(data), name, n, expected))
        payloads = sorted(rows.payloads, key=lambda p: (p.row, p.place))
        ends = state["payload_size"] + np.cumsum([len(p.data) for p in payloads], dtype=np.uint64)
        columns.update(
            payload_rows=state["rows"] + np.array([p.row for p in payloads], np.uint64),
            payload_places=np.array([p.place for p in payloads]),
            payload_steps=np.array([p.step for p in payloads], np.uint64), payload_ends=ends,
            payload_bytes=b"".join(p.data for p in payloads))
        for name, data in columns.items():
            if not isinstance(data, bytes):
                data = data.astype(_export_file.COLUMNS[name]).tobytes()
            self._files[name].write(data)
            self._uncommitted += len(data)
        self.state = dict(state, rows=state["rows"] + n, last_step=int(np.frombuffer(rows.written_steps, "<u8")[-1]),
                          payload_count=state["payload_count"] + len(payloads),
                          payload_size=int(ends[-1]) if payloads else state["payload_size"])
        if self._uncommitted >= _COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """What was appended so far survives from here on."""
        if self.state is None:
            return
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        with open(self._of("progress.new"), "w", encoding="utf-8") as file:
            json.dump(dict(self.state, format=_PARTIAL_FORMAT), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._of("progress.new"), self._of("progress.json"))
        _sync_folder(self.folder)
        self._uncommitted = 0

    def finish(self, report: _progress.Report) -> None:
        """Makes the file out of the columns, in one move, and removes the folder."""
        self.commit()
        header = {name: value for name, value in self.state.items()
                  if name not in ("format", "rows", "last_step", "payload_count", "payload_size")}
        n, p = self.state["rows"], self.state["payload_count"]
        shapes = {name: (p,) if name.startswith("payload") else (n,) for name in _export_file.COLUMNS}
        shapes.update(keys=(n, self.state["spec"]["key_dim"]), payload_bytes=(self.state["payload_size"],))
        raw = {name: self._of(name + ".raw") for name in _export_file.COLUMNS}
        _export_file.write(self._of("assembled"), header, raw, shapes, report)
        os.replace(self._of("assembled"), self.path)
        _sync_folder(os.path.dirname(os.path.abspath(self.path)))
        for name in ["progress.json", "lock"] + [name + ".raw" for name in _export_file.COLUMNS]:
            os.unlink(self._of(name))
        with contextlib.suppress(OSError):  # something that is not ours lies in it
            os.rmdir(self.folder)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._lock.close()

    def _of(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _load(self) -> Optional[Dict[str, Any]]:
        try:
            with open(self._of("progress.json"), encoding="utf-8") as file:
                state = json.load(file)
        except (FileNotFoundError, ValueError):
            return None
        return state if isinstance(state, dict) and state.pop("format", None) == _PARTIAL_FORMAT else None

    def _cut(self) -> None:
        """Brings the files to the length that the state says; begins anew when one is shorter."""
        state = self.state or {"rows": 0, "payload_count": 0, "payload_size": 0, "spec": {"key_dim": 0}}
        for name, file in self._files.items():
            count = state["payload_count"] if name.startswith("payload") else state["rows"]
            count = {"keys": count * state["spec"]["key_dim"], "payload_bytes": state["payload_size"]}.get(name, count)
            size = count * np.dtype(_export_file.COLUMNS[name]).itemsize
            file.flush()
            if os.fstat(file.fileno()).st_size < size:
                return self.reset()
            file.truncate(size)


async def run(memory, path: str, payloads: bool, report: _progress.Report, until: _retry.Deadline) -> Dict[str, Any]:
    """Exports a handle's memory to `path`; returns the header of the file. Continues what broke off, while it can."""
    client, partial = memory._client, Partial(path)
    io = client._io
    written_by = _written_by()

    async def attempt(timeout: Optional[float]) -> None:
        state = partial.state
        request = memory_pb2.ExportRequest(memory=memory._ref(), without_payloads=not payloads)
        if state is not None:
            request.after_step, request.required_turn = state["last_step"], state["turn"]
        replies = client._stream("Export", request, timeout)
        try:
            async for reply in replies:
                if reply.HasField("header"):
                    partial.begin(_header(reply, payloads, written_by))
                    memory._seen(reply)
                if reply.slots.rows:
                    await io.work(partial.append, reply.slots)
                report("export", partial.state["rows"], partial.state["live_slots"])
        finally:
            await replies.aclose()
        if partial.state is None or partial.state["rows"] != partial.state["live_slots"]:
            raise Internal("Export: the stream ended before its last row")

    try:
        if partial.state is not None and (partial.state["uid"] != (await memory._describe(until)).uid.hex()
                                          or partial.state["payloads"] != payloads):
            partial.reset()  # of another memory, or with other content
        while True:
            try:
                with _request.one_call():
                    await _retry.call(io, attempt, until, client._policy(long=True), mutates=False)
                break
            except ExportChanged:
                if partial.state is None:
                    raise
                partial.reset()
            except BaseException:  # an interruption too: the next call goes on from here
                partial.commit()
                raise
        header = dict(partial.state)
        await io.work(partial.finish, report)
        return header
    finally:
        partial.close()


def _header(reply: memory_pb2.ExportResponse, payloads: bool, written_by: str) -> Dict[str, Any]:
    h = reply.header
    return {"written_by": written_by, "memory": h.memory, "uid": h.uid.hex(), "epoch": h.epoch, "turn": h.turn,
            "step": h.step, "state_hash": reply.state_hash, "live_slots": reply.live_slots, "payloads": payloads,
            "spec": _spec.from_proto(reply.spec)}


def _written_by() -> str:
    from . import __version__  # this module is imported before it is set
    return "evoke-python " + __version__


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
