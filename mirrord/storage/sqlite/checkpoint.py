"""The side connection: copies pages from the WAL into the database on its own thread; no commit waits."""

from __future__ import annotations

import threading

import apsw

from .connection import connect
from .directory import DataDirectory, Settings


class Checkpointer:
    """Runs one PASSIVE checkpoint each time it is woken, and has the disk take what it copied."""

    def __init__(self, directory: DataDirectory, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._wake = threading.Event()
        self.copying = threading.Lock()  # SQLite lets only one connection copy, and refuses the other at once
        self.copied = 0  # frames of the present WAL that are in the database, and on the disk
        self._ended = False
        self.trouble = False  # an I/O error: what was to be made durable may not be; the writer takes it back
        self._thread = threading.Thread(target=self._work, name="mirrord checkpoint", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something to copy."""
        self._wake.set()

    def close(self) -> None:
        """End the thread after the checkpoint in hand."""
        self._ended = True
        self._wake.set()
        self._thread.join()

    def _work(self) -> None:
        connection: apsw.Connection | None = None
        while self._wake.wait():
            with self.copying:
                self._wake.clear()
                if self._ended:
                    break
                connection = self._copy(connection)
        if connection is not None:
            connection.close()

    def _copy(self, connection: apsw.Connection | None) -> apsw.Connection | None:
        try:
            path = self._directory.database
            connection = connection or connect(path, self._settings, cache_bytes=1 << 20, wait_ms=0)
            _, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._directory.sync_database()  # SQLite itself leaves that to whoever copies the last frame
            self.copied = copied
        except (apsw.BusyError, apsw.LockedError):
            return connection  # another process copies just now
        except (apsw.Error, OSError):
            self.trouble = True
        return connection
