"""The topic's task: one commit for all that waits, nothing half kept, and lives."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from mirrord.config.topic import DEFAULT, OPTIONS
from mirrord.errors import (
    ActorDied,
    Conflict,
    DiskFull,
    IdempotencyConflict,
    MirrordError,
    ProtocolViolation,
    StorageFailed,
    TopicExistsIncompatible,
    TopicNotEmpty,
    TopicNotFound,
)
from mirrord.records.batch import batches_of
from mirrord.records.gap import Cover
from mirrord.storage.memory import Fault, MemoryStore
from mirrord.storage.store import Pack
from mirrord.topics.messages import (
    Append,
    Appended,
    Apply,
    ApplyCover,
    BeginLife,
    Configure,
    DropTopic,
    Introduce,
    Key,
    Sweep,
)
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read
from mirrord.topics.topic import Topic

from .rig import Origin, Rig, Together, config, draft

VIEW = View(1000, 1 << 20)


def page(topic: Topic, after: int = 0, log_id: str | None = None, view: View = VIEW) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(topic, after, log_id, view).body(topic, lambda: 0.0))
    return found


def everything(topic: Topic) -> list[Any]:
    """What a reader finds from the beginning: data of records, and tombstones as they come."""
    told: list[Any] = []
    after = 0
    while True:
        found = page(topic, after)
        if found["tombstone"]:
            told.append((found["tombstone"]["gap_from"], found["tombstone"]["gap_to"], found["tombstone"]["reason"]))
        told += [r["data"] for r in found["records"]]
        if found["next_from_seq"] == after:
            return told
        after = found["next_from_seq"]


async def put(topic: Topic, *texts: str, key: Key | None = None) -> Appended:
    answer: Appended = await topic.mailbox.ask(Append(batches_of([draft(t) for t in texts]), key))
    return answer


async def test_what_waits_together_is_committed_together() -> None:
    """Group commit: many askers, one transaction, each gets its own seqs, each bell rings once."""
    rig = Rig()
    rig.journals = Together
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        before = rig.journal.statistics().commits
        answers: list[Appended] = []

        async def ask(text: str) -> None:
            answers.append(await put(topic, text))

        async with trio.open_nursery() as nursery:
            for i in range(50):
                nursery.start_soon(ask, str(i))
        assert rig.journal.statistics().commits - before == 1
        assert sorted(a.first_seq for a in answers) == list(range(1, 51))
        assert sorted(everything(topic)) == list(range(50))


@pytest.mark.parametrize(("fault", "error"), [(Fault.EIO, StorageFailed), (Fault.ENOSPC, DiskFull)])
@pytest.mark.parametrize("written", [False, True])
async def test_a_refused_commit_leaves_nothing_behind(fault: Fault, error: type[MirrordError], written: bool) -> None:
    """Promise 1 turned around: what was refused is nowhere, burns no seq, and the next append works."""
    rig, origin = Rig(), Origin(5)
    rig.journals = Together
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(origin.write(2)))
        rig.store.fail_next(fault, written=written)
        refused = [topic.mailbox.put(Append(batches_of([draft("2")]))), topic.mailbox.put(Apply(origin.write(3)))]
        for envelope in refused:
            with pytest.raises(error):
                await envelope.wait()
        assert (topic.head, topic.count, topic.strands[5].last) == (3, 3, 2)
        assert (await put(topic, "3")).first_seq == 4
        await topic.mailbox.ask(Apply(origin.chunks[1]))
        assert everything(topic) == [1, *[f"there 5/{n}" for n in (1, 2)], 3, *[f"there 5/{n}" for n in (3, 4, 5)]]
    assert rig.deaths == []


async def test_a_journal_that_takes_nothing_more_kills_nobody() -> None:
    """A disk that cannot keep up refuses appends by name; the topic lives on and loses nothing."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
        rig.store.fail_next(Fault.EIO, sticky=True)
        for _ in range(3):
            with pytest.raises(StorageFailed):
                await put(topic, "2")
        rig.store.mend()
        rig.store.heal()
        await put(topic, "3")
        assert everything(topic) == [1, 3]
    assert rig.deaths == []


async def test_what_expires_while_the_disk_refuses_is_not_shown() -> None:
    """Reads go on while nothing can be committed (OPERATIONS, "storage_failed"), also of a topic with a ttl, and never
    show what it forbids; once the disk takes commits again, the same is let go of for good."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(ttl_ms=1000))
        for text in "123":
            await put(topic, text)
            rig.clock.now_ms += 400
        rig.store.fail_next(Fault.EIO, sticky=True)
        for left in ([2, 3], [3], [3], []):
            await topic.expire()
            assert everything(topic) == [(1, 3 - len(left), "ttl"), *left]
            assert rig.ground.quota.held == topic.bytes == topic.count == len(left)
            rig.clock.now_ms += 300
        with pytest.raises(StorageFailed):
            await put(topic, "4")
        rig.store.mend()
        rig.store.heal()
        await put(topic, "5")
        assert everything(topic) == [(1, 3, "ttl"), 5]
        assert rig.ground.quota.held == topic.bytes == topic.count == 1
    assert rig.deaths == []


class Reads(MemoryStore):
    """Counts how often packs are read."""

    count = 0

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]:
        self.count += 1
        return super().packs(tid, seq, max_bytes)


async def test_how_old_a_log_is_is_not_read_again_and_again() -> None:
    """A ttl is looked at by every append, read and sweep, and the oldest record is long out of memory; what is found is
    remembered for as long as it stands, and not for the log that follows."""
    reads = Reads()
    rig = Rig(reads)
    rig.shelf_bytes = 0
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(ttl_ms=1000))
        for text in "123":
            await put(topic, text)
            rig.clock.now_ms += 100
        before = reads.count
        for text in "456":
            await put(topic, text)
            assert not topic.has_expired()
        assert reads.count - before <= 1
        for left in (5, 4):
            rig.clock.now_ms += 800 if left == 5 else 100
            assert topic.has_expired()
            await topic.expire()
            assert (topic.count, topic.has_expired()) == (left, False)
        for text in "78":
            await topic.mailbox.ask(DropTopic(forget=False, if_empty=False))
            await topic.mailbox.ask(Configure(config(ttl_ms=1000), put=False))
            await put(topic, text)
            rig.clock.now_ms += 900
            assert not topic.has_expired()
        rig.clock.now_ms += 101
        assert topic.has_expired()


async def test_kill_9_loses_nothing_and_goes_on_in_the_same_strand() -> None:
    """The life goes on: same log id, same strand, next seq."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1", "2")
        log_id, own = topic.log_id_hex, topic.own_strand
    rig.store.crash()
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (await put(topic, "3")).first_seq == 3
        assert topic.log_id_hex == log_id
        assert list(topic.strands) == [own.descriptor.strand if own else 0]
        assert everything(topic) == [1, 2, 3]


async def test_a_new_life_re_uses_no_seq_and_tells_the_jump_once() -> None:
    """After a reboot the tail may be lost: seqs up to the ceiling are never used again, the jump is one tombstone, and
    the next record opens a new strand. The log id stays: readers' cursors are good."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
        log_id, ceiling = topic.log_id_hex, rig.store.head(topic.tid).ceiling  # type: ignore[union-attr]
        await rig.journal.flush()
        await put(topic, "2")
    rig.store.crash(keep_unsynced=0)
    rig.new_life()
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert topic.log_id_hex == log_id
        assert topic.own_strand is None
        assert (await put(topic, "3")).first_seq == ceiling + 1
        assert everything(topic) == [1, (2, ceiling, "lost"), 3]
        assert len(topic.strands) == 2
    async with rig.run() as registry:
        assert everything(await registry.find("orders")) == [1, (2, ceiling, "lost"), 3]


async def test_a_life_after_a_restored_backup_makes_a_new_log_id() -> None:
    """The seqs of a store that was put back may mean other records: every cursor is told so."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
        log_id = topic.log_id_hex
    rig.new_life(log_ids=True)
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert topic.log_id_hex != log_id
        assert page(topic, 1, log_id)["tombstone"]["reason"] == "recreated"


async def test_a_life_that_begins_while_running_comes_before_anything_else() -> None:
    """A peer proved a rewind: no record is written into a strand of the life that is over, even when the disk refuses
    the topic's first attempt to come into the new one."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
        old, ceiling = topic.own_strand, rig.store.head(topic.tid).ceiling  # type: ignore[union-attr]
        rig.new_life(log_ids=True)
        rig.store.fail_next(Fault.EIO)
        with pytest.raises(StorageFailed):
            await topic.mailbox.ask(BeginLife())
        assert (await put(topic, "2")).first_seq == ceiling + 1
        assert old is not None
        assert topic.strands[old.descriptor.strand].last == 1
        new = topic.own_strand
        assert new is not None
        assert new.descriptor.life == rig.life.identity.life


async def test_what_a_log_never_held_is_told_once_and_in_order() -> None:
    """A cover that came over a link is one tombstone of one seq, where it came in the log."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(origin.write(1)))
        origin.write(9)
        await topic.mailbox.ask(ApplyCover(Cover(5, 2, 10, "evicted", origin.ends[1].hash, origin.ends[2].hash)))
        await topic.mailbox.ask(Apply(origin.write(1)))
        assert everything(topic) == ["there 5/1", (2, 2, "cap"), "there 5/11"]
        told = page(topic, 1)["tombstone"]
        assert told["missed_estimate"] == 9
        assert told["$origin"] == {"node": "there", "strand": f"{5:016x}", "oseq_from": 2, "oseq_to": 10}


async def test_an_ephemeral_topic_begins_empty_and_re_uses_no_seq() -> None:
    """Records and vector lie in memory: a restart is a new strand and a new log id, and seqs go on."""
    rig = Rig(declared={"orders": {"durability": "ephemeral"}})
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
        log_id = topic.log_id_hex
        assert everything(topic) == [1]
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert topic.log_id_hex != log_id
        assert topic.strands == {}
        first = (await put(topic, "2")).first_seq
        assert first > 1
        assert everything(topic)[-1] == 2
        with pytest.raises(Conflict, match="ephemeral"):
            await topic.mailbox.ask(Configure(config(durability="disk"), put=True))
    assert rig.store.packs(1, 1, 1 << 20) == []


async def test_a_key_writes_once() -> None:
    """A repeat of a keyed append is answered as the first one was; another payload under the key is a conflict; the key
    is committed with the records, so neither a crash nor a refused commit separates them."""
    rig = Rig()
    rig.journals = Together
    key = Key("k", b"d")
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        rig.store.fail_next(Fault.EIO)
        with pytest.raises(StorageFailed):
            await put(topic, "1", "2", key=key)
        first = await put(topic, "1", "2", key=key)
        together = [topic.mailbox.put(Append(batches_of([draft("9")]), Key("t", b""))) for _ in range(3)]
        assert {(await e.wait()).first_seq for e in together} == {3}
        assert await put(topic, "1", "2", key=key) == Appended(1, 2, 2, deduped=True)
        assert first == Appended(1, 2, 2)
        with pytest.raises(IdempotencyConflict):
            await put(topic, "3", key=Key("k", b"other"))
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (await put(topic, "1", "2", key=key)).deduped
        rig.clock.now_ms += topic.config.idempotency_window_ms + 1
        assert not (await put(topic, "1", "2", key=key)).deduped
        assert everything(topic) == [1, 2, 9, 1, 2]


async def test_a_key_may_be_remembered_for_ever() -> None:
    """The longest window that a topic may have is beyond all times: the topic takes keyed records as any other does."""
    async with Rig().run() as registry:
        topic, _ = await registry.ensure("orders", config(idempotency_window_ms=OPTIONS["idempotency_window_ms"].most))
        key = Key("k", b"payload")
        assert not (await put(topic, "1", key=key)).deduped
        assert (await put(topic, "1", key=key)).deduped


async def test_a_dropped_log_keeps_its_vector() -> None:
    """DELETE lets go of the log and not of the positions: only newer records come, under a new log id, from seq 1."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(origin.write(3)))
        await put(topic, "1")
        with pytest.raises(TopicNotEmpty):
            await topic.mailbox.ask(DropTopic(forget=False, if_empty=True))
        log_id, own = topic.log_id_hex, topic.own_strand
        await topic.mailbox.ask(DropTopic(forget=False, if_empty=False))
        await topic.mailbox.ask(Configure(DEFAULT, put=False))
        assert topic.log_id_hex != log_id
        assert (await topic.mailbox.ask(Apply(b"".join(origin.chunks)))).known == 3
        assert (await topic.mailbox.ask(Apply(origin.write(1)))).taken == 1
        assert (await put(topic, "2")).first_seq == 2
        assert own is not None
        assert topic.own_strand is not own
        assert everything(topic) == ["there 5/4", 2]
    async with rig.run() as registry:
        assert everything(await registry.find("orders")) == ["there 5/4", 2]


async def test_changes_of_single_fields_do_not_undo_each_other() -> None:
    """PATCHes that were read from the same configuration all count; one that comes after a DELETE revives nothing."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        async with trio.open_nursery() as nursery:
            for fields in ({"cap_records": 7}, {"ttl_ms": 60_000}, {"durability": "fsync", "durable": True}):
                nursery.start_soon(topic.mailbox.ask, Configure(config(**fields), put=True, fields=tuple(fields)))
        assert topic.config == config(cap_records=7, ttl_ms=60_000, durability="fsync")
        await topic.mailbox.ask(DropTopic(forget=False, if_empty=False))
        with pytest.raises(TopicNotFound):
            await topic.mailbox.ask(Configure(config(cap_records=1), put=True, fields=("cap_records",)))
        assert topic.about.deleted


async def test_types_are_for_ever() -> None:
    """A log does not become a queue under its readers."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        with pytest.raises(TopicExistsIncompatible):
            await topic.mailbox.ask(Configure(config(type="queue"), put=True))


async def test_class_memory_answers_before_the_disk_does() -> None:
    """Acknowledged when queued, and readable only when committed."""
    rig = Rig(declared={"orders": {"durability": "memory"}})
    rig.journals = Together
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        rig.store.fail_next(Fault.EIO)
        assert (await put(topic, "1")).first_seq == 1
        assert (await put(topic, "2")).first_seq == 1
        await topic.mailbox.ask(Sweep())  # whatever was acknowledged before is settled by now
        assert everything(topic) == [2]


async def test_positions_that_moved_are_told_since_any_commit() -> None:
    """Feeds ask what moved since they looked: every strand once, at its newest commit."""
    rig, one, two = Rig(), Origin(5), Origin(6)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        for origin in (one, two):
            await topic.mailbox.ask(Introduce(origin.descriptor))
            await topic.mailbox.ask(Apply(origin.write()))
        moved, at = topic.moved_since(-1)
        assert sorted(moved) == [5, 6]
        assert topic.moved_since(at) == ([], at)
        await topic.mailbox.ask(Apply(one.write()))
        assert topic.moved_since(at)[0] == [5]


async def test_a_broken_store_is_named_and_the_topic_comes_back() -> None:
    """A fault that nobody expected refuses all who wait, and the next life reads everything back."""
    killed: list[str] = []

    def witness(moment: str) -> None:
        if moment == "before" and not killed and armed:
            killed.append(moment)
            raise ValueError("the disk driver is wrong")

    armed: list[int] = []
    store = MemoryStore(witness)
    rig = Rig(store)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1")
    assert everything_stored(store) == 1

    async def meet_the_fault() -> None:
        async with rig.run() as registry:
            topic = await registry.find("orders")
            armed.append(1)
            await put(topic, "2")

    with pytest.raises((ActorDied, BaseExceptionGroup)):
        await meet_the_fault()
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (await put(topic, "3")).first_seq == 2


def everything_stored(store: MemoryStore) -> int:
    return sum(p.records for p in store.packs(1, 1, 1 << 20))


async def test_a_chunk_that_cannot_be_leaves_nothing_behind() -> None:
    """Refused by name, and what was known before it stays known: the next one of its strand is taken."""
    rig, good, evil = Rig(), Origin(7), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config())
        for origin in (good, evil):
            await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(good.write(3)))
        packed = evil.write(2)
        with pytest.raises(ProtocolViolation, match="hash"):
            await topic.mailbox.ask(Apply(packed[:-1] + b"~"))
        await topic.mailbox.ask(Apply(packed))
        assert topic.head == 5
