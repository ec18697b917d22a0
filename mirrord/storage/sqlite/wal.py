"""The write-ahead log: kept short, begun anew between two transactions, cut when a commit has failed."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from ...errors import StorageFailed
from .checkpoint import Checkpointer
from .connection import rows
from .directory import Settings

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
WRITER_WAIT_MS = 1_000  # for a lock that another process holds (a backup, a shell)
RESTART_WAIT_MS = 20  # for a reader to end
NEAR_BYTES = 1 << 20  # more than one commit on the event loop writes
REST_BYTES = 1 << 20  # what the writer may have to copy itself
RETRY_BYTES = 1 << 20  # how much more is written before a RESTART that met a reader is tried again


class WriteAheadLog:
    """The writer's view of the WAL. All calls come from the writer's thread, between transactions."""

    def __init__(self, path: Path, writer: apsw.Connection, checkpointer: Checkpointer, settings: Settings) -> None:
        self._path = Path(f"{path}-wal")
        self._writer = writer
        self._settings = settings
        self._page_bytes: int = rows(writer, "PRAGMA page_size")[0][0]
        self._checkpointer = checkpointer
        self._frame_bytes = self._page_bytes + FRAME_HEADER_BYTES
        self._rest_bytes = min(REST_BYTES, settings.restart_bytes // 4)
        self._passive_at = settings.passive_bytes
        self._restart_at = settings.restart_bytes
        self.bytes = 0  # in use; the file may be longer
        self.written = 0  # transactions that wrote something
        writer.set_wal_hook(self._grew)

    def _grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages * self._frame_bytes < self.bytes:
            self._begin_anew()  # all was copied and nobody read: SQLite has begun it anew by itself
        self.bytes = pages * self._frame_bytes
        self.written += 1
        return apsw.SQLITE_OK

    @property
    def restart_near(self) -> bool:
        """Whether the next small commit may make the WAL long enough to be begun anew."""
        return self.bytes + NEAR_BYTES >= self._restart_at

    def tend(self) -> None:
        """After a commit: have the side connection copy pages, or start anew when the WAL has become long. The writer
        copies what is left then, and waits for the disk: so the side connection goes on until little is left."""
        if self.bytes >= self._restart_at:
            left = self.bytes - self._checkpointer.copied * self._frame_bytes
            late = self.bytes >= self._restart_at + self._settings.restart_bytes // 2
            if late or left <= self._rest_bytes:
                self._restart(patient=late)
            else:
                self._checkpointer.wake()
        elif self.bytes >= self._passive_at:
            self.copy()

    def copy(self) -> None:
        """Have the side connection bring what it can into the database."""
        self._passive_at = self.bytes + self._settings.passive_bytes
        self._checkpointer.wake()

    def require_room(self) -> None:
        """Before a commit. Raises StorageFailed when the WAL is at its limit and cannot be started anew."""
        if self.bytes >= self._settings.wal_limit_bytes:
            self._restart(patient=True)
            if self.bytes >= self._settings.wal_limit_bytes:
                raise StorageFailed(
                    f"the write-ahead log has reached {self.bytes >> 20} MiB because another process"
                    " reads mirrord.db; end that reader"
                )

    def _restart(self, *, patient: bool) -> None:
        """The next transaction overwrites the WAL from its beginning, unless somebody reads it just now. ``patient``:
        wait for the side connection if it copies; else the next commit tries again."""
        if not self._checkpointer.copying.acquire(blocking=patient):
            return
        self._restart_at = self.bytes + RETRY_BYTES
        self._writer.set_busy_timeout(RESTART_WAIT_MS)
        try:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            self._begin_anew()
        except (apsw.BusyError, apsw.LockedError):
            return
        finally:
            self._writer.set_busy_timeout(WRITER_WAIT_MS)
            self._checkpointer.copying.release()

    def empty(self) -> None:
        """Bring everything committed into the database, durably, and leave the WAL empty. Raises
        apsw.Error.
        """
        with self._checkpointer.copying:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._checkpointer.trouble = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.bytes = self._checkpointer.copied = 0
        self._passive_at = self._settings.passive_bytes
        self._restart_at = self._settings.restart_bytes

    def cut(self) -> None:
        """Take what a failed commit left behind the last good frame out of the file.

        A commit whose sync failed has its frames in the file, whole: a process that opens the database
        after kill -9 would replay them. Nobody reads behind the last good frame, so the file may be cut
        there at any time.
        """
        frames, _ = self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        good = HEADER_BYTES + frames * self._frame_bytes if frames > 0 else 0
        if self._path.exists() and self._path.stat().st_size > good:
            os.truncate(self._path, good)
