"""What a commit that stands changes: who is rung, what is kept in memory, how far the ceiling goes; and what becomes of
a turn that the store refuses because it has cut its packs anew."""

from __future__ import annotations

import pytest
import trio.testing

from mirrord.actors.bell import Ear
from mirrord.records.batch import batches_of
from mirrord.records.gap import Cover
from mirrord.storage.inline import InlineJournal
from mirrord.storage.memory import MemoryStore
from mirrord.storage.store import DropPack
from mirrord.storage.turns import Turn
from mirrord.topics.log.rules import CEILING_STEP
from mirrord.topics.messages import Append, ApplyCover, Introduce, Sweep
from mirrord.topics.registry import Registry
from mirrord.topics.topic import Topic

from .rig import Origin, Rig, Together, config, draft

PIECE = 1000


async def append(topic: Topic, *texts: str) -> None:
    await topic.mailbox.ask(Append(batches_of([draft(text) for text in texts])))


def ceiling(rig: Rig, topic: Topic) -> int:
    """As it is stored."""
    row = rig.store.head(topic.tid)
    return row.ceiling if row is not None else 0


async def test_who_waits_hears_of_a_loss_as_of_a_record() -> None:
    """A tombstone is something to read: a long poll must not sleep through it. What changes nothing rings nobody."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        ear = topic.bell.attach(Ear())
        await topic.mailbox.ask(Sweep())
        assert not ear.rang
        await topic.mailbox.ask(ApplyCover(Cover(5, 1, 9, "evicted", None, b"h" * 16)))
        assert ear.rang
        ear.close()


async def test_memory_lets_go_of_what_retention_dropped() -> None:
    """What nobody can read takes no room from what can be."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(cap_records=4))
        for _ in range(50):
            await append(topic, *['"' + "x" * PIECE + '"'] * 4)
        assert rig.shelf.used_bytes < 3 * 4 * (PIECE + 200)


async def test_the_ceiling_goes_as_far_as_two_seconds_at_the_pace_since_it_was_raised() -> None:
    """A busy log is synced for its sake every two seconds, not every 4 096 records, and by the pace that it has now."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        rig.clock.now_ms += 1000
        await append(topic, *["1"] * 10_000)
        assert ceiling(rig, topic) == 10_000 + 20_000
        rig.clock.now_ms += 1000
        await append(topic, *["1"] * 20_001)
        assert ceiling(rig, topic) == 30_001 + 40_002
        rig.clock.now_ms += 100_000
        await append(topic, *["1"] * 40_003)
        assert ceiling(rig, topic) == 70_004 + CEILING_STEP


class Merging(Together):
    """Its store merges packs just before the next commit that drops one."""

    merges = 0

    def submit(self, turn: Turn) -> None:
        if self.merges and any(isinstance(change, DropPack) for change in turn.changes):
            self.merges -= 1
            self._store.tidy()
        super().submit(turn)


class MergingHere(Merging):
    """The same, and lone turns are committed where they were asked."""

    take_desk = InlineJournal.take_desk


async def filled(registry: Registry) -> Topic:
    """A topic with a cap, as full as can be."""
    topic, _ = await registry.ensure("orders", config(cap_records=9))
    for _ in range(9):
        await append(topic, "1")
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
    return topic


@pytest.mark.parametrize("journals", [Merging, MergingHere])
async def test_a_turn_that_meets_packs_cut_anew_is_taken_once_more(journals: type[Merging]) -> None:
    """Packs are the store's own: whoever wants to drop one that was merged meanwhile is refused, looks again, and
    nobody hears of it."""
    rig = Rig(MemoryStore(pack_bytes=400))
    rig.journals = journals
    async with rig.run() as registry:
        topic = await filled(registry)
        rig.journal.merges = 1  # type: ignore[attr-defined]
        await append(topic, "2")
        assert rig.journal.merges == 0  # type: ignore[attr-defined]
        assert (topic.head, topic.count, topic.floor) == (10, 9, 1)
    assert rig.deaths == []


async def test_a_topic_stands_in_line_by_its_priority() -> None:
    """Who reads a topic lately puts it before others whenever turns wait for the disk."""
    rig, seen = Rig(), list[int]()

    class Seeing(Together):
        def submit(self, turn: Turn) -> None:
            seen.append(turn.priority)
            super().submit(turn)

    rig.journals = Seeing
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(priority=-7))
        await append(topic, "1")
        assert seen[-1] == topic.priority(rig.clock.now_ms) == -7
