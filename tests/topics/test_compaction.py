"""What a node said in control chunks is said anew in few: the rule, the bound, and what is one commit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.errors import MirrordError, ProtocolViolation
from mirrord.records.batch import batches_of
from mirrord.records.chunk import header_at
from mirrord.records.gap import CONTROL
from mirrord.records.record import records
from mirrord.storage.memory.store import Fault
from mirrord.storage.store import Gap
from mirrord.topics import vectors
from mirrord.topics.erasure.contents import (
    ERASE,
    Range,
    Said,
    bridged,
    erase_orders,
    merged,
    ranges_of,
    spans_of,
    supersedes,
)
from mirrord.topics.log.turn import Sizes
from mirrord.topics.messages import Append, Commit, Configure, Delete, DropTopic, Erase
from mirrord.topics.topic import Topic

from .rig import Rig, Together, config, draft

MOST = 10
Content = tuple[str, bytes]

ranges = st.tuples(st.integers(1, 60), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair)))
orders = st.dictionaries(st.integers(1, 3), st.lists(ranges, min_size=1, max_size=5), min_size=1).map(
    lambda told: next(erase_orders(told))
)
words = st.tuples(st.sampled_from("gh"), st.dictionaries(st.integers(1, 3), st.integers(1, 50))).map(
    lambda told: vectors.tell(*told)
)
unknown = st.sampled_from([("promote", b'{"to":"fra"}'), (ERASE, b"[]"), (vectors.GROUP, b"{}")])


def meant(contents: list[Content]) -> tuple[set[tuple[int, int]], dict[str, vectors.Vector], list[Content]]:
    """What contents do to whoever follows them."""
    gone: set[tuple[int, int]] = set()
    groups: dict[str, vectors.Vector] = {}
    others: list[Content] = []
    for word, text in contents:
        try:
            if word == ERASE:
                gone |= {(n, o) for n, spans in ranges_of(text).items() for a, b in spans for o in range(a, b + 1)}
            elif word == vectors.GROUP:
                group, vector = vectors.told_of(text)
                groups[group] = vectors.raise_to(groups.get(group, {}), vector)
            else:
                others.append((word, text))
        except ProtocolViolation:
            others.append((word, text))
    return gone, groups, others


@settings(deadline=None)
@given(st.lists(st.one_of(orders, orders, words, unknown), max_size=12))
def test_what_is_said_anew_means_what_was_said(contents: list[Content]) -> None:
    """Whatever was said, in whatever order, also what this version does not understand; and saying it anew once more
    changes nothing."""
    said, again = Said(), Said()
    for word, text in contents:
        said.hear(word, text)
    anew = list(said.contents(lambda _, spans: spans))
    assert meant(anew) == meant(contents)
    for word, text in anew:
        again.hear(word, text)
    assert list(again.contents(lambda _, spans: spans)) == anew


@settings(deadline=None)
@given(st.lists(ranges, min_size=1, max_size=8), st.lists(ranges, max_size=8))
def test_ranges_are_joined_over_what_is_no_record_and_nothing_else(told: list[Range], no_records: list[Range]) -> None:
    """No live oseq gets into an order, none gets out of it, and no hole is left that could be closed."""

    def oseqs(spans: list[Range] | tuple[Range, ...]) -> set[int]:
        return {oseq for first, last in spans for oseq in range(first, last + 1)}

    joined = bridged(merged(told), no_records)
    assert oseqs(merged(told)) <= oseqs(joined) <= oseqs(merged(told)) | oseqs(no_records)
    for (_, last), (first, _) in pairwise(joined):
        assert not set(range(last + 1, first)) <= oseqs(no_records)


@pytest.mark.parametrize("text", ["[]", '{"x":[1,2,""]}', '{"1":[0,2,""]}', '{"1":[3,2,""]}', '{"1":[1,2,"zz"]}'])
def test_what_cannot_be_said_anew_is_refused(text: str) -> None:
    """A peer that tells nonsense is named."""
    with pytest.raises(ProtocolViolation):
        spans_of(text)
    assert spans_of(supersedes({7: (1, 2, b"\x01")})[1]) == {7: (1, 2, b"\x01")}


def rows(topic: Topic) -> list[Gap]:
    own = topic.own_strand
    return topic.reads.gaps(topic.tid, own.sid, 1, 1 << 20) if own is not None else []


def kept(topic: Topic) -> list[Gap]:
    return [gap for gap in rows(topic) if gap.reason == CONTROL]


def said(topic: Topic) -> Iterator[tuple[str | None, str | bytes]]:
    for gap in kept(topic):
        for record in records(gap.ends, 0, header_at(gap.ends, 0)):
            yield record.tag, record.data


def rig_of() -> Rig:
    return Rig(sizes=Sizes(64 << 10, 1000, control_chunks=MOST))


async def work_off(topic: Topic, count: int) -> None:
    """So many records, each settled by itself, with two more that wait."""
    await topic.mailbox.ask(Append(batches_of([draft(), draft()])))
    for _ in range(count):
        await topic.mailbox.ask(Append(batches_of([draft()])))
        await topic.mailbox.ask(Erase((topic.head - 2,), travels=True))


async def test_a_queue_that_is_worked_off_keeps_a_bounded_number() -> None:
    """However many settlements there were: not more control chunks than the bound and the snapshot, and one row for all
    that was let go of. A restart goes on where it was."""
    rig = rig_of()
    for _ in range(3):
        async with rig.run() as registry:
            topic, _ = await registry.ensure("orders")
            await work_off(topic, 60)
            await topic.mailbox.ask(Erase((topic.head, topic.head - 1), travels=True))
            assert len(kept(topic)) <= MOST + 2
            assert len(rows(topic)) <= 2 * (MOST + 2) + 1
    gone = meant([(word or "", str(text).encode()) for word, text in said(topic)])[0]
    assert len(merged((oseq, oseq) for _, oseq in gone)) <= MOST + 2
    assert len(gone) >= topic.head == 3 * 62


async def test_what_stands_between_records_that_wait_goes_with_them() -> None:
    """A queue that is always thirty behind: the rows are bounded by what waits, however long it goes on."""
    async with rig_of().run() as registry:
        topic, _ = await registry.ensure("orders")
        most = 0
        for i in range(300):
            await topic.mailbox.ask(Append(batches_of([draft()])))
            if i >= 30:
                await topic.mailbox.ask(Erase((topic.head - 30,), travels=True))
            most = max(most, len(rows(topic)))
        assert most <= 2 * (30 + MOST)


async def test_words_about_groups_are_bounded_too() -> None:
    """One vector for each group, whatever the number of words."""
    async with rig_of().run() as registry:
        topic, _ = await registry.ensure("orders")
        for i in range(1, 100):
            await topic.mailbox.ask(Commit((), None, (vectors.tell(f"g{i % 3}", {7: i}),)))
        assert len(kept(topic)) <= MOST + 1
        told = meant([(word or "", str(text).encode()) for word, text in said(topic)])[1]
        assert told == {"g0": {7: 99}, "g1": {7: 97}, "g2": {7: 98}}


async def test_what_is_large_is_said_anew_when_it_pays() -> None:
    """A snapshot that says much is not said again before as much was said since."""
    async with rig_of().run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft() for _ in range(4000)])))
        await topic.mailbox.ask(Erase(tuple(range(1, 4000, 2)), travels=True))
        for seq in range(2, 200, 2):
            await topic.mailbox.ask(Erase((seq,), travels=True))
        sizes = [len(gap.ends) for gap in kept(topic)]
        assert len(sizes) > 5 * MOST
        assert sum(sizes) <= 3 * max(sizes)


async def test_of_what_the_node_let_go_of_only_the_latest_is_said() -> None:
    """Records that were evicted between settled ones leave holes for ever: what is in force is bounded by those that
    the node still holds, and so many more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mirrord.topics.erasure.compaction.OLD_RANGES", 5)
        async with Rig(sizes=Sizes(200, 1000, control_chunks=MOST)).run() as registry:
            topic, _ = await registry.ensure("orders", config(cap_records=8))
            for _ in range(60):
                await topic.mailbox.ask(Append(batches_of([draft(), draft(), draft()])))
                await topic.mailbox.ask(Erase((topic.head - 1,), travels=True))
            gone = meant([(word or "", str(text).encode()) for word, text in said(topic)])[0]
            assert len(gone) < 40


async def test_a_refused_snapshot_lets_go_of_nothing() -> None:
    """It is one commit with what it supersedes: both or neither, also over the restart that follows."""
    rig = rig_of()
    rig.journals = Together
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft() for _ in range(40)])))
        for seq in range(1, MOST + 1):
            await topic.mailbox.ask(Erase((seq,), travels=True))
        before = rows(topic)
        rig.store.fail_next(Fault.EIO)
        with pytest.raises(MirrordError):
            await topic.mailbox.ask(Erase((MOST + 1,), travels=True))
        assert rows(topic) == before
        await topic.mailbox.ask(Erase((MOST + 1,), travels=True))
        assert len(kept(topic)) == 1


async def test_a_topic_that_is_dropped_says_nothing_anew() -> None:
    """What was said of it went with its log."""
    async with rig_of().run() as registry:
        topic, _ = await registry.ensure("orders")
        await work_off(topic, MOST)
        await topic.mailbox.ask(DropTopic(forget=False, if_empty=False))
        await topic.mailbox.ask(Configure(config(), put=False))
        await work_off(topic, 3 * MOST)
        assert len(kept(topic)) <= MOST + 1
        assert topic.count == 2


async def test_control_chunks_are_never_joined_like_gaps() -> None:
    """A strand with more gaps than it may keep hashes of loses hashes, not what was said in it."""
    async with Rig(sizes=Sizes(100, 1000, trail_bytes=1, control_chunks=1000)).run() as registry:
        topic, _ = await registry.ensure("orders")
        for _ in range(3):
            await topic.mailbox.ask(Append(batches_of([draft() for _ in range(4)])))
            await topic.mailbox.ask(Erase((topic.head,), travels=True))
            await topic.mailbox.ask(Erase((topic.head - 1,), travels=True))
        await topic.mailbox.ask(Delete(topic.head + 1))
        assert [word for word, _ in said(topic)] == [ERASE] * 6
