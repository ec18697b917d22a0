"""What a link knows of the feed in progress: which local topic each number means, and what was said about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from xxhash import xxh3_128_digest

from ..actors.mailbox import Envelope
from ..clock import Clock
from ..config.topic import TopicConfig, topic_config
from ..config.topology import LinkPlan
from ..errors import MirrordError, PeerRefused, PeerUnreachable, ProtocolViolation
from ..records.gap import VOLUNTARY, Cover
from ..records.strand import Descriptor, Position
from ..storage.life import Life
from ..topics.log.log import Strand
from ..topics.messages import Applied, Apply, ApplyCover, Introduce
from ..topics.log.places import contradicts
from ..topics.registry import Registry
from ..topics.topic import Topic
from .board.board import Board, Halt, Side, Told
from .board.covers import Offer, Witness, judge, needs_no_waiting
from .feeds.lane import position_digest
from .wire import (
    PROTO,
    At,
    CoverIs,
    FeedChange,
    FeedRequest,
    ForkIs,
    Frame,
    Head,
    Hello,
    NeedClosed,
    Refused,
    Rewound,
    Sight,
    StrandIs,
    Topics,
)
from .wire import Told as WireTold

MOST_NOTES = 1000  # of one link; a node keeps the last 10 000 over some ten links


class Ground(Struct, frozen=True):
    """What all links of a node stand on."""

    cluster: str
    topology_hash: bytes
    life: Life
    clock: Clock
    registry: Registry
    board: Board
    declared: Callable[[str, TopicConfig], TopicConfig]  # the file's settings for a topic, over a peer's
    rewound: Callable[[str], None]
    sees: Callable[[str, str, int, int, int, int], object]
    take_sights: Callable[[list[Sight]], None]
    sights_for: Callable[[str, int], tuple[list[Sight], int]]  # for a peer that does not pull from us
    worth_waiting: Callable[[str, int, int, Witness], bool]


class Inlet:
    """Filled anew by each feed; the flight recorder of the link stays."""

    def __init__(self, plan: LinkPlan, ground: Ground) -> None:
        self.plan, self._ground = plan, ground
        self.feed_no = 0
        self.again_at_once = False
        self.notes: deque[dict[str, Any]] = deque(maxlen=MOST_NOTES)
        self._sides: dict[str, Side] = {}
        self._topics: dict[int, Topic] = {}
        self._known = 0
        self._hello: Hello | None = None
        self._confirm: dict[tuple[str, int], None] = {}
        self._told_closed: dict[str, list[At]] = {}
        self._send_closed = False
        self._sights_told = 0
        self._told: dict[tuple[int, int], int] = {}  # topic number and strand: the oseq told
        self._digest = 0
        self.clock_offset_ms = 0

    def note(self, action: str, detail: str = "") -> None:
        """One event for the flight recorder."""
        self.notes.append({"ts": self._ground.clock.wall_ms(), "action": action, "detail": detail})

    # ---- asking ----------------------------------------------------------------------------------------------------------

    async def request(self, heartbeat_ms: int, max_frame_bytes: int) -> FeedRequest:
        """What to open the next feed with: where we stand in every strand of every topic of this link."""
        ground, me = self._ground, self._ground.life.identity
        self.feed_no = max(self.feed_no + 1, ground.clock.wall_ms())
        self._topics, self._known, self._hello = {}, 0, None
        self._told.clear()
        self._digest = 0
        self._confirm.clear()
        line = ground.board.lines[self.plan.peer]
        self._sides = line.sides
        wants: dict[str, list[At]] = {}
        closed: dict[str, list[At]] = {}
        not_from: dict[str, list[int]] = {}
        for want in self.plan.wants:
            if want.source.endswith("*"):
                wants.setdefault(want.source, [])
        for topic in await ground.registry.alive(lambda name: self._source_name(name) is not None):
            source = self._source_name(topic.topic)
            if source is not None:
                wants[source], closed[source] = self._vector(topic)
                not_from[source] = self._not_from(topic.topic)
        for want in self.plan.wants:
            wants.setdefault(want.source, [])
        told = xxh3_128_digest(repr(sorted(closed.items())).encode()) if any(closed.values()) else b""
        send, self._send_closed = self._send_closed or told != self._closed_hash(), False
        self._told_closed = closed
        return FeedRequest(
            PROTO, ground.cluster, me.name, me.origin_id, me.life, ground.topology_hash, self.feed_no, wants,
            closed_strands_hash=told, closed_strands=closed if send and told else None,
            not_from={name: strands for name, strands in not_from.items() if strands},
            max_frame_bytes=max_frame_bytes, heartbeat_ms=heartbeat_ms,
        )  # fmt: skip

    def _closed_hash(self) -> bytes:
        closed = self._told_closed
        return xxh3_128_digest(repr(sorted(closed.items())).encode()) if any(closed.values()) else b""

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
        board = self._ground.board
        line = board.lines[self.plan.peer]
        side = self._sides.get(topic)
        strands = list(side.told) if side is not None else []
        found = [s for s in strands if not board.serves(line, topic, s)]
        if side is not None:
            side.asked = {s: s not in set(found) for s in strands}
        return found

    def _source_name(self, local: str) -> str | None:
        return next((n for want in self.plan.wants if (n := want.source_name(local)) is not None), None)

    def _local_name(self, source: str) -> str | None:
        return next((n for want in self.plan.wants if (n := want.local_name(source)) is not None), None)

    # ---- what the peer says ------------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether hello and all its topics have come."""
        return self._hello is not None and self._known >= self._hello.topics

    async def on_frame(self, header: Frame) -> None:
        """Everything but chunks, covers and descriptors. Raises PeerRefused, ProtocolViolation, PeerUnreachable."""
        match header:
            case Hello():
                self._greet(header)
            case Topics():
                await self._on_topics(header)
            case Head():
                self._on_head(header)
            case ForkIs():
                self._on_fork(header)
            case Rewound():
                self._on_rewound(header)
            case NeedClosed():
                self._send_closed = self.again_at_once = True
                raise PeerUnreachable("the peer asks for the list of closed strands")
            case Refused(topic=None):
                raise PeerRefused(header.reason, header.message, header.retry_after_s)
            case Refused():
                self._refuse_topic(str(header.topic), header.reason)
            case _:
                raise ProtocolViolation("a frame came where it has no place")

    def _greet(self, hello: Hello) -> None:
        me = self._ground.life.identity
        if hello.proto != PROTO:
            raise PeerRefused("too-old", f"the peer speaks feed protocol {hello.proto}, this node {PROTO}")
        if hello.node != self.plan.peer:
            raise PeerRefused("wrong-node", f"{self.plan.url} is node {hello.node!r}, not {self.plan.peer!r}: correct url or via")
        if hello.origin_id == me.origin_id:
            raise PeerRefused("duplicate-node", "the peer has our origin id: was the data directory copied?")
        for line in self._ground.board.lines.values():
            if line.up and line.peer != self.plan.peer and line.origin_id == hello.origin_id:
                raise PeerRefused("duplicate-node", f"{self.plan.peer} and {line.peer} have one origin id: was a data directory copied?")
        self._hello = hello
        self._ground.board.lines[self.plan.peer].origin_id = hello.origin_id
        self.clock_offset_ms = hello.clock_ms - self._ground.clock.wall_ms()
        if hello.topology_hash != self._ground.topology_hash:
            self.note("other topology", f"{hello.node} runs another topology than this node")

    @property
    def same_topology(self) -> bool | None:
        """Whether the peer runs the same topology; None before it said."""
        return None if self._hello is None else self._hello.topology_hash == self._ground.topology_hash

    async def _on_topics(self, header: Topics) -> None:
        if self._hello is None:
            raise ProtocolViolation("topics came before hello")
        for info in header.topics:
            if header.event == "deleted":
                self.note("topic deleted", info.name)
                self._topics.pop(info.no, None)
                for no, number in [key for key in self._told if key[0] == info.no]:
                    self._digest ^= position_digest(no, number, self._told.pop((no, number)))
                continue
            for number, oseq, *_ in info.vector:
                self._tally(info.no, number, oseq)
            self._known += header.event == "there"
            local = self._local_name(info.name)
            if local is None:
                continue
            side = self._sides.setdefault(local, Side(info.name))
            side.average_bytes = info.text_bytes / info.count if info.count else side.average_bytes
            try:
                topic = await self._local_topic(local, info)
            except MirrordError as error:
                self._refuse_topic(local, f"{error.code}: {error}")
                continue
            side.refused = None
            self._topics[info.no] = topic
            for told in info.vector:
                self._hear(topic, told)

    async def _local_topic(self, local: str, info: Any) -> Topic:
        """The local topic, created with the source's type, ttl and class if it is not there. One that was deleted here
        stays so until newer records come."""
        there = self._ground.registry.any(local)
        if there is not None and there.about.deleted:
            return there
        config = topic_config({"type": info.type, "ttl_ms": info.ttl_ms, "durability": info.durability})
        renamed = info.name if local != info.name else None
        topic, _ = await self._ground.registry.ensure(local, self._ground.declared(local, config), renamed_from=renamed)
        if topic.config.type != info.type:
            raise PeerRefused("topic-type", f"{local} is a {topic.config.type} here and a {info.type} at {self.plan.peer}")
        return topic

    def _refuse_topic(self, name: str, reason: str) -> None:
        self._sides.setdefault(name, Side(name)).refused = reason
        self.note("topic refused", f"{name}: {reason}")

    def _hear(self, topic: Topic, told: WireTold) -> None:
        number, oseq, digest, whole_from, ts = told
        ground, clock = self._ground, self._ground.clock
        ground.board.hear(self.plan.peer, topic.topic, number, Told(oseq, digest, whole_from, ts), clock.monotonic())
        ground.sees(self.plan.peer, topic.topic, number, oseq, ts, clock.wall_ms() + self.clock_offset_ms)
        strand = topic.strands.get(number)
        if strand is None:
            return
        theirs = Position(oseq, digest)
        if strand is topic.own_strand and oseq > strand.durable_last:
            ground.rewound(f"{self.plan.peer} holds our strand {number:016x} to {oseq}, we only to {strand.durable_last}")
        elif contradicts(strand, topic.tid, theirs, topic.reads):
            self._fork(topic, number, theirs)

    def _fork(self, topic: Topic, number: int, theirs: Position) -> None:
        strand = topic.strands[number]
        if number not in self._sides[topic.topic].halted:
            self.note("fork", f"{topic.topic} strand {number:016x}: here {strand.last}, there {theirs.oseq}")
        self._ground.board.halt(self.plan.peer, topic.topic, number, Halt("fork", strand.durable, theirs))
        if strand is topic.own_strand:
            self._ground.rewound(f"{self.plan.peer} holds another content of our open strand {number:016x}")

    def _on_head(self, head: Head) -> None:
        board = self._ground.board
        for no, number, oseq, digest, ts in head.moves:
            self._tally(no, number, oseq)
            topic = self._topics.get(no)
            if topic is not None:
                self._hear(topic, (number, oseq, digest, 0, ts))
                board.rejudge(topic.topic, number)
        if head.pending is not None:
            for side in self._sides.values():
                side.pending.clear()
            for no, number, first, last in head.pending:
                if (topic := self._topics.get(no)) is not None:
                    self._sides[topic.topic].pending[number] = (first, last)
        self._ground.take_sights(head.sights)
        if head.digest != self._digest:
            raise ProtocolViolation("what the peer told of its positions does not add up to its digest")

    def _tally(self, no: int, number: int, oseq: int) -> None:
        before = self._told.get((no, number))
        if before is not None:
            self._digest ^= position_digest(no, number, before)
        self._told[no, number] = oseq
        self._digest ^= position_digest(no, number, oseq)

    def _on_fork(self, fork: ForkIs) -> None:
        topic = self._topics.get(fork.topic)
        if topic is not None and fork.strand in topic.strands:
            self._fork(topic, fork.strand, Position(*fork.here))

    def _on_rewound(self, frame: Rewound) -> None:
        topic = self._topics.get(frame.topic)
        if topic is None:
            return
        strand = topic.strands.get(frame.strand)
        if strand is None or strand.durable_last < frame.told:
            self._ground.rewound(f"{self.plan.peer} holds {frame.told} records of our strand {frame.strand:016x} of {topic.topic}")

    # ---- records and covers --------------------------------------------------------------------------------------------------

    def local(self, no: int) -> Topic | None:
        """The local topic of a number; None when it is refused here. Raises ProtocolViolation for one never told."""
        if no not in self._topics and self._hello is None:
            raise ProtocolViolation("records came before hello")
        return self._topics.get(no)

    async def introduce(self, header: StrandIs) -> None:
        """A strand that chunks or covers follow of."""
        topic = self.local(header.topic)
        if topic is None:
            return
        descriptor = Descriptor.decode(header.descriptor)
        if self._ground.life.identity.wrote(descriptor) and descriptor.strand not in topic.strands:
            self._ground.rewound(f"{self.plan.peer} holds strand {descriptor.strand:016x} of our present life, unknown here")
            return
        if descriptor.strand not in topic.strands:
            await topic.mailbox.put(Introduce(descriptor), bounded_elsewhere=True).wait()

    async def hand_over(self, topic: Topic, chunks: bytes) -> Envelope[Any]:
        """Leave chunks in the topic's mailbox; its window is the link's."""
        if topic.about.deleted:
            await self._ground.registry.ensure(topic.topic)
        return topic.mailbox.put(Apply(chunks), bounded_elsewhere=True)

    def applied(self, name: str, result: Applied) -> None:
        """What became of chunks."""
        board, peer = self._ground.board, self.plan.peer
        for number, oseq in result.moved:
            board.delivered(peer, name, number, oseq)
        for number in result.ahead:
            self._confirm[name, number] = None
        if result.forks or result.mine:
            topic = self._ground.registry.any(name)
            for fork in result.forks:
                if topic is not None:
                    self._fork(topic, fork.strand, fork.theirs)
            if result.mine:
                self._ground.rewound(f"{peer} sends records of our own open strand")

    def offered(self, header: CoverIs) -> None:
        """A cover came: it is applied when its time has come."""
        topic = self.local(header.topic)
        cover = Cover(header.strand, header.first, header.last, header.reason, header.prev_hash, header.hash)
        if not cover.is_sound():
            raise ProtocolViolation(f"a cover of strand {header.strand:016x} cannot be true")
        if topic is not None:
            self._ground.board.offer(self.plan.peer, topic.topic, cover, self._ground.clock.monotonic())

    async def apply_covers(self) -> None:
        """Apply every cover of this link whose time has come; confirm where we stand then."""
        line = self._ground.board.lines[self.plan.peer]
        for name, number in list(line.offered):
            side, topic = self._sides[name], self._ground.registry.any(name)
            strand = topic.strands.get(number) if topic is not None else None
            offer = side.offers.get(number)
            if topic is not None and strand is not None and offer is not None and number not in side.halted:
                await self._apply_cover(topic, strand, side, offer)

    async def _apply_cover(self, topic: Topic, strand: Strand, side: Side, offer: Offer) -> None:
        board, peer = self._ground.board, self.plan.peer
        name, number, after = topic.topic, offer.cover.strand, strand.durable_last
        if after >= offer.cover.last or offer.cover.first > after + 1:
            self._confirm[name, number] = None
            board.withdraw(peer, name, number)
            return
        through = self._judge(name, number, offer, after)
        if through is None:
            return
        if self.plan.on_gap == "halt" and offer.cover.reason not in VOLUNTARY:
            board.halt(peer, name, number, Halt("gap", strand.durable, Position(offer.cover.last, offer.cover.hash)))
            return
        result: Applied = await topic.mailbox.put(ApplyCover(offer.cover.cut(through)), bounded_elsewhere=True).wait()
        self.note("gap", f"{name} {number:016x} {offer.cover.first}..{through}: {offer.cover.reason}")
        if side.offers.get(number) is offer:
            self._confirm[name, number] = None
            board.withdraw(peer, name, number)
        self.applied(name, result)

    def _judge(self, name: str, number: int, offer: Offer, after: int) -> int | None:
        ground = self._ground
        topic = ground.registry.any(name)
        ttl_ms = topic.config.ttl_ms if topic is not None else 0
        if needs_no_waiting(offer.cover, bool(ttl_ms)):
            return offer.cover.last
        others = ground.board.witnesses(name, number, self.plan.peer)
        moved_at = ground.board.moved_at.get((name, number), 0.0)
        return judge(
            after, offer, others, lambda w: ground.worth_waiting(name, number, after, w), ground.clock.monotonic(), moved_at
        ).through

    # ---- telling the feed ----------------------------------------------------------------------------------------------------

    def change(self) -> FeedChange | None:
        """What the feed must be told since the last time: positions to serve from, strands not to serve; None: nothing."""
        if not self.complete:
            return None
        ground = self._ground
        line = ground.board.lines[self.plan.peer]
        wants: dict[str, list[At]] = {}
        not_from: dict[str, list[int]] = {}
        for name, number in [*line.dirty, *(c for c in self._confirm if c not in line.dirty)]:
            topic, side = ground.registry.any(name), self._sides.get(name)
            if topic is None or side is None or side.refused is not None:
                continue
            serve = ground.board.serves(line, name, number)
            before = side.asked.get(number, True)
            side.asked[number] = serve
            if serve and (not before or (name, number) in self._confirm):
                strand = topic.strands.get(number)
                at = (number, strand.durable_last, strand.durable_hash) if strand is not None else (number, 0, None)
                wants.setdefault(side.source, []).append(at)
            elif before and not serve:
                not_from.setdefault(side.source, []).append(number)
        line.dirty.clear()
        self._confirm.clear()
        sights, self._sights_told = ground.sights_for(self.plan.peer, self._sights_told)
        if not (wants or not_from or sights):
            return None
        return FeedChange(ground.life.identity.origin_id, wants, not_from, sights)

    # ---- numbers ---------------------------------------------------------------------------------------------------------------

    def lag_of(self, name: str) -> tuple[int, float]:
        """Records that the peer has and we have not, and how old (s) about the first of them is."""
        side = self._sides.get(name)
        topic = self._ground.registry.any(name)
        if side is None or side.refused is not None:
            return 0, 0.0
        records, oldest = 0, 0
        for number, told in side.told.items():
            strand = topic.strands.get(number) if topic is not None else None
            ours, ts = (strand.durable_last, strand.durable_ts) if strand is not None else (0, 0)
            if told.oseq > ours and number not in side.halted:
                records += told.oseq - ours
                base = max(side.behind.get(number, told.ts), ts if number in side.behind else 0)
                oldest = base if not oldest else min(oldest, base)
        return records, max(0.0, (self._ground.clock.wall_ms() - oldest) / 1000) if oldest else 0.0

    def lag_records(self) -> int:
        """Over all topics."""
        return sum(self.lag_of(name)[0] for name in self._sides)

    def halted_count(self) -> int:
        """Strands that stand still on this link."""
        return sum(len(side.halted) for side in self._sides.values())

    @property
    def sides(self) -> dict[str, Side]:
        """By local topic."""
        return self._sides


