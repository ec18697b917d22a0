"""Random histories on each store against a model that is too plain to be wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirrord.errors import StoreCorrupt
from mirrord.storage.memory import MemoryStore
from mirrord.storage.sqlite import Settings, open_sqlite
from mirrord.storage.store import (
    Change,
    DropGap,
    DropIdempotency,
    DropLog,
    DropMark,
    DropMasks,
    DropPack,
    Gap,
    IdempotencyRow,
    MaskRow,
    Pack,
    Part,
    PutGap,
    PutIdempotency,
    PutMark,
    PutMask,
    PutPack,
    PutStrand,
    PutTopic,
    Store,
    StrandRow,
    TopicRow,
)

TIDS = (1, 2)
History = list[tuple[list[Change], bool]]  # what to commit, and whether with sync
SLOT = 3  # packs, runs and gaps lie on a grid, so that they touch but never overlap


class Model:
    """Dicts, and reads that look at everything."""

    def __init__(self) -> None:
        self.packs: dict[tuple[int, int], PutPack] = {}
        self.gaps: dict[tuple[int, int, int], Gap] = {}
        self.keys: dict[tuple[int, str], IdempotencyRow] = {}
        self.marks: dict[str, bytes] = {}
        self.masks: dict[tuple[int, int], MaskRow] = {}

    def copy(self) -> Model:
        other = Model()
        other.packs, other.gaps = dict(self.packs), dict(self.gaps)
        other.keys, other.marks, other.masks = dict(self.keys), dict(self.marks), dict(self.masks)
        return other

    def apply(self, change: Change) -> bool:
        """Whether it could be done."""
        match change:
            case PutPack(pack, parts, _):
                runs = {(part.sid, part.first) for put in self.packs.values() for part in put.parts}
                if (pack.tid, pack.seq) in self.packs or any((p.sid, p.first) in runs for p in parts):
                    return False
                self.packs[pack.tid, pack.seq] = change
            case DropPack(tid, seq, last):
                return (put := self.packs.pop((tid, seq), None)) is not None and put.pack.last == last
            case PutGap(gap):
                self.gaps[gap.tid, gap.sid, gap.first] = gap
            case DropGap(tid, sid, first):
                self.gaps.pop((tid, sid, first), None)
            case PutIdempotency(row):
                self.keys[row.tid, row.key] = row
            case DropIdempotency(tid, before):
                self.keys = {k: row for k, row in self.keys.items() if k[0] != tid or row.ts >= before}
            case PutMark(reader, value):
                self.marks[reader] = value
            case DropMark(reader):
                self.marks.pop(reader, None)
            case PutMask(mask):
                self.masks[mask.tid, mask.block] = mask
            case DropMasks(tid, before):
                self.masks = {k: mask for k, mask in self.masks.items() if k[0] != tid or k[1] >= before}
            case DropLog(tid):
                tables: tuple[dict[Any, Any], ...] = (self.packs, self.gaps, self.keys, self.masks)
                for table in tables:
                    for key in [key for key in table if key[0] == tid]:
                        del table[key]
        return True

    def answers(self) -> dict[str, Any]:
        puts = [self.packs[key] for key in sorted(self.packs)]
        gaps = [self.gaps[key] for key in sorted(self.gaps)]
        in_log = sorted((g for g in gaps if g.seq_from), key=lambda gap: (gap.tid, gap.seq_from))
        runs = sorted((p.sid, p.first, p.last, put.pack.seq) for put in puts for p in put.parts)
        return {
            "packs": [put.pack for put in puts],
            "from 5": [put.pack for put in puts if put.pack.last >= 5],
            "runs": [run for run in runs if run[2] >= 5],
            "gaps": [gap for gap in gaps if gap.last >= 5],
            "in log": [gap for gap in in_log if gap.seq_to >= 5 and gap.seq_from <= 9],
            "tagged": [(put.pack.tid, put.pack.seq) for put in puts if {"a", ""} & set(put.tags)],
            "prefixed": [(p.pack.tid, p.pack.seq) for p in puts if {"a", "ab", ""} & set(p.tags) and p.pack.seq > 2],
            "masks": [self.masks[key] for key in sorted(self.masks)],
            "keys": self.keys,
            "marks": sorted(self.marks.items()),
        }


def answers(store: Store) -> dict[str, Any]:
    """The same, asked of a store."""
    sids = (1, 2)
    return {
        "packs": [pack for tid in TIDS for pack in store.packs(tid, 0, 1 << 30)],
        "from 5": [pack for tid in TIDS for pack in store.packs(tid, 5, 1 << 30)],
        "runs": [(p.sid, p.first, p.last, seq) for sid in sids for p, seq in store.parts(sid, 5, 99)],
        "gaps": [gap for tid in TIDS for sid in (0, *sids) for gap in store.gaps(tid, sid, 5, 99)],
        "in log": [gap for tid in TIDS for gap in store.seq_gaps(tid, 5, 9, 99)],
        "tagged": [(tid, seq) for tid in TIDS for seq in store.packs_with_tag(tid, "a", 99)],
        "prefixed": [(t, seq) for t in TIDS for seq in store.packs_with_tag(t, "a", 99, after=2, prefix=True)],
        "masks": [mask for tid in TIDS for mask in store.masks(tid)],
        "keys": {(t, k): row for t in TIDS for k in "xyz" if (row := store.idempotency(t, k)) is not None},
        "marks": store.marks(""),
    }


slots = st.integers(0, 4).map(lambda slot: 1 + SLOT * slot)
tids = st.sampled_from(TIDS)
masks = st.builds(MaskRow, tids, st.integers(0, 3), st.just(b"\x05"), st.just(b"\x01"), st.integers(0, 9))


@st.composite
def packs(draw: st.DrawFn) -> PutPack:
    tid, seq = draw(tids), draw(slots)
    last = seq + draw(st.integers(0, SLOT - 1))
    first = draw(slots)
    part = Part(tid, first, first + draw(st.integers(0, SLOT - 1)))  # a topic's strand has the topic's number
    body = draw(st.binary(max_size=30))
    tags = tuple(draw(st.sets(st.sampled_from(["", "a", "ab", "b"]))))
    return PutPack(Pack(tid, seq, last, 1, 2, 3, body), (part,), tags)


@st.composite
def keys(draw: st.DrawFn) -> PutIdempotency:
    key, ts = draw(st.sampled_from("xyz")), draw(st.integers(0, 9))
    return PutIdempotency(IdempotencyRow(draw(tids), key, 1, 1, 1, b"", ts))


@st.composite
def gaps(draw: st.DrawFn) -> PutGap:
    tid, first = draw(tids), draw(slots)
    sid = draw(st.sampled_from((0, tid)))
    seq = (first if sid else 100 + first) if draw(st.booleans()) else 0
    return PutGap(Gap(tid, sid, first, first + SLOT - 1, "lost", None, b"h", seq, seq and seq + SLOT - 1))


changes = st.one_of(
    packs(),
    packs(),
    st.builds(DropPack, tids, slots, st.integers(1, 15)),
    gaps(),
    st.builds(DropGap, tids, st.integers(0, 2), slots),
    keys(),
    st.builds(DropIdempotency, tids, st.integers(0, 10)),
    st.builds(PutMask, masks),
    st.builds(DropMasks, tids, st.integers(0, 4)),
    st.builds(PutMark, st.sampled_from(["r", "s"]), st.binary(max_size=3)),
    st.builds(DropMark, st.sampled_from(["r", "s"])),
    st.builds(DropLog, tids),
)
histories = st.lists(st.tuples(st.lists(changes, max_size=6), st.booleans()), max_size=12)
topics: list[Change] = [
    change for tid in TIDS for change in (PutTopic(TopicRow(tid, "t", b"")), PutStrand(StrandRow(tid, tid, 9, b"")))
]


def in_memory(check: Callable[[Any], None]) -> None:
    check(MemoryStore())


def on_disk(check: Callable[[Any], None]) -> None:
    path = Path(tempfile.mkdtemp(prefix="mirrord-model-"))
    store = open_sqlite(path, Settings(ballast_bytes=0))
    try:
        check(store)
    finally:
        store.close()
        shutil.rmtree(path)


@pytest.mark.parametrize("place", [in_memory, on_disk])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories)
def test_any_history_reads_as_the_model_does(place: Callable[[Callable[[Any], None]], None], history: History) -> None:
    """Whatever is committed, in whatever order: reads answer as the plainest implementation would, and a
    refused list leaves nothing."""

    def check(store: Store) -> None:
        model = Model()
        store.commit(topics, sync=False)
        for change_list, sync in history:
            tried = model.copy()
            if all(tried.apply(change) for change in change_list):
                store.commit(change_list, sync=sync)
                model = tried
            else:
                with pytest.raises(StoreCorrupt):
                    store.commit(change_list, sync=sync)
            assert answers(store) == model.answers()

    place(check)


@settings(max_examples=60, deadline=None)
@given(history=histories, keep=st.integers(0, 12))
def test_power_loss_takes_exactly_the_unsynced_tail(history: History, keep: int) -> None:
    """The memory store's crash leaves what was synced plus a chosen number of later commits, no more."""
    store, model = MemoryStore(), Model()
    store.commit(topics, sync=True)
    states = [model.answers()]
    for change_list, sync in history:
        tried = model.copy()
        if not all(tried.apply(change) for change in change_list):
            continue
        store.commit(change_list, sync=sync)
        model = tried
        states = [model.answers()] if sync else [*states, model.answers()]
    store.crash(keep)
    assert answers(store) == states[min(keep, len(states) - 1)]


@settings(max_examples=40, deadline=None)
@given(before=histories, after=histories)
def test_a_restored_snapshot_is_the_past(before: Any, after: Any) -> None:
    """Restoring an old backup forgets all that came later, and the store works on from there."""
    store = MemoryStore()
    store.commit(topics, sync=True)
    commit_what_goes(store, before)
    past, then = store.snapshot(), answers(store)
    commit_what_goes(store, after)
    store.restore(past)
    assert answers(store) == then
    commit_what_goes(store, after)
    store.crash(0)
    store.restore(past)
    assert answers(store) == then


def commit_what_goes(store: MemoryStore, history: History) -> None:
    for change_list, sync in history:
        model = Model()
        model.packs = {(p.tid, p.seq): PutPack(p, tuple(store.parts_of_pack(p.tid, p.seq)), ())
                       for tid in TIDS for p in store.packs(tid, 0, 1 << 30)}  # fmt: skip
        if all(model.apply(change) for change in change_list):
            store.commit(change_list, sync=sync)
