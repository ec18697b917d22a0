"""Streams over topics in memory: sharing, stalling, resuming, and that each record comes once."""

# ruff: noqa: ARG001 -- the clock is there to be used by trio
from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from mirrord.errors import ActorDied, ChunkCorrupt, ShuttingDown, SlowConsumer, StorageFailed, Throttled
from mirrord.streams.watcher import Pace
from mirrord.topics.messages import Erase
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read

from ..topics.rig import Rig, config
from .rig import Stage, Viewer, settled, stage


def names(viewer: Viewer) -> list[str]:
    return [event["name"] for event in viewer.handled]


async def test_a_page_is_encoded_once_for_all_who_are_caught_up(autojump_clock: MockClock) -> None:
    """A thousand watchers cost one reading and one encoding, and all are handed the very same bytes."""
    async with stage() as here:
        await here.append("a", 0)
        viewers = await here.crowd(100, "a")
        assert here.fans.statistics()["riders"] == 100
        before = here.fans.encoded
        for n in range(1, 6):
            await here.append("a", n)
            await settled()
        assert here.fans.encoded - before == 5
        last = {id(viewer.pipe.pieces[-1]) for viewer in viewers}
        assert len(last) == 1
        for viewer in viewers:
            viewer.handle()
            assert [data for *_, data in viewer.records()] == [0, 1, 2, 3, 4, 5]


async def test_different_views_do_not_share(autojump_clock: MockClock) -> None:
    """What one asked to see is not shown to another."""
    async with stage() as here:
        await here.append("a", 1, tag="t")
        plain, tagged = await here.viewer("a"), await here.viewer("a", view=View(3, 10_000, tags=True))
        for viewer in (plain, tagged):
            viewer.connect()
        await settled()
        await here.append("a", 2, tag="t")
        await settled()
        assert here.fans.statistics()["fans"] == 2
        for viewer, shown in ((plain, False), (tagged, True)):
            viewer.handle()
            assert [("$tag" in e["data"]["records"][0]) for e in viewer.handled if e["name"] == "record"] == [shown] * 2


async def test_whoever_stalls_is_left_behind_and_costs_nothing(autojump_clock: MockClock) -> None:
    """Nothing is put to a client that has not taken what is under way; the others go on; it catches up by itself."""
    async with stage() as here:
        await here.append("a", 0)
        slow, lively = await here.viewer("a"), await here.viewer("a")
        slow.connect()
        lively.connect()
        await settled()
        slow.pipe.stall()
        for n in range(1, 30):
            await here.append("a", n)
            await settled_for(0.1)
        lively.handle()
        assert [data for *_, data in lively.records()] == list(range(30))
        slow.handle()
        assert [data for *_, data in slow.records()] == [0, 1]
        assert here.fans.statistics()["riders"] == 1
        slow.pipe.go_on()
        await settled()
        slow.handle()
        assert [data for *_, data in slow.records()] == list(range(30))
        assert here.fans.statistics()["riders"] == 2


async def test_what_is_under_way_is_not_cut_through_by_another_topic(autojump_clock: MockClock) -> None:
    """A stream of two topics whose client stalls in the middle of one is handed nothing of the other."""
    async with stage() as here:
        await here.append("a", 0)
        await here.append("b", 0)
        viewer = await here.viewer("a", "b")
        viewer.connect()
        await settled()
        viewer.pipe.stall()
        await here.append("a", 1)
        await settled_for(0.1)
        await here.append("b", 1)
        await settled_for(0.1)
        viewer.pipe.go_on()
        await settled()
        viewer.handle()
        assert viewer.records()[2:] == [("a", 2, 1), ("b", 2, 1)]
        assert here.rig.deaths == []


async def settled_for(seconds: float) -> None:
    await trio.sleep(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_whoever_stalls_for_too_long_is_told(autojump_clock: MockClock) -> None:
    """A deadline, not a bound that fills: the named error after ``slow_s``, and not before."""
    async with stage(pace=Pace(15.0, 30.0)) as here:
        await here.append("a", 0)
        viewer = await here.viewer("a")
        viewer.connect()
        await settled()
        viewer.pipe.stall()
        await here.append("a", 1)
        await settled_for(29.0)
        assert viewer.ended is None
        await settled_for(2.0)
        assert isinstance(viewer.ended, SlowConsumer)
        assert here.fans.statistics() | {"pages_encoded": 0, "pages_handed": 0} == {
            "fans": 0, "riders": 0, "pages_encoded": 0, "pages_handed": 0,
        }  # fmt: skip


async def test_a_stalled_client_does_not_hold_up_a_node_that_stops(autojump_clock: MockClock) -> None:
    """Its stream ends within a second."""
    async with stage() as here:
        await here.append("a", 0)
        viewer = await here.viewer("a")
        viewer.connect()
        await settled()
        viewer.pipe.stall()
        await here.append("a", 1)
        await settled_for(0.5)
        viewer.over = ShuttingDown()
        await settled_for(1.5)
        assert isinstance(viewer.ended, ShuttingDown)


async def test_a_client_that_is_gone_takes_nobody_with_it(autojump_clock: MockClock) -> None:
    """The fan drops it in the middle of handing out."""
    async with stage() as here:
        await here.append("a", 0)
        viewers = await here.crowd(3, "a")
        viewers[1].pipe.broken = True
        await here.append("a", 1)
        await settled()
        assert isinstance(viewers[1].ended, OSError)
        assert here.fans.statistics()["riders"] == 2
        for viewer in (viewers[0], viewers[2]):
            viewer.handle()
            assert [data for *_, data in viewer.records()] == [0, 1]


async def test_whoever_goes_while_others_are_handed_a_page_is_handed_nothing(autojump_clock: MockClock) -> None:
    """A page goes to many one after the other, and others of the node have turns in between: nothing is put to a client
    that went meanwhile."""
    async with stage() as here:
        await here.append("a", 0)
        viewers = await here.crowd(10, "a")
        handed: list[Viewer] = []

        def note(viewer: Viewer) -> None:
            handed.append(viewer)
            if len(handed) == 3:
                for late in viewers:
                    if late not in handed:
                        late.watcher.close()

        for viewer in viewers:
            viewer.pipe.taken = partial(note, viewer)
        await here.append("a", 1)
        await settled()
        assert len(handed) == here.fans.statistics()["riders"] == 3


async def test_a_topic_that_is_let_go_of_while_it_is_looked_at(autojump_clock: MockClock) -> None:
    """A client that has enough of a topic while that is synced is sent nothing more of it, and the rest as before."""
    async with stage() as here:
        await here.append("a", 1)
        await here.append("b", 2)
        viewer = await here.viewer("a", "b", strong=True)

        def enough() -> None:
            viewer.watcher.unwatch("a")

        here.meanwhile = enough
        viewer.connect()
        await settled()
        await here.append("b", 3)
        await settled()
        viewer.handle()
        assert [(name, data) for name, _, data in viewer.records()] == [("b", 2), ("b", 3)]


async def test_heartbeats_come_in_silence_only(autojump_clock: MockClock) -> None:
    """After ``heartbeat_s`` without an event, and not before."""
    async with stage(pace=Pace(10.0, 30.0)) as here:
        await here.append("a", 0)
        viewer = await here.viewer("a")
        viewer.connect()
        await settled_for(9.0)
        await here.append("a", 1)
        await settled_for(9.0)
        assert b": hb" not in viewer.pipe.whole
        await settled_for(2.0)
        assert viewer.pipe.whole.endswith(b": hb\n\n")


async def test_a_backlog_does_not_keep_a_live_topic_silent(autojump_clock: MockClock) -> None:
    """Topics take turns after some pages, so the second one is heard while the first is still long."""
    async with stage() as here:
        await here.append("a", *range(200))
        await here.append("b", "live")
        viewer = await here.viewer("a", "b")
        viewer.connect()
        await settled()
        viewer.handle()
        order = [topic for topic, *_ in viewer.records()]
        assert order.index("b") == 48
        assert [data for topic, _, data in viewer.records() if topic == "a"] == list(range(200))


async def test_only_what_is_synced_is_shown_to_a_strong_watch(autojump_clock: MockClock) -> None:
    """It waits for a sync of its own; when the disk refuses, the stream ends by name and shows nothing more."""
    async with stage() as here:
        await here.append("a", 0)
        viewer = await here.viewer("a", strong=True)
        viewer.connect()
        await settled()
        syncs = here.syncs
        assert syncs >= 1
        await here.append("a", 1)
        await settled()
        assert here.syncs > syncs
        viewer.handle()
        assert [data for *_, data in viewer.records()] == [0, 1]
        here.sync_fault = StorageFailed()
        await here.append("a", 2)
        await settled()
        viewer.handle()
        assert [data for *_, data in viewer.records()] == [0, 1]
        assert isinstance(viewer.ended, StorageFailed)


async def test_what_cannot_be_read_ends_the_stream_by_name(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corrupt chunk is told to whoever would have been shown it; the task that serves all goes on living."""
    async with stage() as here:
        await here.append("a", 0)
        await here.append("b", 0)
        viewers = [await here.viewer("a"), await here.viewer("b")]
        for viewer in viewers:
            viewer.connect()
        await settled()
        topic = await here.registry.find("a")

        def corrupt(*_: object) -> Any:
            raise ChunkCorrupt

        monkeypatch.setattr(topic, "packs", corrupt)
        await here.append("a", 1)
        await here.append("b", 1)
        await settled()
        assert isinstance(viewers[0].ended, ChunkCorrupt)
        viewers[1].handle()
        assert [data for *_, data in viewers[1].records()] == [0, 1]
        assert here.rig.deaths == []


async def test_when_the_task_that_serves_all_dies_streams_end_by_name(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever for a fan that is no more; a client that comes again is served."""
    async with stage() as here:
        await here.append("a", 0)
        viewer = await here.viewer("a")
        viewer.connect()
        await settled()

        def fault(*_: object) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(here.fans, "_serve", fault)
        await here.append("a", 1)
        await settled_for(0.01)
        monkeypatch.undo()
        await settled()
        assert isinstance(viewer.ended, ActorDied) or viewer.ended is None
        assert len(here.rig.deaths) == 1
        await viewer.hang_up()
        viewer.handle()
        viewer.connect()
        await settled()
        viewer.handle()
        assert [data for *_, data in viewer.records()] == [0, 1]


async def test_a_prefix_stream_is_bounded(autojump_clock: MockClock) -> None:
    """More topics than it may watch end it by name."""
    async with stage() as here:
        viewer = await here.viewer("p:*")
        viewer.connect()
        await settled()
        for n in range(11):
            await here.append(f"p:{n}", n)
            await settled()
        assert isinstance(viewer.ended, Throttled)


async def test_a_topic_made_anew_while_it_is_watched(autojump_clock: MockClock) -> None:
    """Deleted and created between two looks: the new log is read from its front, and its ids are its own."""
    async with stage() as here:
        await here.append("a", *range(5))
        viewer = await here.viewer("a", "b:*")
        viewer.connect()
        await settled()
        viewer.handle()
        before = viewer.last
        await here.registry.delete("a", if_empty=False, forget=False)
        await here.append("a", *range(10, 18))
        await settled()
        viewer.handle()
        told = [e["data"].get("reason") for e in viewer.handled if e["name"] in ("tombstone", "topic-deleted")]
        assert told in (["recreated"], ["deleted"])
        assert before is not None


# ---- each record once, in order ------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("ab"), st.integers(1, 7)),
        st.tuples(st.just("erase"), st.sampled_from("ab"), st.integers(1, 40)),
        st.tuples(st.just("handle"), st.integers(0, 1), st.integers(0, 4)),
        st.tuples(st.just("reconnect"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("stall"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("go on"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("pause"), st.integers(1, 60), st.just(0)),
        st.tuples(st.just("anew"), st.sampled_from("ab"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 12))
def test_every_record_comes_once_and_in_order(steps: list[tuple[str, Any, Any]], cap: int) -> None:
    """However appends, deletions, evictions, stalls and reconnects fall: what lives in the end was handled, nothing
    was handled twice, and no topic's records changed their order; what was evicted unseen was told."""
    trio.run(_play, steps, cap, clock=MockClock(autojump_threshold=0))


async def _play(steps: list[tuple[str, Any, Any]], cap: int) -> None:
    async with stage(Rig(), Pace(15.0, 3600.0)) as here:
        for name in "ab":
            await here.registry.ensure(name, config(cap_records=cap))
        viewers = [await here.viewer("a", "b"), await here.viewer("a", "b")]
        for viewer in viewers:
            viewer.connect()
        counter = 0
        for step, what, much in steps:
            if step == "append":
                await here.append(what, *[{"n": counter + i, "pad": "x" * (counter % 7)} for i in range(much)])
                counter += much
            else:
                await _other(here, viewers, step, what, much)
        for viewer in viewers:
            viewer.pipe.go_on()
        await settled()
        for viewer in viewers:
            viewer.handle()
            _check(viewer, await _living(here), lossy=any(step == "anew" for step, *_ in steps))
        assert here.rig.deaths == []


async def _other(here: Stage, viewers: list[Viewer], step: str, what: Any, much: int) -> None:
    if step == "erase":
        topic = await here.registry.find(what)
        if much <= topic.head:
            await topic.mailbox.ask(Erase((much,)))
    elif step == "anew":
        await here.registry.delete(what, if_empty=False, forget=False)
        await settled()
        await here.registry.ensure(what, config())
        for viewer in viewers:  # a topic that is gone is watched no more: who wants the next one comes again
            viewer.pipe.go_on()
            await settled()
            viewer.handle()
            await viewer.hang_up()
            viewer.connect()
    elif step == "handle":
        viewers[what].handle(much)
    elif step == "reconnect":
        if viewers[what].last is None:  # without an id what was sent and not handled would be lost
            await settled()
        viewers[what].handle(1)
        await viewers[what].hang_up()
        viewers[what].connect()
        await trio.testing.wait_all_tasks_blocked()
    elif step == "stall":
        viewers[what].pipe.stall()
    elif step == "go on":
        viewers[what].pipe.go_on()
    else:
        await trio.sleep(what / 1000)


async def _living(here: Stage) -> set[int]:
    found: set[int] = set()
    for name in "ab":
        topic = await here.registry.find(name)
        page = read(topic, 0, None, View(10_000, 1 << 20))
        found |= {json.loads(text)["data"]["n"] for text in page.records}
    return found


def _check(viewer: Viewer, living: set[int], *, lossy: bool) -> None:
    numbers = [data["n"] for *_, data in viewer.records()]
    assert len(numbers) == len(set(numbers)), "a record came twice"
    assert living <= set(numbers), "a record that lives did not come"
    for name in "ab":
        mine = [data["n"] for topic, _, data in viewer.records() if topic == name]
        assert mine == sorted(mine), "records changed their order"
        if lossy:
            continue
        covered = {seq for topic, seq, _ in viewer.records() if topic == name}
        told = [e["data"] for e in viewer.handled if e["name"] == "tombstone" and e["data"]["topic"] == name]
        for loss in told:
            assert not covered & set(range(loss["gap_from"], loss["gap_to"] + 1)), "told as lost, and shown"
