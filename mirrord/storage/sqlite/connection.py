"""Opening the database: every setting that SQLite wants before the first table or transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import apsw

from ...errors import DiskFull, MirrordError, StorageFailed, StoreCorrupt, StoreError
from .directory import Settings

OLDEST = (3, 51, 3)
BROKEN = ((3, 52, 0),)


def check_version(version: str) -> None:
    """Raises StoreError for an SQLite that is known to lose or corrupt data with the WAL."""
    number = tuple(int(part) for part in version.split("."))
    if number < OLDEST or number in BROKEN:
        raise StoreError(f"SQLite {version} has known faults; install apsw with 3.51.3 or newer, not 3.52.0")


def connect(path: Path, settings: Settings, *, cache_bytes: int, wait_ms: int) -> apsw.Connection:
    """A connection with all pragmas set. ``wait_ms``: how long it may wait for another's lock."""
    connection = apsw.Connection(str(path), vfs=settings.vfs or None)
    connection.set_busy_timeout(wait_ms)
    for pragma in (
        f"page_size = {settings.page_bytes}",  # this and the next count only before the first table
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "wal_autocheckpoint = 0",
        "mmap_size = 0",
        "temp_store = MEMORY",
        f"cache_size = {-(cache_bytes >> 10)}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def rows(connection: apsw.Connection, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """Everything that a query tells; its cursor is closed when this returns. Raises apsw.Error."""
    return cast("list[tuple[Any, ...]]", connection.execute(sql, args).fetchall())


def named(error: apsw.Error) -> MirrordError:
    """SQLite's failure as one of ours. What the disk refused is StorageFailed, what does not read back
    StoreCorrupt.
    """
    if isinstance(error, apsw.FullError):
        return DiskFull(f"the disk is full ({error}); free space or delete records")
    if isinstance(error, apsw.ConstraintError):
        return StoreCorrupt(f"a row that is there already was put again: {error}")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreCorrupt(f"mirrord.db is damaged ({error}); restore a backup or use an empty data_dir")
    return StorageFailed(f"the disk refused ({error}); writes resume when it works again")
