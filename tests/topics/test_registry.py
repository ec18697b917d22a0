"""The registry: one topic per name, whoever asks at once, and names that come and go."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from mirrord.errors import Conflict, InvalidRequest, StorageFailed, Throttled, TopicLinked, TopicNotFound
from mirrord.records.batch import batches_of
from mirrord.storage.memory import Fault
from mirrord.topics.messages import Append, Apply, Introduce
from mirrord.topics.topic import Topic

from .rig import Origin, Rig, config, draft


async def test_concurrent_first_uses_make_one_topic() -> None:
    """Twenty writers that meet a new name write one log."""
    rig = Rig()
    found: list[tuple[Topic, bool]] = []
    async with rig.run() as registry:

        async def use() -> None:
            found.append(await registry.ensure("orders"))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(use)
        assert len({id(topic) for topic, _ in found}) == 1
        assert sum(created for _, created in found) == 1
        assert len(list(rig.store.topics())) == 1


async def test_a_creation_that_failed_can_be_tried_again() -> None:
    """What the disk refused is not there, and does not stand in the way."""
    rig = Rig()
    async with rig.run() as registry:
        rig.store.fail_next(Fault.EIO)
        with pytest.raises(StorageFailed):
            await registry.ensure("orders")
        assert registry.names == []
        assert (await registry.ensure("orders"))[1] is True


async def test_names_and_numbers_of_topics_are_bounded() -> None:
    """A name is a name, and a node holds as many topics as it may."""
    rig = Rig()
    rig.max_topics = 2
    async with rig.run() as registry:
        with pytest.raises(InvalidRequest):
            await registry.ensure("no/slash")
        await registry.ensure("a")
        await registry.ensure("b")
        with pytest.raises(Throttled):
            await registry.ensure("c")
        assert (await registry.ensure("a"))[1] is False


async def test_topics_are_listed_by_name_and_prefix() -> None:
    """Pages by name, each topic once, whatever came meanwhile."""
    rig = Rig()
    async with rig.run() as registry:
        for name in ("b:2", "a", "b:1", "c", "b:3"):
            await registry.ensure(name)
        assert registry.names == ["a", "b:1", "b:2", "b:3", "c"]
        assert [t.topic for t in registry.page("b:", "", 2)] == ["b:1", "b:2"]
        assert [t.topic for t in registry.page("b:", "b:2", 2)] == ["b:3"]
        assert [t.topic for t in registry.page("", "b:3", 9)] == ["c"]


async def test_topics_are_born_at_their_first_use() -> None:
    """A node with many topics starts at once, and each answers as soon as it is asked."""
    rig = Rig()
    async with rig.run() as registry:
        for name in ("a", "b"):
            topic, _ = await registry.ensure(name)
            await topic.mailbox.ask(Append(batches_of([draft()])))
    async with rig.run() as registry:
        assert registry.names == ["a", "b"]
        assert [t.ready.is_set() for t in registry] == [False, False]
        assert registry.statistics()["records_live"] == 2
        assert (await registry.find("a")).ready.is_set()
        assert registry.any("b") is None


async def test_the_file_wins_at_every_start() -> None:
    """Keys that the TOML file sets are laid over what the topic was configured with."""
    rig = Rig()
    async with rig.run() as registry:
        await registry.ensure("orders", config(cap_records=5, ttl_ms=7), put=True)
    rig.declared["orders"] = {"cap_records": 9}
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (topic.config.cap_records, topic.config.ttl_ms) == (9, 7)


async def test_delete_and_create_again() -> None:
    """A deleted topic is not found; its name is free, and what comes next begins at 1 under another log id."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft()])))
        log_id = topic.log_id_hex
        assert await registry.delete("orders", if_empty=False, forget=False) is True
        assert await registry.delete("orders", if_empty=False, forget=False) is False
        assert registry.names == []
        with pytest.raises(TopicNotFound):
            await registry.find("orders")
        topic, created = await registry.ensure("orders")
        assert created
        assert (await topic.mailbox.ask(Append(batches_of([draft()])))).first_seq == 1
        assert topic.log_id_hex != log_id


async def test_forget_takes_the_positions_too() -> None:
    """Then everything would come again: refused while a link names the topic."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(origin.write(2)))
        rig.linked.add("orders")
        with pytest.raises(TopicLinked):
            await registry.delete("orders", if_empty=False, forget=True)
        rig.linked.clear()
        assert await registry.delete("orders", if_empty=False, forget=True)
        assert list(rig.store.topics()) == []
        topic, _ = await registry.ensure("orders")
        assert topic.strands == {}


async def test_who_creates_while_it_is_forgotten_waits_and_gets_a_living_one() -> None:
    """Nobody is left asking a topic whose task has gone."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft()])))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: registry.delete("orders", if_empty=False, forget=True))
            while registry.known("orders") is not None:
                await trio.lowlevel.checkpoint()
            again, created = await registry.ensure("orders")
        assert created
        assert again is not topic
        assert (await again.mailbox.ask(Append(batches_of([draft()])))).first_seq == 1


async def test_a_forgetting_that_the_disk_refuses_leaves_the_topic_alive() -> None:
    """The rows stand, so the topic does: it answers, and can be forgotten later."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await registry.delete("orders", if_empty=False, forget=False)
        drops = 0

        def refuse_the_second(moment: str) -> None:
            nonlocal drops
            if moment == "before":
                drops += 1
                if drops == 2:
                    rig.store.fail_next(Fault.EIO)

        rig.store._witness = refuse_the_second
        with pytest.raises(StorageFailed):
            await registry.delete("orders", if_empty=False, forget=True)
        topic, _ = await registry.ensure("orders")
        assert (await topic.mailbox.ask(Append(batches_of([draft()])))).first_seq == 1
        assert await registry.delete("orders", if_empty=False, forget=True)


async def test_sweeping_outlives_a_disk_that_refuses(autojump_clock: trio.testing.MockClock) -> None:  # noqa: ARG001
    """A full disk or a topic that is deleted under the broom must not make the node unwell."""
    rig = Rig()
    async with rig.run() as registry:
        rig.supervisor.keep(registry)
        topic, _ = await registry.ensure("orders", config(ttl_ms=1000))
        await topic.mailbox.ask(Append(batches_of([draft()])))
        rig.clock.now_ms += 2000
        rig.store.fail_next(Fault.EIO)
        await trio.sleep(3)
        await wait_all_tasks_blocked()
        assert topic.count == 0
    assert rig.deaths == []


async def test_bells_ring_when_topics_come_and_go() -> None:
    """Feeds hear of new topics and of those that went."""
    from mirrord.actors.bell import Ear

    rig = Rig()
    async with rig.run() as registry:
        ear = registry.bell.attach(Ear(), "topics")
        await registry.ensure("orders")
        assert ear.take() == ["topics"]
        await registry.delete("orders", if_empty=False, forget=False)
        assert ear.take() == ["topics"]


@pytest.mark.parametrize("rounds", range(12))
async def test_whoever_gives_up_meanwhile_leaves_no_half_topic(rounds: int) -> None:
    """A client that hangs up, or a deadline: wherever the wait for a creation or a deletion ends, the name is there and
    listed, or it is not and can be made, and feeds hear of both."""
    rig = Rig()
    async with rig.run() as registry:

        async def given_up(ask: Any) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    for _ in range(rounds):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            await wait_all_tasks_blocked()

        await given_up(lambda: registry.ensure("orders"))
        assert (registry.known("orders") is not None) == ("orders" in registry.names) == bool(registry.creations)
        topic, _ = await registry.ensure("orders")
        assert len(list(rig.store.topics())) == 1
        await topic.mailbox.ask(Append(batches_of([draft()])))
        await given_up(lambda: registry.delete("orders", if_empty=False, forget=False))
        assert (registry.known("orders") is not None) == ("orders" in registry.names) == (not registry.went)


@pytest.mark.parametrize(("first", "second"), [("ephemeral", "disk"), ("disk", "ephemeral")])
async def test_a_deleted_topic_may_come_back_in_another_class(first: str, second: str) -> None:
    """That is what a topic that cannot change its class is told to do: delete it first. No seq of the old log is met in
    the new one under the same log id, and a restart finds the new one."""
    rig = Rig()
    async with rig.run() as registry:
        old, _ = await registry.ensure("orders", config(durability=first))
        await old.mailbox.ask(Append(batches_of([draft()])))
        log_id = old.log_id_hex
        await registry.delete("orders", if_empty=False, forget=False)
        topic, created = await registry.ensure("orders", config(durability=second))
        assert (created, topic.config.durability, topic.head) == (True, second, 0)
        assert topic.log_id_hex != log_id
        assert (await topic.mailbox.ask(Append(batches_of([draft()])))).last_seq == 1
        assert len(list(rig.store.topics())) == 1
    async with rig.run() as registry:
        topic = await registry.find("orders")
        assert (topic.config.durability, topic.count) == (second, int(second == "disk"))


async def test_a_linked_topic_does_not_come_back_ephemeral() -> None:
    """Its vector would die with the process, and links bring again what was deleted."""
    rig = Rig()
    rig.linked.add("orders")
    async with rig.run() as registry:
        await registry.ensure("orders")
        await registry.delete("orders", if_empty=False, forget=False)
        with pytest.raises(Conflict):
            await registry.ensure("orders", config(durability="ephemeral"))
        assert (await registry.ensure("orders"))[1] is True
