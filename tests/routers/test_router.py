"""Routers over real topics: each record once, in order, over restarts; full destinations; sources that lost records."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from mirrord.config.topic import topic_config
from mirrord.errors import (
    ActorDied,
    DeclaredInFile,
    InvalidRequest,
    RouterCycle,
    RouterNotFound,
    Throttled,
    TopicExistsIncompatible,
    TopicNotEmpty,
    TopicNotFound,
)
from mirrord.records.selector import selector
from mirrord.routers.definition import Definition
from mirrord.routers.position import DEFINED, ROUTED, Position
from mirrord.storage.memory.store import Fault, MemoryStore
from mirrord.storage.store import Change, PutPack
from mirrord.testing.world.disk import SimDisk
from mirrord.topics.log.log import Identities
from mirrord.topics.messages import Configure, Delete
from mirrord.topics.topic import Topic

from ..topics.rig import Together
from .rig import RouterRig


@pytest.fixture
def rig(autojump_clock: trio.testing.MockClock) -> RouterRig:
    assert autojump_clock.autojump_threshold == 0
    return RouterRig()


async def test_what_is_appended_later_is_copied_once(rig: RouterRig) -> None:
    """Only what is committed after the router was made; every record once, in its order, whatever dies in between."""
    async with rig.routing():
        await rig.append("a", "before")
        await rig.define("r", "a", "b")
        await rig.append("a", "1", "2")
        assert await rig.texts("b") == ["1", "2"]
        await rig.append("a", "3")
    for number in range(4, 7):
        async with rig.routing():
            await rig.append("a", str(number))
            assert await rig.texts("b") == [str(n) for n in range(1, number + 1)]
            assert rig.routers.find("r").position.copied == number


async def test_backfill_copies_what_is_there(rig: RouterRig) -> None:
    """From the first record that retention left."""
    async with rig.routing():
        await rig.append("a", *map(str, range(2500)))
        await rig.define("r", "a", "b", backfill=True)
        await rig.append("a", "new")
        assert await rig.texts("b") == [*map(str, range(2500)), "new"]


async def test_copies_keep_label_and_tag_unless_told_otherwise(rig: RouterRig) -> None:
    """`$node` and `$tag` go along; without preserve_* a copy is this node's and has no tag."""
    async with rig.routing():
        await rig.define("kept", "a", "b")
        await rig.define("bare", "a", "c", preserve_node=False, preserve_tag=False)
        await rig.append("a", "x", tag="t", node="web")
        (kept,), (bare,) = await rig.records("b"), await rig.records("c")
        assert (kept["$node"], kept["$tag"]) == ("web", "t")
        assert bare["$node"] == "here"
        assert "$tag" not in bare


async def test_only_what_matches(rig: RouterRig) -> None:
    """A filter passes over the rest, and the position passes with it."""
    async with rig.routing():
        await rig.define("r", "a", "b", selector=selector("eu:*"))
        await rig.append("a", "1", tag="eu:1")
        await rig.append("a", "2", tag="us:1")
        await rig.append("a", "3")
        await rig.append("a", "4", tag="eu:")
        assert await rig.texts("b") == ["1", "4"]
        assert rig.routers.find("r").lag == 0


async def test_fan_in_and_fan_out(rig: RouterRig) -> None:
    """Two sources may share a destination, each in its order; one source may have many."""
    async with rig.routing():
        await rig.define("one", "a", "c")
        await rig.define("two", "b", "c")
        await rig.define("three", "a", "d")
        for number in range(3):
            await rig.append("a", f"a{number}")
            await rig.append("b", f"b{number}")
        texts = await rig.texts("c")
        assert [t for t in texts if t[0] == "a"] == ["a0", "a1", "a2"]
        assert [t for t in texts if t[0] == "b"] == ["b0", "b1", "b2"]
        assert await rig.texts("d") == ["a0", "a1", "a2"]


async def test_a_ring_ends_with_one_copy_in_each_topic(rig: RouterRig) -> None:
    """A record that comes back to a topic that it has been in goes no further, in a ring longer than any hop cap."""
    ring = [f"t{n}" for n in range(12)]
    async with rig.routing():
        for place, topic in enumerate(ring):
            onward = ring[(place + 1) % len(ring)]
            await rig.define(f"r{place}", topic, onward, allow_cycle=True)
        await rig.append("t0", "x")
        await rig.append("t5", "y")
        for topic in ring[1:] + ring[:1]:
            assert sorted(await rig.texts(topic)) == ["x", "y"]
        assert sum(router.long_paths for router in rig.routers.page("")) == 6


async def test_reads_see_what_was_written_before_through_a_chain(rig: RouterRig) -> None:
    """A read of the last topic waits for every router on the way."""
    async with rig.routing():
        for start, end in ("ab", "bc", "cd"):
            await rig.define(f"{start}->{end}", start, end)
        for number in range(20):
            await rig.append("a", str(number))
            assert len(await rig.texts("d")) == number + 1


async def test_a_full_destination_stops_the_router_until_there_is_room(rig: RouterRig) -> None:
    """Nothing is lost and nothing evicted; it says what it waits for, and goes on when records are deleted."""
    async with rig.routing():
        full = topic_config({"cap_records": 3, "discard": "reject"})
        await rig.registry.ensure("b", full, put=True)
        await rig.define("r", "a", "b")
        await rig.append("a", "1", "2", "3", "4", "5")
        router = await rig.until("r", "waiting")
        assert await rig.texts("b") == ["1", "2", "3"]
        assert router.statistics()["waiting_for"] == "room in b (topic_full)"
        assert (router.lag, router.position.copied) == (2, 3)
        b = await rig.registry.find("b")
        await b.mailbox.ask(Delete(before_seq=3))
        assert await rig.texts("b") == ["3", "4", "5"]  # a read of it lets the router look for room first
        await rig.append("a", "6", "7")
        await rig.until("r", "waiting")
        await b.mailbox.ask(Delete(before_seq=5))
        await rig.until("r", "caught-up")  # and without a read soon
        assert await rig.texts("b") == ["5", "6", "7"]
        await b.mailbox.ask(Configure(topic_config({}), put=True))


async def test_records_that_the_source_lost_first_are_told_once(rig: RouterRig) -> None:
    """Evicted before they were copied: one tombstone with their number. Deleted ones are passed over in silence."""
    async with rig.routing():
        await rig.registry.ensure("b", topic_config({"cap_records": 1, "discard": "reject"}), put=True)
        await rig.define("r", "a", "b")
        await rig.append("a", "1", "2")
        await rig.until("r", "waiting")
        a = await rig.registry.find("a")
        await a.mailbox.ask(Configure(topic_config({"cap_records": 2}), put=True))
        await rig.append("a", "3", "4", "5")
        await (await rig.registry.find("b")).mailbox.ask(Configure(topic_config({}), put=True))
        await rig.until("r", "caught-up")
        assert await rig.texts("b") == ["1", "source_trim", "4", "5"]
        gap = (await rig.records("b"))[1]
        assert (gap["gap_from"], gap["gap_to"], gap["missed_estimate"]) == (2, 2, 2)
        assert rig.routers.find("r").position.missed == 2


async def test_deleted_records_are_passed_over(rig: RouterRig) -> None:
    """By seq or by tag, in the middle of the log or at its front: no copy, no tombstone."""
    async with rig.routing():
        await rig.append("a", "1", "2")
        await rig.append("a", "3", tag="x")
        await rig.append("a", "4")
        a = await rig.registry.find("a")
        await a.mailbox.ask(Delete(before_seq=2))
        await a.mailbox.ask(Delete(match=selector("x")))
        await rig.define("r", "a", "b", backfill=True)
        assert await rig.texts("b") == ["2", "4"]


@pytest.mark.parametrize("durability", ["ephemeral", "memory", "disk", "fsync"])
async def test_every_class_of_destination(rig: RouterRig, durability: str) -> None:
    """The copies follow the destination's class; the position goes with them."""
    async with rig.routing():
        await rig.registry.ensure("b", topic_config({"durability": durability}), put=True)
        await rig.define("r", "a", "b")
        await rig.append("a", "1", "2")
        assert await rig.texts("b") == ["1", "2"]
    async with rig.routing():
        await rig.append("a", "3")
        there = ["lost", "3"] if durability == "ephemeral" else ["1", "2", "3"]
        assert await rig.texts("b") == there


async def test_a_source_in_memory_that_died_tells_no_losses(rig: RouterRig) -> None:
    """What an ephemeral source lost at the restart is its own promise; the destination goes on."""
    async with rig.routing():
        await rig.registry.ensure("a", topic_config({"durability": "ephemeral"}), put=True)
        await rig.define("r", "a", "b")
        await rig.append("a", "1")
        assert await rig.texts("b") == ["1"]
    async with rig.routing():
        await rig.append("a", "2")
        assert await rig.texts("b") == ["1", "2"]


async def test_what_shares_a_turn_with_a_copy_is_none(rig: RouterRig) -> None:
    """A writer's records and a router's copies that wait together are committed together, and only copies tell where
    they came from: a ring of two would else lose or double records."""
    async with rig.routing():
        await rig.define("ab", "a", "b")
        await rig.define("ba", "b", "a", allow_cycle=True)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(rig.append, "a", f"a{number}")
                nursery.start_soon(rig.append, "b", f"b{number}")
        await rig.texts("a")
        there = sorted(f"{topic}{number}" for number in range(50) for topic in "ab")
        assert sorted(await rig.texts("b")) == there
        assert sorted(await rig.texts("a")) == there


# ---- changing the set --------------------------------------------------------------------------------


async def test_a_router_may_change_but_not_point_elsewhere(rig: RouterRig) -> None:
    """Filter and preserve_* from the next record on, at the same position."""
    async with rig.routing():
        assert await rig.define("r", "a", "b")
        await rig.append("a", "1")
        assert await rig.texts("b") == ["1"]
        assert not await rig.define("r", "a", "b", selector=selector("x"))
        await rig.append("a", "2")
        await rig.append("a", "3", tag="x")
        assert await rig.texts("b") == ["1", "3"]
        with pytest.raises(TopicExistsIncompatible) as refused:
            await rig.define("r", "a", "c")
        assert refused.value.detail is not None
        assert refused.value.detail["reason"] == "router_repoint_forbidden"
    async with rig.routing():
        await rig.append("a", "4", "5", tag="x")
        assert await rig.texts("b") == ["1", "3", "4", "5"]


async def test_refusals_leave_nothing_behind(rig: RouterRig) -> None:
    """In the order of the specification; no topic comes of a router that is not made."""
    rig.most = 1
    async with rig.routing():
        with pytest.raises(InvalidRequest):
            await rig.define("r", "a", "a")
        with pytest.raises(TopicNotFound):
            await rig.define("r", "a", "b", create_dest=False)
        assert len(rig.registry) == 0
        await rig.define("r", "a", "b")
        with pytest.raises(TopicExistsIncompatible):
            await rig.define("r", "x", "y")
        with pytest.raises(Throttled) as refused:
            await rig.define("q", "b", "a")  # a cycle too, but the limit comes first
        assert refused.value.detail == {"limit": "max_routers", "max": 1}
        assert rig.registry.names == ["a", "b"]
        await rig.define("r", "a", "b", preserve_tag=False)  # at the limit what is there may change


async def test_a_cycle_is_refused_by_its_topics(rig: RouterRig) -> None:
    """Unless the closing router allows it."""
    async with rig.routing():
        await rig.define("ab", "a", "b")
        await rig.define("bc", "b", "c")
        with pytest.raises(RouterCycle) as refused:
            await rig.define("ca", "c", "a")
        assert refused.value.detail == {"cycle": ["c", "a", "b", "c"]}
        await rig.define("ca", "c", "a", allow_cycle=True)
        with pytest.raises(RouterCycle):
            await rig.define("ca", "c", "a")


async def test_a_deleted_router_copies_no_more(rig: RouterRig) -> None:
    """Its copies stay, its marks go; one made anew under its name begins anew."""
    async with rig.routing():
        await rig.define("r", "a", "b")
        await rig.append("a", "1")
        assert await rig.texts("b") == ["1"]
        assert await rig.undefine("r")
        assert not await rig.undefine("r")
        await rig.append("a", "2")
        assert await rig.texts("b") == ["1"]
        assert rig.store.marks(DEFINED) == rig.store.marks(ROUTED) == []
        with pytest.raises(RouterNotFound):
            rig.routers.find("r")
        await rig.define("r", "a", "b")
        await rig.append("a", "3")
        assert await rig.texts("b") == ["1", "3"]


async def test_a_topic_goes_with_its_routers(rig: RouterRig) -> None:
    """Of both sides, by name; when the topic may not go, they stay and go on."""
    async with rig.routing():
        for name, source, dest in (("in", "x", "a"), ("out", "a", "y"), ("other", "x", "y")):
            await rig.define(name, source, dest)
        await rig.append("a", "1")
        with pytest.raises(TopicNotEmpty):
            await rig.let_go("a", if_empty=True)
        await rig.append("a", "2")
        assert await rig.texts("y") == ["1", "2"]
        assert await rig.let_go("nothing") == (False, [])
        assert await rig.let_go("a") == (True, ["in", "out"])
        assert [router.definition.name for router in rig.routers.page("")] == ["other"]
    async with rig.routing():
        assert [router.definition.name for router in rig.routers.page("")] == ["other"]
        await rig.append("x", "3")
        assert await rig.texts("y") == ["1", "2", "3"]


async def test_a_node_that_died_while_a_topic_went(rig: RouterRig) -> None:
    """The topic's deletion stood, its routers' did not: they go at the next start, and do not bring the topic back."""
    async with rig.routing():
        await rig.define("r", "a", "b")
        await rig.registry.delete("a", if_empty=False, forget=False)
    async with rig.routing():
        assert len(rig.routers) == 0
        await rig.define("new", "c", "d")
        assert rig.registry.known("a") is None
        assert [name for name, _ in rig.store.marks(DEFINED)] == [DEFINED + "new"]
        assert [name for name, _ in rig.store.marks(ROUTED)] == [ROUTED + "new"]


# ---- the file ----------------------------------------------------------------------------------------


async def test_a_declared_router_is_the_files(rig: RouterRig) -> None:
    """It is made at the start, keeps its position, refuses requests, and goes when the file no longer names it."""
    rig.in_file = {"r": Definition("r", "a", "b", declared=True)}
    async with rig.routing():
        await rig.append("a", "1")
        assert await rig.texts("b") == ["1"]
        for refused in (rig.define("r", "a", "c"), rig.undefine("r")):
            with pytest.raises(DeclaredInFile):
                await refused
    async with rig.routing():
        await rig.append("a", "2")
        assert await rig.texts("b") == ["1", "2"]
    rig.in_file = {"r": Definition("r", "c", "b", declared=True)}
    async with rig.routing():
        await rig.append("c", "3")
        await rig.append("a", "4")
        assert await rig.texts("b") == ["1", "2", "3"]
    rig.in_file = {}
    async with rig.routing():
        assert len(rig.routers) == 0


async def test_a_declared_router_outlives_its_topics(rig: RouterRig) -> None:
    """Deleting the source begins a new log, which it copies from the first record on; so does deleting the copies'."""
    rig.in_file = {"r": Definition("r", "a", "b", declared=True)}
    async with rig.routing():
        await rig.append("a", "1", "2")
        assert await rig.texts("b") == ["1", "2"]
        assert await rig.let_go("a") == (True, [])
        await rig.append("a", "3")
        assert await rig.texts("b") == ["1", "2", "3"]
        assert await rig.let_go("b") == (True, [])
        await rig.append("a", "4")
        await rig.until("r", "caught-up")
        assert await rig.texts("b") == ["4"]
    async with rig.routing():
        await rig.append("a", "5")
        assert await rig.texts("b") == ["4", "5"]


# ---- failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("durability", ["memory", "disk", "fsync"])
async def test_a_disk_that_refuses_loses_and_doubles_nothing(rig: RouterRig, durability: str, written: bool) -> None:
    """The commit behind each append, which is that of the copies, fails: the router stands, reads back what is there,
    and goes on."""
    failed: list[int] = []

    def refuse_the_next(disk: SimDisk, changes: Sequence[Change]) -> None:
        if any(isinstance(change, PutPack) and change.pack.tid == 1 for change in changes):
            failed.append(1)
            disk.fail_next(Fault.EIO, written=written)

    disk = SimDisk(refuse_the_next)
    rig.store = disk
    async with rig.routing():
        await rig.registry.ensure("a")
        await rig.registry.ensure("b", topic_config({"durability": durability}), put=True)
        await rig.define("r", "a", "b")
        for number in range(1, 4):
            await rig.append("a", f"{number}.1", f"{number}.2")
            with trio.fail_after(60):
                while rig.routers.find("r").position.copied < 2 * number:
                    await trio.sleep(0.5)
                    rig.clock.now_ms += 500  # the store is healed by the clock
        assert len(failed) == 3
        assert await rig.texts("b") == [f"{n}.{i}" for n in range(1, 4) for i in (1, 2)]
    async with rig.routing():
        assert await rig.texts("b") == [f"{n}.{i}" for n in range(1, 4) for i in (1, 2)]


def test_a_position_reads_back() -> None:
    """As it was committed."""
    position = Position(7, 3, 1, 2, 9, {5: 4})
    assert Position.decode(position.encode()) == position
    definition = Definition("r", "a", "b", selector("eu:*"), forward="origin", declared=True)
    assert Definition.decode(definition.encode()) == definition


async def test_a_topic_and_the_marks_of_its_routers_go_in_one_commit() -> None:
    """A router whose topic was deleted is gone with it, whenever the process ends and whatever the disk refuses
    afterwards: else it would come back with the topic's name."""
    told: list[tuple[bool, bool]] = []
    rig = RouterRig(MemoryStore(lambda _: told.append((alive(), bool(rig.store.marks(DEFINED))))))

    def alive() -> bool:
        return any(not Identities.decode(row.blob).deleted for row in rig.store.topics() if row.name == "a")

    async with rig.routing():
        await rig.define("ab", "a", "b")
        assert rig.store.marks(DEFINED)
        told.clear()
        assert await rig.let_go("a") == (True, ["ab"])
    assert {(True, True), (False, False)} == set(told)


async def test_copies_of_which_nobody_knows_are_not_made_twice(rig: RouterRig) -> None:
    """Their topic dies between the commit and its answer: where the router stands is read back before it goes on."""
    dying: list[Topic] = []

    def die(_: SimDisk, changes: Sequence[Change]) -> None:
        if dying and any(isinstance(change, PutPack) and change.pack.tid == dying[0].tid for change in changes):
            dying.pop().mailbox.refuse_all(ActorDied("topic:b died; try again"))

    rig.store, rig.journals = SimDisk(die), Together
    async with rig.routing():
        await rig.define("r", "a", "b")
        dying.append(await rig.registry.find("b"))
        await rig.append("a", "1")
        await rig.until("r", "waiting")
        assert not dying
        await rig.until("r", "caught-up")
        assert await rig.texts("b") == ["1"]
