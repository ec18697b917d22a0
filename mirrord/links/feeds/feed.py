"""Feeds: what this node serves to links. One feed per caller, all wanted topics over one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import trio
from msgspec import Struct, structs

from ...actors.bell import Ear
from ...clock import Clock
from ...errors import FeedNotFound, PeerRefused
from ...names import matches
from ...records.strand import Identity
from ...storage.life import Life
from ...topics.registry import Registry
from .lane import Lane, Piece
from ..wire import (
    PROTO,
    FeedChange,
    FeedRequest,
    ForkIs,
    Head,
    Hello,
    Move,
    NeedClosed,
    Pending,
    Refused,
    Sight,
    TopicInfo,
    Topics,
    frame,
)

TOPICS_PER_FRAME = 32
FRAME_SECONDS = 0.25  # what one frame may take at the measured line speed
LEAST_FRAME_BYTES = 1 << 10
CHANGED = "changed"  # the ear's token for "something about this feed was changed"

Buffers = list[bytes | memoryview]


class Gossip(Protocol):
    """What a heartbeat tells besides positions: covers held back here, and what is known of other nodes."""

    def pending(self, lanes: dict[str, int]) -> list[Pending]: ...

    def sights(self, caller: str, since: int, most: int) -> tuple[list[Sight], int]: ...

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
    """One caller's feed. ``frames`` yields buffers; the time until it is resumed tells the speed of the line."""

    def __init__(self, request: FeedRequest, rules: FeedRules, registry: Registry, life: Life, clock: Clock, gossip: Gossip) -> None:
        self.request, self._rules, self._registry = request, rules, registry
        self._life, self._clock, self._gossip = life, clock, gossip
        self.caller = Identity(request.node, request.origin_id, request.life)
        self.ear = Ear()
        self.closed: str | None = None  # the reason of the last frame, once it must end
        self.moved_at = clock.monotonic()  # when the caller last took bytes
        self.frame_bytes = min(request.max_frame_bytes, rules.max_frame_bytes)
        self._budget = min(256 << 10, self.frame_bytes)
        self._lanes: dict[str, Lane] = {}
        self._forks: list[ForkIs] = []
        self._pending: list[Pending] = []
        self._sights_told = self._last_no = self._digest = self._came = self._went = 0
        self._moved: dict[str, None] = {}
        self._numbers: dict[str, int] = {}
        self.sent_bytes = self.sent_frames = 0

    # ---- the caller ---------------------------------------------------------------------------------------------------

    def change(self, change: FeedChange) -> list[tuple[str, list[Any]]]:
        """New positions and strands taken elsewhere; takes effect with the next frame."""
        for name, strands in change.not_from.items():
            if (lane := self._lanes.get(name)) is not None:
                lane.skip(strands)
        for name, vector in change.wants.items():
            if (lane := self._lanes.get(name)) is not None:
                self._forks += lane.place(vector)
        self.ear.hear(CHANGED)
        return list(change.wants.items())

    def end(self, reason: str) -> None:
        """Close with a typed refusal."""
        self.closed = reason
        self.ear.hear(CHANGED)

    # ---- frames -------------------------------------------------------------------------------------------------------

    async def frames(self) -> AsyncIterator[Buffers]:
        """Hello, topics, then for ever what the caller lacks, with a heartbeat in between."""
        try:
            self._registry.bell.attach(self.ear, "topics")
            self._came, self._went = self._registry.creations, self._registry.went
            await self._open_lanes(self._wanted(self._registry.names))
            yield self._hello()
            for buffers in self._tell_topics(list(self._lanes.values()), "there"):
                yield buffers
            for served in self._lanes.values():
                for rewound in served.rewinds_of_caller():
                    yield frame(rewound)
            ready = dict.fromkeys(self._lanes)
            beat_at = self._clock.monotonic()
            while self.closed is None:
                for fork in self._take_forks():
                    yield frame(fork)
                for name in list(ready):
                    lane = self._lanes.get(name)
                    pieces = lane.next(self._budget) if lane is not None else []
                    if not pieces:
                        ready.pop(name)
                    for piece in pieces:
                        sent_at = self._clock.monotonic()
                        yield frame(piece.header, piece.body)
                        self._measure(piece, self._clock.monotonic() - sent_at)
                    if self._clock.monotonic() >= beat_at:
                        break
                if self._clock.monotonic() >= beat_at:
                    yield self._beat()
                    beat_at = self._clock.monotonic() + self.request.heartbeat_ms / 1000
                if not ready:
                    for token in await self._listen(beat_at):
                        if token == "topics":
                            for buffers in await self._topics_changed(ready):
                                yield buffers
                        elif token == CHANGED:
                            ready = dict.fromkeys(self._lanes)
                        else:
                            ready[str(token)] = self._moved[str(token)] = None
                else:
                    await trio.lowlevel.checkpoint()
            yield frame(Refused(self.closed, retry_after_s=1.0))
        finally:
            self.ear.close()

    async def _listen(self, until: float) -> list[Any]:
        with trio.move_on_after(max(0.0, until - self._clock.monotonic())):
            return await self.ear.wait()
        return []

    def _measure(self, piece: Piece, took_s: float) -> None:
        size = sum(len(b) for b in piece.body)
        self.sent_frames += 1
        self.sent_bytes += size
        self.moved_at = self._clock.monotonic()
        if size >= LEAST_FRAME_BYTES or took_s > FRAME_SECONDS:
            fits = int(size * FRAME_SECONDS / took_s) if took_s > 0 else self.frame_bytes
            aim = (self._budget + max(LEAST_FRAME_BYTES, fits)) // 2
            self._budget = max(LEAST_FRAME_BYTES, min(self.frame_bytes, aim))

    def _take_forks(self) -> list[ForkIs]:
        forks, self._forks = self._forks, []
        return forks

    def _hello(self) -> Buffers:
        me = self._life.identity
        return frame(
            Hello(PROTO, me.name, me.origin_id, me.life, self._clock.wall_ms(), self._rules.topology_hash, len(self._lanes))
        )

    def _beat(self) -> Buffers:
        moves: list[Move] = []
        for name in self._moved:  # only lanes that rang since the last heartbeat can have moved
            if (lane := self._lanes.get(name)) is not None:
                self._digest ^= lane.digest
                moves += lane.moves()
                self._digest ^= lane.digest
        self._moved.clear()
        pending = self._gossip.pending(self._numbers)
        changed = pending != self._pending
        self._pending = pending
        # Gossip takes at most a quarter of what the line can carry until the next heartbeat.
        sights, self._sights_told = self._gossip.sights(self.caller.name, self._sights_told, max(4, self._budget // 256))
        self.moved_at = self._clock.monotonic()
        return frame(Head(self._clock.wall_ms(), self._digest, moves, pending if changed else None, sights))

    # ---- topics -------------------------------------------------------------------------------------------------------

    def _wanted(self, names: list[str]) -> list[str]:
        wants = self.request.wants
        prefixes = [w for w in wants if w.endswith("*")]
        return [n for n in names if n in wants or any(matches(p, n) for p in prefixes)]

    async def _open_lanes(self, names: list[str]) -> list[Lane]:
        opened: list[Lane] = []
        for name in names:
            topic = await self._registry.find(name)
            self._last_no += 1
            lane = Lane(self._last_no, topic, self.caller)
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

    async def _topics_changed(self, ready: dict[str, None]) -> list[Buffers]:
        """Topics that came, and those that were dropped or made anew (a new log id under the old name)."""
        registry, told = self._registry, list[Buffers]()
        if registry.went != self._went:
            self._went = registry.went
            gone = [lane for name, lane in self._lanes.items() if registry.known(name) is not lane.topic]
            told += _in_frames([lane.farewell() for lane in gone], "deleted")
            for lane in gone:
                del self._lanes[lane.topic.topic], self._numbers[lane.topic.topic]
                self._digest ^= lane.digest
        fresh = [n for n in self._wanted(registry.came_since(self._came)) if n not in self._lanes]
        self._came = registry.creations
        lanes = await self._open_lanes(fresh)
        ready.update(dict.fromkeys(fresh))
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


class Feeds:
    """All running feeds: who may open one, which supersedes which, and what callers' positions prove about us."""

    def __init__(self, rules: FeedRules, registry: Registry, life: Life, clock: Clock, gossip: Gossip, rewound: Callable[[str], None]) -> None:
        self._rules, self._registry, self._life, self._clock = rules, registry, life, clock
        self._gossip, self._rewound = gossip, rewound
        self._feeds: dict[bytes, Feed] = {}
        self._closed: dict[bytes, tuple[bytes, dict[str, list[Any]]]] = {}  # what each origin last told as closed
        self.draining = False

    async def serve(self, request: FeedRequest) -> AsyncIterator[Buffers]:
        """The frames of the feed that a caller asked for; a single ``refused`` when it may not have one."""
        try:
            request = self._admit(request)
        except PeerRefused as no:
            yield frame(NeedClosed() if no.reason == "need-closed" else Refused(no.reason, str(no), None, no.retry_after_s))
            return
        feed = Feed(request, self._rules, self._registry, self._life, self._clock, self._gossip)
        old = self._feeds.get(request.origin_id)
        if old is not None:
            old.end("superseded")
        self._feeds[request.origin_id] = feed
        await self._look_for_rewinds(feed.caller, list(request.wants.items()))
        frames = feed.frames()
        try:
            async for buffers in frames:
                yield buffers
        finally:
            with trio.CancelScope(shield=True):
                await frames.aclose()  # type: ignore[attr-defined]
            if self._feeds.get(request.origin_id) is feed:
                del self._feeds[request.origin_id]

    def _admit(self, request: FeedRequest) -> FeedRequest:
        rules, me = self._rules, self._life.identity
        if request.proto != PROTO:
            raise PeerRefused("too-old", f"this node speaks feed protocol {PROTO}, the caller {request.proto}")
        if request.cluster != rules.cluster:
            raise PeerRefused("wrong-cluster", f"this node belongs to cluster {rules.cluster!r}, the caller to {request.cluster!r}")
        if request.node not in rules.peers:
            raise PeerRefused("unknown-peer", f"node {request.node!r} is not in this node's configuration")
        if request.origin_id == me.origin_id or request.node == me.name:
            raise PeerRefused("duplicate-node", f"the caller has the identity of this node, {me.name!r}: was its data directory copied?")
        if self.draining:
            raise PeerRefused("draining", "this node is shutting down", 1.0)
        if len(self._feeds) >= rules.max_feeds and request.origin_id not in self._feeds:
            raise PeerRefused("busy", "this node serves as many feeds as it may ([limits] max_peers)", 5.0)
        self._refuse_duplicates(request)
        return self._with_closed(request)

    def _refuse_duplicates(self, request: FeedRequest) -> None:
        """Two lives of one origin id, or two ids under one name: the newcomer waits while the other one is alive."""
        for origin_id, feed in self._feeds.items():
            same_id, same_name = origin_id == request.origin_id, feed.caller.name == request.node
            if not (same_id or same_name) or (same_id and feed.caller.life == request.life and same_name):
                if same_id and request.feed_no <= feed.request.feed_no:
                    raise PeerRefused("busy", "a feed with a higher number is running", 1.0)
                continue
            two_beats_s = 2 * feed.request.heartbeat_ms / 1000
            if self._clock.monotonic() - feed.moved_at < two_beats_s:
                raise PeerRefused("duplicate-node", f"another node runs as {feed.caller.name!r} or with its origin id", two_beats_s)

    def _with_closed(self, request: FeedRequest) -> FeedRequest:
        """Lay what the caller wants over the closed strands that it told before."""
        if request.closed_strands is not None:
            self._closed[request.origin_id] = (request.closed_strands_hash, dict(request.closed_strands))
        if not request.closed_strands_hash:
            return request
        known = self._closed.get(request.origin_id)
        if known is None or known[0] != request.closed_strands_hash:
            raise PeerRefused("need-closed")
        wants: dict[str, list[Any]] = {name: list(vector) for name, vector in known[1].items() if name in request.wants}
        for name, vector in request.wants.items():
            wants.setdefault(name, []).extend(vector)
        return structs.replace(request, wants=wants)

    async def _look_for_rewinds(self, caller: Identity, wants: list[tuple[str, list[Any]]]) -> None:
        me = self._life.identity
        for name, vector in wants:
            topic = self._registry.known(name)
            if topic is None or not vector:
                continue
            lane = Lane(0, await self._registry.find(name), caller)
            lane.place(vector)
            if (strand := lane.proves_rewind(vector)) is not None:
                self._rewound(f"{caller.name} stands above our head in strand {strand:016x} of topic {name}, life {me.life.hex()}")
                return

    async def change(self, feed_no: int, change: FeedChange) -> None:
        """Change a running feed. Raises FeedNotFound."""
        feed = self._feeds.get(change.origin_id)
        if feed is None or feed.request.feed_no != feed_no or feed.closed is not None:
            raise FeedNotFound(f"no feed {feed_no} of this caller runs here; open a new one")
        self._gossip.saw(change.sights)
        await self._look_for_rewinds(feed.caller, feed.change(change))

    def end_all(self, reason: str) -> None:
        """Close every feed with a typed refusal: callers come back."""
        for feed in list(self._feeds.values()):
            feed.end(reason)

    def statistics(self) -> list[dict[str, Any]]:
        """One entry per running feed."""
        return [feed.statistics() for feed in self._feeds.values()]

