"""The snapshot calls of a memory handle."""

from typing import Any, Optional, Tuple, Union

from . import _codec, _progress, _request, _retry
from . import snapshots as records
from ._proto import admin_service_pb2 as admin_pb2
from ._proto import types_pb2
from .errors import EvokeError, Internal, StaleMemory


class SnapshotCalls:
    """What a memory handle can do with snapshots; mixed into it, never used alone.

    Arguments named `snapshot` take a SnapshotToken, its text, a Snapshot, or an id. backup_folder: a folder below the
    server's backup-dir ("" is that itself) instead of the memory's own. progress: True for a bar (needs tqdm), or a
    function (phase, done, total), called a few times a second. deadline: seconds, by default the client's
    long_deadline. Calls are repeated until then; a broken attempt is continued or done again, never left half-done.
    """

    async def snapshot(self, *, progress: _progress.Wanted = None, deadline: Optional[float] = None) -> records.Snapshot:
        """Makes a snapshot of a state no older than the call; its token belongs into the model's checkpoint.

        When an attempt breaks off after the server had made it, the snapshot that came to be there is taken.
        """
        until = self._client._until(deadline, long=True)
        known = {s.id for s in await self._snapshots(None, until.remaining(), retry=True)}
        request = admin_pb2.CreateSnapshotRequest(memory=self._ref())
        unsure = False

        async def attempt(timeout: Optional[float]) -> records.Snapshot:
            nonlocal unsure
            made = [s for s in await self._snapshots(None, timeout) if s.id not in known and not s.scheduled] if unsure else []
            if made:
                return made[-1]
            try:
                last = await last_message(self._client, "CreateSnapshot", request, timeout, report)
                return records.from_proto(last.snapshot)
            except EvokeError as error:
                unsure = unsure or not _retry.surely_refused(error)
                raise

        with _progress.reporter(progress, "snapshot of %s" % self._name) as report, _request.one_call():
            return await _retry.call(self._client._io, attempt, until, self._client._policy(long=True), mutates=True)

    async def snapshots(self, *, backup_folder: Optional[str] = None,
                  deadline: Optional[float] = None) -> Tuple[records.Snapshot, ...]:
        """The complete ones, by epoch, turn and time."""
        return await self._snapshots(backup_folder, self._client._until(deadline).remaining(), retry=True)

    async def verify_snapshot(self, snapshot: Union[records.Snapshot, str], *, backup_folder: Optional[str] = None,
                        progress: _progress.Wanted = None, deadline: Optional[float] = None) -> records.Snapshot:
        """Has the server read every byte of it again. Raises DataLoss naming the file that is damaged."""
        request = admin_pb2.VerifySnapshotRequest(memory=self._ref(), id=records.id_of(snapshot),
                                                  backup_folder=backup_folder)
        return records.from_proto((await self._long("VerifySnapshot", request, progress, "verify", deadline)).snapshot)

    async def copy_snapshot(self, snapshot: Union[records.Snapshot, str], backup_folder: str, *,
                      progress: _progress.Wanted = None, deadline: Optional[float] = None) -> records.Snapshot:
        """Has the server copy it to a folder below its backup-dir; what was copied before is not copied again."""
        request = admin_pb2.CopySnapshotRequest(memory=self._ref(), id=records.id_of(snapshot),
                                                backup_folder=backup_folder)
        return records.from_proto((await self._long("CopySnapshot", request, progress, "copy", deadline)).snapshot)

    async def delete_snapshot(self, snapshot: Union[records.Snapshot, str], *, deadline: Optional[float] = None) -> bool:
        """Removes it; False when it was gone already (as it may be when a request had to be repeated)."""
        request = admin_pb2.DeleteSnapshotRequest(memory=self._ref(), id=records.id_of(snapshot))
        return (await self._client._call("DeleteSnapshot", request, deadline)).deleted

    async def restore(self, snapshot: records.Named, *, backup_folder: Optional[str] = None,
                progress: _progress.Wanted = None, deadline: Optional[float] = None) -> records.Restored:
        """Back to the content of a snapshot, in place: epoch + 1, step and slots those of the snapshot.

        A memory that went on since is rewound; one in exactly that state stays as it is. Raises TokenMismatch when the
        token is of another memory, SnapshotNotFound when no snapshot holds its state.

        The handle goes on working, with new sessions, and with the new epoch if it had pinned one. Mutations that it
        had in flight when this began either came before and are undone, or raise SessionLost (not applied): none lands
        on the restored content. Other handles and processes notice only if they pinned the epoch (StaleMemory).
        """
        until = self._client._until(deadline, long=True)
        with self._lock:
            pinned = self._epoch
        epoch = (await self._describe(until)).epoch if pinned is None else pinned
        identity, token = records.names(snapshot)
        # Required, so that a repeated request cannot rewind what others wrote after the first one was done.
        ref = self._ref()
        ref.epoch = epoch
        request = admin_pb2.RestoreSnapshotRequest(memory=ref, id=identity, token=token, backup_folder=backup_folder)
        self._pool.retire()
        with _progress.reporter(progress, "restore of %s" % self._name) as report, _request.one_call():
            try:
                reply = await _retry.call(
                    self._client._io, lambda timeout: last_message(self._client, "RestoreSnapshot", request, timeout, report), until,
                    self._client._policy(long=True), mutates=True)
                result = records.Restored(_codec.header(reply.header), records.from_proto(reply.snapshot), reply.changed)
            except StaleMemory as error:
                result = await self._done_before(request, until) if error.outcome_unknown else None
                if result is None:
                    raise
        with self._lock:
            self._uid = self._uid or result.header.uid
            self._turn = max(self._turn or 0, result.header.turn)  # new sessions are opened after the restore
            if self._epoch is not None:
                self._epoch = max(self._epoch, result.header.epoch)
        return result

    async def _done_before(self, request: Any, until: _retry.Deadline) -> Optional[records.Restored]:
        """What an attempt without a reply did: the memory is in the wanted state, one epoch on. None: it is not."""
        for found in await self._snapshots(request.backup_folder if request.HasField("backup_folder") else None,
                                     until.remaining(), retry=True):
            if found.id == request.id or records.token_to_proto(found.token) == request.token:
                ref = types_pb2.MemoryRef(name=self._name, uid=self._uid)
                reply = await self._client._call("DescribeMemory", admin_pb2.DescribeMemoryRequest(memory=ref), until)
                now = reply.description
                if (now.epoch, now.step, now.state_hash) == (request.memory.epoch + 1, found.token.step,
                                                             found.token.state_hash):
                    return records.Restored(_codec.header(reply.header), found, True)
        return None

    async def _snapshots(self, backup_folder: Optional[str], timeout: Optional[float],
                   retry: bool = False) -> Tuple[records.Snapshot, ...]:
        """With retry, timeout is the deadline of all attempts."""
        request = admin_pb2.ListSnapshotsRequest(
            memory=types_pb2.MemoryRef(name=self._name, uid=self._uid), backup_folder=backup_folder)
        reply = await (self._client._call if retry else self._client._attempt)("ListSnapshots", request, timeout)
        return tuple(records.from_proto(s) for s in reply.snapshots)

    async def _long(self, method: str, request: Any, progress: _progress.Wanted, what: str, deadline: Optional[float]) -> Any:
        return await self._client._long(method, request, progress, "%s of %s" % (what, self._name), deadline)


async def last_message(client, method: str, request: Any, timeout: Optional[float], report: _progress.Report) -> Any:
    """One attempt of a call that tells its progress and ends with a message that has the snapshot."""
    last = told = None
    replies = client._stream(method, request, timeout)
    try:
        async for reply in replies:
            if reply.HasField("progress"):
                told = reply.progress
                report(told.phase, told.done, told.total)
            last = reply
    finally:
        await replies.aclose()
    if last is None or not last.HasField("snapshot"):
        raise Internal("%s: the reply ended without a result" % method)
    if told is not None and told.done < told.total:  # the server tells a few times a second, not at the very end
        report(told.phase, told.total, told.total)
    return last
