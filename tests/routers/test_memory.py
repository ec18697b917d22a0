"""A node whose store was put back: what comes back over links was copied before, and is not copied again."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import trio

from mirrord.testing.world.disk import SimDisk
from mirrord.topics.messages import Apply, Introduce
from mirrord.topics.topic import Topic

from .rig import RouterRig


class Held(NamedTuple):
    """What a peer holds of a topic: one strand's descriptor, and its chunks from some record on."""

    topic: str
    descriptor: object
    chunks: bytes


def held(topic: Topic, after: int) -> Held:
    own = topic.own_strand
    assert own is not None
    return Held(topic.topic, own.descriptor, b"".join(p.body for p in topic.packs(1, 1 << 20) if p.seq > after))


async def come_back(rig: RouterRig, found: Held) -> None:
    """A link brings it."""
    topic, _ = await rig.registry.ensure(found.topic)
    await topic.mailbox.ask(Introduce(found.descriptor))  # type: ignore[arg-type]
    await topic.mailbox.ask(Apply(found.chunks))


class Loss(NamedTuple):
    """The rig after its store was put back, and what a peer still holds."""

    rig: RouterRig
    records: Held
    copies: Held


@pytest.fixture
async def loss(autojump_clock: trio.testing.MockClock) -> Loss:
    """Records 1 and 2 were copied; the store knows of 1 alone. A peer has pulled both, and both copies."""
    assert autojump_clock.autojump_threshold == 0
    disk = SimDisk(lambda *_: None)
    rig = RouterRig(disk)
    async with rig.routing():
        await rig.define("r", "a", "b")
        await rig.append("a", "1")
        assert await rig.texts("b") == ["1"]
        kept = disk.snapshot()
        await rig.append("a", "2")
        assert await rig.texts("b") == ["1", "2"]
        records, copies = [held(await rig.registry.find(name), 1) for name in "ab"]
    disk.restore(kept)
    disk.crash(None)
    rig.new_life(log_ids=True)
    rig.holders = ["iad"]
    return Loss(rig, records, copies)


async def settled(rig: RouterRig) -> list[str]:
    await rig.until("r", "caught-up")
    return [text for text in await rig.texts("b") if text != "lost"]


async def test_copies_that_come_back_later_are_waited_for(loss: Loss) -> None:
    """The record is there first; nothing is copied until the peer has brought the copy as well."""
    rig = loss.rig
    async with rig.routing():
        await come_back(rig, loss.records)
        router = await rig.until("r", "waiting")
        assert router.statistics()["waiting_for"] == "old copies from iad"
        await come_back(rig, loss.copies)
        rig.holders = []
        assert await settled(rig) == ["1", "2"]
        await rig.append("a", "3")
        assert await settled(rig) == ["1", "2", "3"]
    async with rig.routing():
        await rig.append("a", "4")
        assert await settled(rig) == ["1", "2", "3", "4"]


async def test_copies_that_nobody_has_any_more_are_made_again(loss: Loss) -> None:
    """The record came back and its copy did not: it was lost with the tail."""
    rig = loss.rig
    async with rig.routing():
        await come_back(rig, loss.records)
        await rig.until("r", "waiting")
        rig.holders = []
        assert await settled(rig) == ["1", "2"]


async def test_peers_are_not_waited_for_for_ever(loss: Loss) -> None:
    """A peer that tells of copies and never brings them holds the router up for the patience, and no longer."""
    rig = loss.rig
    async with rig.routing():
        await come_back(rig, loss.records)
        await rig.until("r", "waiting")
        rig.clock.now_ms += int(rig.patience_s * 1000) + 1
        assert await settled(rig) == ["1", "2"]


async def test_what_this_life_writes_is_copied_at_once(loss: Loss) -> None:
    """No other life can have copied it, so nobody is waited for."""
    rig = loss.rig
    async with rig.routing():
        await rig.append("a", "new")
        assert await settled(rig) == ["1", "new"]
