"""The embedded store: commits on one connection, reads on another, and what happens when the disk fails."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import apsw

from ...errors import DiskFull, MirrordError, StorageFailed, StoreCorrupt
from ..bounds import check
from ..store import Change, PutPack
from .checkpoint import Checkpointer
from .connection import check_version, connect, named
from .deferred import Deferral, Deferred
from .directory import DataDirectory, Settings
from .queries import Queries
from .schema import prepare
from .statements import META, NOTHING, PACK, Transaction, pack_row
from .upkeep import Upkeep
from .wal import WRITER_WAIT_MS, WriteAheadLog

WRITER_CACHE_BYTES = 16 << 20
READER_CACHE_BYTES = 8 << 20
READER_WAIT_MS = 50  # for a lock that only another process can hold so long
SYNC_KEY = "synced"


def open_sqlite(data_dir: Path, settings: Settings = Settings()) -> SqliteStore:  # noqa: B008 -- frozen
    """Open or create the store in ``data_dir``. What was committed before is durable when this returns.

    Raises DataDirLocked, StoreTooNew, StoreCorrupt, StoreError, or StorageFailed.
    """
    check_version(apsw.sqlite_lib_version())
    with ExitStack() as undo:
        directory = DataDirectory(data_dir, settings)
        undo.callback(directory.close)
        try:
            path = directory.database
            writer = connect(path, settings, cache_bytes=WRITER_CACHE_BYTES, wait_ms=WRITER_WAIT_MS)
            undo.callback(writer.close)
            prepare(writer)
            reader = connect(path, settings, cache_bytes=READER_CACHE_BYTES, wait_ms=READER_WAIT_MS)
            undo.callback(reader.close)
            reader.execute("PRAGMA query_only = 1").fetchall()
            store = SqliteStore(directory, writer, reader, settings)
        except apsw.Error as error:
            raise named(error) from error
        undo.pop_all()
        return store


class SqliteStore(Queries):
    """``commit``, ``heal`` and ``tidy`` belong to the one writing thread; all else to the event loop."""

    def __init__(
        self, directory: DataDirectory, writer: apsw.Connection, reader: apsw.Connection, settings: Settings
    ) -> None:
        deferred = Deferred(writer)
        super().__init__(reader, deferred)
        self._directory = directory
        self._ballast = directory.ballast
        self._writer = writer
        self._upkeep = Upkeep(writer, deferred)
        self._full_sync = False  # every connection begins with synchronous = NORMAL
        self._failed = False
        self._copied = True
        self._checkpointer = Checkpointer(directory, settings)
        self._wal = WriteAheadLog(directory.database, writer, self._checkpointer, settings)
        self._empty_wal()  # what a killed process left in the WAL was perhaps never synced

    @property
    def failed(self) -> bool:
        """Whether a commit has failed and the store was not yet healed."""
        return self._failed or self._checkpointer.trouble

    @property
    def state(self) -> str:
        """``ok``, ``full`` (only deletes are let in) or ``failed`` (nothing is)."""
        return "failed" if self.failed else "ok" if self._ballast.held else "full"

    @property
    def wal_bytes(self) -> int:
        """How much of the write-ahead log is in use."""
        return self._wal.bytes

    def commit(self, changes: Sequence[Change], *, sync: bool) -> None:
        """See Store. While the store is ``failed`` every commit is refused; ``heal`` ends that."""
        self._admit(changes)
        check(changes)
        written = self._wal.written
        try:
            self._wal.require_room()
            waits = self._deferred.plan(changes)
            self._transact(changes, waits, sync)
            if sync and self._wal.written == written:  # nothing to write is nothing to sync
                self._writer.execute(META, (SYNC_KEY, b""))
        except apsw.Error as error:
            raise self._refuse(error) from error
        finally:
            self._roll_back()  # of whatever it died, the next commit must not go on with it
        self._deferred.committed(changes, waits)
        self._upkeep.note(changes)
        if waits is None:
            self._upkeep.forget(changes)
        self._copied = False
        self._tend()

    def _admit(self, changes: Sequence[Change]) -> None:
        if self.failed:
            raise StorageFailed("the disk refused a commit and has not recovered yet", retry_after_s=1.0)
        if not self._ballast.held and any(type(c) is PutPack for c in changes) and not self._ballast.make():
            raise DiskFull()

    def _transact(self, changes: Sequence[Change], waits: Deferral | None, sync: bool) -> None:
        if sync != self._full_sync:  # inside a transaction SQLite would refuse this
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}").fetchall()
            self._full_sync = sync
        if waits is None and self._deferred.waiting:
            self._writer.execute("BEGIN IMMEDIATE")
            self._deferred.write()
        if waits is not None and (put := waits.alone) is not None:
            ((key, told),) = waits.told.items()
            self._writer.execute(PACK, pack_row(put, key, (), told))
        else:
            Transaction(self._writer, waits.told if waits is not None else NOTHING).commit(changes)

    def _refuse(self, error: apsw.Error) -> MirrordError:
        """Undo the transaction, and take what it may have left in the WAL out before anybody hears of it."""
        self._roll_back()
        refusal = named(error)
        if isinstance(refusal, DiskFull):
            self._ballast.free()
        if isinstance(error, apsw.BusyError) or isinstance(refusal, StoreCorrupt):
            return refusal
        self._failed = True
        with suppress(StorageFailed):  # then the journal tries again
            self.heal()
        return refusal

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            with suppress(apsw.Error):  # the next ``heal`` finds it still open
                self._writer.execute("ROLLBACK")

    def heal(self) -> None:
        """After a failed commit: cut it out of the WAL, and make all before it durable. A full disk gets the
        ballast for that. Raises StorageFailed, or DiskFull when even then there is no room.
        """
        if not self.failed:
            return
        self._roll_back()
        try:
            self._wal.cut()
            self._empty_wal()
        except (apsw.Error, OSError) as error:
            cls = DiskFull if isinstance(error, apsw.FullError) else StorageFailed
            raise cls(f"the disk still refuses ({error})", retry_after_s=1.0) from error
        self._failed = False

    def _empty_wal(self) -> None:
        try:
            self._wal.empty()
        except apsw.FullError:  # copying needs room as well
            self._ballast.free()
            self._wal.empty()

    def _tend(self) -> None:
        try:
            self._wal.tend()
        except apsw.Error:
            self._failed = True  # the commit stands; whether the disk can make it durable is to be seen

    @property
    def log_work_due(self) -> bool:
        """Whether the next commit may have to begin the WAL anew, and wait for the disk."""
        return self._wal.restart_near

    def tidy(self, *, idle: bool = True) -> bool:
        """One small step of idle work: merge packs, give space back; when idle, copy the WAL. Whether more may wait."""
        if self.failed:
            return False
        roomy = self._ballast.held or self._ballast.make()
        try:
            if (roomy and (self._upkeep.merge_some() or self._upkeep.write_deferred())) or self._upkeep.vacuum_some():
                self._copied = False
                self._wal.tend()
                return True
        except apsw.Error as error:
            self._refuse(error)
            return False
        finally:
            self._roll_back()
        if (idle or not roomy) and not self._copied:  # a full disk gets nothing back before, and may never be idle
            self._copied = True
            self._wal.copy()
        return False

    def close(self) -> None:
        """Close the files and unlock the directory; what was committed stays."""
        self._checkpointer.close()
        self._reader.close()
        self._writer.close()
        self._directory.close()
