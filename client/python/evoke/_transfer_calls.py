"""The calls of a memory handle that move whole memories: export to a file, import of arrays."""

import dataclasses
import os
from typing import Any, Optional, Sequence, Union

import numpy as np

from . import _codec, _export, _progress, results, snapshots
from ._proto import memory_service_pb2 as memory_pb2
from .errors import EvokeError, InvalidArgument, MemoryFull

CHUNK_BYTES = 1 << 20            # of one Import: a turn of its own, so neither many small nor few huge ones
NORM_LIMITS = (1e-12, 1e18)      # the server's, for embeddings


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that Memory.export wrote."""

    path: str
    token: snapshots.SnapshotToken  # the state that it holds
    rows: int                       # live slots
    bytes: int                      # of the file


@dataclasses.dataclass(frozen=True)
class Imported:
    """What import_arrays wrote."""

    header: Optional[results.Header]  # after the last row; None when there were no rows
    slots: np.ndarray                 # [rows] uint64: where each row went, in the order of the arguments


class TransferCalls:
    """What a memory handle can do with files and arrays; mixed into it, never used alone.

    progress: True for a bar (needs tqdm), or a function (phase, done, total). deadline: seconds, by default the
    client's long_deadline.
    """

    async def export(self, path: Union[str, "os.PathLike[str]"], *, payloads: bool = True, progress: _progress.Wanted = None,
               deadline: Optional[float] = None) -> Exported:
        """Writes the memory at one turn to a file that numpy.load reads (client/README.md has the format).

        Others may go on writing. The file appears when it is whole, in place of an older one; until then its parts lie
        in `path`.partial. What broke off, by an error or by the end of the process, is continued by the same call as
        long as the memory has not changed, and begun anew otherwise. Client.import_file reads it back.
        """
        path = os.fspath(path)
        with _progress.reporter(progress, "export of %s" % self._name) as report:
            h = await _export.run(self, path, payloads, report, self._client._until(deadline, long=True))
        token = snapshots.SnapshotToken(bytes.fromhex(h["uid"]), h["epoch"], h["turn"], h["step"], h["state_hash"])
        return Exported(path, token, h["live_slots"], os.path.getsize(path))

    async def import_arrays(self, keys: Any, values: Any, ages: Any = None,
                      payloads: Optional[Sequence[Optional[bytes]]] = None, *, progress: _progress.Wanted = None,
                      deadline: Optional[float] = None) -> Imported:
        """Writes observations into free slots without searching, for instance a memory that was trained elsewhere.

        keys: [rows, key_dim], of any scale, also a memory-mapped array. values: [rows] int64. ages: [rows] numbers, of
        which only the order counts: bigger is older, equal ones keep the order of their rows; None: the first row is
        the oldest. The oldest is written first, so the memory will evict in that order.

        All rows are checked before the first is sent (InvalidArgument names a bad one, MemoryFull the numbers). Each
        chunk is written exactly once; if one fails for good, the error's metadata["imported_rows"] says how many of the
        oldest rows are in.
        """
        until = self._client._until(deadline, long=True)
        keys = _codec.floats(keys)
        if keys.ndim != 2:
            raise InvalidArgument("keys must be [rows, key_dim], not %s" % (keys.shape,), reason="BAD_SHAPE")
        rows = len(keys)
        values = np.frombuffer(_codec.int64(values, rows, "values"), "<i8")
        payloads = _codec.payloads(payloads, rows)
        order = _oldest_first(ages, rows)
        described = await self._describe(until)
        if rows > described.spec["capacity"] - described.live_slots:
            free = described.spec["capacity"] - described.live_slots
            raise MemoryFull("import of %d rows into %d free slots of memory %r" % (rows, free, self._name),
                             reason="MEMORY_FULL", metadata={"free": str(free), "rows": str(rows)})
        await self._client._io.work(_check_keys, keys, described.spec["key_dim"])

        slots, header, done = np.empty(rows, np.uint64), None, 0
        limit = max(1, min(CHUNK_BYTES // (keys.shape[1] * 4 + 8), await self._max_rows(until)))
        with _progress.reporter(progress, "import into %s" % self._name) as report:
            while done < rows:
                report("import", done, rows)
                chunk = order[done:done + limit]
                if payloads:
                    sizes = np.cumsum([len(payloads[i]) + keys.shape[1] * 4 + 8 for i in chunk])
                    chunk = chunk[:max(1, int(np.searchsorted(sizes, CHUNK_BYTES, side="right")))]
                request = memory_pb2.ImportRequest(memory=self._ref(), new_rows=memory_pb2.NewRows(
                    embeddings=_codec.matrix(keys[chunk], described.spec["key_dim"]), values=values[chunk].tobytes(),
                    payloads=[payloads[i] for i in chunk] if payloads else ()))
                try:
                    reply = await self._send("Import", request, True, until.remaining())
                except EvokeError as error:
                    error.metadata["imported_rows"] = str(done)
                    raise
                slots[chunk] = _codec.unpack(reply.slots, "<u8", (len(chunk),))
                header, done = _codec.header(reply.header), done + len(chunk)
            report("import", done, rows)
        return Imported(header, slots)

    async def _max_rows(self, until: Any) -> int:
        """Of one request, as the server says."""
        return (await self._client.status(deadline=until.remaining())).limits.get("max_rows") or 2**32 - 1


def _oldest_first(ages: Any, rows: int) -> np.ndarray:
    """[rows] int64: the rows by descending age; equal ages keep their order."""
    if ages is None:
        return np.arange(rows)
    ages = np.atleast_1d(_codec.array(ages))
    if ages.shape != (rows,) or ages.dtype.kind not in "iuf":
        raise InvalidArgument("ages are %s %s, expected numbers (%d,)" % (ages.dtype, ages.shape, rows),
                              reason="BAD_SHAPE")
    if ages.dtype.kind == "f" and np.isnan(ages).any():
        raise InvalidArgument("the age of row %d is NaN" % np.isnan(ages).argmax(), reason="NON_FINITE",
                              metadata={"row": str(np.isnan(ages).argmax())})
    # A stable ascending sort of the reversed rows, reversed: descending, and no negation, which unsigned ages lack.
    return rows - 1 - np.argsort(ages[::-1], kind="stable")[::-1]


def _check_keys(keys: np.ndarray, key_dim: int) -> None:
    """What the server would refuse in the middle of an import, found before it begins."""
    if keys.shape[1] != key_dim:
        raise InvalidArgument("keys have %d dimensions, the memory expects %d" % (keys.shape[1], key_dim),
                              reason="BAD_SHAPE")
    if keys.dtype.kind not in "fiub":
        raise InvalidArgument("keys must be numbers, not %s" % keys.dtype, reason="BAD_SHAPE")
    step = max(1, (16 << 20) // (8 * key_dim))
    for at in range(0, len(keys), step):
        with np.errstate(over="ignore"):
            block = np.asarray(keys[at:at + step]).astype(np.float32).astype(np.float64)
        norms = np.sqrt((block * block).sum(1))
        for bad, reason, what in ((~np.isfinite(norms), "NON_FINITE", "has NaN or infinite components"),
                                  ((norms < NORM_LIMITS[0]) | (norms > NORM_LIMITS[1]), "BAD_NORM", "has norm %g")):
            if bad.any():
                row = int(bad.argmax())
                text = what % norms[row] if "%" in what else what
                raise InvalidArgument("key %d %s" % (at + row, text), reason=reason, metadata={"row": str(at + row)})
