"""Rows that wait: reads lay them over the tables, a crash loses none, and nothing waits without a bound."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrord.errors import StoreCorrupt
from mirrord.storage.memory import MemoryStore
from mirrord.storage.sqlite import Settings, open_sqlite
from mirrord.storage.sqlite.deferred import MOST_PARTS
from mirrord.storage.sqlite.engine import SqliteStore
from mirrord.storage.store import (
    Change,
    DropLog,
    DropPack,
    DropTopic,
    HeadRow,
    Pack,
    Part,
    PutHead,
    PutMark,
    PutPack,
    PutStrand,
    PutTopic,
    PutVector,
    Store,
    StrandRow,
    TopicRow,
    VectorRow,
)

TIDS = (1, 2)
STRANDS = 2  # of each topic
SETTINGS = Settings(ballast_bytes=0)


def head(tid: int, at: int) -> HeadRow:
    """A topic's row that says how far it has come."""
    return HeadRow(tid, at, at + 7, 0, at, 2 * at, 3)


def append(store: Store, tid: int, strand: int, sizes: list[int], tags: tuple[str, ...] = ()) -> list[Change]:
    """What a turn commits that appends one pack of each size (records) to a strand."""
    sid, row = tid * STRANDS + strand, store.head(tid)
    at = row.head if row else 0
    oseq = next((v.last for v in store.vectors(tid) if v.sid == sid), 0)
    found: list[Change] = []
    for size in sizes:
        pack = Pack(tid, at + 1, at + size, size, 2 * size, 3, b"%d" % at * 9000)
        found.append(PutPack(pack, (Part(sid, oseq + 1, oseq + size),), tags))
        at, oseq = at + size, oseq + size
    rows: list[Change] = [PutVector(VectorRow(sid, oseq, b"h" * 16, 1, at)), PutHead(head(tid, at))]
    return [*found, *(rows if at % 5 != 4 else reversed(rows))]  # mostly as turns put them


def found_in(store: Store) -> dict[str, Any]:
    """All that a store says, but for how its packs are cut, which it may change."""
    sids = [tid * STRANDS + strand for tid in TIDS for strand in range(STRANDS)]
    runs = {sid: store.parts(sid, 1, 999) for sid in sids}
    return {
        "heads": store.heads(),
        "each": [store.head(tid) for tid in TIDS],
        "vectors": [store.vectors(tid) for tid in TIDS],
        "seqs": [(tid, seq) for tid in TIDS for p in store.packs(tid, 0, 1 << 30) for seq in range(p.seq, p.last + 1)],
        "oseqs": [(sid, oseq) for sid in sids for part, _ in runs[sid] for oseq in range(part.first, part.last + 1)],
        "tags": [bool(store.packs_with_tag(tid, "t", 9)) for tid in TIDS],
        "marks": store.marks(""),
    }


def lies_where_told(store: Store) -> bool:
    """Whether each part lies in the pack that it names, and a limited read is the beginning of the whole."""
    sids = [tid * STRANDS + strand for tid in TIDS for strand in range(STRANDS)]
    for sid in sids:
        parts = store.parts(sid, 1, 999)
        if store.parts(sid, 1, 2) != parts[:2]:
            return False
        if any(part not in store.parts_of_pack(sid // STRANDS, seq) for part, seq in parts):
            return False
    return True


@contextmanager
def store_at(path: Path) -> Iterator[SqliteStore]:
    """A store, closed at the end."""
    store = open_sqlite(path, SETTINGS)
    try:
        yield store
    finally:
        store.close()


def copied(path: Path, to: Path) -> Path:
    """What kill -9 leaves: the files as they are."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for name in ("mirrord.db", "mirrord.db-wal"):
        if (path / name).exists():
            shutil.copy(path / name, to / name)
    return to


def begin(store: Store) -> None:
    """Both topics with their strands; a head row stands in no table yet."""
    store.commit([PutTopic(TopicRow(tid, f"t{tid}", b"")) for tid in TIDS], sync=False)
    sids = [(tid * STRANDS + strand, tid) for tid in TIDS for strand in range(STRANDS)]
    store.commit([PutStrand(StrandRow(sid, tid, sid, b"")) for sid, tid in sids], sync=False)


tids, strands = st.sampled_from(TIDS), st.integers(0, STRANDS - 1)
sizes = st.lists(st.integers(1, 3), min_size=1, max_size=3)
steps = st.one_of(
    st.tuples(st.just("append"), tids, strands, sizes, st.booleans()),
    st.tuples(st.just("append"), tids, strands, st.just([1]), st.booleans()),
    st.tuples(st.just("beyond"), tids, strands, st.integers(1, 5)),
    st.tuples(st.just("both"), sizes, sizes),
    st.tuples(st.just("mark"), tids, st.booleans()),
    st.tuples(st.just("head"), tids, st.integers(0, 9)),
    st.tuples(st.just("vector"), tids, strands),
    st.tuples(st.just("front"), tids),
    st.tuples(st.sampled_from(["log", "topic"]), tids),
    st.tuples(st.sampled_from(["tidy", "crash"])),
)


def changes_of(step: tuple[Any, ...], store: Store) -> list[Change]:
    """What a step commits."""
    match step:
        case ("append", tid, strand, many, tagged):
            return append(store, tid, strand, many, ("t",) if tagged else ())
        case ("beyond", tid, strand, further):
            row = store.head(tid)
            told = PutHead(head(tid, (row.head if row else 0) + 1 + further))  # further than the pack goes
            return [told if isinstance(one, PutHead) else one for one in append(store, tid, strand, [1])]
        case ("both", ones, twos):
            return [*append(store, 1, 0, ones), *append(store, 2, 0, twos)]
        case ("mark", tid, more):
            return [PutMark("r", b"%d" % tid), *(append(store, tid, 0, [1]) if more else [])]
        case ("head", tid, further):
            row = store.head(tid)
            return [PutHead(head(tid, (row.head if row else 0) + further))]
        case ("vector", tid, strand):
            sid = tid * STRANDS + strand
            last = next((v.last for v in store.vectors(tid) if v.sid == sid), 0)
            return [PutVector(VectorRow(sid, last + 5, b"g" * 16, 1, 2)), *append(store, 3 - tid, 0, [2])]
        case ("log", tid):
            return [DropLog(tid)]
        case ("topic", tid):
            again = [PutStrand(StrandRow(tid * STRANDS + s, tid, s + 1, b"")) for s in range(STRANDS)]
            return [DropTopic(tid), *again]
        case _:
            return []


def front_of(store: Store, tid: int) -> list[Change]:
    """Retention: the oldest pack goes, as this store has cut it."""
    packs = store.pack_sizes(tid, 0, 1)
    return [DropPack(tid, packs[0].seq, packs[0].last)] if packs else []


@settings(max_examples=150, deadline=None)
@example(history=[("vector", 1, 0), ("append", 1, 0, [1], False), ("crash",)])  # told by another topic's pack
@given(history=st.lists(steps, max_size=25))
def test_a_store_whose_rows_wait_says_what_one_says_that_writes_all(history: list[tuple[Any, ...]]) -> None:
    """Appends of one topic and of both, heads and vectors alone, drops, marks, merging, crashes, in any order: reads
    answer as the memory store does, at every step and after every reopening."""
    path = Path(tempfile.mkdtemp(prefix="mirrord-deferred-"))
    plain, at = MemoryStore(), path / "first"
    store = open_sqlite(at, SETTINGS)
    try:
        begin(store)
        begin(plain)
        for number, step in enumerate(history):
            if step[0] == "front":
                if (changes := front_of(store, step[1])) != front_of(plain, step[1]):
                    continue  # merged: the two would not drop the same
                store.commit(changes, sync=False)
                plain.commit(changes, sync=False)
            elif step[0] == "tidy":
                while store.tidy(idle=False):
                    pass
            elif step[0] == "crash":
                left = copied(at, path / f"after {number}")
                store.close()
                store, at = open_sqlite(left, SETTINGS), left
            else:
                changes = changes_of(step, plain)
                store.commit(changes, sync=False)
                plain.commit(changes, sync=False)
            assert found_in(store) == found_in(plain)
            assert lies_where_told(store)
    finally:
        store.close()
        shutil.rmtree(path)


def appended(path: Path) -> SqliteStore:
    """A store with three packs whose rows wait."""
    store = open_sqlite(path, SETTINGS)
    begin(store)
    for _ in range(3):
        store.commit(append(store, 1, 0, [2]), sync=False)
    return store


def table(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a table holds, looked at from outside."""
    connection = apsw.Connection(str(path / "mirrord.db"))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_an_append_alone_writes_its_pack_and_nothing_else(tmp_path: Path) -> None:
    """The reason for it all: parts, heads and vectors stand in no table yet, and every read has them."""
    store = appended(tmp_path / "a")
    try:
        left = copied(tmp_path / "a", tmp_path / "looked")
        for name in ("parts", "vectors", "heads"):
            assert table(left, f"SELECT * FROM {name}") == []
        assert store.head(1) == head(1, 6)
        assert [(part.first, part.last, seq) for part, seq in store.parts(2, 3, 9)] == [(3, 4, 3), (5, 6, 5)]
    finally:
        store.close()


def test_what_waited_stands_in_the_tables_after_a_crash(tmp_path: Path) -> None:
    """Opening writes it, once: a second crash finds nothing to do, and what is written later counts more."""
    store = appended(tmp_path / "a")
    left = copied(tmp_path / "a", tmp_path / "left")
    expected = found_in(store)
    store.close()
    with store_at(left) as again:
        assert found_in(again) == expected
        assert not again._deferred.waiting
        assert len(table(left, "SELECT * FROM parts")) == 3
        again.commit([PutHead(head(1, 2))], sync=False)  # lower than what the packs tell
    with store_at(left) as third:
        assert third.head(1) == head(1, 2)


def test_a_part_that_is_there_is_refused_though_it_waits(tmp_path: Path) -> None:
    """As when it stands in the table: nothing of the commit is kept."""
    store = appended(tmp_path / "a")
    try:
        before = found_in(store)
        pack = PutPack(Pack(1, 7, 8, 2, 4, 3, b"x"), (Part(2, 5, 6),))
        with pytest.raises(StoreCorrupt):
            store.commit([pack, PutVector(VectorRow(2, 6, b"h" * 16, 1, 1)), PutHead(head(1, 8))], sync=False)
        assert found_in(store) == before
    finally:
        store.close()


@pytest.mark.parametrize("alone", [True, False])
def test_a_part_that_the_last_process_wrote_is_refused_too(tmp_path: Path, alone: bool) -> None:
    """Where a strand ends is looked up in the table when it is met first."""
    appended(tmp_path / "a").close()
    with store_at(tmp_path / "a") as store:
        before = found_in(store)
        rows: list[Change] = [PutVector(VectorRow(2, 6, b"h" * 16, 1, 1)), PutHead(head(1, 8))]
        pack = PutPack(Pack(1, 7, 8, 2, 4, 3, b"x"), (Part(2, 5, 6),))
        with pytest.raises(StoreCorrupt):
            store.commit([pack, *(rows if alone else reversed(rows))], sync=False)
        assert found_in(store) == before


def test_a_part_that_was_written_at_once_is_refused_too(tmp_path: Path) -> None:
    """A commit that drops something writes its own rows: where the strand ends has moved with it."""
    store = appended(tmp_path / "a")
    try:
        store.commit([*append(store, 1, 0, [2]), DropPack(1, 1, 2)], sync=False)
        before = found_in(store)
        pack = PutPack(Pack(1, 9, 10, 2, 4, 3, b"x"), (Part(2, 7, 8),))
        with pytest.raises(StoreCorrupt):
            store.commit([pack, PutVector(VectorRow(2, 8, b"h" * 16, 1, 1)), PutHead(head(1, 10))], sync=False)
        assert found_in(store) == before
    finally:
        store.close()


def test_a_part_that_comes_twice_in_one_commit_is_refused(tmp_path: Path) -> None:
    """Waiting, it would be found only when the rows are written, and nothing could ever be written again."""
    with store_at(tmp_path / "a") as store:
        begin(store)
        packs = [PutPack(Pack(1, seq, seq + 1, 2, 4, 3, b"x"), (Part(2, 1, 2),)) for seq in (1, 3)]
        with pytest.raises(StoreCorrupt):
            store.commit([*packs, PutVector(VectorRow(2, 2, b"h" * 16, 1, 1)), PutHead(head(1, 4))], sync=False)
        assert store.packs(1, 1, 1) == []


@pytest.mark.parametrize("told", [head(1, 3), head(2, 3)])
@pytest.mark.parametrize("waited", [True, False])
def test_a_pack_before_the_head_of_the_table_waits_for_nothing(tmp_path: Path, told: HeadRow, waited: bool) -> None:
    """After a crash only packs behind their topic's head are asked what they tell, however the head came there."""
    with store_at(tmp_path / "a") as store:
        begin(store)
        first = PutPack(Pack(1, 1, 1, 1, 2, 3, b"x"), (Part(3, 1, 1),))
        store.commit([*([first] if waited else []), PutHead(head(1, 10))], sync=False)
        assert store._deferred.waiting is waited
        while store.tidy():
            pass
        pack = PutPack(Pack(1, 3, 3, 1, 2, 3, b"x"), (Part(2, 1, 1),))
        store.commit([pack, PutVector(VectorRow(2, 1, b"h" * 16, 1, 1)), PutHead(told)], sync=False)
        expected, left = found_in(store), copied(tmp_path / "a", tmp_path / "left")
    with store_at(left) as again:
        assert found_in(again) == expected


def test_a_pack_of_two_strands_tells_both(tmp_path: Path) -> None:
    """However few rows come with it."""
    with store_at(tmp_path / "a") as store:
        begin(store)
        pack = PutPack(Pack(1, 1, 2, 2, 2, 3, b"x"), (Part(2, 1, 1), Part(3, 1, 1)))
        store.commit([pack, PutVector(VectorRow(2, 1, b"h" * 16, 1, 1)), PutHead(head(1, 2))], sync=False)
        assert [len(store.parts(sid, 1, 9)) for sid in (2, 3)] == [1, 1]


def test_parts_of_packs_that_were_merged_are_never_written(tmp_path: Path) -> None:
    """They stand in the table as the merged pack has them, once; and a crash right behind finds all that was told."""
    with store_at(tmp_path / "a") as store:
        begin(store)
        for _ in range(20):
            store.commit(append(store, 1, 0, [2]), sync=False)
        expected, packs = found_in(store), len(store.packs(1, 1, 1 << 30))
        assert store.tidy(idle=False)
        assert len(store.packs(1, 1, 1 << 30)) < packs
        assert (found_in(store), lies_where_told(store), store._deferred.waiting) == (expected, True, False)
        left = copied(tmp_path / "a", tmp_path / "left")
        assert len(table(left, "SELECT * FROM parts")) < packs
    with store_at(left) as again:
        assert (found_in(again), lies_where_told(again)) == (expected, True)


def test_a_commit_that_fails_leaves_what_waits_as_it_was(tmp_path: Path) -> None:
    """The rows are written with a commit that is refused: they go on waiting, and the next one writes them."""
    store = appended(tmp_path / "a")
    try:
        before = found_in(store)
        with pytest.raises(StoreCorrupt):
            store.commit([PutHead(head(1, 9)), DropPack(1, 4, 4)], sync=False)
        assert found_in(store) == before
        assert store._deferred.waiting
        store.commit([PutHead(head(1, 9))], sync=False)
        assert not store._deferred.waiting
        assert store.vectors(1)[0].last == 6
    finally:
        store.close()


@pytest.mark.parametrize("alone", [True, False])
def test_what_waits_is_bounded(tmp_path: Path, alone: bool) -> None:
    """However long nobody tidies: at most ``MOST_PARTS`` wait, and they stand in the table when it is one more."""
    with store_at(tmp_path / "a") as store:
        begin(store)
        waits: list[int] = []
        for count in range(MOST_PARTS + 2):
            pack = Pack(1, count + 1, count + 1, 1, 2, 3, b"x")
            vector = PutVector(VectorRow(2, count + 1, b"h" * 16, 1, 1))
            rows: list[Change] = [vector, PutHead(head(1, count + 1))]
            put = PutPack(pack, (Part(2, count + 1, count + 1),))
            store.commit([put, *(rows if alone else reversed(rows))], sync=False)
            waits.append(sum(map(len, store._deferred.parts.values())))
        assert max(waits) == MOST_PARTS
        assert waits[-1] < 3
        assert len(store.parts(2, 1, 9999)) == MOST_PARTS + 2


def test_what_waits_is_written_when_the_store_is_idle(tmp_path: Path) -> None:
    """A store at rest has all its tables full, so that its next start has nothing to do."""
    store = appended(tmp_path / "a")
    try:
        expected = found_in(store)
        while store.tidy():
            pass
        assert not store._deferred.waiting
        assert found_in(store) == expected
    finally:
        store.close()
