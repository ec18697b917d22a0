"""How far nodes have come is known everywhere, whoever pulls what from whom (decision 0017, GUARANTEES section 4)."""

from __future__ import annotations

from random import Random
from typing import cast

from mirrord.config.load import parse
from mirrord.links.board.gossip import Gossip
from mirrord.links.board.sights import Sights
from mirrord.links.inlet.inlet import Inlet
from mirrord.links.peer import Peer
from mirrord.links.switchboard import Switchboard
from mirrord.links.wire import Head, Hello, TopicInfo, Topics
from mirrord.records.batch import batches_of
from mirrord.topics.messages import Append
from mirrord.topics.registry import Registry

from ..topics.rig import Rig, draft

NODES = """
[cluster]
name = "shop"
[nodes.here]
listen = "127.0.0.1:4001"
[nodes.there]
listen = "127.0.0.1:4002"
[nodes.far]
listen = "127.0.0.1:4003"
"""
BOTH_WAYS = """
[[links]]
pull = "here"
from = "there"
topics = ["orders", {from = "clicks", as = "clicks-there"}]
[[links]]
pull = "there"
from = "here"
topics = ["chat"]
"""
ONE_WAY = BOTH_WAYS[: BOTH_WAYS.rindex("[[links]]")]


def switchboard(registry: Registry, rig: Rig, links: str) -> Switchboard:
    """Nothing of it lives: tests say what the peer said."""
    config, silent = parse(NODES + links), cast("Peer", None)
    return Switchboard(config, rig.life, rig.clock, Random(1), registry, lambda _: silent, lambda _: None)


def gossip(registry: Registry, rig: Rig, links: str = BOTH_WAYS) -> Gossip:
    return switchboard(registry, rig, links).gossip


async def write(registry: Registry, name: str) -> None:
    topic, _ = await registry.ensure(name)
    await topic.mailbox.ask(Append(batches_of([draft()])))


def told(sights: Sights, most: int = 64) -> list[tuple[str, str, int]]:
    """Node, topic and place of each sight."""
    return [(node, topic, oseq) for node, topic, _, oseq, _, _ in sights.next(most)]


async def test_a_peer_is_told_of_topics_that_its_feed_does_not_bring() -> None:
    """It pulls only chat from here: where we stand in orders, which we pull from it, no position of that feed says. A
    topic that no link carries concerns nobody."""
    rig = Rig()
    async with rig.run() as registry:
        for name in ("orders", "chat", "local"):
            await write(registry, name)
        sights = gossip(registry, rig).sights("there", lambda _: True)
        assert told(sights) == [("here", "orders", 1)]
        assert told(gossip(registry, rig, ONE_WAY).sights("there", lambda _: True)) == [("here", "orders", 1)]
        assert told(gossip(registry, rig).sights("far", lambda _: True), 9) == [
            ("here", "chat", 1),
            ("here", "orders", 1),
        ]


async def test_places_are_told_as_they_change() -> None:
    """Each once, in pieces that the line can carry; of topics that come, and not of those that went."""
    rig = Rig()
    async with rig.run() as registry:
        links = ONE_WAY.replace('"orders"', '"t:*"')
        sights = gossip(registry, rig, links).sights("there", lambda _: True)
        for name in ("t:1", "t:2", "t:3"):
            await write(registry, name)
        assert told(sights, 4) == [("here", "t:1", 1), ("here", "t:2", 1)]
        await write(registry, "t:1")
        await registry.delete("t:3", if_empty=False, forget=False)
        assert told(sights, 4) == [("here", "t:1", 2)]
        assert told(sights) == []
        await write(registry, "t:3")
        assert ("here", "t:3", 1) in told(sights)


async def test_a_limited_peer_learns_no_other_names() -> None:
    """Neither of what is here nor of what other nodes told."""
    rig = Rig()
    async with rig.run() as registry:
        await write(registry, "orders")
        talk = gossip(registry, rig)
        talk.saw([("far", "orders", 1, 7, 0, (1, 1, 1)), ("far", "chat", 2, 8, 0, (1, 1, 1))])
        assert told(talk.sights("there", "chat".__eq__)) == [("far", "chat", 8)]


async def hear(inlet: Inlet, *topics: TopicInfo) -> None:
    """A feed begins."""
    await inlet.request(1000, 1 << 20)
    await inlet.on_frame(Hello(1, "there", b"t" * 16, b"k" * 16, 0, b"", len(topics)))
    if topics:
        await inlet.on_frame(Topics("there", list(topics)))


async def test_a_peer_that_hears_no_heartbeats_is_told_anew_on_each_feed() -> None:
    """It may have started again, and forgotten all."""
    rig = Rig()
    async with rig.run() as registry:
        await write(registry, "orders")
        inlet = switchboard(registry, rig, ONE_WAY).links["there"].inlet
        for _ in range(2):
            await hear(inlet)
            change = inlet.change()
            assert change is not None
            assert [sight[:2] for sight in change.sights] == [("here", "orders")]
            assert inlet.change() is None


async def test_what_a_peer_tells_counts_under_its_own_names() -> None:
    """A topic may be called otherwise here: how far the peer is in it is no place in ours."""
    rig = Rig()
    async with rig.run() as registry:
        board = switchboard(registry, rig, BOTH_WAYS)
        inlet = board.links["there"].inlet
        await hear(inlet, TopicInfo(1, "clicks", b"l" * 8, "log", 0, "disk", 9, 9, 90, [(5, 9, None, 1, 0)]))
        assert [key for key, _ in board.gossip.matrix.rows()] == [("there", "clicks", 5)]
        digest = inlet._hearing.tally.digest
        await inlet.on_frame(Head(0, digest, sights=[("there", "orders", 6, 3, 0, (0, 0, 0))]))
        assert board.gossip.matrix.place("there", "orders", 6) == 3
