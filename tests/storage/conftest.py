"""A file layer for SQLite that fails when told to, and stores that live on it."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from mirrord.storage.sqlite import Settings, SqliteStore, open_sqlite
from mirrord.storage.store import Pack, Part, PutPack, PutStrand, PutTopic, StrandRow, TopicRow

_names = (f"faulty-{n}" for n in itertools.count())


class FaultyDisk(apsw.VFS):
    """Real files. ``fail`` makes one operation on one kind of file fail, once or until ``mend``."""

    def __init__(self) -> None:
        self.name = next(_names)
        self.done: list[tuple[str, str]] = []  # (operation, file)
        self.met = threading.Event()  # something was refused
        self.shortened = threading.Event()  # the database file was
        self._plan: tuple[str, str, bool, bool] | None = None
        self._ballast: Path | None = None
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(name, flags, self)

    def fail(self, what: str, file: str = "wal", *, full: bool = False, sticky: bool = False) -> None:
        self._plan = (what, file, full, sticky)

    def fill(self, file: str, ballast: Path) -> None:
        """Full for writes to that kind of file, as long as the ballast lies there."""
        self.fail("write", file, full=True, sticky=True)
        self._ballast = ballast

    def mend(self) -> None:
        self._plan = self._ballast = None

    def meet(self, what: str, file: str) -> None:
        self.done.append((what, file))
        if self._plan is None or self._plan[:2] != (what, file):
            return
        if self._ballast is not None and not self._ballast.exists():
            return
        _, _, full, sticky = self._plan
        if not sticky:
            self._plan = None
        self.met.set()
        if full:
            raise apsw.FullError("injected")
        error = apsw.IOError("injected")
        code = apsw.SQLITE_IOERR_FSYNC if what == "sync" else apsw.SQLITE_IOERR_WRITE
        error.extendedresult = code  # type: ignore[attr-defined]  # apsw gives every one of its errors one
        raise error


class _FaultyFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], disk: FaultyDisk) -> None:
        self._disk = disk
        self._file = "wal" if flags[0] & apsw.SQLITE_OPEN_WAL else "db"
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        self._disk.meet("sync", self._file)
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        if self._file == "db":
            self._disk.shortened.set()

    def xWrite(self, data: Any, offset: int) -> None:
        self._disk.meet("write", self._file)
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


@pytest.fixture
def store(disk: FaultyDisk, tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_sqlite(tmp_path / "data", Settings(ballast_bytes=1 << 16, vfs=disk.name))
    store.commit(
        [PutTopic(TopicRow(1, "orders", b"")), PutStrand(StrandRow(10, 1, 5, b""))],
        sync=True,
    )
    disk.done.clear()
    yield store
    disk.mend()
    store.close()


def record(seq: int, body: bytes = b"") -> PutPack:
    return PutPack(Pack(1, seq, seq, 1, 10, seq, body or b"body %d" % seq), (Part(10, seq, seq),), ())


def killed(data_dir: Path, copy: Path) -> SqliteStore:
    """The store as the next process would find it if this one were killed now."""
    copy.mkdir()
    for name in ("mirrord.db", "mirrord.db-wal"):
        if (data_dir / name).exists():
            shutil.copy(data_dir / name, copy)
    return open_sqlite(copy, Settings(ballast_bytes=0))


@pytest.fixture
def record_at() -> Any:
    return record


@pytest.fixture
def after_kill(tmp_path: Path) -> Iterator[Any]:
    opened: list[SqliteStore] = []

    def look(data_dir: Path | None = None) -> SqliteStore:
        opened.append(killed(data_dir or tmp_path / "data", tmp_path / f"life-{len(opened)}"))
        return opened[-1]

    yield look
    for store in opened:
        store.close()
