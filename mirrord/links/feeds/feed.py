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
from ..board.gossip import Gossip
from ..frames import Piece, frame
from ..wire import GOES_ON, At, FeedChange, FeedRequest, ForkIs, Refused
from .herald import Buffers, Herald
from .lane import Lane
from .order import Order, weight_of
from .pace import Pace
from .standing import Standings

# The ear's tokens that are no topic's name.
CHANGED = object()  # the caller changed its wants, or the feed must end
TOPICS = object()  # topics came or went


class Outlet(Protocol):
    """The line to the caller."""

    async def send(self, buffers: Buffers) -> None:
        """Returns when the line took it. Raises what ends the feed."""
        ...

    def unacknowledged(self) -> int:
        """Bytes on their way that the caller's machine has not confirmed."""
        ...

    def low_latency(self, unsent_bytes: int) -> None:
        """Let a send wait while about so many bytes have not been sent."""
        ...

    def sees(self, topic: str) -> bool:
        """Whether the caller may know of a topic of this name."""
        ...


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
        self._outlet, self._life, self._clock = outlet, life, clock
        self.caller = Identity(request.node, request.origin_id, request.life)
        self._herald = Herald(gossip, gossip.sights(request.node, outlet.sees), clock)
        self.ear = Ear(self._heeds)
        self._changed = False  # the caller has said what it wants of this node: a held feed may begin
        self.closed: str | None = None  # the reason of the last frame, once it must end
        self._pace = Pace(min(request.max_frame_bytes, rules.max_frame_bytes), clock.monotonic())
        self._unsent_bytes = 0
        self._lanes: dict[str, Lane] = {}
        self._left: dict[str, Standings] = {}  # of topics that went: what the caller says of them holds if they return
        self._ready = Order(self._weight)
        self._forks: list[ForkIs] = []
        self._last_no = self._came = self._went = 0
        self.sent_bytes = self.sent_frames = 0

    # ---- the caller ------------------------------------------------------------------------------

    def change(self, change: FeedChange) -> list[tuple[str, list[Any]]]:
        """New positions and strands taken elsewhere; takes effect with the next frame."""
        for name, strands in change.not_from.items():
            if (standings := self._standings(name)) is not None:
                standings.skip(strands)
            else:
                self._lay_over(name, [], strands)
        for name, vector in change.wants.items():
            if (lane := self._lanes.get(name)) is not None:
                self._forks += lane.place(vector)
            elif (left := self._left.get(name)) is not None:
                left.place(vector)
            else:
                self._lay_over(name, vector, [])
        for name, takes in change.takes.items():
            if (standings := self._standings(name)) is not None:
                standings.take(takes)
        self._changed = True
        self.ear.hear(CHANGED)
        return list(change.wants.items())

    def _lay_over(self, name: str, vector: list[At], not_from: list[int]) -> None:
        """What the caller says of a topic that is not here yet holds when it comes, over what the request said."""
        asked = self.request
        if name in asked.wants:  # others are not remembered: a caller's words must not fill our memory
            placed = {at[0] for at in vector}
            asked.wants[name] = [at for at in asked.wants[name] if at[0] not in placed] + vector
            left_out = dict.fromkeys([*asked.not_from.get(name, []), *not_from])
            asked.not_from[name] = [number for number in left_out if number not in placed]

    def _standings(self, name: str) -> Standings | None:
        lane = self._lanes.get(name)
        return lane.standings if lane is not None else self._left.get(name)

    def end(self, reason: str) -> None:
        """Close with a typed refusal."""
        self.closed = reason
        self.ear.hear(CHANGED)

    # ---- frames ----------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Hello, topics, then for ever what the caller lacks, a heartbeat in between. Raises what ends the line."""
        send = self._outlet.send
        try:
            self._keep_short()
            self._registry.bell.attach(self.ear, TOPICS)
            self._came, self._went = self._registry.creations, self._registry.went
            await self._open_lanes(self._wanted(self._registry.names))
            for buffers in self._opening():
                await send(buffers)
            beat_at = self._clock.monotonic()
            ahead = trio.current_time() - beat_at  # trio counts its seconds from another moment
            held_until = beat_at + (self.request.heartbeat_ms / 1000 if self.request.hold else 0)
            self._line_up(self._lanes)
            while self.closed is None:
                held = not self._changed and self._clock.monotonic() < held_until
                if self._ready and not held:
                    tokens = self.ear.take()
                else:
                    tokens = await self.ear.wait_until(ahead + (min(beat_at, held_until) if held else beat_at))
                for buffers in await self._hear(tokens):
                    await send(buffers)
                if self._ready and not held:
                    await self._send_next(self._ready.take())
                if self._clock.monotonic() >= beat_at:
                    await send(self._beat())
                    beat_at = self._clock.monotonic() + self.request.heartbeat_ms / 1000
                if self._ready:
                    await trio.lowlevel.checkpoint()
            await send(frame(Refused(self.closed, retry_after_s=1.0)))
        finally:
            self.ear.close()

    async def _send_next(self, name: str) -> None:
        """One frame of one lane, which then goes to the end: a topic in catch-up holds up no other."""
        for piece in self._next_of(name):
            size = sum(map(len, piece.body))
            if size > self._pace.budget_bytes and self._pace.seconds(size) > self.request.heartbeat_ms / 1000:
                await self._outlet.send(self._beat())  # the caller knows what it lacks while that comes
            sent_at = self._clock.monotonic()
            await self._outlet.send(frame(piece.header, piece.body))
            self._measure(size, sent_at, self._clock.monotonic())
        if (lane := self._lanes.get(name)) is not None and lane.has_more:
            self._ready.add(name)

    def _next_of(self, name: str) -> list[Piece]:
        """What a lane has to send. One whose log cannot be read is refused by name; the others go on."""
        lane = self._lanes.get(name)
        if lane is None:
            return []
        try:
            return lane.next(self._pace.room(self._clock.monotonic()))
        except ChunkCorrupt as error:
            lane.is_corrupt = True
            return [Piece(Refused("corrupt", str(error), name))]

    def _opening(self) -> Iterator[Buffers]:
        """What every feed begins with: who serves, what there is, and what proves that the caller was put back."""
        yield self._herald.hello(self._life.identity, self._rules.topology_hash)
        yield from self._herald.tell(self._lanes, "there")
        for lane in self._lanes.values():
            for rewound in lane.standings.rewinds_of_caller(lane.no):
                yield frame(rewound)

    def _line_up(self, names: Iterable[str]) -> None:
        """These lanes may have more to send."""
        for name in names:
            self._ready.add(name)

    def _weight(self, name: str) -> float:
        """Under pressure the line is theirs by the priority of their topics."""
        lane = self._lanes.get(name)
        return weight_of(lane.topic.priority(self._clock.wall_ms()) if lane is not None else 0)

    def _heeds(self, token: Any) -> bool:
        """Whether a bell is worth waking for. Not for records that the caller would not be sent, such as its own: the
        next heartbeat tells of them."""
        lane = self._lanes.get(token)
        if lane is None:
            return True
        self._herald.heard(token)
        return not lane.passes_by()

    async def _hear(self, tokens: list[Any]) -> list[Buffers]:
        """What the bells mean: lanes with more to send, topics that came or went, a change by the caller."""
        told: list[Buffers] = []
        for token in tokens:
            if token in self._lanes:
                self._ready.add(token)
            elif token is TOPICS:
                told += await self._topics_changed()
            elif token is CHANGED:
                self._line_up(self._lanes)
        if self._forks:
            forks, self._forks = self._forks, []
            told += [frame(fork) for fork in forks]
        return told

    def _measure(self, size: int, sent_at: float, now: float) -> None:
        self.sent_frames += 1
        self.sent_bytes += size
        if self._pace.sent(size, now - sent_at, now):
            self._pace.measure(size, now - sent_at, self._outlet.unacknowledged(), now)
            self._keep_short()

    def _keep_short(self) -> None:
        """What the kernel holds is as far from the caller as what lies here, and nothing can go before it."""
        if self._unsent_bytes != self._pace.unsent_bytes:
            self._unsent_bytes = self._pace.unsent_bytes
            self._outlet.low_latency(self._unsent_bytes)

    @property
    def moved_at(self) -> float:
        """When the caller's machine last acknowledged bytes."""
        return self._pace.moved_at

    def _beat(self) -> Buffers:
        self._pace.acknowledged(self._outlet.unacknowledged(), self._clock.monotonic())
        # Gossip takes at most a quarter of what the line can carry until the next heartbeat.
        return self._herald.beat(max(4, self._pace.budget_bytes // 256))

    # ---- topics ----------------------------------------------------------------------------------

    def _wanted(self, names: list[str]) -> list[str]:
        wants = self.request.wants
        prefixes = [w for w in wants if w.endswith("*")]
        return [n for n in names if n in wants or any(matches(p, n) for p in prefixes)]

    async def _open_lanes(self, names: list[str]) -> None:
        for name in names:
            topic = await self._registry.find(name)
            self._last_no += 1
            lane = Lane(self._last_no, topic, self.caller, goes_on=GOES_ON in self.request.features)
            self._lanes[name] = lane
            self._herald.know(lane.no, topic)
            topic.bell.attach(self.ear, name)
            if (left := self._left.pop(name, None)) is not None:
                lane.standings.go_on_from(left)
            else:
                self._forks += lane.place(self.request.wants.get(name, []))
                lane.standings.skip(self.request.not_from.get(name, []))

    async def _topics_changed(self) -> list[Buffers]:
        """Topics that came, and those that were dropped or made anew (a new log id under the old name)."""
        registry, told = self._registry, list[Buffers]()
        if registry.went != self._went:
            self._went = registry.went
            gone = [name for name, lane in self._lanes.items() if registry.known(name) is not lane.topic]
            told += self._herald.bid_farewell(gone)
            for name in gone:
                lane = self._lanes.pop(name)
                lane.topic.bell.detach(self.ear, name)
                self._left[name] = lane.standings
            self._left = {name: left for name, left in self._left.items() if registry.any(name) is not None}
        fresh = [n for n in self._wanted(registry.came_since(self._came)) if n not in self._lanes]
        self._came = registry.creations
        await self._open_lanes(fresh)
        self._line_up(fresh)
        return told + self._herald.tell(fresh, "created")

    def statistics(self) -> dict[str, Any]:
        """Numbers for metrics and ``GET /v0/actors``."""
        return {
            "caller": self.caller.name,
            "feed_no": self.request.feed_no,
            "topics": len(self._lanes),
            "bytes": self.sent_bytes,
            "frames": self.sent_frames,
            "frame_budget_bytes": self._pace.budget_bytes,
        }
