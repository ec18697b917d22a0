"""A feed: what it serves follows what its caller said, whatever became of the topics meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from mirrord.config.model import Config, NodeConfig
from mirrord.links.board.board import Board
from mirrord.links.board.gossip import Gossip
from mirrord.links.feeds.feed import Feed, FeedRules
from mirrord.links.feeds.herald import Buffers
from mirrord.links.feeds.pace import LEAST_UNSENT_BYTES, SHARED_FRAME_BYTES, SHARED_S
from mirrord.links.frames import FrameReader
from mirrord.links.wire import PROTO, Chunks, CoverIs, FeedChange, FeedRequest, Frame, Head, Refused
from mirrord.records.chunk import STRAND, chunks_in
from mirrord.storage.store import DropPack, PutPack
from mirrord.topics.messages import Apply, Introduce
from mirrord.topics.registry import Registry

from ..topics.rig import Origin, Rig

BEAT_S = 1.0
RULES = FeedRules("shop", b"", frozenset({"caller"}), 1 << 20, 1000, 8)


class Caller:
    """Takes all frames, at ``bytes_a_second``."""

    def __init__(self, bytes_a_second: float = inf) -> None:
        self._reader, self._bytes_a_second = FrameReader(1 << 20), bytes_a_second
        self.frames: list[tuple[Frame, bytes]] = []
        self.unsent_bytes = 0

    async def send(self, buffers: Buffers) -> None:
        data = b"".join(buffers)
        if self._bytes_a_second < inf:
            await trio.sleep(len(data) / self._bytes_a_second)
        self.frames += [(header, bytes(body)) for header, body in self._reader.feed(data)]

    def unacknowledged(self) -> int:
        return 0

    def low_latency(self, unsent_bytes: int) -> None:
        self.unsent_bytes = unsent_bytes

    def sees(self, _: str) -> bool:
        return True

    @property
    def covers(self) -> list[tuple[int, int]]:
        """What it was told to lack for good."""
        return [(header.first, header.last) for header, _ in self.frames if isinstance(header, CoverIs)]

    @property
    def chunks(self) -> int:
        """How many came."""
        return sum(len(list(chunks_in(body))) for _, body in self.frames if body)


def silence(registry: Registry, rig: Rig) -> Gossip:
    """Nothing is known of others."""
    config = Config("shop", {name: NodeConfig(name) for name in ("here", "caller")})
    return Gossip(config, rig.life, rig.clock, registry, Board(lambda *_: (0, 0), lambda *_: None))


def feed_to(caller: Caller, registry: Registry, rig: Rig, origin: Origin, stands_at: int) -> Feed:
    """The caller holds so much of the origin's strand, and has the rest from another node."""
    number = origin.number
    request = FeedRequest(
        PROTO, "shop", "caller", b"c" * 16, b"k" * 16, b"", 1,
        wants={"orders": [(number, stands_at, origin.ends[stands_at].hash)]},
        not_from={"orders": [number]},
    )  # fmt: skip
    return Feed(request, RULES, registry, rig.life, rig.clock, silence(registry, rig), caller)


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


async def test_what_a_caller_said_of_a_topic_holds_when_the_topic_comes(autojump_clock: MockClock) -> None:
    """This node was wiped, and asked for the feed before it had the topic again; its caller turned to it meanwhile, and
    from it for another strand: the first is served when the topic comes, and the other is not."""
    assert autojump_clock.autojump_threshold < inf
    rig, caller, origin, other = Rig(), Caller(), Origin(5), Origin(6)
    first, second, others = origin.write(1), origin.write(2), other.write(4)
    async with rig.run() as registry, trio.open_nursery() as nursery:
        feed = feed_to(caller, registry, rig, origin, 1)
        nursery.start_soon(feed.serve)
        await wait_all_tasks_blocked()
        position = (origin.number, 1, origin.ends[1].hash)
        not_from = {"orders": [other.number]}
        feed.change(FeedChange(b"c" * 16, wants={"orders": [position], "unheard of": [position]}, not_from=not_from))
        topic, _ = await registry.ensure("orders")
        for strand, chunks in ((origin, first + second), (other, others)):
            await topic.mailbox.ask(Introduce(strand.descriptor))
            await topic.mailbox.ask(Apply(chunks))
        await wait_all_tasks_blocked()
        served = [header[STRAND] for _, body in caller.frames if body for _, _, header in chunks_in(body)]
        assert served == [origin.number]
        assert set(feed.request.wants) == {"orders"}
        nursery.cancel_scope.cancel()


async def test_a_topic_that_cannot_be_read_is_served_again_when_it_was_made_anew(autojump_clock: MockClock) -> None:
    """Its caller is told once; whoever drops the damaged log mends it for feeds that are open, too."""
    assert autojump_clock.autojump_threshold < inf
    rig, spoiled, fresh = Rig(), Origin(5), Origin(6)
    first, second = spoiled.write(2), spoiled.write(3)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(spoiled.descriptor))
        await topic.mailbox.ask(Apply(first + second))
        (pack,), (part,) = topic.packs(1, 1 << 20), rig.store.parts_of_pack(topic.tid, 1)
        rig.store.commit([DropPack(topic.tid, 1, 5), PutPack(replace(pack, body=second), (part,))], sync=True)
        rig.shelf.clear(topic.tid)
        async with running_feed(registry, rig) as caller:
            topic.bell.ring()
            await wait_all_tasks_blocked()
            assert [head.reason for head, _ in caller.frames if isinstance(head, Refused)] == ["corrupt"]
            await registry.delete("orders", if_empty=False, forget=False)
            await wait_all_tasks_blocked()
            await registry.ensure("orders")
            await topic.mailbox.ask(Introduce(fresh.descriptor))
            await topic.mailbox.ask(Apply(fresh.write(4)))
            await wait_all_tasks_blocked()
            assert caller.chunks == 1


class RunClock:
    """The run's own."""

    def monotonic(self) -> float:
        return trio.current_time()

    def wall_ms(self) -> int:
        return int(1000 * trio.current_time())


@asynccontextmanager
async def running_feed(registry: Registry, rig: Rig, bytes_a_second: float = inf) -> AsyncIterator[Caller]:
    """To a caller that has nothing, once it has told what there is."""
    caller = Caller(bytes_a_second)
    wants: dict[str, list[tuple[int, int, bytes | None]]] = {"orders": [], "bulk": []}
    request = FeedRequest(PROTO, "shop", "caller", b"c" * 16, b"k" * 16, b"", 1, wants, heartbeat_ms=int(1000 * BEAT_S))
    feed = Feed(request, RULES, registry, rig.life, RunClock(), silence(registry, rig), caller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        await wait_all_tasks_blocked()
        yield caller
        nursery.cancel_scope.cancel()


async def test_a_feed_sleeps_through_what_its_caller_wrote(autojump_clock: MockClock) -> None:
    """Records of the caller that came here are its own: only the next heartbeat tells where they ended."""
    echo, rig = Origin(5, "caller"), Rig()
    echo.descriptor = replace(echo.descriptor, origin_id=b"c" * 16, life=b"k" * 16)
    echo.ends[0] = type(echo.ends[0])(0, echo.descriptor.id_hash)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        async with running_feed(registry, rig) as caller:
            await topic.mailbox.ask(Introduce(echo.descriptor))
            await topic.mailbox.ask(Apply(echo.write(1)))
            await wait_all_tasks_blocked()
            caller.frames.clear()  # there was a word of the strand, which a caller that was put back does not know
            await topic.mailbox.ask(Apply(echo.write(2)))
            await trio.sleep(BEAT_S)
            await wait_all_tasks_blocked()
            ((head, _),) = caller.frames
            assert isinstance(head, Head)
            assert [move[1:3] for move in head.moves] == [(5, 3)]
    assert autojump_clock.current_time() == BEAT_S


async def test_large_frames_are_cut_while_little_ones_come(autojump_clock: MockClock) -> None:
    """A record of another topic waits for the whole of the frame that is being sent: catch-up may have large frames
    only where nobody does."""
    bulk, live, rig = Origin(5), Origin(6), Rig()
    async with rig.run() as registry:
        orders, large = [(await registry.ensure(name))[0] for name in ("orders", "bulk")]
        await orders.mailbox.ask(Introduce(live.descriptor))
        await large.mailbox.ask(Introduce(bulk.descriptor))
        async with running_feed(registry, rig) as caller:

            async def largest() -> int:
                caller.frames.clear()
                await large.mailbox.ask(Apply(b"".join([bulk.write(10, pad=1000) for _ in range(60)])))
                await wait_all_tasks_blocked()
                return max(len(body) for _, body in caller.frames)

            assert await largest() > 1.5 * SHARED_FRAME_BYTES
            await orders.mailbox.ask(Apply(live.write(1)))
            await wait_all_tasks_blocked()
            assert await largest() < 1.5 * SHARED_FRAME_BYTES
            await trio.sleep(SHARED_S)
            assert await largest() > 1.5 * SHARED_FRAME_BYTES
    assert autojump_clock.current_time() == SHARED_S


async def test_over_a_slow_line_a_caller_knows_what_it_lacks(autojump_clock: MockClock) -> None:
    """A chunk is sent whole, however long that takes: a heartbeat goes before it, else the caller would take itself for
    caught up meanwhile. What the kernel holds goes before every heartbeat, so that is little."""
    bulk, rig = Origin(5), Rig()
    async with rig.run() as registry:
        large, _ = await registry.ensure("bulk")
        await large.mailbox.ask(Introduce(bulk.descriptor))
        async with running_feed(registry, rig, bytes_a_second=6_250) as caller:
            assert caller.unsent_bytes == LEAST_UNSENT_BYTES
            await trio.sleep(BEAT_S)
            caller.frames.clear()
            await large.mailbox.ask(Apply(bulk.write(1, pad=300_000)))
            await trio.sleep(60)
            told = [(header, bool(body)) for header, body in caller.frames if isinstance(header, (Head, Chunks))]
            (first, _), (_, has_records) = told[:2]
            assert isinstance(first, Head)
            assert [move[1:3] for move in first.moves] == [(5, 1)]
            assert has_records
            assert caller.unsent_bytes == LEAST_UNSENT_BYTES
            caller.frames.clear()
            await large.mailbox.ask(Apply(b"".join([bulk.write(1, pad=200) for _ in range(100)])))
            await trio.sleep(10)
            assert max(len(body) for _, body in caller.frames) < 2_000
    assert autojump_clock.autojump_threshold < inf
