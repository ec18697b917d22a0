"""Deletes: permanent, silent, at once, by seq, by place and by tag; counts follow what is live."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.errors import ProtocolViolation, TopicNotFound
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Draft
from mirrord.records.gap import CONTROL, DELETED
from mirrord.records.record import records
from mirrord.records.selector import Selector, selector
from mirrord.records.strand import Position
from mirrord.records.stripped import strip
from mirrord.storage.memory import MemoryStore
from mirrord.storage.store import Pack, Part, PutMark
from mirrord.topics.deletion import delete
from mirrord.topics.erasure import contents
from mirrord.topics.erasure.contents import ERASE
from mirrord.topics.erasure.masks import Masks
from mirrord.topics.log.places import hash_at
from mirrord.topics.messages import Append, Apply, Commit, Delete, Deleted, Erase, Erased, Introduce
from mirrord.topics.read.digest import digest_of
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read
from mirrord.topics.registry import Registry
from mirrord.topics.topic import Topic

from .rig import Origin, Rig, draft


@given(st.sets(st.integers(1, 5000)), st.integers(1, 5000), st.integers(0, 3000))
def test_masks_say_what_a_set_would_say(gone: set[int], first: int, length: int) -> None:
    """Bitmaps of blocks are an encoding of a set of seqs, whatever the range that is asked for."""
    committed = Masks()
    committed.add([(seq, 1) for seq in gone if seq % 3], erased=False)
    masks = Masks(over=committed)
    masks.add([(seq, 1) for seq in gone if not seq % 3], erased=True)
    last = first + length
    inside = {seq for seq in gone if first <= seq <= last}
    assert masks.within(first, last) == sum(1 << seq - first for seq in inside)
    assert masks.erased_within(first, last) == sum(1 << seq - first for seq in inside if not seq % 3)
    assert masks.count(first, last) == len(inside)
    assert masks.covers(first, last) == (len(inside) == length + 1)
    assert masks.has(first) == (first in gone)
    assert masks.first_live(first, last) == next((s for s in range(first, last + 1) if s not in gone), last + 1)
    committed.take(masks, 0)
    loaded = Masks.load(list(committed.rows(1)))
    assert (loaded.within(1, 6000), loaded.block(1).text) == (masks.within(1, 6000), masks.block(1).text)


async def topic_with(registry: Registry, *texts: str, tag: str | None = None) -> Topic:
    topic, _ = await registry.ensure("orders")
    if texts:
        await topic.mailbox.ask(Append(batches_of([draft(text, tag=tag) for text in texts])))
    return topic


async def test_what_is_erased_is_told_once_and_counted() -> None:
    """Erase answers which seqs were live; a second time none is. Counts are of live records and their text."""
    async with Rig().run() as registry:
        topic = await topic_with(registry, "11", "22", "333", "4")
        assert await topic.mailbox.ask(Erase((3, 2, 9, 2))) == Erased((2, 3))
        assert await topic.mailbox.ask(Erase((2, 3))) == Erased(())
        assert (topic.count, topic.bytes, topic.head, topic.floor) == (2, 3, 4, 0)
        assert await topic.mailbox.ask(Erase((1,))) == Erased((1,))
        assert (topic.count, topic.bytes, topic.floor) == (1, 1, 3)


async def test_what_is_erased_stays_so_after_a_crash() -> None:
    """The mask is in the same commit as the answer; kill -9 does not bring a record back."""
    rig = Rig()
    async with rig.run() as registry:
        topic = await topic_with(registry, "1", "2", "3")
        await topic.mailbox.ask(Erase((2,), (PutMark("queue/orders", b"x"),)))
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (topic.count, topic.masks.within(1, 3)) == (2, 0b010)
        assert rig.store.mark("queue/orders") == b"x"
        assert await topic.mailbox.ask(Erase((2,))) == Erased(())


async def test_marks_alone_and_with_records() -> None:
    """Marks are committed in the topic's turn, also when the record was gone already or was appended before; those of
    another life of the log are refused."""
    rig = Rig()
    async with rig.run() as registry:
        topic = await topic_with(registry, "1")
        await topic.mailbox.ask(Commit((PutMark("a", b"1"),)))
        await topic.mailbox.ask(Append(batches_of([draft()]), changes=(PutMark("b", b"2"),)))
        await topic.mailbox.ask(Erase((77,), (PutMark("c", b"3"),)))
        with pytest.raises(TopicNotFound):
            await topic.mailbox.ask(Commit((PutMark("d", b"4"),), log_id="00"))
        assert rig.store.marks("") == [("a", b"1"), ("b", b"2"), ("c", b"3")]


async def test_a_front_goes_by_moving_the_floor() -> None:
    """`before_seq` alone: everything below, clamped to the head; the counts are those of what is left."""
    async with Rig().run() as registry:
        topic = await topic_with(registry, "1", "22", "333", "4444")
        await topic.mailbox.ask(Erase((2,)))
        assert await topic.mailbox.ask(Delete(4)) == Deleted(2, 4, 3)
        assert (topic.count, topic.bytes, topic.floor) == (1, 4, 3)
        assert await topic.mailbox.ask(Delete(99)) == Deleted(1, 4, 4)
        assert (topic.count, topic.bytes, topic.floor, topic.head) == (0, 0, 4, 4)


@pytest.mark.parametrize(
    ("match", "before", "gone"),
    [("a", None, {1, 4}), ("a*", None, {1, 2, 4}), ("*", None, {1, 2, 3, 4}), ("a*", 4, {1, 2}), ("x", None, set())],
)
async def test_a_selector_takes_what_it_means(match: str, before: int | None, gone: set[int]) -> None:
    """Eq, Glob, the bare star, and a bound; untagged records never match."""
    async with Rig().run() as registry:
        topic = await topic_with(registry)
        for tag in ("a", "a:1", "b", "a", None):
            await topic.mailbox.ask(Append(batches_of([draft("1", tag=tag)])))
        deleted = await topic.mailbox.ask(Delete(before, selector(match)))
        assert deleted.records == len(gone)
        assert {seq for seq in range(1, 6) if seq <= topic.floor or topic.masks.has(seq)} == gone


@pytest.mark.parametrize("match", [None, selector("a")])
async def test_a_delete_is_of_one_log(match: Selector | None) -> None:
    """A step that comes when the topic was made anew takes nothing of the log that it never meant."""
    async with Rig().run() as registry:
        topic = await topic_with(registry, "1", "2", tag="a")
        before, step = topic.log_id_hex, Delete(3, match, 0, topic.head, topic.log_id_hex)
        await registry.delete("orders", if_empty=False, forget=False)
        again = await topic_with(registry, "3", "4", tag="a")
        assert again.log_id_hex != before
        assert (await again.mailbox.ask(step)).records == 0
        assert again.count == 2
        assert (await delete(again, 3, match)).records == 2


# ---- orders that travel


class Far(Origin):
    """An origin elsewhere that also tells what to erase."""

    def order(self, told: dict[str, list[tuple[int, int]]], content: str = ERASE) -> bytes:
        at = self.ends[-1]
        text = Raw(json.dumps(told).encode())
        packed, digest, _ = encode(
            self.number, at.oseq + 1, at.hash or b"", self.ts, batches_of([Draft(text, tag=content)]), chunks.CONTROL
        )
        self.ends.append(Position(at.oseq + 1, digest))
        return packed


async def test_an_erasure_that_travels_is_a_control_chunk() -> None:
    """It takes an oseq and no seq, is not counted, and stands in the strand for those who come later; erased twice is
    told once."""
    async with Rig().run() as registry:
        topic = await topic_with(registry, "1", "2", "3")
        await topic.mailbox.ask(Erase((2, 3), travels=True))
        await topic.mailbox.ask(Erase((3,), travels=True))
        own = topic.own_strand
        assert own is not None
        assert (topic.head, topic.count, own.durable_last) == (3, 1, 4)
        (gap,) = topic.reads.gaps(topic.tid, own.sid, 1, 9)
        (record,) = records(gap.ends, 0, chunks.header_at(gap.ends, 0))
        assert (gap.reason, gap.first, record.tag) == (CONTROL, 4, ERASE)
        assert contents.ranges_of(record.data) == {own.descriptor.strand: ((2, 3),)}
        await topic.mailbox.ask(Append(batches_of([draft("4")])))
        assert (topic.head, own.durable_last) == (4, 5)
        assert hash_at(own, topic.tid, 4, topic.reads) == gap.hash


async def test_an_order_is_followed_where_it_arrives_and_for_what_arrives_later() -> None:
    """Records that are here go at once; those that come later never become readable, also after a restart between."""
    rig, far, late = Rig(), Far(5), Far(6)
    first, behind = late.write(2), late.write(2)
    async with rig.run() as registry:
        topic = await topic_with(registry)
        await topic.mailbox.ask(Introduce(far.descriptor))
        await topic.mailbox.ask(Introduce(late.descriptor))
        await topic.mailbox.ask(Apply(late_half := first))
        assert late_half
        applied = await topic.mailbox.ask(
            Apply(far.write(3) + far.order({f"{5:016x}": [(2, 2)], f"{6:016x}": [(2, 3)], f"{7:016x}": [(1, 9)]}))
        )
        assert (applied.moved, topic.head, topic.count) == (((5, 4),), 5, 3)
        assert topic.masks.within(1, 5) == 0b01010  # 6/2 and 5/2
    async with rig.run() as registry:
        topic = await registry.find("orders")
        await topic.mailbox.ask(Apply(behind))
        assert (topic.head, topic.count, topic.masks.within(1, 7)) == (7, 4, 0b0101010)
        assert {mark.rsplit("/", 1)[1] for mark, _ in rig.store.marks("topic/")} == {f"{7:016x}"}
        assert topic.masks.erased_within(1, 7) == topic.masks.within(1, 7)


class Counting(MemoryStore):
    """Tells how often it was asked where records lie, and for packs."""

    asked = 0

    def parts(self, sid: int, oseq: int, limit: int) -> list[tuple[Part, int]]:
        self.asked += 1
        return super().parts(sid, oseq, limit)

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]:
        self.asked += 1
        return super().packs(tid, seq, max_bytes)


@pytest.mark.parametrize("early", [False, True])
async def test_an_order_costs_by_the_packs_that_it_is_of(early: bool) -> None:
    """Jobs are done in any order, and a snapshot tells of all of them at once: a node that looked into a pack for each
    single one would do nothing else for seconds. Also where the order came before the records."""
    rig, far, speaker = Rig(Counting()), Far(5), Far(6)
    chunks_of_far = b"".join(far.write(100, pad=500) for _ in range(20))
    order = speaker.order({f"{5:016x}": [(oseq, oseq) for oseq in range(2, 2001, 2)]})
    async with rig.run() as registry:
        topic = await topic_with(registry)
        await topic.mailbox.ask(Introduce(far.descriptor))
        await topic.mailbox.ask(Introduce(speaker.descriptor))
        steps = (order, chunks_of_far) if early else (chunks_of_far, order)
        for packed in steps:
            rig.store.asked = 0  # type: ignore[attr-defined]
            await topic.mailbox.ask(Apply(packed))
        assert rig.store.asked < 100  # type: ignore[attr-defined]
        assert (topic.head, topic.count) == (2000, 1000)
        assert topic.masks.erased_within(1, 2000) == sum(1 << oseq - 1 for oseq in range(2, 2001, 2))


async def test_what_cannot_be_an_order_is_refused_and_what_is_not_known_is_kept() -> None:
    """A peer that tells nonsense is named; a content of a later version is carried on for those who know it."""
    async with Rig().run() as registry:
        topic, far = await topic_with(registry), Far(5)
        await topic.mailbox.ask(Introduce(far.descriptor))
        for told in ({"xx": [(1, 2)]}, {f"{5:016x}": [(0, 2)]}, {f"{5:016x}": [(3, 2)]}, {f"{5:016x}": 1}):
            with pytest.raises(ProtocolViolation):
                await topic.mailbox.ask(Apply(far.order(told)))  # type: ignore[arg-type]
        assert (await topic.mailbox.ask(Apply(far.order({}, "promote")))).taken == 1
        assert topic.strands[5].durable_last == 5


# ---- stripped chunks


@given(st.lists(st.tuples(st.text(max_size=3), st.sampled_from([None, "a", "b"])), min_size=1, max_size=20), st.data())
def test_a_stripped_chunk_holds_just_what_is_left(told: list[tuple[str, str | None]], data: st.DataObject) -> None:
    """Whatever is taken out, in whatever steps: the rest reads as before, the chain value stays, nothing of what went
    is in the bytes, and every damage is found."""
    drafts = [Draft(Raw(json.dumps(f"<{i}>{text}").encode()), tag=tag) for i, (text, tag) in enumerate(told)]
    packed, digest, _ = encode(5, 8, b"p" * 16, 7, batches_of(drafts))
    some, more = (data.draw(st.integers(0, (1 << len(drafts)) - 1)) for _ in range(2))
    once = strip(packed, 0, chunks.header_at(packed, 0), some | more)
    twice = strip(packed, 0, chunks.header_at(packed, 0), some)
    twice = strip(twice, 0, chunks.header_at(twice, 0), more)
    assert once == twice
    header = chunks.header_at(once, 0)
    assert chunks.check_shape(header, len(once)) == len(once)
    chunks.check_hash(memoryview(once), 0, len(once), header)
    left = [r for r in records(packed, 0, chunks.header_at(packed, 0)) if not (some | more) >> r.oseq - 8 & 1]
    assert records(once, 0, header) == left
    assert header[chunks.TEXT_LEN] == sum(len(str(r.data).encode()) for r in left)
    assert set(chunks.tags_of(once, 0, header) or ()) == {r.tag for r in left if r.tag is not None}
    assert (header[chunks.HASH], chunks.missing(once, 0, header)) == (digest, some | more)
    assert all(b"<%d>" % i not in once for i in range(len(drafts)) if (some | more) >> i & 1)
    if some | more:
        at = data.draw(st.integers(0, 8 * len(once) - 1))
        bad = bytearray(once)
        bad[at // 8] ^= 1 << at % 8
        with pytest.raises(ProtocolViolation):
            check(bytes(bad))


def check(packed: bytes) -> None:
    header = chunks.header_at(packed, 0)
    chunks.check_hash(memoryview(packed), 0, chunks.check_shape(header, len(packed)), header)


async def test_a_stripped_chunk_is_kept_as_it_came() -> None:
    """What was deleted where it came from is deleted here: not counted, not shown, and not served on."""
    rig, far = Rig(), Origin(5)
    whole = far.write(4, tag="t")
    async with rig.run() as registry:
        topic = await topic_with(registry)
        await topic.mailbox.ask(Introduce(far.descriptor))
        stripped = strip(whole, 0, chunks.header_at(whole, 0), 0b0101)
        with pytest.raises(ProtocolViolation, match="unasked"):
            await topic.mailbox.ask(Apply(stripped))
        applied = await topic.mailbox.ask(Apply(stripped + far.write(1), lacks=DELETED))
        assert (applied.moved, topic.head, topic.count, topic.floor) == (((5, 5),), 5, 3, 1)
        assert topic.bytes == sum(len(far.text(oseq)) for oseq in (2, 4, 5))
        assert await topic.mailbox.ask(Erase((1, 2, 3))) == Erased((2,))
        assert topic.strands[5].durable == far.ends[-1]
        assert await topic.mailbox.ask(Delete(None, selector("t"))) == Deleted(1, len(far.text(4)), 5)
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (topic.count, topic.floor, topic.masks.within(1, 5)) == (1, 4, 0b1111)


# ---- space comes back


async def test_a_pack_of_which_nothing_is_left_goes() -> None:
    """Also from the middle of the log; it leaves a silent gap with its hashes, so places in it stay comparable."""
    rig = Rig()
    async with rig.run() as registry:
        topic = await topic_with(registry, "1")
        for text in ("2", "3", "4"):
            await topic.mailbox.ask(Append(batches_of([draft(text), draft(text)])))
        own = topic.own_strand
        assert own is not None
        await topic.mailbox.ask(Erase((4, 5)))
        assert [(p.seq, p.last) for p in rig.store.packs(1, 1, 1 << 20)] == [(1, 1), (2, 3), (6, 7)]
        assert [(g.first, g.last, g.reason) for g in rig.store.gaps(1, own.sid, 1, 9)] == [(4, 5, "deleted")]
        await topic.mailbox.ask(Erase((1, 2, 6), travels=True))
        await topic.mailbox.ask(Erase((3,), travels=True))
        assert (topic.floor, [(p.seq, p.last) for p in rig.store.packs(1, 1, 1 << 20)]) == (6, [(6, 7)])
        gaps = [(g.first, g.last, g.reason) for g in rig.store.gaps(1, own.sid, 1, 9)]
        assert gaps == [(1, 3, "erased"), (4, 5, "deleted"), (8, 8, CONTROL), (9, 9, CONTROL)]
        assert read_all(topic) == [7]


async def test_masks_go_with_the_packs_that_they_are_of() -> None:
    """What is kept of deletes is bounded by what lies in the log."""
    rig = Rig()
    async with rig.run() as registry:
        topic = await topic_with(registry)
        for _ in range(5):
            await topic.mailbox.ask(Append(batches_of([draft() for _ in range(1000)])))
        await topic.mailbox.ask(Erase(tuple(range(1, 4900, 2))))
        assert len(rig.store.masks(1)) == 5
        await topic.mailbox.ask(Delete(4500))
        assert [row.block for row in rig.store.masks(1)] == [3, 4]
        assert (topic.count, read_all(topic)[0]) == (topic.count, 4500)
        assert topic.count == len(read_all(topic))


def read_all(topic: Topic) -> list[int]:
    found: list[int] = []
    after = 0
    while True:
        page = read(topic, after, None, View(limit=1000, max_bytes=1 << 20))
        assert page.tombstone is None
        found += [json.loads(record)["$seq"] for record in page.records]
        if page.caught_up:
            return found
        after = page.next_from_seq


async def test_digests_tell_what_is_deleted() -> None:
    """The chain stands and proves the same history; what a node no longer holds of it is told beside the gaps."""

    async def rest() -> None:
        pass

    async with Rig().run() as registry:
        topic = await topic_with(registry, "1", "2", "3", "4", "5", "6")
        (before,) = await digest_of(topic, {}, deep=True, rest=rest)
        await topic.mailbox.ask(Erase((2, 3, 5)))
        (after,) = await digest_of(topic, {}, deep=True, rest=rest)
        assert (after["hash"], after["deep"]) == (before["hash"], before["deep"])
        assert [(g["first"], g["last"], g["reason"]) for g in after["gaps"]] == [(2, 3, "stripped"), (5, 5, "stripped")]
