"""What a link asks of its peer: the request of a feed, and the changes that follow it."""

from __future__ import annotations

from xxhash import xxh3_128_digest

from ...config.topology import LinkPlan
from ...topics.topic import Topic
from ..board.line import Line
from ..board.sights import Sights
from ..ground import Ground
from ..wire import GOES_ON, PROTO, At, FeedChange, FeedRequest, Take

SIGHTS_PER_CHANGE = 64


class Asking:
    """Knows where this node stands in what the link brings, and what the peer was told of it."""

    def __init__(self, plan: LinkPlan, ground: Ground, line: Line) -> None:
        self._plan, self._ground, self._line = plan, ground, line
        self.feed_no = 0
        self.send_closed = False  # the peer asked for the list of closed strands
        self.sent_closed = False  # it has all that there is to tell of them
        self._confirm: dict[tuple[str, int], None] = {}
        self._told_closed = b""  # the hash of the list that the peer was given last
        self._sights: Sights | None = None  # what goes with changes: when the peer hears no heartbeats of ours
        self._takes: dict[tuple[str, int], int] = {}
        self._must_answer = False  # the feed holds back until it has heard a change

    def confirm(self, topic: str, strand: int) -> None:
        """The feed must hear where we stand in this strand: what it sent did not follow, or a cover is done with."""
        self._confirm[topic, strand] = None
        self._line.dirty[topic, strand] = None

    def take(self, topic: str, strand: int, last: int) -> None:
        """The feed may send stripped chunks of this strand, up to ``last``: nobody has more."""
        self._takes[topic, strand] = last
        self.confirm(topic, strand)

    def takes(self, topic: str, strand: int, last: int) -> bool:
        """Whether a stripped chunk that ends there was asked for."""
        return last <= self._takes.get((topic, strand), 0)

    def give_up(self, topic: str, strand: int) -> None:
        """Another link may have more of the strand by now."""
        self._takes.pop((topic, strand), None)
        self.confirm(topic, strand)

    async def request(self, heartbeat_ms: int, max_frame_bytes: int) -> FeedRequest:
        """What to open the next feed with: where we stand in every strand of every topic of this link."""
        ground, me = self._ground, self._ground.life.identity
        self.feed_no = max(self.feed_no + 1, ground.clock.wall_ms())
        self._confirm.clear()
        self._takes.clear()
        self._must_answer = self._has_rivals()
        self._sights = self._new_sights()
        wants: dict[str, list[At]] = {}
        closed: dict[str, list[At]] = {}
        not_from: dict[str, list[int]] = {}
        for want in self._plan.wants:
            if want.source.endswith("*"):
                wants.setdefault(want.source, [])
        for topic in await ground.registry.alive(lambda name: self.source_name(name) is not None):
            source = self.source_name(topic.topic)
            if source is not None:
                wants[source], closed[source] = self._vector(topic)
                not_from[source] = self._not_from(topic.topic)
        for want in self._plan.wants:
            wants.setdefault(want.source, [])
        told = xxh3_128_digest(repr(sorted(closed.items())).encode()) if any(closed.values()) else b""
        send, self.send_closed = self.send_closed or told != self._told_closed, False
        self._told_closed = told
        self.sent_closed = send or not told
        return FeedRequest(
            PROTO, ground.cluster, me.name, me.origin_id, me.life, ground.topology_hash, self.feed_no, wants,
            closed_strands_hash=told, closed_strands=closed if send and told else None,
            not_from={name: strands for name, strands in not_from.items() if strands},
            hold=self._must_answer, features=[GOES_ON],
            max_frame_bytes=max_frame_bytes, heartbeat_ms=heartbeat_ms,
        )  # fmt: skip

    def _new_sights(self) -> Sights | None:
        gossip, peer = self._ground.gossip, self._plan.peer
        return None if gossip.pulls(peer) else gossip.sights(peer, lambda _: True)

    def _vector(self, topic: Topic) -> tuple[list[At], list[At]]:
        """Where the topic stands, as (open, closed): closed is every strand but the newest of each origin."""
        newest: dict[bytes, int] = {}
        for strand in topic.strands.values():
            origin = strand.descriptor.origin_id
            newest[origin] = max(newest.get(origin, 0), strand.sid)
        now_open: list[At] = []
        closed: list[At] = []
        for number, strand in topic.strands.items():
            if strand.stored:
                at = (number, strand.durable_last, strand.durable_hash)
                (now_open if newest[strand.descriptor.origin_id] == strand.sid else closed).append(at)
        return now_open, closed

    def _not_from(self, topic: str) -> list[int]:
        board, line = self._ground.board, self._line
        side = line.sides.get(topic)
        if side is None:
            return []
        side.asked = {strand: board.serves(line, topic, strand) for strand in side.told}
        return [strand for strand, serve in side.asked.items() if not serve]

    def _has_rivals(self) -> bool:
        """Whether another link brings any of these topics too: then who brings which strand is agreed first, so that a
        fresh node does not get everything from everybody."""
        others = [line for line in self._ground.board.lines.values() if line is not self._line]
        return any(line.wants(want.local.replace("*", "x")) for line in others for want in self._plan.wants)

    def source_name(self, local: str) -> str | None:
        """What a local topic is called at the peer; None when this link does not bring it."""
        return next((n for want in self._plan.wants if (n := want.source_name(local)) is not None), None)

    def local_name(self, source: str) -> str | None:
        """What a topic of the peer is called here; None when this link does not bring it."""
        return next((n for want in self._plan.wants if (n := want.local_name(source)) is not None), None)

    def change(self) -> FeedChange | None:
        """What the feed must be told since the last time: where to serve from, what not to serve; None: nothing."""
        ground, line = self._ground, self._line
        wants: dict[str, list[At]] = {}
        not_from: dict[str, list[int]] = {}
        takes: dict[str, list[Take]] = {}
        for name, number in line.dirty:
            topic, side = ground.registry.any(name), line.sides.get(name)
            if topic is None or side is None or side.refused is not None:
                continue
            serve = ground.board.serves(line, name, number)
            before = side.asked.get(number, True)
            side.asked[number] = serve
            if serve and (not before or (name, number) in self._confirm):
                strand = topic.strands.get(number)
                at = (number, strand.durable_last, strand.durable_hash) if strand is not None else (number, 0, None)
                wants.setdefault(side.source, []).append(at)
                if (last := self._takes.get((name, number))) is not None:
                    takes.setdefault(side.source, []).append((number, last))
            elif before and not serve:
                not_from.setdefault(side.source, []).append(number)
        line.dirty.clear()
        self._confirm.clear()
        sights = self._sights.next(SIGHTS_PER_CHANGE) if self._sights is not None else []
        if not (wants or not_from or sights or self._must_answer):
            return None
        self._must_answer = False
        return FeedChange(ground.life.identity.origin_id, wants, not_from, takes, sights)
