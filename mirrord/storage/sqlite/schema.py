"""The tables, their format version, and how an older format becomes this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import apsw

from ...errors import StoreCorrupt, StoreTooNew
from .connection import rows

FORMAT = 3
FORMAT_KEY = "format"

# A pack's parts and tags stand twice: in its own row (to take them away with it) and as index rows. ``told`` is what
# a pack tells in place of other tables' rows (``deferred.py``). The body is the last column, so that everything before
# it is read without it. ``merged.seq`` is where merging looks next.
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE topics (tid INTEGER PRIMARY KEY, name TEXT NOT NULL, blob BLOB NOT NULL);
CREATE TABLE heads (tid INTEGER PRIMARY KEY, head INTEGER NOT NULL, ceiling INTEGER NOT NULL, floor INTEGER
    NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL, last_ts INTEGER NOT NULL, taken BLOB NOT NULL);
CREATE TABLE strands (sid INTEGER PRIMARY KEY, tid INTEGER NOT NULL, strand INTEGER NOT NULL,
    descriptor BLOB NOT NULL);
CREATE INDEX strands_of_topic ON strands (tid);
CREATE TABLE vectors (sid INTEGER PRIMARY KEY, last INTEGER NOT NULL, hash BLOB NOT NULL, whole_from INTEGER
    NOT NULL, ts INTEGER NOT NULL);
CREATE TABLE packs (key INTEGER PRIMARY KEY, last INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER
    NOT NULL, ts_last INTEGER NOT NULL, checksum INTEGER NOT NULL, parts BLOB NOT NULL, tags BLOB, told BLOB,
    body BLOB NOT NULL);
CREATE TABLE parts (sid INTEGER, first INTEGER, last INTEGER NOT NULL, pack INTEGER NOT NULL,
    PRIMARY KEY (sid, first)) WITHOUT ROWID;
CREATE TABLE tags (tid INTEGER, tag TEXT, pack INTEGER, PRIMARY KEY (tid, tag, pack)) WITHOUT ROWID;
CREATE TABLE gaps (tid INTEGER, sid INTEGER, first INTEGER, last INTEGER NOT NULL, reason TEXT NOT NULL,
    prev_hash BLOB, hash BLOB, seq_from INTEGER NOT NULL, seq_to INTEGER NOT NULL, ends BLOB NOT NULL,
    PRIMARY KEY (tid, sid, first)) WITHOUT ROWID;
CREATE INDEX gaps_in_log ON gaps (tid, seq_from) WHERE seq_from > 0;
CREATE TABLE masks (key INTEGER PRIMARY KEY, bits BLOB NOT NULL, erased BLOB NOT NULL, text INTEGER NOT NULL);
CREATE TABLE idempotency (tid INTEGER, key TEXT, first INTEGER NOT NULL, last INTEGER NOT NULL, head INTEGER
    NOT NULL, digest BLOB NOT NULL, ts INTEGER NOT NULL, PRIMARY KEY (tid, key)) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (tid, ts);
CREATE TABLE marks (reader TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE merged (tid INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
"""

Step = Callable[[apsw.Connection], None]


def _deletes(connection: apsw.Connection) -> None:
    """Format 2 keeps which records are deleted, and why the front of a log is gone."""
    connection.execute(
        """ALTER TABLE heads ADD COLUMN taken BLOB NOT NULL DEFAULT x'';
        CREATE TABLE masks (key INTEGER PRIMARY KEY, bits BLOB NOT NULL, erased BLOB NOT NULL,
            text INTEGER NOT NULL);"""
    )


def _deferred(connection: apsw.Connection) -> None:
    """Format 3 lets rows wait that a pack's row tells."""
    connection.execute("ALTER TABLE packs ADD COLUMN told BLOB")


# What turns format N into N + 1, by N. Each step is tested with a store that the older version wrote.
MIGRATIONS: dict[int, Step] = {1: _deletes, 2: _deferred}


def prepare(connection: apsw.Connection, newest: int = FORMAT, migrations: Mapping[int, Step] = MIGRATIONS) -> None:
    """Make the tables, or bring them to this format, each step in a transaction of its own.

    Raises StoreTooNew, or StoreCorrupt when this is no store of mirrord.
    """
    if not rows(connection, "SELECT 1 FROM sqlite_master LIMIT 1"):
        with connection:
            connection.execute(TABLES)
            _set_format(connection, newest)
    found = _format(connection)
    if found > newest:
        raise StoreTooNew(f"the store has format {found}, this mirrord knows {newest}; run the newer one")
    for step in range(found, newest):
        with connection:
            migrations[step](connection)
            _set_format(connection, step + 1)


def _format(connection: apsw.Connection) -> int:
    if not rows(connection, "SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
        raise StoreCorrupt("mirrord.db is an SQLite database, but none of mirrord's; choose another data_dir")
    told = rows(connection, "SELECT value FROM meta WHERE key = ?", FORMAT_KEY)
    if not told or not bytes(told[0][0]).isdigit():
        raise StoreCorrupt("mirrord.db does not tell its format; restore a backup or choose another data_dir")
    return int(told[0][0])


def _set_format(connection: apsw.Connection, number: int) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (FORMAT_KEY, b"%d" % number))
