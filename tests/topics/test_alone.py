"""What comes alone: decided and committed where it was asked, by the same rules (decisions 0022 and 0023)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from mirrord.clock import Clock
from mirrord.errors import IdempotencyConflict, Throttled
from mirrord.records.batch import CHUNK_BYTES, batches_of
from mirrord.storage.inline import InlineJournal
from mirrord.storage.journal import Journal
from mirrord.storage.memory import Fault
from mirrord.storage.turns import Turn
from mirrord.storage.writer import JournalSettings, WritableStore
from mirrord.topics.log.rules import CEILING_STEP
from mirrord.topics.messages import Append, Appended, Apply, Introduce, Key
from mirrord.topics.topic import LONE_BYTES, MOST_LONE, Topic

from .rig import Origin, Rig, config, draft
from .test_topic import everything, put


async def asked_alone(topic: Topic, message: Any) -> Any:
    """The answer to a message beside which nothing else goes on: it is decided where it is asked."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
    return await topic.mailbox.ask(message)


async def test_what_is_decided_where_it_is_asked_is_decided_once() -> None:
    """A lone message that changes nothing (a repeated append, a refusal) is answered there too: it is not left in the
    mailbox to be decided again, where nobody would ever take it off the list of open asks."""
    rig = Rig()
    rig.journals = Journal
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        once = Append(batches_of([draft()]), Key("k", b"1"))
        first = await asked_alone(topic, once)
        handled = topic.mailbox.statistics().handled
        again = await asked_alone(topic, once)
        assert (again.first_seq, again.deduped) == (first.first_seq, True)
        with pytest.raises(IdempotencyConflict):
            await asked_alone(topic, Append(batches_of([draft("2")]), Key("k", b"2")))
        await trio.testing.wait_all_tasks_blocked()
        told = topic.mailbox.statistics()
        assert (told.open, told.waiting, told.handled - handled) == (0, 0, 2)


class Watched(InlineJournal):
    """Tells which commits with a sync were made where they were asked."""

    def __init__(self, store: WritableStore, clock: Clock, settings: JournalSettings = JournalSettings()) -> None:  # noqa: B008
        super().__init__(store, clock, settings)
        self.synced_here = 0

    def submit(self, turn: Turn) -> None:
        self.synced_here += self._at_desk and turn.sync
        super().submit(turn)


@pytest.mark.parametrize(("fsync_ms", "here"), [(0.2, True), (5.0, False)])
@pytest.mark.parametrize(("durability", "syncs"), [("disk", 1), ("fsync", 20)])
async def test_no_slow_disk_is_waited_for_where_it_is_asked(
    durability: str, syncs: int, fsync_ms: float, here: bool
) -> None:
    """Decision 0022: commits with a sync are left to the thread unless this disk is quick; also those of class `disk`
    that must raise the ceiling."""
    rig = Rig()
    rig.journals = Watched
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(durability=durability))
        await put(topic, "1")  # raises it by so many
        await put(topic, *["1"] * (CEILING_STEP - 50))
        journal, small = rig.journal, batches_of([draft()] * 10)
        assert isinstance(journal, Watched)
        before, journal.synced_here = journal.statistics().syncs, 0
        for _ in range(20):
            journal._writer.tally.fsync_ms = fsync_ms
            await asked_alone(topic, Append(small))
        assert (journal.statistics().syncs - before, journal.synced_here) == (syncs, syncs if here else 0)


async def test_limits_hold_where_it_is_asked() -> None:
    """A log that is only ever appended to one by one keeps its caps too."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(cap_records=2))
        for text in "12345":
            await asked_alone(topic, Append(batches_of([draft(text)])))
        assert (topic.floor, topic.count) == (3, 2)


async def test_who_comes_beside_others_is_not_alone() -> None:
    """Messages of one round, to whichever topics, share a commit: none but the first is decided where it is asked."""
    rig = Rig()
    async with rig.run() as registry:
        topics = [(await registry.ensure(name))[0] for name in ("orders", "events")]
        for topic in topics:
            await asked_alone(topic, Append(batches_of([draft()])))
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        envelopes = [topic.mailbox.put(Append(batches_of([draft()]))) for topic in topics]
        assert [topic.mailbox.statistics().waiting for topic in topics] == [0, 1]
        assert [(await envelope.wait()).last_seq for envelope in envelopes] == [2, 2]


async def test_nothing_is_decided_before_peers_had_their_say() -> None:
    """A start waits until peers told our own positions, or had the time to: no record is numbered before, also none
    that comes alone."""
    rig = Rig()
    async with rig.run() as registry:
        await put((await registry.ensure("orders"))[0], "1")
    rig.settled = trio.Event()
    async with rig.run() as registry:
        topic = await registry.find("orders")
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        envelope = topic.mailbox.put(Append(batches_of([draft()])))
        await trio.testing.wait_all_tasks_blocked()
        assert (envelope.done, topic.head) == (False, 1)
        rig.settled.set()
        assert (await envelope.wait()).last_seq == 2


class Full(InlineJournal):
    """Takes no turn, once, although it had nothing to do."""

    refuses = False

    def submit(self, turn: Turn) -> None:
        if self.refuses:
            self.refuses = False
            raise Throttled("the disk cannot keep up; try again")
        super().submit(turn)


async def test_what_was_decided_and_not_taken_is_forgotten() -> None:
    """Whoever asked is told at once, and the next one finds the log as it stands: no seq is burned, nothing of it is
    committed with what comes later."""
    rig = Rig()
    rig.journals = Full
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await asked_alone(topic, Append(batches_of([draft()])))
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        rig.journal.refuses = True  # type: ignore[attr-defined]
        with pytest.raises(Throttled):
            topic.mailbox.put(Append(batches_of([draft("2")] * 3)))
        assert await asked_alone(topic, Append(batches_of([draft("3")]))) == Appended(2, 2, 2)
        assert everything(topic) == [1, 3]


async def test_what_fails_where_it_is_asked_is_taken_the_usual_way() -> None:
    """A refused commit of a lone message burns no seq: the state is read back, and the message taken once more."""
    rig = Rig()
    rig.journals = Journal
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        assert (await asked_alone(topic, Append(batches_of([draft()])))).last_seq == 1
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        rig.store.fail_next(Fault.EIO)
        envelope = topic.mailbox.put(Append(batches_of([draft(), draft()])))
        assert topic.mailbox.statistics().waiting == 1
        assert (await envelope.wait()).last_seq == 3
        assert everything(topic) == [1, 1, 1]


LARGE = {
    "in pieces": ["1", '"' + "x" * CHUNK_BYTES + '"'],  # however small the first of them is
    "many": ["1"] * (MOST_LONE + 1),
    "long": ['"' + "x" * LONE_BYTES + '"'],
}


@pytest.mark.parametrize("texts", LARGE.values(), ids=LARGE)
async def test_what_is_large_is_left_to_the_topics_own_task(texts: list[str]) -> None:
    """Whoever asks elsewhere meanwhile does not wait for it."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await asked_alone(topic, Append(batches_of([draft()])))
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        envelope = topic.mailbox.put(Append(batches_of([draft(text) for text in texts])))
        assert topic.mailbox.statistics().waiting == 1
        assert (await envelope.wait()).last_seq == 1 + len(texts)


@pytest.mark.parametrize(("pad", "here"), [(100, True), (LONE_BYTES, False)])
async def test_chunks_of_a_link_are_measured_too(pad: int, here: bool) -> None:
    """What a peer sends is small when a record was appended there alone, and large when this node catches up."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(origin.write()))
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        envelope = topic.mailbox.put(Apply(origin.write(pad=pad)))
        assert envelope.done is here
        assert (await envelope.wait()).taken == 1
