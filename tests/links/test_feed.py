"""A feed: what it serves follows what its caller said, whatever became of the topics meanwhile."""

from __future__ import annotations

from math import inf

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mirrord.links.feeds.feed import Feed, FeedRules
from mirrord.links.feeds.herald import Buffers
from mirrord.links.wire import PROTO, CoverIs, FeedChange, FeedRequest, Frame, FrameReader, Pending, Sight, Stamp
from mirrord.records.chunk import chunks_in
from mirrord.topics.messages import Apply, Introduce
from mirrord.topics.registry import Registry

from ..topics.rig import Origin, Rig

RULES = FeedRules("shop", b"", frozenset({"caller"}), 1 << 20, 1000, 8)


class Silence:
    """Nothing is known of others."""

    def pending(self, lanes: dict[str, int]) -> list[Pending]:  # noqa: ARG002 -- as the protocol names them
        return []

    def sights(self, caller: str, since: int, most: int) -> tuple[list[Sight], int]:  # noqa: ARG002
        return [], 0

    def stamp(self) -> Stamp:
        return (0, 0, 0)

    def saw(self, sights: list[Sight]) -> None:
        assert not sights


class Caller:
    """Takes all frames."""

    def __init__(self) -> None:
        self._reader = FrameReader(1 << 20)
        self.frames: list[tuple[Frame, bytes]] = []

    async def send(self, buffers: Buffers) -> None:
        self.frames += [(header, bytes(body)) for header, body in self._reader.feed(b"".join(buffers))]

    def unacknowledged(self) -> int:
        return 0

    @property
    def covers(self) -> list[tuple[int, int]]:
        """What it was told to lack for good."""
        return [(header.first, header.last) for header, _ in self.frames if isinstance(header, CoverIs)]

    @property
    def chunks(self) -> int:
        """How many came."""
        return sum(len(list(chunks_in(body))) for _, body in self.frames if body)


def feed_to(caller: Caller, registry: Registry, rig: Rig, origin: Origin, stands_at: int) -> Feed:
    """The caller holds so much of the origin's strand, and has the rest from another node."""
    number = origin.number
    request = FeedRequest(
        PROTO, "shop", "caller", b"c" * 16, b"k" * 16, b"", 1,
        wants={"orders": [(number, stands_at, origin.ends[stands_at].hash)]},
        not_from={"orders": [number]},
    )  # fmt: skip
    return Feed(request, RULES, registry, rig.life, rig.clock, Silence(), caller)


async def test_what_a_caller_said_of_a_topic_outlives_the_topic(autojump_clock: MockClock) -> None:
    """It turned to this node for a strand while the topic was deleted: when the topic is made anew, what it lacks is
    served (here the cover of what went), and not left to a node that the caller has turned away from."""
    assert autojump_clock.autojump_threshold < inf
    rig, caller, origin = Rig(), Caller(), Origin(5)
    first = origin.write(1)
    async with rig.run() as registry, trio.open_nursery() as nursery:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(first + origin.write(2)))
        feed = feed_to(caller, registry, rig, origin, 1)
        nursery.start_soon(feed.serve)
        await wait_all_tasks_blocked()
        assert (caller.chunks, caller.covers) == (0, [])
        await registry.delete("orders", if_empty=False, forget=False)
        await wait_all_tasks_blocked()
        feed.change(FeedChange(b"c" * 16, wants={"orders": [(origin.number, 1, origin.ends[1].hash)]}))
        await wait_all_tasks_blocked()
        assert caller.covers == []
        await registry.ensure("orders")
        await wait_all_tasks_blocked()
        assert caller.covers == [(2, 3)]
        nursery.cancel_scope.cancel()
