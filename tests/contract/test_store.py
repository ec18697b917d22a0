"""What every store promises, case by case, on each store. The promise itself is mirrord/storage/store.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from mirrord.errors import StoreCorrupt
from mirrord.storage.memory import MemoryStore
from mirrord.storage.sqlite import Settings, open_sqlite
from mirrord.storage.store import (
    MANY_TAGS,
    MAX_SEQ,
    Change,
    DropGap,
    DropIdempotency,
    DropLog,
    DropMark,
    DropMasks,
    DropPack,
    DropTopic,
    Gap,
    HeadRow,
    IdempotencyRow,
    MaskRow,
    Pack,
    Part,
    PutGap,
    PutHead,
    PutIdempotency,
    PutMark,
    PutMask,
    PutMeta,
    PutPack,
    PutStrand,
    PutTopic,
    PutVector,
    StrandRow,
    TopicRow,
    VectorRow,
)
from mirrord.storage.writer import WritableStore


class Disk(Protocol):
    """A place where a store lives, which a process may leave by being killed."""

    def store(self) -> WritableStore: ...

    def kill(self) -> WritableStore: ...

    def close(self) -> None: ...


class MemoryDisk:
    def __init__(self, _: Path) -> None:
        self._store = MemoryStore()

    def store(self) -> WritableStore:
        return self._store

    def kill(self) -> WritableStore:
        self._store.crash()
        return self._store

    def close(self) -> None:
        self._store.close()


class SqliteDisk:
    """``kill`` takes the files as they are, database and WAL, as the next process would find them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lives = 0
        self._store = open_sqlite(path / "0", Settings(ballast_bytes=0))

    def store(self) -> WritableStore:
        return self._store

    def kill(self) -> WritableStore:
        old, self._lives = self._path / str(self._lives), self._lives + 1
        new = self._path / str(self._lives)
        new.mkdir()
        for file in old.glob("mirrord.db*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, new)
        self._store.close()
        self._store = open_sqlite(new, Settings(ballast_bytes=0))
        return self._store

    def close(self) -> None:
        self._store.close()


@pytest.fixture(params=[MemoryDisk, SqliteDisk])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk: Disk = request.param(tmp_path)
    yield disk
    disk.close()


@pytest.fixture
def store(disk: Disk) -> WritableStore:
    store = disk.store()
    store.commit([*new_topic(1), *new_topic(2)], sync=False)
    return store


def new_topic(tid: int) -> list[Change]:
    """A topic with two strands, ``10 * tid`` and ``10 * tid + 1``."""
    strands = [PutStrand(StrandRow(sid, tid, sid + 1000, b"descriptor")) for sid in (10 * tid, 10 * tid + 1)]
    return [PutTopic(TopicRow(tid, f"topic-{tid}", b"config")), *strands]


def chunk(seq: int, last: int, body: bytes = b"", tid: int = 1, tags: tuple[str, ...] = ()) -> PutPack:
    """A pack whose only run is ``seq..last`` of the topic's first strand."""
    count = last - seq + 1
    pack = Pack(tid, seq, last, count, 10 * count, 1_000 + last, body or b"body of %d" % seq)
    return PutPack(pack, (Part(10 * tid, seq, last),), tags)


def gap(first: int, last: int, seq: int = 0, sid: int = 10) -> Gap:
    return Gap(1, sid, first, last, "expired", b"p" * 16, None, seq, seq, b"ends")


def test_rows_read_back_as_they_were_put(store: WritableStore) -> None:
    """Every kind of row survives the way in and out, unchanged, and a second put replaces it."""
    head = HeadRow(1, 9, 4_096, 2, 7, 70, 1_234, b"taken")
    vector = VectorRow(10, 9, b"h" * 16, 3, 99)
    used = IdempotencyRow(1, "k", 1, 2, 2, b"digest", 5)
    store.commit(
        [PutHead(HeadRow(1, 1, 1, 0, 1, 1, 1)), PutHead(head), PutVector(vector), PutIdempotency(used),
         PutMark("r", b"1"), PutMark("r", b"2"), PutMeta("m", b"x"), PutTopic(TopicRow(1, "renamed", b"c"))],
        sync=False,
    )  # fmt: skip
    assert store.head(1) == head
    assert list(store.heads()) == [head]
    assert store.head(2) is None
    assert store.vectors(1) == [vector]
    assert [row.sid for row in store.strands(1)] == [10, 11]
    assert store.idempotency(1, "k") == used
    assert store.idempotency(2, "k") is None
    assert (store.mark("r"), store.meta("m"), store.meta("none")) == (b"2", b"x", None)
    assert [row.name for row in store.topics()] == ["renamed", "topic-2"]
    assert store.top_ids() == (2, 21)


def test_packs_begin_with_the_one_that_holds_the_seq(store: WritableStore) -> None:
    """A reader's cursor may point anywhere: into a pack, between two, before the first, behind the last."""
    store.commit([chunk(1, 3), chunk(4, 4), chunk(8, 9), chunk(1, 5, tid=2)], sync=False)
    all_three = [1, 4, 8]
    expected = {0: all_three, 1: all_three, 3: all_three, 4: [4, 8], 5: [8], 9: [8], 10: []}
    for seq, begins in expected.items():
        assert [pack.seq for pack in store.packs(1, seq, 1 << 20)] == begins
        assert [pack.seq for pack in store.pack_sizes(1, seq, 100)] == begins
    assert store.packs(1, 2, 1 << 20)[0] == chunk(1, 3).pack
    assert store.packs(3, 1, 1 << 20) == []


def test_packs_keep_to_the_budget_but_give_at_least_one(store: WritableStore) -> None:
    """A reader moves on however small its budget, and never gets a heap of bodies that it did not ask for."""
    store.commit([chunk(seq, seq, b"x" * 10) for seq in range(1, 6)], sync=False)
    assert [pack.seq for pack in store.packs(1, 1, 0)] == [1]
    assert [pack.seq for pack in store.packs(1, 2, 29)] == [2, 3]
    assert [pack.seq for pack in store.packs(1, 2, 30)] == [2, 3, 4]


def test_sizes_tell_all_but_the_body(store: WritableStore) -> None:
    """Retention looks at many packs without reading what is in them."""
    put = chunk(1, 3)
    store.commit([put, chunk(4, 4)], sync=False)
    (size,) = store.pack_sizes(1, 1, 1)
    assert size == Pack(1, 1, 3, 3, put.pack.bytes, put.pack.ts_last, b"")


def test_parts_are_found_by_strand_and_by_pack(store: WritableStore) -> None:
    """A feed finds the pack in which a strand goes on, from any position."""
    mixed = PutPack(Pack(1, 4, 9, 6, 0, 0, b"m"), (Part(11, 1, 2), Part(10, 4, 5), Part(11, 3, 4)), ())
    later = PutPack(Pack(1, 10, 12, 3, 0, 0, b"n"), (Part(10, 8, 10),), ())
    store.commit([chunk(1, 3), mixed, later], sync=False)
    assert store.parts(10, 1, 9) == [(Part(10, 1, 3), 1), (Part(10, 4, 5), 4), (Part(10, 8, 10), 10)]
    assert store.parts(10, 5, 9) == [(Part(10, 4, 5), 4), (Part(10, 8, 10), 10)]
    assert store.parts(10, 6, 9) == [(Part(10, 8, 10), 10)]
    assert store.parts(10, 1, 1) == [(Part(10, 1, 3), 1)]
    assert store.parts(12, 1, 9) == []
    assert store.parts_of_pack(1, 4) == [Part(10, 4, 5), Part(11, 1, 2), Part(11, 3, 4)]
    assert store.parts_of_pack(1, 5) == []


def test_gaps_are_found_by_strand_and_by_local_seq(store: WritableStore) -> None:
    """What the log does not hold is told in order, by oseq to feeds and by seq to readers."""
    gaps = [gap(1, 5, seq=1), gap(9, 9), gap(20, 30, seq=7)]
    lost = Gap(1, 0, 40, 60, "lost", None, None, 40, 60)
    store.commit([PutGap(g) for g in [*gaps, lost]], sync=False)
    assert store.gaps(1, 10, 1, 9) == gaps
    assert store.gaps(1, 10, 6, 1) == [gaps[1]]
    assert store.gaps(1, 10, 25, 9) == [gaps[2]]
    assert store.gaps(1, 10, 31, 9) == []
    assert store.seq_gaps(1, 1, 100, 9) == [gaps[0], gaps[2], lost]
    assert store.seq_gaps(1, 2, 41, 1) == [gaps[2]]
    assert store.seq_gaps(1, 50, 50, 9) == [lost]
    assert store.seq_gaps(1, 61, 99, 9) == []
    assert store.last_seq_gap(1) == 60
    assert store.last_seq_gap(2) == 0
    store.commit([DropGap(1, 0, 40), PutGap(gap(20, 30))], sync=False)
    assert store.seq_gaps(1, 1, 100, 9) == [gaps[0]]


def test_tags_lead_to_packs(store: WritableStore) -> None:
    """Filters open only the packs that may hold the tag; one with too many tags is always among them."""
    many = tuple(f"t{i}" for i in range(65))
    store.commit([chunk(1, 1, tags=("a", "b")), chunk(2, 2), chunk(3, 3, tags=many), chunk(4, 4, tags=("a",)),
                  chunk(5, 5, tags=("c", MANY_TAGS))], sync=False)  # fmt: skip
    assert store.packs_with_tag(1, "a", 9) == [1, 3, 4, 5]
    assert store.packs_with_tag(1, "a", 2) == [1, 3]
    assert store.packs_with_tag(1, "never", 9) == [3, 5]
    store.commit([DropPack(1, 1, 1), DropPack(1, 3, 3)], sync=False)
    assert store.packs_with_tag(1, "a", 9) == [4, 5]
    assert store.packs_with_tag(2, "a", 9) == []


def test_marks_by_prefix(store: WritableStore) -> None:
    """Readers of one kind are listed in order, whatever characters their names have."""
    names = ["a", "g:", "g:1", "g:é", "g:\U0010ffff", "h"]
    store.commit([PutMark(name, name.encode()) for name in names], sync=False)
    assert store.marks("g:") == [(name, name.encode()) for name in names[1:5]]
    assert [name for name, _ in store.marks("")] == names
    store.commit([DropMark("g:1"), DropMark("none")], sync=False)
    assert store.mark("g:1") is None


def test_a_dropped_pack_takes_its_parts_and_tags(store: WritableStore) -> None:
    """Nothing points at a pack that is gone, and its place can be taken again in the same transaction."""
    store.commit([chunk(1, 3, tags=("a",)), chunk(4, 4)], sync=False)
    store.commit([DropPack(1, 1, 3), chunk(1, 2, b"shorter", tags=("b",))], sync=False)
    assert [(pack.seq, pack.last) for pack in store.pack_sizes(1, 1, 9)] == [(1, 2), (4, 4)]
    assert store.parts(10, 1, 9) == [(Part(10, 1, 2), 1), (Part(10, 4, 4), 4)]
    assert (store.packs_with_tag(1, "a", 9), store.packs_with_tag(1, "b", 9)) == ([], [1])


def test_packs_are_found_by_the_beginning_of_a_tag(store: WritableStore) -> None:
    """A literal prefix, whatever stands behind it in the order of texts; packs with too many tags may hold any."""
    tags = {1: ["chat-4"], 2: ["chat-42:a", "chat-42:b"], 3: ["chat-420:"], 4: ["chat-42:"], 5: ["x"], 6: [MANY_TAGS]}
    store.commit([chunk(seq, seq, tags=tuple(names)) for seq, names in tags.items()], sync=False)
    for prefix, found in (("chat-42:", [2, 4, 6]), ("chat-42", [2, 3, 4, 6]), ("", [1, 2, 3, 4, 5, 6]), ("y", [6])):
        assert store.packs_with_tag(1, prefix, 99, prefix=True) == found
        assert store.packs_with_tag(1, prefix, 2, after=2, prefix=True) == [seq for seq in found if seq > 2][:2]
    odd = ["\ud7ff", "\ue000", "a\U0010ffff", "a\U0010ffffb", "b"]
    store.commit([chunk(10 + i, 10 + i, tags=(tag,)) for i, tag in enumerate(odd)], sync=False)
    for prefix in ("\ud7ff", "a\U0010ffff", "a"):
        wanted = [10 + i for i, tag in enumerate(odd) if tag.startswith(prefix)]
        assert [seq for seq in store.packs_with_tag(1, prefix, 99, prefix=True) if seq >= 10] == wanted


def test_order_within_a_transaction_is_meant(store: WritableStore) -> None:
    """Put then drop leaves nothing, drop then put leaves the row: for packs, gaps, keys and marks."""
    used = IdempotencyRow(1, "k", 1, 1, 1, b"", 5)
    puts: list[Change] = [chunk(1, 1), PutGap(gap(1, 1)), PutIdempotency(used), PutMark("r", b"")]
    drops: list[Change] = [DropPack(1, 1, 1), DropGap(1, 10, 1), DropIdempotency(1, 6), DropMark("r")]
    for order, stands in ((puts + drops, False), (puts, True), (drops + puts, True)):
        store.commit(order, sync=False)
        assert bool(store.packs(1, 1, 1)) is stands
        assert bool(store.gaps(1, 10, 1, 1)) is stands
        assert (store.idempotency(1, "k") is not None) is stands
        assert (store.mark("r") is not None) is stands


@pytest.mark.parametrize(
    "bad",
    [
        chunk(1, 3, b"key taken"),
        PutPack(Pack(1, 9, 9, 1, 0, 0, b"x"), (Part(10, 1, 9),), ()),
        PutPack(Pack(1, 9, 8, 0, 0, 0, b"ends before it begins"), (), ()),
        PutPack(Pack(1, MAX_SEQ + 1, MAX_SEQ + 1, 1, 0, 0, b"x"), (), ()),
        PutPack(Pack(0, 1, 1, 1, 0, 0, b"x"), (), ()),
        PutPack(Pack(1 << 23, 1, 1, 1, 0, 0, b"x"), (), ()),
        PutPack(Pack(1, 9, 9, 1, 1 << 63, 0, b"x"), (), ()),
        PutPack(Pack(1, 9, 9, 1, 0, 0, b"x"), (Part(10, 5, 1 << 63),), ()),
        PutHead(HeadRow(1, 1 << 63, 0, 0, 0, 0, 0)),
        PutStrand(StrandRow(0, 1, 5, b"")),
        PutVector(VectorRow(10, 1 << 64, b"", 0, 0)),
        PutGap(Gap(1, 10, 5, 4, "expired", None, None)),
        PutMark("\ud800", b"no Unicode"),
        PutMask(MaskRow(1, 0, b"x" * 129, b"", 0)),
        PutMask(MaskRow(1, MAX_SEQ, b"x", b"", 0)),
        PutMask(MaskRow(1, 0, b"x", b"", 1 << 63)),
        DropMasks(0, 1),
        chunk(9, 9, tags=("\ud800",)),
        DropPack(1, 2, 3),
        DropPack(1, 1, 2),
    ],
)
def test_what_cannot_be_true_is_refused_whole(store: WritableStore, bad: Change) -> None:
    """A turn with a taken key, a taken run or a number out of range leaves nothing, and the next works."""
    store.commit([chunk(1, 3)], sync=False)
    with pytest.raises(StoreCorrupt):
        store.commit([PutMark("before", b""), chunk(4, 4), bad, PutMark("after", b"")], sync=False)
    assert [pack.seq for pack in store.packs(1, 1, 1 << 20)] == [1]
    assert store.packs(1, 1, 1)[0].body == b"body of 1"
    assert store.parts(10, 1, 9) == [(Part(10, 1, 3), 1)]
    assert store.marks("") == []
    store.commit([chunk(4, 4)], sync=False)
    assert [pack.seq for pack in store.packs(1, 1, 1 << 20)] == [1, 4]


def test_dropping_a_log_keeps_what_positions_need(store: WritableStore) -> None:
    """DELETE of a topic empties it but keeps its vector, and touches no other. Forgetting takes all."""
    rest: list[Change] = [PutGap(gap(5, 6, seq=5)), PutIdempotency(IdempotencyRow(1, "k", 1, 1, 1, b"", 1))]
    keep: list[Change] = [PutHead(HeadRow(1, 1, 1, 0, 1, 1, 1)), PutVector(VectorRow(10, 1, b"h", 1, 1))]
    store.commit([chunk(1, 1, tags=("a",)), chunk(1, 1, tid=2, tags=("a",)), *rest, *keep], sync=False)
    store.commit([DropLog(1)], sync=False)
    assert (store.packs(1, 1, 9), store.parts(10, 1, 9), store.packs_with_tag(1, "a", 9)) == ([], [], [])
    assert (store.gaps(1, 10, 1, 9), store.seq_gaps(1, 1, 9, 9), store.idempotency(1, "k")) == ([], [], None)
    assert len(store.vectors(1)) == 1
    assert store.head(1) is not None
    store.commit([chunk(1, 1), DropTopic(1)], sync=False)
    assert (store.packs(1, 1, 9), store.strands(1), store.vectors(1), store.head(1)) == ([], [], [], None)
    assert [row.tid for row in store.topics()] == [2]
    assert (len(store.packs(2, 1, 9)), store.packs_with_tag(2, "a", 9)) == (1, [1])


def test_kill_keeps_every_commit(store: WritableStore, disk: Disk) -> None:
    """After kill -9 all that was committed is there, synced or not, and the store goes on."""
    store.commit([chunk(1, 3)], sync=True)
    store.commit([chunk(4, 4), PutMark("r", b"4")], sync=False)
    again = disk.kill()
    assert [pack.seq for pack in again.packs(1, 1, 1 << 20)] == [1, 4]
    assert again.mark("r") == b"4"
    again.commit([chunk(5, 5)], sync=False)
    assert len(disk.kill().packs(1, 1, 1 << 20)) == 3


def test_an_empty_commit_is_fine(store: WritableStore) -> None:
    """Syncing what was committed before needs no change of its own."""
    store.commit([], sync=True)
    store.commit([], sync=False)
    assert store.state == "ok"


def test_merging_small_packs_shows_nowhere(store: WritableStore, disk: Disk) -> None:
    """Idle work joins single appends into large packs: same bytes, runs and tags in the same order."""
    body = b"x" * 1_000
    for seq in range(1, 201):
        tags = ("even",) if seq % 2 == 0 else ()
        store.commit([chunk(seq, seq, body + b"%d" % seq, tags=tags)], sync=False)
    before = b"".join(pack.body for pack in store.packs(1, 1, 1 << 30))
    while store.tidy():
        pass
    for look in (disk.store, disk.kill):
        now = look()
        packs = now.packs(1, 1, 1 << 30)
        assert len(packs) < 75
        assert b"".join(pack.body for pack in packs) == before
        assert [a.last + 1 for a in packs[:-1]] == [b.seq for b in packs[1:]]
        assert (packs[0].records, packs[0].bytes) == (packs[0].last, 10 * packs[0].last)
        assert packs[0].ts_last == 1_000 + packs[0].last
        runs = now.parts(10, 1, 999)
        assert [(part.first, part.last, seq) for part, seq in runs] == [(p.seq, p.last, p.seq) for p in packs]
        assert now.packs(1, 150, 1)[0].seq <= 150 <= now.packs(1, 150, 1)[0].last
        for seq in range(2, 201, 2):
            assert any(p.seq <= seq <= p.last and p.seq in now.packs_with_tag(1, "even", 999) for p in packs)


def test_a_drop_that_did_not_see_the_merge_is_refused(store: WritableStore) -> None:
    """Retention that looked before a merge must not take the neighbours with the pack that it meant."""
    store.commit([chunk(seq, seq, b"x" * 1_000) for seq in range(1, 200)], sync=False)
    while store.tidy():
        pass
    with pytest.raises(StoreCorrupt, match="read the packs again"):
        store.commit([DropPack(1, 1, 1)], sync=False)
    assert store.packs(1, 1, 1)[0].last > 1
    store.commit([DropPack(1, 1, store.packs(1, 1, 1)[0].last)], sync=False)
    assert store.packs(1, 1, 1)[0].seq > 1
