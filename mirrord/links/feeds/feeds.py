"""All running feeds: who may open one, which supersedes which, and what callers' positions prove about us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import structs

from ...clock import Clock
from ...errors import FeedNotFound, PeerRefused
from ...records.strand import Identity
from ...storage.life import Life
from ...topics.registry import Registry
from ..board.gossip import Gossip
from ..frames import frame
from ..wire import PROTO, FeedChange, FeedRequest, NeedClosed, Refused
from .feed import Feed, FeedRules, Outlet
from .lane import Lane

LEAST_BEAT_MS, MOST_BEAT_MS = 10, 60_000  # a caller may neither make us beat without pause nor never


class Feeds:
    """All running feeds: who may open one, which supersedes which, and what callers' positions prove about us."""

    def __init__(
        self,
        rules: FeedRules,
        registry: Registry,
        life: Life,
        clock: Clock,
        gossip: Gossip,
        rewound: Callable[[str], None],
    ) -> None:
        self._rules, self._registry, self._life, self._clock = rules, registry, life, clock
        self._gossip, self._rewound = gossip, rewound
        self._feeds: dict[bytes, Feed] = {}
        # What each node last told as closed; by name, so that whoever comes under new ids does not fill it.
        self._closed: dict[str, tuple[bytes, dict[str, list[Any]]]] = {}
        self.draining = False

    async def serve(self, request: FeedRequest, outlet: Outlet) -> None:
        """Send the feed that a caller asked for, until one of both ends it; a single ``refused`` when it may not have
        one. Raises what the outlet raises."""
        try:
            request = self._admit(request)
        except PeerRefused as no:
            needs_closed = no.reason == "need-closed"
            await outlet.send(
                frame(NeedClosed() if needs_closed else Refused(no.reason, str(no), None, no.retry_after_s))
            )
            return
        feed = Feed(request, self._rules, self._registry, self._life, self._clock, self._gossip, outlet)
        old = self._feeds.get(request.origin_id)
        if old is not None:
            old.end("superseded")
        self._feeds[request.origin_id] = feed
        try:
            await self._look_for_rewinds(feed.caller, list(request.wants.items()))
            await feed.serve()
        finally:
            if self._feeds.get(request.origin_id) is feed:
                del self._feeds[request.origin_id]

    def _admit(self, request: FeedRequest) -> FeedRequest:
        rules, me = self._rules, self._life.identity
        if request.proto != PROTO:
            raise PeerRefused("too-old", f"this node speaks feed protocol {PROTO}, the caller {request.proto}")
        if request.cluster != rules.cluster:
            raise PeerRefused(
                "wrong-cluster",
                f"this node belongs to cluster {rules.cluster!r}, the caller to {request.cluster!r}",
            )
        if request.node not in rules.peers:
            raise PeerRefused("unknown-peer", f"node {request.node!r} is not in this node's configuration")
        if request.origin_id == me.origin_id or request.node == me.name:
            raise PeerRefused(
                "duplicate-node",
                f"the caller has the identity of this node, {me.name!r}: was its data directory copied?",
            )
        if self.draining:
            raise PeerRefused("draining", "this node is shutting down", 1.0)
        if len(self._feeds) >= rules.max_feeds and request.origin_id not in self._feeds:
            raise PeerRefused("busy", "this node serves as many feeds as it may ([limits] max_peers)", 5.0)
        self._refuse_duplicates(request)
        beat_ms = min(max(request.heartbeat_ms, LEAST_BEAT_MS), MOST_BEAT_MS)
        return self._with_closed(structs.replace(request, heartbeat_ms=beat_ms))

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
                raise PeerRefused(
                    "duplicate-node",
                    f"another node runs as {feed.caller.name!r} or with its origin id",
                    two_beats_s,
                )

    def _with_closed(self, request: FeedRequest) -> FeedRequest:
        """Lay what the caller wants over the closed strands that it told before."""
        if request.closed_strands is not None:
            self._closed[request.node] = (request.closed_strands_hash, dict(request.closed_strands))
        if not request.closed_strands_hash:
            return request
        known = self._closed.get(request.node)
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
            if (strand := lane.standings.proves_rewind(vector)) is not None:
                self._rewound(
                    f"{caller.name} stands above our head in strand {strand:016x} of topic {name}, life {me.life.hex()}"
                )
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
