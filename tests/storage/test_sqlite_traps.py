"""SQLite's traps, each closed: settings, versions, the data directory, damage on the disk."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import Any

import apsw
import pytest

from mirrord.errors import ChunkCorrupt, DataDirLocked, StorageFailed, StoreCorrupt, StoreError, StoreTooNew
from mirrord.storage.sqlite import Settings, SqliteStore, open_sqlite
from mirrord.storage.sqlite.checkpoint import Checkpointer
from mirrord.storage.sqlite.connection import check_version, connect
from mirrord.storage.sqlite.directory import DataDirectory
from mirrord.storage.sqlite.schema import FORMAT, prepare
from mirrord.storage.store import PutMark

PLAIN = Settings(ballast_bytes=0)


def pragma(connection: apsw.Connection, name: str) -> Any:
    return connection.pragma(name)


def test_pragmas_of_every_connection(store: SqliteStore) -> None:
    """Page size and vacuum mode precede the first table; nobody checkpoints by itself; nothing is mapped."""
    for connection in (store._writer, store._reader):
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "auto_vacuum") == 2
        assert pragma(connection, "page_size") == Settings().page_bytes
        assert pragma(connection, "wal_autocheckpoint") == 0
        assert pragma(connection, "mmap_size") == 0
        assert pragma(connection, "synchronous") >= 1
    with pytest.raises(apsw.ReadOnlyError):
        store._reader.execute("DELETE FROM meta")


def test_a_sync_commit_syncs_the_log_and_no_other_does(store: SqliteStore, disk: Any) -> None:
    """``synchronous`` follows each commit; a sync with nothing to write still syncs what came before."""
    store.commit([PutMark("r", b"1")], sync=False)
    assert ("sync", "wal") not in disk.done
    store.commit([PutMark("r", b"2")], sync=True)
    assert disk.done[-1] == ("sync", "wal")
    store.commit([PutMark("r", b"3")], sync=False)
    assert disk.done[-1] == ("write", "wal")
    store.commit([], sync=True)
    assert disk.done[-1] == ("sync", "wal")


def test_opening_makes_durable_what_a_killed_process_left(
    store: SqliteStore, tmp_path: Path, record_at: Any, after_kill: Any
) -> None:
    """After a start everything that is read is on the disk: the log of the last process has been emptied."""
    store.commit([record_at(1)], sync=False)
    assert (tmp_path / "data" / "mirrord.db-wal").stat().st_size > 0
    found = after_kill()
    assert (tmp_path / "life-0" / "mirrord.db-wal").stat().st_size == 0
    assert len(found.packs(1, 1, 1)) == 1


@pytest.mark.parametrize("version", ["3.45.1", "3.51.2", "3.52.0"])
def test_a_faulty_sqlite_is_refused(version: str) -> None:
    """Versions that are known to damage a WAL database are not used."""
    with pytest.raises(StoreError, match=version):
        check_version(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.1", "3.54.1", "4.0.0"])
def test_a_good_sqlite_is_taken(version: str) -> None:
    """The check compares numbers, not text."""
    check_version(version)


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    """An older mirrord must not write into what it does not understand."""
    open_sqlite(tmp_path, PLAIN).close()
    connection = apsw.Connection(str(tmp_path / "mirrord.db"))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (b"%d" % (FORMAT + 1),))
    connection.close()
    for _ in range(2):  # and the directory is free again after the refusal
        with pytest.raises(StoreTooNew, match=f"format {FORMAT + 1}"):
            open_sqlite(tmp_path, PLAIN)


def test_an_older_format_is_brought_forward_step_by_step(tmp_path: Path) -> None:
    """Each step runs once, in order, in its own transaction; one that fails leaves the format before it."""
    open_sqlite(tmp_path, PLAIN).close()
    connection = connect(tmp_path / "mirrord.db", PLAIN, cache_bytes=1 << 20, wait_ms=0)
    steps: list[int] = []

    def fails(_: apsw.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise StorageFailed

    with pytest.raises(StorageFailed):
        prepare(connection, FORMAT + 2, {FORMAT: lambda _: steps.append(1), FORMAT + 1: fails})
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    prepare(connection, FORMAT + 2, {FORMAT + 1: lambda _: steps.append(2)})
    prepare(connection, FORMAT + 2, {})
    assert steps == [1, 2]
    with pytest.raises(StoreTooNew):
        prepare(connection)
    connection.close()


def test_another_programs_database_is_not_taken(tmp_path: Path) -> None:
    """A mistyped data_dir must not gain tables."""
    other = apsw.Connection(str(tmp_path / "mirrord.db"))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreCorrupt, match="none of mirrord's"):
        open_sqlite(tmp_path, PLAIN)


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    """A file of garbage is a named error, not a stack of SQLite's."""
    (tmp_path / "mirrord.db").write_bytes(b"garbage " * 1_000)
    with pytest.raises(StoreCorrupt, match="damaged"):
        open_sqlite(tmp_path, PLAIN)


def test_a_data_dir_has_one_daemon(tmp_path: Path) -> None:
    """A second daemon is told who holds the directory; after the first has ended it may have it."""
    data = tmp_path / "deep" / "data"
    first = open_sqlite(data, PLAIN)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    with pytest.raises(DataDirLocked, match=r"process \d+"):
        open_sqlite(data, PLAIN)
    first.close()
    open_sqlite(data, PLAIN).close()


def test_a_data_dir_that_is_a_file(tmp_path: Path) -> None:
    """What cannot be a directory is said so, with its name."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match="data_dir"):
        open_sqlite(tmp_path / "data", PLAIN)


@pytest.mark.parametrize("damage", [b"X", b""])
def test_a_damaged_body_is_named_and_never_served(store: SqliteStore, record_at: Any, damage: bytes) -> None:
    """A flipped byte or a torn body: the error names topic and seqs, other packs are still read, and merging
    does not give the damaged body a good checksum."""
    body = b"b" * 3_000
    store.commit([record_at(seq, body) for seq in range(1, 61)], sync=False)
    (key,) = store._writer.execute("SELECT key FROM packs WHERE last = 2").fetchall()[0]
    store._writer.execute("UPDATE packs SET body = ? WHERE key = ?", (damage + body[1:], key))
    while store.tidy():
        pass
    with pytest.raises(ChunkCorrupt, match=r"topic orders, seqs 2\.\.2") as caught:
        store.packs(1, 2, 1)
    assert caught.value.detail == {"topic": "orders", "seq": 2, "last": 2}
    assert [pack.seq for pack in store.packs(1, 1, 1)] == [1]
    assert store.packs(1, 60, 1)[0].last == 60
    assert store.pack_sizes(1, 2, 1)[0].seq == 2


def test_the_log_stays_short(tmp_path: Path, record_at: Any) -> None:
    """The WAL starts anew between transactions, so it does not grow with what is written."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0, passive_bytes=1 << 30, restart_bytes=1 << 20))
    for seq in range(1, 201):
        store.commit([record_at(seq, b"x" * 60_000)], sync=False)
    assert (tmp_path / "mirrord.db-wal").stat().st_size < 2 << 20
    assert len(store.packs(1, 1, 1 << 30)) == 200
    store.close()


def test_the_writer_leaves_the_copying_to_the_side_connection(tmp_path: Path, record_at: Any) -> None:
    """Who begins the WAL anew waits for the disk until all of it is copied, and every commit waits with it: so a long
    one is copied aside until little is left."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0, passive_bytes=1 << 30, restart_bytes=1 << 20))
    wal, aside = store._wal, store._wal._checkpointer
    anew: list[int] = []
    longest = 0
    for seq in range(1, 101):
        while aside._wake.is_set() or aside.copying.locked():
            pass  # it copies what it was woken for
        before, left = wal.bytes, wal.bytes - aside.copied * wal._frame_bytes
        store.commit([record_at(seq, b"x" * 60_000)], sync=False)
        if wal.bytes < before:
            anew.append(left)
        longest = max(longest, wal.bytes)
    assert len(anew) > 3
    assert max(anew) <= 1 << 18
    assert longest < 5 << 18  # it is not put off until it must be
    store.close()


def test_a_log_that_sqlite_begins_anew_is_counted_from_its_beginning(tmp_path: Path, record_at: Any) -> None:
    """When all of it is copied and nobody reads: what was copied of the one before is not taken for copied of this."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0, passive_bytes=1 << 20))
    wal, aside = store._wal, store._wal._checkpointer
    for seq in range(1, 9):
        store.commit([record_at(seq, b"x" * 60_000)], sync=False)
    before = wal.bytes
    wal.copy()
    while aside._wake.is_set() or aside.copying.locked():
        pass
    assert aside.copied * wal._frame_bytes >= before
    store.commit([record_at(9)], sync=False)
    assert wal.bytes < before
    assert (aside.copied, wal._passive_at) == (0, 1 << 20)
    store.close()


def test_work_on_the_log_is_told_before_it_is_due(tmp_path: Path, record_at: Any) -> None:
    """So that no commit on the event loop is the one that must begin it anew."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0, passive_bytes=1 << 30, restart_bytes=3 << 20))
    told: list[bool] = []
    while store.wal_bytes < 3 << 20 and len(told) < 99:
        told.append(store.log_work_due)
        store.commit([record_at(len(told), b"x" * 60_000)], sync=False)
    assert told[0] is False
    assert told[-10:] == [True] * 10
    store.close()


def test_the_side_connection_ends_though_it_is_told_so_just_when_it_begins_to_copy(tmp_path: Path) -> None:
    """A node that stops at that moment does not hang: the call to end is not taken for the one to copy."""
    directory = DataDirectory(tmp_path, PLAIN)
    aside = Checkpointer(directory, PLAIN)

    class Entered(contextlib.AbstractContextManager[None]):
        """The lock, at whose taking the store is closed."""

        def __enter__(self) -> None:
            with contextlib.suppress(RuntimeError):  # the thread does not wait for itself
                aside.close()

        def __exit__(self, *_: object) -> None:
            return None

    aside.copying = Entered()  # type: ignore[assignment]
    aside.wake()
    aside._thread.join(30)
    assert not aside._thread.is_alive()
    directory.close()


def test_a_reader_that_never_ends_cannot_make_the_log_endless(tmp_path: Path, record_at: Any) -> None:
    """Another process that holds a snapshot stops the WAL from starting anew: at the limit writes are refused
    with what to do, and go on when that reader has ended."""
    limits = Settings(ballast_bytes=0, restart_bytes=1 << 18, wal_limit_bytes=1 << 19)
    store = open_sqlite(tmp_path, limits)
    store.commit([record_at(1)], sync=False)
    other = apsw.Connection(str(tmp_path / "mirrord.db"))
    other.execute("BEGIN")
    other.execute("SELECT * FROM packs").fetchall()
    seq = 1
    while store.wal_bytes < limits.wal_limit_bytes:
        store.commit([record_at(seq := seq + 1, b"x" * 60_000)], sync=False)
    with pytest.raises(StorageFailed, match="end that reader"):
        store.commit([record_at(100, b"x" * 60_000)], sync=False)
    assert (tmp_path / "mirrord.db-wal").stat().st_size < 1 << 20
    other.execute("ROLLBACK")
    other.close()
    store.commit([record_at(100, b"x" * 60_000)], sync=False)
    store.close()
