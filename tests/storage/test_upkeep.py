"""Idle work on the disk: single appends become small, and deleted space goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mirrord.storage.sqlite import Settings, SqliteStore, open_sqlite
from mirrord.storage.store import DropPack, DropTopic, HeadRow, PutHead, PutVector, VectorRow

CHUNK = bytes(range(212))  # what a record of 128 bytes becomes when it is appended alone


def tidy(store: SqliteStore) -> int:
    """All idle work there is; how many steps it took."""
    steps = 0
    while store.tidy():
        steps += 1
    return steps


def size_after_close(store: SqliteStore, path: Path) -> int:
    store.close()
    return (path / "mirrord.db").stat().st_size


def test_single_appends_take_at_most_260_bytes_each(tmp_path: Path, record_at: Any) -> None:
    """A record of 128 bytes that was appended alone costs little more than its chunk after merging."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    count = 20_000
    for seq in range(1, count + 1, 500):
        store.commit([record_at(n, CHUNK) for n in range(seq, seq + 500)], sync=False)
    tidy(store)
    assert size_after_close(store, tmp_path) <= 260 * count


def test_space_of_dropped_packs_goes_back(tmp_path: Path, record_at: Any) -> None:
    """After retention the file shrinks, although nobody writes to the topic any more."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    store.commit([record_at(seq, b"x" * 60_000) for seq in range(1, 201)], sync=False)
    tidy(store)
    store._wal.empty()
    large = (tmp_path / "mirrord.db").stat().st_size
    store.commit([DropPack(1, seq, seq) for seq in range(1, 200)], sync=False)
    assert tidy(store) > 1
    assert size_after_close(store, tmp_path) < large / 20


def test_each_byte_is_merged_once(tmp_path: Path, record_at: Any) -> None:
    """The tail of a log waits until it fills a pack; what is merged is not looked at again."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    for seq in range(1, 1_001):
        store.commit([record_at(seq, CHUNK)], sync=False)
        tidy(store)
    sizes = [len(pack.body) for pack in store.packs(1, 1, 1 << 30)]
    merged = [size for size in sizes if size > len(CHUNK)]
    assert len(merged) == 3
    assert min(merged) > 60_000
    assert tidy(store) == 0
    store.close()


def test_a_start_finds_what_was_left_unmerged(tmp_path: Path, record_at: Any) -> None:
    """Small packs that a killed process left are merged by the next one."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    head = PutHead(HeadRow(1, 1_000, 0, 0, 0, 0, 0))
    store.commit([head, *(record_at(seq, CHUNK) for seq in range(1, 1_001))], sync=False)
    store.close()
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    tidy(store)
    assert len(store.packs(1, 1, 1 << 30)) < 300
    store.close()


def test_topics_that_come_and_go_leave_nothing_in_memory(tmp_path: Path, record_at: Any) -> None:
    """A node may make and forget topics for years."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    head, vector = PutHead(HeadRow(1, 1, 0, 0, 1, 0, 0)), PutVector(VectorRow(10, 1, b"h" * 16, 1, 1))
    store.commit([record_at(1), vector, head], sync=False)
    assert [set(store._upkeep._loose), set(store._deferred._ends)] == [{1}, {10}]
    store.commit([DropTopic(1)], sync=False)
    assert not store._upkeep._loose
    assert not store._deferred._ends
    assert not store._deferred._heads_written
    store.close()
