"""What a router copies, as rules: whatever the records, the bounds of a turn and the filter are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Copy, Draft, Via
from mirrord.records.selector import Selector, selector
from mirrord.routers.copying import Rule, old_copies
from mirrord.routers.definition import Definition
from mirrord.routers.position import Position
from mirrord.storage.store import Gap, Pack
from mirrord.topics.erasure.masks import Masks
from mirrord.topics.read.face import Face

NODES = {1: "here", 2: "there", 3: "here"}  # strand: who wrote it


class Written:
    """The committed log of a source: chunks one after the other, as a topic shows them."""

    topic = "a"

    def __init__(self) -> None:
        self.head = self.floor = self.last_gap = 0
        self.taken: Mapping[str, int] = {}
        self.masks = Masks()
        self.gaps: list[Gap] = []
        self.found: list[Pack] = []
        self.last = dict.fromkeys(NODES, 0)

    def append(self, strand: int, drafts: list[Draft]) -> None:
        packed, _, _ = encode(strand, self.last[strand] + 1, b"p" * 16, 1000, batches_of(drafts))
        self.last[strand] += len(drafts)
        first, self.head = self.head + 1, self.head + len(drafts)
        self.found.append(Pack(1, first, self.head, len(drafts), 0, 1000, packed))

    def miss(self, strand: int, records: int, reason: str) -> None:
        """A gap that came over a link."""
        self.head = self.last_gap = self.head + 1
        first = self.last[strand] + 1
        self.last[strand] += records
        self.gaps.append(Gap(1, strand, first, self.last[strand], reason, None, None, self.head, self.head))

    def packs(self, seq: int, max_bytes: int) -> list[Pack]:
        return [pack for pack in self.found if pack.last >= seq][: 1 + max_bytes % 3]

    def tagged(self, match: Selector, seq: int) -> int | None:
        def may(pack: Pack) -> bool:
            header = chunks.header_at(pack.body, 0)
            return any(map(match.matches, chunks.tags_of(pack.body, 0, header) or ()))

        return next((pack.seq for pack in self.found if pack.last >= seq and may(pack)), None)

    def next_gap(self, seq: int) -> Gap | None:
        return next((gap for gap in self.gaps if gap.seq_from >= seq), None)

    def gaps_within(self, first: int, last: int) -> list[Gap]:
        return [gap for gap in self.gaps if first <= gap.seq_to and gap.seq_from <= last]

    def face(self, strand: int) -> Face:
        return Face(NODES[strand], f"{strand:016x}")

    def face_of_sid(self, sid: int) -> Face | None:
        return self.face(sid) if sid else None


def route(log: Written, definition: Definition, position: Position = Position(), most: int = 1000) -> list[Any]:  # noqa: B008
    """Everything up to the head, turn by turn: the copies, and numbers for losses that are told."""
    rule, found = Rule(definition, "here", 1, most), list[Any]()
    while position.seq < log.head:
        batch = rule.batch(log, position)
        assert batch.position.seq > position.seq
        assert len(batch.copies) <= most
        assert not (batch.copies and batch.missed)
        assert batch.position.copied - position.copied == len(batch.copies)
        found += batch.copies or ([batch.missed] if batch.missed else [])
        position = batch.position
    assert position.seq == log.head
    return found


tags = st.sampled_from([None, "eu", "eu:1", "eu:2", "us:1"])
paths = st.sampled_from([None, ("b",), ("c",), ("c", "b"), ("c", "d")])
written = st.lists(
    st.tuples(st.sampled_from([1, 2, 3]), st.lists(st.tuples(tags, paths), min_size=1, max_size=6)), max_size=12
)


def _log(plan: list[tuple[int, list[tuple[str | None, tuple[str, ...] | None]]]]) -> tuple[Written, list[Any]]:
    """A log of these records, and what each of them is: number, strand, oseq, tag, path."""
    log, told, number = Written(), list[Any](), 0
    for strand, records in plan:
        drafts: list[Draft] = []
        routed = any(path for _, path in records)
        for tag, path in records:
            via = Via(path, 9, 9, "q") if path else None
            text = Raw(str(number).encode())
            drafts.append(Copy(text, tag, via=via) if routed else Draft(text, tag))
            told.append((number, strand, log.last[strand] + len(drafts), tag, path))
            number += 1
        log.append(strand, drafts)
    return log, told


@given(written, st.integers(1, 7), st.sampled_from([None, "eu:*", "eu"]), st.sampled_from(["all", "origin"]), st.data())
def test_each_record_that_is_meant_is_copied_once_in_order(
    plan: Any, most: int, match: str | None, forward: Any, data: st.DataObject
) -> None:
    """However small the turns: all that match, that are not deleted, that were not in the destination before, that this
    node must copy and that no earlier life has copied; each with its place and its path."""
    log, told = _log(plan)
    deleted = data.draw(st.sets(st.integers(1, log.head))) if log.head else set()
    log.masks.add([(seq, 1) for seq in deleted], erased=False)
    known = data.draw(st.dictionaries(st.sampled_from([1, 2, 3]), st.integers(1, 10)))
    begin = data.draw(st.integers(0, log.head))
    chosen = selector(match) if match is not None else None
    copies = route(log, Definition("r", "a", "b", chosen, forward=forward), Position(begin, known=known), most)
    expected = [
        (str(number).encode(), (*(path or ()), "a"), strand, oseq)
        for seq, (number, strand, oseq, tag, path) in enumerate(told, 1)
        if seq > begin
        and seq not in deleted
        and (chosen is None or chosen.matches(tag))
        and "b" not in (path or ())
        and (forward == "all" or NODES[strand] == "here")
        and oseq > known.get(strand, 0)
    ]
    assert [(bytes(c.data), c.via.path, c.via.strand, c.via.oseq) for c in copies] == expected
    assert all(copy.via.router == "r" for copy in copies)


@given(written)
def test_what_old_copies_tell_is_what_was_copied(plan: Any) -> None:
    """A node that lost its position and reads it from its own copies goes on behind the last of them."""
    log, _ = _log(plan)
    definition = Definition("r", "a", "b")
    copies = route(log, definition)
    for number in range(len(copies) + 1):
        dest = Written()
        for copy in copies[:number]:
            dest.append(1, [copy])
        known, last = old_copies(dest.found, 0, "r", {1})
        assert last == number
        assert old_copies(dest.found, 0, "another", {1})[0] == old_copies(dest.found, 0, "r", {3})[0] == {}
        again = route(log, definition, Position(known=known))
        assert [bytes(c.data) for c in again] == [
            bytes(c.data) for c in copies[number:] if c.via.oseq > known.get(c.via.strand, 0)
        ]
        assert len(again) == len(copies) - number


def test_labels() -> None:
    """`$node` of the source stays what readers see: the label, or the origin where that is another node."""
    log = Written()
    log.append(1, [Draft(Raw(b"1")), Draft(Raw(b"2"), node="web")])
    log.append(2, [Draft(Raw(b"3"), "t"), Draft(Raw(b"4"), node="web", meta=Raw(b"{}")), Draft(b"\x00\xff")])
    copies = route(log, Definition("r", "a", "b"))
    assert [copy.node for copy in copies] == [None, "web", "there", "web", "there"]
    assert [copy.tag for copy in copies] == [None, None, "t", None, None]
    assert (bytes(copies[3].meta), copies[4].data) == (b"{}", b"\x00\xff")
    bare = route(log, Definition("r", "a", "b", preserve_node=False, preserve_tag=False))
    assert {(copy.node, copy.tag) for copy in bare} == {(None, None)}


def test_losses_that_are_told_and_those_that_are_not() -> None:
    """What came as a gap and what retention took is told; what was deleted, or is another node's to copy, is not."""
    log = Written()
    log.append(1, [Draft(Raw(b"1"))])
    log.miss(2, 5, "expired")
    log.miss(1, 4, "evicted")
    log.miss(2, 3, "filtered")
    log.append(1, [Draft(Raw(b"2"))])
    told = route(log, Definition("r", "a", "b"))
    assert [found if isinstance(found, int) else bytes(found.data) for found in told] == [b"1", 5, 4, b"2"]
    told = route(log, Definition("r", "a", "b", forward="origin"))
    assert [found if isinstance(found, int) else bytes(found.data) for found in told] == [b"1", 4, b"2"]
    log.floor, log.taken = 1, {"deleted": 1}
    assert route(log, Definition("r", "a", "b"))[0] == 5
    log.taken = {"deleted": 1, "expired": 1}
    assert route(log, Definition("r", "a", "b"))[:2] == [1, 5]
    log.floor, log.taken = 2, {"evicted": 2}
    assert route(log, Definition("r", "a", "b"))[0] == 6
    assert route(log, Definition("r", "a", "b", forward="origin"))[0] == 1
