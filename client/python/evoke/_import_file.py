"""Brings an export back: the same slots, bit for bit, in chunks that a later call continues."""

from typing import Any, Dict, Optional, Tuple

import numpy as np

from . import _codec, _export_file, _progress, _retry
from ._proto import memory_service_pb2 as memory_pb2
from ._proto import types_pb2
from ._transfer_calls import CHUNK_BYTES
from .errors import DataLoss, InvalidArgument, SlotTaken

_COMPARED_ROWS = 16  # the last ones that seem to be in, when an import is continued


async def run(client, path: str, name: Optional[str], spec: Optional[Dict[str, Any]], report: _progress.Report,
        until: _retry.Deadline):
    """Client.import_file."""
    with _export_file.ExportFile(path) as file:
        await client._io.work(file.verify, report)
        wanted = dict(file.spec, **(spec or {}))
        if wanted["key_dim"] != file.key_dim:
            raise InvalidArgument("%s has keys of %d dimensions, not %d" % (path, file.key_dim, wanted["key_dim"]),
                                  reason="BAD_ARGUMENT", metadata={"field": "key_dim"})
        memory = await client.create_memory(name or file.header["memory"], if_not_exists=True, deadline=until.remaining(),
                                      **wanted)
        max_rows = await memory._max_rows(until)
        done = await _rows_in(memory, file, until)
        while done < file.rows:
            report("import", done, file.rows)
            rows = await client._io.work(_chunk, file, done, max_rows)
            request = memory_pb2.ImportRequest(memory=memory._ref(), exact=rows)
            done += rows.rows
            if done == file.rows:
                request.step_after = file.step
            await memory._send("Import", request, True, until.remaining())
        report("import", done, file.rows)
        await _compare(memory, file, until)
        return memory


async def _rows_in(memory, file: _export_file.ExportFile, until: _retry.Deadline) -> int:
    """How many rows the memory holds already: those up to its step. Raises SlotTaken when it holds anything else.

    The file's rows are in the order of their steps and a chunk is all or nothing, so the step alone says how far an
    earlier call came, if it was that call that filled the memory; the count and the latest rows must agree too.
    """
    now = await memory._describe(until)
    done = int(np.searchsorted(file.columns["written_steps"], now.step, side="right"))
    if done != now.live_slots or (0 < done < file.rows and now.step != file.columns["written_steps"][done - 1]):
        raise SlotTaken("memory %r has %d slots at step %d, the first %d rows of %s belong to that step" % (
            memory.name, now.live_slots, now.step, done, file.path), reason="SLOT_TAKEN")
    first, c = max(0, done - _COMPARED_ROWS), file.columns
    if done > first:
        held = (await memory.get_slots(slots=c["slots"][first:done].tolist(), keys=True, deadline=until.remaining())).slots
        found = [(s.slot, s.value, s.written_step, s.hits, s.key.tobytes()) for s in held]
        expected = [(int(c["slots"][i]), int(c["values"][i]), int(c["written_steps"][i]), int(c["hits"][i]),
                     c["keys"][i].tobytes()) for i in range(first, done)]
        if found != expected:
            raise SlotTaken("memory %r holds other rows than %s" % (memory.name, file.path), reason="SLOT_TAKEN")
    return done


def _chunk(file: _export_file.ExportFile, start: int, max_rows: int) -> types_pb2.SlotRows:
    """The next rows, about CHUNK_BYTES of them with their payloads, at least one."""
    c, row_bytes = file.columns, 28 + 4 * file.key_dim
    end = min(file.rows, start + max(1, min(max_rows, CHUNK_BYTES // row_bytes)))
    first, last = np.searchsorted(c["payload_rows"], (start, end)).tolist()
    # Bytes of the rows up to each one, their payloads included.
    upto = np.searchsorted(c["payload_rows"][first:last], np.arange(start + 1, end + 1))
    ends = np.concatenate([[_start(c, first)], c["payload_ends"][first:last]]).astype(np.int64)
    sizes = (ends[upto] - ends[0]) + row_bytes * np.arange(1, end - start + 1)
    end = start + max(1, int(np.searchsorted(sizes, CHUNK_BYTES, side="right")))
    end = min(end, file.rows)
    last = int(np.searchsorted(c["payload_rows"], end))
    rows = types_pb2.SlotRows(rows=end - start, **{
        name: c[name][start:end].tobytes() for name in ("slots", "values", "written_steps", "hits", "keys")})
    for p in range(first, last):
        rows.payloads.add(row=int(c["payload_rows"][p]) - start, place=int(c["payload_places"][p]),
                          step=int(c["payload_steps"][p]),
                          data=c["payload_bytes"][_start(c, p):int(c["payload_ends"][p])].tobytes())
    return rows


def _start(columns: Dict[str, np.ndarray], payload: int) -> int:
    return int(columns["payload_ends"][payload - 1]) if payload else 0


async def _compare(memory, file: _export_file.ExportFile, until: _retry.Deadline) -> None:
    """The proof: state hash and step are those of the memory that was exported."""
    now = await memory.state_hash(deadline=until.remaining())
    found: Tuple[int, str] = (now.header.step, now.state_hash)
    # Without rows there is no chunk that could set the step.
    expected = (file.step if file.rows else found[0], file.state_hash)
    if found != expected:
        raise DataLoss("memory %r is at step %d with state hash %s after the import, %s says step %d and %s" % (
            (memory.name,) + found + (file.path,) + expected), reason="STATE_DIFFERS")
