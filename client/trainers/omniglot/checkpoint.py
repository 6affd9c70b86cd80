"""Checkpoints on disk, and the snapshots of the memory that belong to them.

DIR/checkpoint.pt holds the token of its snapshot. DIR/snapshots.json lists the ids of those that this run made and has
not deleted, so that those of superseded checkpoints go, also after a crash, and never one that somebody else made.
"""

import json
import os
import pathlib
from typing import Any, Dict, List

import torch

CHECKPOINT, SNAPSHOTS = "checkpoint.pt", "snapshots.json"


def write(out: pathlib.Path, content: Dict[str, Any]) -> None:
    """Replaces the checkpoint; after a crash of the machine there is the old or the new one, whole."""
    _replace(out / CHECKPOINT, lambda file: torch.save(content, file))


def read(out: pathlib.Path) -> Dict[str, Any]:
    return torch.load(out / CHECKPOINT)


def remember(out: pathlib.Path, snapshot_id: str) -> None:
    """Notes a snapshot before anything depends on it."""
    _note(out, _noted(out) + [snapshot_id])


def forget_older(out: pathlib.Path, memory, keep: str) -> None:
    """Deletes the noted snapshots but one. Those that are gone already are no error."""
    for snapshot_id in _noted(out):
        if snapshot_id != keep:
            memory.delete_snapshot(snapshot_id)
    _note(out, [keep])


def _noted(out: pathlib.Path) -> List[str]:
    path = out / SNAPSHOTS
    return json.loads(path.read_text()) if path.exists() else []


def _note(out: pathlib.Path, ids: List[str]) -> None:
    _replace(out / SNAPSHOTS, lambda file: file.write(json.dumps(ids).encode()))


def _replace(path: pathlib.Path, fill) -> None:
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
