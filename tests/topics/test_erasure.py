"""Deletes: permanent, silent, at once, by seq, by place and by tag; counts follow what is live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.errors import TopicNotFound
from mirrord.records.selector import selector
from mirrord.storage.store import PutMark
from mirrord.topics.erasure.masks import Masks
from mirrord.topics.messages import Append, Commit, Delete, Deleted, Erase, Erased
from mirrord.topics.topic import Topic

from .rig import Rig, draft


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


async def topic_with(registry: object, *texts: str, tag: str | None = None) -> Topic:
    topic, _ = await registry.ensure("orders")  # type: ignore[attr-defined]
    if texts:
        await topic.mailbox.ask(Append([draft(text, tag=tag) for text in texts]))
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
        await topic.mailbox.ask(Append([draft()], changes=(PutMark("b", b"2"),)))
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
            await topic.mailbox.ask(Append([draft("1", tag=tag)]))
        deleted = await topic.mailbox.ask(Delete(before, selector(match)))
        assert deleted.records == len(gone)
        assert {seq for seq in range(1, 6) if seq <= topic.floor or topic.masks.has(seq)} == gone
