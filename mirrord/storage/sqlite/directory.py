"""The data directory: private, locked against a second daemon, with a ballast for when the disk is full."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ...errors import DataDirLocked, StoreError

DATABASE = "mirrord.db"
LOCK = "lock"
BALLAST = "ballast"


def free_bytes(path: Path) -> int:
    """What the file system would still give to this process."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


class Settings(Struct, frozen=True):
    """How the embedded store uses the disk. The defaults are measured; tests hand in smaller ones."""

    page_bytes: int = 8192
    ballast_bytes: int = 32 << 20
    passive_bytes: int = 8 << 20  # the side connection checkpoints each time the WAL has grown by this
    restart_bytes: int = 24 << 20  # above this the writer starts the WAL anew between two transactions
    wal_limit_bytes: int = 256 << 20  # above this nothing is committed until the WAL could be started anew
    vfs: str = ""  # SQLite's file layer by name; a test hands in one that fails
    room: Callable[[Path], int] = free_bytes


class DataDirectory:
    """Owns the directory while the process lives. Raises DataDirLocked, or StoreError if it is unusable."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path} cannot be used as data_dir: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise DataDirLocked(
                f"{path} is used by another daemon (process {holder}); stop it or choose another data_dir"
            ) from error
        self._database = -1
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
        self.ballast = Ballast(path / BALLAST, settings)

    @property
    def database(self) -> Path:
        """The one database file."""
        return self.path / DATABASE

    def sync_database(self) -> None:
        """Have the disk take what was written into the database file. For one thread. Raises OSError."""
        if self._database < 0:
            self._database = os.open(self.database, os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(self._database)

    def close(self) -> None:
        """Let another daemon have it. The lock file stays: else two daemons could lock two files. All connections to
        the database are closed before: who closes any descriptor of a file loses all POSIX locks on it."""
        if self._database >= 0:
            os.close(self._database)
        os.close(self._lock)


class Ballast:
    """Disk space kept aside, so that records can still be deleted when nothing else fits any more."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._size = settings.ballast_bytes
        self._room = settings.room
        self.held = not self._size
        self.make()

    def make(self) -> bool:
        """Take the space if there is twice as much, so that appends have room too. Whether it is held."""
        if self.held:
            return True
        if self._path.exists() and self._path.stat().st_size == self._size:
            self.held = True
        elif self._room(self._path.parent) >= 2 * self._size:
            self.held = self._take()
        return self.held

    def _take(self) -> bool:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size)
        except OSError as error:
            self.free()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from error
        finally:
            os.close(fd)
        return True

    def free(self) -> None:
        """Give the space to whoever needs it now."""
        self._path.unlink(missing_ok=True)
        self.held = not self._size
