"""When the disk refuses: nothing of the commit is visible, nothing comes back, and writes recover."""

from __future__ import annotations

import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mirrord.errors import DiskFull, StorageFailed
from mirrord.storage.sqlite import Settings, SqliteStore, open_sqlite
from mirrord.storage.store import DropMark, DropPack, PutMark


def seqs(store: SqliteStore) -> list[int]:
    return [pack.seq for pack in store.packs(1, 1, 1 << 20)]


@pytest.mark.parametrize(("what", "sync"), [("sync", True), ("write", True), ("write", False)])
def test_one_refusal_leaves_nothing_and_the_next_commit_works(
    store: SqliteStore, disk: Any, record_at: Any, after_kill: Any, what: str, sync: bool
) -> None:
    """A single EIO: the writer hears of it, no reader and no next process ever sees the record."""
    store.commit([record_at(1)], sync=False)
    disk.fail(what)
    with pytest.raises(StorageFailed):
        store.commit([record_at(2)], sync=sync)
    assert seqs(store) == [1]
    assert store.state == "ok"
    assert seqs(after_kill()) == [1]
    store.commit([record_at(2, b"again")], sync=True)
    assert seqs(store) == seqs(after_kill()) == [1, 2]


@pytest.mark.parametrize("what", ["sync", "write"])
def test_a_disk_that_stays_broken(store: SqliteStore, disk: Any, record_at: Any, after_kill: Any, what: str) -> None:
    """While it is broken: reads go on, every commit is refused, and what was refused does not come back after
    kill -9 although the log could not be emptied. When it works again: heal, and commits go on."""
    store.commit([record_at(1)], sync=False)
    disk.fail(what, sticky=True)
    with pytest.raises(StorageFailed):
        store.commit([record_at(2)], sync=True)
    if what == "sync":
        assert store.state == "failed"
        with pytest.raises(StorageFailed, match="not recovered"):
            store.commit([PutMark("r", b"")], sync=False)
        with pytest.raises(StorageFailed):
            store.heal()
    assert seqs(store) == [1]
    assert seqs(after_kill()) == [1]
    disk.mend()
    store.heal()
    store.commit([record_at(2, b"again")], sync=False)
    assert seqs(store) == seqs(after_kill()) == [1, 2]


def test_a_refused_record_would_come_back_if_the_log_were_not_cut(
    store: SqliteStore, disk: Any, record_at: Any, after_kill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason for cutting: without it the next process replays the refused commit from the WAL."""
    disk.fail("sync", sticky=True)
    monkeypatch.setattr("mirrord.storage.sqlite.wal.os.truncate", lambda *_: None)
    with pytest.raises(StorageFailed):
        store.commit([record_at(1)], sync=True)
    assert seqs(store) == []
    assert seqs(after_kill()) == [1]


def test_what_the_side_connection_could_not_make_durable_stops_the_writer(
    disk: Any, tmp_path: Path, record_at: Any
) -> None:
    """After a failed checkpoint a later sync proves nothing, so nothing newer is acknowledged before heal."""
    store = open_sqlite(tmp_path / "data", Settings(ballast_bytes=0, passive_bytes=1, vfs=disk.name))
    disk.fail("sync", "db", sticky=True)
    store.commit([record_at(1)], sync=False)
    assert disk.met.wait(30)
    with store._wal._checkpointer.copying:  # it has come back from the refusal
        assert store.failed
    with pytest.raises(StorageFailed):
        store.commit([record_at(2)], sync=False)
    disk.mend()
    store.heal()
    store.commit([record_at(2)], sync=False)
    assert seqs(store) == [1, 2]
    store.close()


def test_a_fault_of_our_own_leaves_no_transaction_open(store: SqliteStore) -> None:
    """The journal dies of it and is restarted: its next commit must not carry what the one before had begun."""
    store.commit([PutMark("r", b"1")], sync=False)
    strange: Any = object()
    with pytest.raises(KeyError):
        store.commit([DropMark("r"), strange], sync=False)
    store.commit([PutMark("s", b"2")], sync=False)
    assert store.marks("") == [("r", b"1"), ("s", b"2")]


class Room:
    """A file system on which so much is free."""

    def __init__(self) -> None:
        self.free = 1 << 30

    def __call__(self, _: Path) -> int:
        return self.free


def test_a_full_disk_lets_deletes_through(disk: Any, tmp_path: Path, record_at: Any) -> None:
    """Appends are refused, the ballast is given up, reads and deletes work; with room appends do too."""
    room = Room()
    data = tmp_path / "data"
    store = open_sqlite(data, Settings(ballast_bytes=1 << 16, vfs=disk.name, room=room))
    store.commit([record_at(1), record_at(2)], sync=False)
    assert (data / "ballast").stat().st_size == 1 << 16
    disk.fail("write", full=True)
    room.free = 0
    with pytest.raises(DiskFull):
        store.commit([record_at(3)], sync=False)
    assert not (data / "ballast").exists()
    assert (store.state, seqs(store)) == ("full", [1, 2])
    with pytest.raises(DiskFull):
        store.commit([record_at(3)], sync=False)
    store.commit([DropPack(1, 1, 1)], sync=True)
    assert seqs(store) == [2]
    room.free = 1 << 30
    store.commit([record_at(3)], sync=False)
    assert (store.state, seqs(store)) == ("ok", [2, 3])
    assert (data / "ballast").exists()
    store.close()


def test_a_full_disk_gets_room_though_refused_writers_insist(disk: Any, tmp_path: Path, record_at: Any) -> None:
    """They keep the store from ever being idle. What a delete has freed comes back to the file system all the same:
    the database file becomes shorter when the write-ahead log is copied."""
    room = Room()
    store = open_sqlite(tmp_path / "data", Settings(ballast_bytes=1 << 16, vfs=disk.name, room=room))
    store.commit([record_at(seq, b"x" * 20_000) for seq in range(1, 99)], sync=False)
    store._wal.empty()
    disk.fail("write", full=True)
    room.free = 0
    with pytest.raises(DiskFull):
        store.commit([record_at(99)], sync=False)
    store.commit([DropPack(1, seq, seq) for seq in range(1, 99)], sync=False)
    disk.shortened.clear()
    while store.tidy(idle=False):
        pass
    assert disk.shortened.wait(30)
    store.close()


def test_a_disk_that_is_found_full_while_copying(disk: Any, tmp_path: Path, record_at: Any) -> None:
    """The side connection needs room too: the ballast is given up for it, then deletes work as ever."""
    data = tmp_path / "data"
    room = Room()
    store = open_sqlite(data, Settings(ballast_bytes=1 << 16, passive_bytes=1, vfs=disk.name, room=room))
    disk.fill("db", data / "ballast")
    room.free = 0
    store.commit([record_at(1)], sync=False)
    assert disk.met.wait(30)
    with store._wal._checkpointer.copying:
        assert store.failed
    store.heal()
    assert not (data / "ballast").exists()
    assert store.state == "full"
    with pytest.raises(DiskFull):
        store.commit([record_at(2)], sync=False)
    store.commit([DropPack(1, 1, 1)], sync=True)
    assert seqs(store) == []
    store.close()


def test_a_store_opens_on_a_full_disk(disk: Any, tmp_path: Path, record_at: Any) -> None:
    """What a killed process left in the WAL is copied at the start, with the room of the ballast if need be."""
    data = tmp_path / "data"
    store = open_sqlite(data, Settings(ballast_bytes=1 << 16, vfs=disk.name))
    store.commit([record_at(1)], sync=True)
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    store.close()
    disk.fill("db", copy / "ballast")
    again = open_sqlite(copy, Settings(ballast_bytes=1 << 16, vfs=disk.name, room=lambda _: 0))
    assert (again.state, seqs(again)) == ("full", [1])
    again.close()


CHILD = """
import os, runpy, signal, sys
from pathlib import Path
told = runpy.run_path(sys.argv[1])
disk = told["FaultyDisk"]()
store = told["open_sqlite"](Path(sys.argv[2]), told["Settings"](ballast_bytes=0, vfs=disk.name))
store.commit([told["record"](1)], sync=False)
disk.fail("sync", sticky=sys.argv[3] == "sticky")
try:
    store.commit([told["record"](2)], sync=True)
except Exception as error:
    print(type(error).__name__, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["once", "sticky"])
def test_kill_after_a_refusal(tmp_path: Path, how: str) -> None:
    """A process that is killed after a failed sync: acknowledged records stay, refused ones are gone."""
    conftest = str(Path(__file__).with_name("conftest.py"))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, conftest, str(tmp_path / "data"), how],
        stdout=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert child.stdout.strip() == b"StorageFailed"
    assert child.returncode == -signal.SIGKILL
    store: SqliteStore = runpy.run_path(conftest)["open_sqlite"](tmp_path / "data")
    assert seqs(store) == [1]
    store.close()
