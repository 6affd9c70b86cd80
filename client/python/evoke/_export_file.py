"""The file of an export, "evoke-export 1": one .npz that NumPy reads; client/README.md has the format."""

import hashlib
import json
import math
import os
import struct
import zipfile
from typing import Any, BinaryIO, Dict, Iterator, List, Tuple

import numpy as np

from . import _progress
from .errors import DamagedFile

FORMAT = "evoke-export 1"
HEADER = "evoke.json"
COLUMNS = {"slots": "<u8", "values": "<i8", "written_steps": "<u8", "hits": "<u4", "keys": "<f4", "payload_rows": "<u8",
           "payload_places": "<u2", "payload_steps": "<u8", "payload_ends": "<u8", "payload_bytes": "|u1"}

_BLOCK_BYTES = 4 << 20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # of a zip member; name and extra field follow
_EPOCH = (1980, 1, 1, 0, 0, 0)              # of every member: equal exports are equal files


def write(path: str, header: Dict[str, Any], raw: Dict[str, str], shapes: Dict[str, Tuple[int, ...]],
          report: _progress.Report) -> None:
    """Makes the file out of raw column files, and syncs it. Reads each twice: the header comes first, with the sums."""
    heads = {name: _npy_head(COLUMNS[name], shapes[name]) for name in COLUMNS}
    total, done = 2 * sum(map(os.path.getsize, raw.values())), 0

    def blocks(name: str) -> Iterator[bytes]:
        nonlocal done
        yield heads[name]
        for block in _blocks(raw[name]):
            done += len(block)
            report("assemble", done, total)
            yield block

    members = {}
    for name in COLUMNS:
        digest, size = hashlib.sha256(), 0
        for block in blocks(name):
            digest.update(block)
            size += len(block)
        members[name + ".npy"] = {"bytes": size, "sha256": digest.hexdigest()}
    text = json.dumps(dict(header, format=FORMAT, members=members), indent=1) + "\n"
    with open(path, "wb") as out:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(HEADER, _EPOCH), text)
            for name in COLUMNS:
                with archive.open(zipfile.ZipInfo(name + ".npy", _EPOCH), "w", force_zip64=True) as member:
                    for block in blocks(name):
                        member.write(block)
        out.flush()
        os.fsync(out.fileno())


def _npy_head(dtype: str, shape: Tuple[int, ...]) -> bytes:
    """Version 1.0 of the .npy format: what comes before the numbers, a multiple of 64 bytes."""
    text = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (
        dtype, ", ".join(map(str, shape)) + ("," if len(shape) == 1 else ""))
    padding = -(10 + len(text) + 1) % 64
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + padding + 1) + text.encode() + b" " * padding + b"\n"


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from iter(lambda: file.read(_BLOCK_BYTES), b"")


class ExportFile:
    """An export for reading: `header` is its JSON, `columns` are its arrays, mapped, not read.

    Opening checks what can be checked without reading the columns; verify() reads them. Raises DamagedFile naming the
    member, OSError when the file cannot be opened. Close it, or use it in a with statement. Thread-compatible.
    """

    def __init__(self, path: str):
        self.path = path
        self._file: BinaryIO = open(path, "rb")
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        try:
            with zipfile.ZipFile(self._file) as archive:
                infos = {info.filename: info for info in archive.infolist()}
                self.header = json.loads(archive.read(HEADER)) if HEADER in infos else None
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            raise self._damaged(HEADER, "cannot be read: %s" % error) from None
        if not isinstance(self.header, dict):
            raise self._damaged(HEADER, "is not there: this is no export of Evoke")
        if self.header.get("format") != FORMAT:
            raise self._damaged(HEADER, "says format %r, this client reads %r" % (self.header.get("format"), FORMAT))
        try:
            self.spec: Dict[str, Any] = dict(self.header["spec"])
            self.step, self.state_hash = int(self.header["step"]), str(self.header["state_hash"])
            self._members = {name: (int(m["bytes"]), str(m["sha256"])) for name, m in self.header["members"].items()}
            self.rows, self.key_dim = int(self.header["live_slots"]), int(self.spec["key_dim"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(HEADER, "lacks a field: %r" % error) from None
        self._spans = {name + ".npy": self._span(name + ".npy", infos) for name in COLUMNS}

    def verify(self, report: _progress.Report) -> None:
        """Compares every member with its checksum, then the columns with each other; `columns` is there afterwards."""
        total, done = sum(size for _, size in self._spans.values()), 0
        for name, (start, size) in self._spans.items():
            digest = hashlib.sha256()
            self._file.seek(start)
            for at in range(0, size, _BLOCK_BYTES):
                block = self._file.read(min(_BLOCK_BYTES, size - at))
                digest.update(block)
                done += len(block)
                report("verify", done, total)
            if digest.hexdigest() != self._members[name][1]:
                raise self._damaged(name, "has sha256 %s, expected %s" % (digest.hexdigest(), self._members[name][1]))
        self.columns: Dict[str, np.ndarray] = {name: self._column(name) for name in COLUMNS}
        self._check_columns()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "ExportFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _span(self, name: str, infos: Dict[str, zipfile.ZipInfo]) -> Tuple[int, int]:
        """Where the bytes of a member begin, and how many they are."""
        if name not in infos or name not in self._members:
            raise self._damaged(name, "is not there")
        info = infos[name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise self._damaged(name, "is compressed; the members of an export are stored")
        if info.file_size != self._members[name][0]:
            raise self._damaged(name, "has %d bytes, expected %d" % (info.file_size, self._members[name][0]))
        self._file.seek(info.header_offset)
        local = self._file.read(_LOCAL_HEADER.size)
        if len(local) < _LOCAL_HEADER.size or local[:4] != b"PK\3\4":
            raise self._damaged(name, "has no local header")
        name_bytes, extra_bytes = _LOCAL_HEADER.unpack(local)[-2:]
        start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if start + info.file_size > os.fstat(self._file.fileno()).st_size:
            raise self._damaged(name, "is cut off")
        return start, info.file_size

    def _column(self, name: str) -> np.ndarray:
        start, size = self._spans[name + ".npy"]
        self._file.seek(start)
        try:
            if np.lib.format.read_magic(self._file) != (1, 0):
                raise ValueError("another version of .npy")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(self._file)
        except ValueError as error:
            raise self._damaged(name + ".npy", "is no .npy: %s" % error) from None
        at = self._file.tell()
        count = math.prod(shape)
        if dtype != np.dtype(COLUMNS[name]) or fortran or at + count * dtype.itemsize != start + size:
            raise self._damaged(name + ".npy", "holds %s %s in %d bytes" % (dtype, shape, size))
        if not count:
            return np.empty(shape, dtype)
        return np.memmap(self._file, dtype, "r", offset=at, shape=shape)

    def _check_columns(self) -> None:
        c, n, p = self.columns, self.rows, len(self.columns["payload_rows"])
        shapes = {"keys": (n, self.key_dim), "payload_bytes": (int(c["payload_ends"][-1]) if p else 0,)}
        for name in COLUMNS:
            expected = shapes.get(name, (p,) if name.startswith("payload") else (n,))
            if c[name].shape != expected:
                raise self._damaged(name + ".npy", "has shape %s, expected %s" % (c[name].shape, expected))
        ascending: List[Tuple[str, bool]] = [
            ("written_steps", n == 0 or c["written_steps"][-1] <= self.step),
            ("payload_rows", p == 0 or c["payload_rows"][-1] < n), ("payload_ends", True)]
        for name, within in ascending:
            strictly = name == "written_steps"
            first, then = c[name][:-1], c[name][1:]
            if not within or not (first < then if strictly else first <= then).all():
                raise self._damaged(name + ".npy", "is out of order")

    def _damaged(self, member: str, what: str) -> DamagedFile:
        return DamagedFile("%s: %s %s" % (self.path, member, what), reason="DAMAGED_FILE", metadata={"member": member})
