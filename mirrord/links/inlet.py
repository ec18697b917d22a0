"""What a link knows of the feed in progress: which local topic each number means, and what was said about it."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..actors.mailbox import Envelope
from ..config.topic import topic_config
from ..config.topology import LinkPlan
from ..errors import MirrordError, PeerRefused, PeerUnreachable, ProtocolViolation, Unavailable
from ..records.gap import DELETED, ERASED
from ..records.strand import Descriptor, Position
from ..topics.log.places import contradicts
from ..topics.messages import Applied, Apply, ApplyCover, Created, Introduce
from ..topics.topic import Topic
from .asking import Asking
from .board.board import Halt, Side, Told
from .feeds.telling import Tally
from .ground import Ground
from .offers import Offers, cover_of
from .wire import (
    PROTO,
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
    Stamp,
    StrandIs,
    StrippedIs,
    TopicInfo,
    Topics,
)
from .wire import Told as WireTold

MOST_TOPICS, MOST_POSITIONS = 100_000, 1_000_000  # that a peer may tell: its words must not fill our memory
LONGEST_NOTE = 500
MOST_NOTES = 1000  # of one link; a node keeps the last 10 000 over some ten links


class Inlet:
    """Filled anew by each feed; the flight recorder of the link stays."""

    def __init__(self, plan: LinkPlan, ground: Ground) -> None:
        self.plan, self._ground = plan, ground
        line = ground.board.lines[plan.peer]
        self.asking = Asking(plan, ground, line)
        self._offers = Offers(plan, ground, line, self.asking, self.note)
        self._sides = line.sides
        self.again_at_once = False
        self.notes: deque[dict[str, Any]] = deque(maxlen=MOST_NOTES)
        self._topics: dict[int, Topic] = {}
        self._known = 0
        self._hello: Hello | None = None
        self._tally = Tally()
        self._stamp: Stamp = (0, 0, 0)
        self.clock_offset_ms = 0
        self.may_be_behind = False  # something was told that was not here then: whoever looks and finds none says so

    def note(self, action: str, detail: str = "") -> None:
        """One event for the flight recorder."""
        self.notes.append({"ts": self._ground.clock.wall_ms(), "action": action, "detail": detail[:LONGEST_NOTE]})

    async def request(self, heartbeat_ms: int, max_frame_bytes: int) -> FeedRequest:
        """What to open the next feed with; forgets the one before."""
        self._topics, self._known, self._hello = {}, 0, None
        self._tally = Tally()
        return await self.asking.request(heartbeat_ms, max_frame_bytes)

    # ---- what the peer says ----------------------------------------------------------------------

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
                if self.asking.sent_closed:
                    raise ProtocolViolation("the peer asks again for the list of closed strands that it was just given")
                self.asking.send_closed = self.again_at_once = True
                raise PeerUnreachable("the peer asks for the list of closed strands")
            case Refused(topic=None):
                raise PeerRefused(header.reason, header.message, header.retry_after_s)
            case Refused():
                if (local := self.asking.local_name(str(header.topic))) is not None:
                    self._refuse_topic(local, header.reason)
            case _:
                raise ProtocolViolation("a frame came where it has no place")

    def _greet(self, hello: Hello) -> None:
        me = self._ground.life.identity
        if self._hello is not None:
            raise ProtocolViolation("a second hello came")
        if hello.proto != PROTO:
            raise PeerRefused("too-old", f"the peer speaks feed protocol {hello.proto}, this node {PROTO}")
        if hello.node != self.plan.peer:
            raise PeerRefused(
                "wrong-node",
                f"{self.plan.url} is node {hello.node!r}, not {self.plan.peer!r}: correct url or via",
            )
        if hello.origin_id == me.origin_id:
            raise PeerRefused("duplicate-node", "the peer has our origin id: was the data directory copied?")
        for line in self._ground.board.lines.values():
            if line.up and line.peer != self.plan.peer and line.origin_id == hello.origin_id:
                raise PeerRefused(
                    "duplicate-node",
                    f"{self.plan.peer} and {line.peer} have one origin id: was a data directory copied?",
                )
        self._hello = hello
        self._ground.board.lines[self.plan.peer].origin_id = hello.origin_id
        self._stamp = hello.stamp
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
        if header.event == "reconfigured":
            await self._correct(header.topics)
            return
        for info in header.topics:
            if header.event == "deleted":
                self.note("topic deleted", info.name)
                if (gone := self._topics.pop(info.no, None)) is not None:
                    self._ground.board.tells_only(self.plan.peer, gone.topic, ())
                self._tally.forget(info.no)
                continue
            for number, oseq, *_ in info.vector:
                self._note(info.no, number, oseq)
            self._known += header.event == "there"
            local = self.asking.local_name(info.name)
            if local is None:
                continue
            if local not in self._sides and len(self._sides) >= MOST_TOPICS:
                raise ProtocolViolation(f"the peer tells more than {MOST_TOPICS} topics")
            side = self._sides.setdefault(local, Side(info.name))
            side.ttl_ms = info.ttl_ms
            side.average_bytes = info.text_bytes / info.count if info.count else side.average_bytes
            try:
                topic = await self._local_topic(local, info)
            except Unavailable:
                raise  # the disk, not the topic: the feed is tried again
            except MirrordError as error:
                self._refuse_topic(local, f"{error.code}: {error}")
                continue
            side.refused = None
            self._topics[info.no] = topic
            self._ground.board.tells_only(self.plan.peer, local, {told[0] for told in info.vector})
            for told in info.vector:
                self._hear(topic, told)
                if self._ground.board.lines[self.plan.peer].up:  # else all is judged when the hello is complete
                    self._ground.board.rejudge(local, told[0])

    def forget_untold(self) -> None:
        """The hello is complete: of topics that it does not name the peer has nothing."""
        there = {topic.topic for topic in self._topics.values()}
        for name in self._sides:
            if name not in there:
                self._ground.board.tells_only(self.plan.peer, name, ())

    async def _local_topic(self, local: str, info: Any) -> Topic:
        """The local topic, created with the source's type, ttl, class and home if it is not there. One that was deleted
        here stays so until newer records come."""
        there = self._ground.registry.any(local)
        if there is not None and there.about.deleted:
            return there
        taken = {"type": info.type, "ttl_ms": info.ttl_ms, "durability": info.durability, "home": info.home or None}
        renamed = info.name if local != info.name else None
        created = Created(info.creator or self.plan.peer, info.created_ms or self._ground.clock.wall_ms())
        topic, _ = await self._ground.registry.ensure(
            local, self._ground.declared(local, topic_config(taken)), renamed_from=renamed, created=created
        )
        if topic.config.type != info.type:
            raise PeerRefused(
                "topic-type", f"{local} is a {topic.config.type} here and a {info.type} at {self.plan.peer}"
            )
        await self._hear_of_creator(topic, info)
        return topic

    async def _correct(self, infos: list[TopicInfo]) -> None:
        """The peer heard of an earlier creator of topics that it told before."""
        for info in infos:
            topic = self._topics.get(info.no)
            if topic is not None:
                await self._hear_of_creator(topic, info)

    async def _hear_of_creator(self, topic: Topic, info: TopicInfo) -> None:
        """Of a queue's creators the earliest grants its leases: two nodes may have made it without knowing."""
        told, about = (info.created_ms, info.creator), topic.about
        if info.type == "queue" and info.creator and info.created_ms > 0 and told < (about.created_ms, about.creator):
            await topic.mailbox.put(Created(info.creator, info.created_ms), bounded_elsewhere=True).wait()
            self.note("queue has another home", f"{topic.topic}: {info.creator} created it first")
            topic.bell.ring()

    def _refuse_topic(self, name: str, reason: str) -> None:
        self._ground.board.refuse(self.plan.peer, name, self.asking.source_name(name) or name, reason)
        self.note("topic refused", f"{name}: {reason}")

    def _hear(self, topic: Topic, told: WireTold) -> None:
        number, oseq, digest, whole_from, ts = told
        ground, clock, side = self._ground, self._ground.clock, self._sides[topic.topic]
        ground.board.hear(self.plan.peer, topic.topic, number, Told(oseq, digest, whole_from, ts), clock.monotonic())
        self.may_be_behind = self.may_be_behind or number in side.behind
        ground.gossip.matrix.see(self.plan.peer, side.source, number, oseq, ts, self._stamp)
        strand = topic.strands.get(number)
        if strand is None:
            return
        theirs = Position(oseq, digest)
        if strand is topic.own_strand and oseq > strand.durable_last:
            ground.rewound(
                f"{self.plan.peer} holds our strand {number:016x} to {oseq}, we only to {strand.durable_last}"
            )
        elif contradicts(strand, topic.tid, theirs, topic.reads):
            self._fork(topic, number, theirs)

    def _fork(self, topic: Topic, number: int, theirs: Position, peer: str | None = None) -> None:
        peer = peer or self.plan.peer
        strand, board = topic.strands[number], self._ground.board
        if number not in board.lines[peer].sides[topic.topic].halted:
            where = f"{topic.topic} strand {number:016x}"
            self.note("fork", f"{where}: here {strand.last}, at {peer} {theirs.oseq}")
        board.halt(peer, topic.topic, number, Halt("fork", strand.durable, theirs))
        if strand is topic.own_strand:
            self._ground.rewound(f"{peer} holds another content of our open strand {number:016x}")

    def _on_head(self, head: Head) -> None:
        board = self._ground.board
        board.beat(self.plan.peer)
        self._stamp = head.stamp
        for no, number, oseq, digest, ts in head.moves:
            self._note(no, number, oseq)
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
        self._ground.gossip.saw(head.sights)
        if head.digest != self._tally.digest:
            raise ProtocolViolation("what the peer told of its positions does not add up to its digest")

    def _note(self, no: int, number: int, oseq: int) -> None:
        self._tally.note(no, number, oseq)
        if self._tally.positions > MOST_POSITIONS:
            raise ProtocolViolation(f"the peer tells more than {MOST_POSITIONS} positions")

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
            self._ground.rewound(
                f"{self.plan.peer} holds {frame.told} records of our strand {frame.strand:016x} of {topic.topic}"
            )

    # ---- records and covers ----------------------------------------------------------------------

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
            self._ground.rewound(
                f"{self.plan.peer} holds strand {descriptor.strand:016x} of our present life, unknown here"
            )
            return
        if descriptor.strand not in topic.strands:
            await topic.mailbox.put(Introduce(descriptor), bounded_elsewhere=True).wait()

    async def hand_over(self, topic: Topic, chunks: bytes, lacks: str) -> Envelope[Any]:
        """Leave chunks in the topic's mailbox; its window is the link's."""
        if topic.about.deleted:
            await self._ground.registry.ensure(topic.topic)
        if lacks == DELETED:
            chunks = self._offers.still_taken(topic, chunks)
        return topic.mailbox.put(Apply(chunks, lacks=lacks), bounded_elsewhere=True)

    async def hand_over_cover(self, topic: Topic, header: CoverIs) -> Envelope[Any]:
        """The same with a cover that needs no waiting, between the chunks that it stands between."""
        if header.reason != ERASED:
            raise ProtocolViolation(f"a cover for records that are {header.reason} must be waited with")
        if topic.about.deleted:
            await self._ground.registry.ensure(topic.topic)
        return topic.mailbox.put(ApplyCover(cover_of(header)), bounded_elsewhere=True)

    def applied(self, name: str, result: Applied) -> None:
        """What became of chunks, or of a cover."""
        board, peer = self._ground.board, self.plan.peer
        for number, oseq in result.moved:
            self._compare_reached(name, number, oseq)
            board.delivered(peer, name, number, oseq)
        for number in result.ahead:
            self.asking.confirm(name, number)
        if result.forks or result.mine:
            topic = self._ground.registry.any(name)
            for fork in result.forks:
                if topic is not None:
                    self._fork(topic, fork.strand, fork.theirs)
            if result.mine:
                self._ground.rewound(f"{peer} sends records of our own open strand")

    def _compare_reached(self, name: str, number: int, oseq: int) -> None:
        """What a peer told of a place that our log had not come to can be compared only now."""
        topic = self._ground.registry.any(name)
        for peer, theirs in self._ground.board.reached(name, number, oseq):
            if topic is not None and contradicts(topic.strands[number], topic.tid, theirs, topic.reads):
                self._fork(topic, number, theirs, peer)

    def offered(self, header: CoverIs) -> None:
        """A cover came: it is applied when its time has come."""
        topic = self.local(header.topic)
        if topic is not None:
            self._offers.take(topic, header)

    def stripped(self, header: StrippedIs) -> None:
        """Chunks lack records at the peer: they are taken when nobody has more."""
        topic = self.local(header.topic)
        if topic is not None:
            self._offers.take_stripped(topic, header)

    async def apply_covers(self) -> None:
        """Apply every cover of this link whose time has come."""
        for name, result in await self._offers.apply_due():
            self.applied(name, result)

    def change(self) -> FeedChange | None:
        """What the feed must be told since the last time; None: nothing."""
        return self.asking.change() if self.complete else None

    # ---- numbers ---------------------------------------------------------------------------------

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
