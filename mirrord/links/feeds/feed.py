"""A feed: what this node serves to one caller, all wanted topics over one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import trio
from msgspec import Struct

from ...actors.bell import Ear
from ...clock import Clock
from ...errors import ChunkCorrupt
from ...names import matches
from ...records.strand import Identity
from ...storage.life import Life
from ...topics.registry import Registry
from ..wire import (
    GOES_ON,
    PROTO,
    FeedChange,
    FeedRequest,
    ForkIs,
    Head,
    Hello,
    Move,
    Pending,
    Refused,
    Sight,
    Stamp,
    TopicInfo,
    Topics,
    frame,
)
from .lane import Lane
from .order import Order, weight_of
from .piece import Piece

TOPICS_PER_FRAME = 32
FRAME_SECONDS = 0.25  # what one frame may take at the measured line speed
LEAST_FRAME_BYTES, MOST_FRAME_BYTES = 1 << 10, 512 << 10  # larger ones bring no speed, and others wait behind them
# The ear's tokens that are no topic's name.
CHANGED = object()  # the caller changed its wants, or the feed must end
TOPICS = object()  # topics came or went

Buffers = list[bytes | memoryview]


class Outlet(Protocol):
    """The line to the caller."""

    async def send(self, buffers: Buffers) -> None:
        """Returns when the line took it. Raises what ends the feed."""
        ...

    def unacknowledged(self) -> int:
        """Bytes on their way that the caller's machine has not confirmed."""
        ...


class Gossip(Protocol):
    """What a heartbeat tells besides positions: covers held back here, and what is known of other nodes."""

    def pending(self, lanes: dict[str, int]) -> list[Pending]: ...

    def sights(self, caller: str, since: int, most: int) -> tuple[list[Sight], int]: ...

    def stamp(self) -> Stamp: ...

    def saw(self, sights: list[Sight]) -> None: ...


class FeedRules(Struct, frozen=True):
    """What a feed must know of the configuration."""

    cluster: str
    topology_hash: bytes
    peers: frozenset[str]
    max_frame_bytes: int
    heartbeat_ms: int
    max_feeds: int


class Feed:
    """One caller's feed. The time that the outlet takes for a frame tells the speed of the line."""

    def __init__(
        self,
        request: FeedRequest,
        rules: FeedRules,
        registry: Registry,
        life: Life,
        clock: Clock,
        gossip: Gossip,
        outlet: Outlet,
    ) -> None:
        self.request, self._rules, self._registry = request, rules, registry
        self._outlet, self._in_flight = outlet, 0
        self._life, self._clock, self._gossip = life, clock, gossip
        self.caller = Identity(request.node, request.origin_id, request.life)
        self.ear = Ear(self._heeds)
        self._changed = False  # the caller has said what it wants of this node: a held feed may begin
        self.closed: str | None = None  # the reason of the last frame, once it must end
        self.moved_at = clock.monotonic()  # when the caller last acknowledged bytes
        self.frame_bytes = min(request.max_frame_bytes, rules.max_frame_bytes, MOST_FRAME_BYTES)
        self._budget = min(256 << 10, self.frame_bytes)
        self._lanes: dict[str, Lane] = {}
        self._forks: list[ForkIs] = []
        self._pending: list[Pending] = []
        self._sights_told = self._last_no = self._digest = self._came = self._went = 0
        self._moved: dict[str, None] = {}
        self._corrupt: set[str] = set()
        self._numbers: dict[str, int] = {}
        self.sent_bytes = self.sent_frames = 0

    # ---- the caller ------------------------------------------------------------------------------

    def change(self, change: FeedChange) -> list[tuple[str, list[Any]]]:
        """New positions and strands taken elsewhere; takes effect with the next frame."""
        for name, strands in change.not_from.items():
            if (lane := self._lanes.get(name)) is not None:
                lane.skip(strands)
        for name, vector in change.wants.items():
            if (lane := self._lanes.get(name)) is not None:
                self._forks += lane.place(vector)
        for name, takes in change.takes.items():
            if (lane := self._lanes.get(name)) is not None:
                lane.take(takes)
        self._changed = True
        self.ear.hear(CHANGED)
        return list(change.wants.items())

    def end(self, reason: str) -> None:
        """Close with a typed refusal."""
        self.closed = reason
        self.ear.hear(CHANGED)

    # ---- frames ----------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Hello, topics, then for ever what the caller lacks, a heartbeat in between. Raises what ends the line."""
        send = self._outlet.send
        try:
            self._registry.bell.attach(self.ear, TOPICS)
            self._came, self._went = self._registry.creations, self._registry.went
            await self._open_lanes(self._wanted(self._registry.names))
            for buffers in self._opening():
                await send(buffers)
            beat_at = self._clock.monotonic()
            ahead = trio.current_time() - beat_at  # trio counts its seconds from another moment
            held_until = beat_at + (self.request.heartbeat_ms / 1000 if self.request.hold else 0)
            ready = Order()
            self._line_up(self._lanes, ready)
            while self.closed is None:
                held = not self._changed and self._clock.monotonic() < held_until
                if ready and not held:
                    tokens = self.ear.take()
                else:
                    tokens = await self.ear.wait_until(ahead + (min(beat_at, held_until) if held else beat_at))
                for buffers in await self._hear(tokens, ready):
                    await send(buffers)
                if ready and not held:
                    await self._send_next(ready)
                if self._clock.monotonic() >= beat_at:
                    await send(self._beat())
                    beat_at = self._clock.monotonic() + self.request.heartbeat_ms / 1000
                if ready:
                    await trio.lowlevel.checkpoint()
            await send(frame(Refused(self.closed, retry_after_s=1.0)))
        finally:
            self.ear.close()

    async def _send_next(self, ready: Order) -> None:
        """One frame of one lane, which then goes to the end: a topic in catch-up holds up no other."""
        name = ready.take()
        for piece in self._next_of(name):
            sent_at = self._clock.monotonic()
            await self._outlet.send(frame(piece.header, piece.body))
            self._measure(piece, self._clock.monotonic() - sent_at)
        if (lane := self._lanes.get(name)) is not None and lane.has_more and name not in self._corrupt:
            self._line_up((name,), ready)

    def _next_of(self, name: str) -> list[Piece]:
        """What a lane has to send. One whose log cannot be read is refused by name; the others go on."""
        lane = self._lanes.get(name)
        if lane is None or name in self._corrupt:
            return []
        try:
            return lane.next(self._budget)
        except ChunkCorrupt as error:
            self._corrupt.add(name)
            return [Piece(Refused("corrupt", str(error), name))]

    def _opening(self) -> Iterator[Buffers]:
        """What every feed begins with: who serves, what there is, and what proves that the caller was put back."""
        yield self._hello()
        yield from self._tell_topics(list(self._lanes.values()), "there")
        for lane in self._lanes.values():
            for rewound in lane.rewinds_of_caller():
                yield frame(rewound)

    def _line_up(self, names: Iterable[str], ready: Order) -> None:
        """These lanes have more to send; under pressure the line is theirs by the priority of their topics."""
        now_ms = self._clock.wall_ms()
        for name in names:
            ready.add(name, weight_of(self._lanes[name].topic.priority(now_ms)))

    def _heeds(self, token: Any) -> bool:
        """Whether a bell is worth waking for. Not for records that the caller would not be sent, such as its own: the
        next heartbeat tells of them."""
        lane = self._lanes.get(token)
        if lane is None:
            return True
        self._moved[token] = None
        return not lane.passes_by()

    async def _hear(self, tokens: list[Any], ready: Order) -> list[Buffers]:
        """What the bells mean: lanes with more to send, topics that came or went, a change by the caller."""
        told: list[Buffers] = []
        for token in tokens:
            if token is TOPICS:
                told += await self._topics_changed(ready)
            elif token is CHANGED:
                self._line_up(self._lanes, ready)
            elif token in self._lanes:
                self._line_up((token,), ready)
        forks, self._forks = self._forks, []
        return told + [frame(fork) for fork in forks]

    def _measure(self, piece: Piece, took_s: float) -> None:
        size = sum(len(b) for b in piece.body)
        self.sent_frames += 1
        self.sent_bytes += size
        self._look_whether_taken()
        if size >= LEAST_FRAME_BYTES or took_s > FRAME_SECONDS:
            fits = int(size * FRAME_SECONDS / took_s) if took_s > 0 else self.frame_bytes
            aim = (self._budget + max(LEAST_FRAME_BYTES, fits)) // 2
            self._budget = max(LEAST_FRAME_BYTES, min(self.frame_bytes, aim))

    def _look_whether_taken(self) -> None:
        """A send only proves that our kernel took the bytes; the caller lives if its machine acknowledged some."""
        in_flight = self._outlet.unacknowledged()
        if in_flight == 0 or in_flight < self._in_flight:
            self.moved_at = self._clock.monotonic()
        self._in_flight = in_flight

    def _hello(self) -> Buffers:
        me = self._life.identity
        return frame(
            Hello(
                PROTO,
                me.name,
                me.origin_id,
                me.life,
                self._clock.wall_ms(),
                self._rules.topology_hash,
                len(self._lanes),
                self._gossip.stamp(),
            )
        )

    def _beat(self) -> Buffers:
        moves: list[Move] = []
        corrections: list[TopicInfo] = []
        for name in self._moved:  # only lanes that rang since the last heartbeat can have moved
            if (lane := self._lanes.get(name)) is not None:
                if (correction := lane.correction()) is not None:
                    corrections.append(correction)
                self._digest ^= lane.digest
                moves += lane.moves()
                self._digest ^= lane.digest
        self._moved.clear()
        pending = self._gossip.pending(self._numbers)
        changed = pending != self._pending
        self._pending = pending
        # Gossip takes at most a quarter of what the line can carry until the next heartbeat.
        sights, self._sights_told = self._gossip.sights(
            self.caller.name, self._sights_told, max(4, self._budget // 256)
        )
        self._look_whether_taken()
        told = [buffer for buffers in _in_frames(corrections, "reconfigured") for buffer in buffers]
        return told + frame(
            Head(self._clock.wall_ms(), self._digest, moves, pending if changed else None, sights, self._gossip.stamp())
        )

    # ---- topics ----------------------------------------------------------------------------------

    def _wanted(self, names: list[str]) -> list[str]:
        wants = self.request.wants
        prefixes = [w for w in wants if w.endswith("*")]
        return [n for n in names if n in wants or any(matches(p, n) for p in prefixes)]

    async def _open_lanes(self, names: list[str]) -> list[Lane]:
        opened: list[Lane] = []
        for name in names:
            topic = await self._registry.find(name)
            self._last_no += 1
            lane = Lane(self._last_no, topic, self.caller, goes_on=GOES_ON in self.request.features)
            self._lanes[name] = lane
            self._numbers[name] = lane.no
            topic.bell.attach(self.ear, name)
            self._forks += lane.place(self.request.wants.get(name, []))
            lane.skip(self.request.not_from.get(name, []))
            opened.append(lane)
        return opened

    def _tell_topics(self, lanes: list[Lane], event: str) -> list[Buffers]:
        infos = [lane.info() for lane in lanes]
        for lane in lanes:
            self._digest ^= lane.digest
        return _in_frames(infos, event)

    async def _topics_changed(self, ready: Order) -> list[Buffers]:
        """Topics that came, and those that were dropped or made anew (a new log id under the old name)."""
        registry, told = self._registry, list[Buffers]()
        if registry.went != self._went:
            self._went = registry.went
            gone = [lane for name, lane in self._lanes.items() if registry.known(name) is not lane.topic]
            told += _in_frames([lane.farewell() for lane in gone], "deleted")
            for lane in gone:
                lane.topic.bell.detach(self.ear, lane.topic.topic)
                del self._lanes[lane.topic.topic], self._numbers[lane.topic.topic]
                self._digest ^= lane.digest
        fresh = [n for n in self._wanted(registry.came_since(self._came)) if n not in self._lanes]
        self._came = registry.creations
        lanes = await self._open_lanes(fresh)
        self._line_up(fresh, ready)
        return told + self._tell_topics(lanes, "created")

    def statistics(self) -> dict[str, Any]:
        """Numbers for metrics and ``GET /v0/actors``."""
        return {
            "caller": self.caller.name,
            "feed_no": self.request.feed_no,
            "topics": len(self._lanes),
            "bytes": self.sent_bytes,
            "frames": self.sent_frames,
            "frame_budget_bytes": self._budget,
        }


def _in_frames(infos: list[TopicInfo], event: str) -> list[Buffers]:
    return [frame(Topics(event, infos[i : i + TOPICS_PER_FRAME])) for i in range(0, len(infos), TOPICS_PER_FRAME)]
