"""What a link knows of the feed in progress, and where each frame goes."""

from __future__ import annotations

from collections import deque
from typing import Any

from ...actors.mailbox import Envelope
from ...config.topology import LinkPlan
from ...errors import PeerRefused, PeerUnreachable, ProtocolViolation
from ...records.gap import DELETED, ERASED
from ...records.strand import Descriptor
from ...topics.messages import Applied, Apply, ApplyCover, Introduce
from ...topics.topic import Topic
from ..ground import Ground
from ..wire import (
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
    StrandIs,
    StrippedIs,
    Topics,
)
from .asking import Asking
from .directory import Directory
from .hearing import Hearing
from .offers import Offers, cover_of

LONGEST_NOTE = 500
MOST_NOTES = 1000  # of one link; a node keeps the last 10 000 over some ten links


class Inlet:
    """Filled anew by each feed; the flight recorder of the link stays."""

    def __init__(self, plan: LinkPlan, ground: Ground) -> None:
        self.plan, self._ground = plan, ground
        line = ground.board.lines[plan.peer]
        self.asking = Asking(plan, ground, line)
        self._hearing = Hearing(plan, ground, self.note)
        self._directory = Directory(plan, ground, self.asking, self._hearing, self.note)
        self._offers = Offers(plan, ground, line, self.asking, self.note)
        self.again_at_once = False
        self.notes: deque[dict[str, Any]] = deque(maxlen=MOST_NOTES)
        self._hello: Hello | None = None
        self.clock_offset_ms = 0

    def note(self, action: str, detail: str = "") -> None:
        """One event for the flight recorder."""
        self.notes.append({"ts": self._ground.clock.wall_ms(), "action": action, "detail": detail[:LONGEST_NOTE]})

    async def request(self, heartbeat_ms: int, max_frame_bytes: int) -> FeedRequest:
        """What to open the next feed with; forgets the one before."""
        self._hello = None
        self._hearing.begin()
        self._directory.begin()
        return await self.asking.request(heartbeat_ms, max_frame_bytes)

    # ---- what the peer says ----------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether hello and all its topics have come."""
        return self._hello is not None and self._directory.known >= self._hello.topics

    async def on_frame(self, header: Frame) -> None:
        """Everything but chunks, covers and descriptors. Raises PeerRefused, ProtocolViolation, PeerUnreachable."""
        topics = self._directory.topics
        match header:
            case Hello():
                self._greet(header)
            case Topics():
                if self._hello is None:
                    raise ProtocolViolation("topics came before hello")
                await self._directory.on_topics(header)
            case Head():
                self._hearing.on_head(header, topics)
            case ForkIs():
                if (topic := topics.get(header.topic)) is not None:
                    self._hearing.on_fork(header, topic)
            case Rewound():
                if (topic := topics.get(header.topic)) is not None:
                    self._hearing.on_rewound(header, topic)
            case NeedClosed():
                if self.asking.sent_closed:
                    raise ProtocolViolation("the peer asks again for the list of closed strands that it was just given")
                self.asking.send_closed = self.again_at_once = True
                raise PeerUnreachable("the peer asks for the list of closed strands")
            case Refused(topic=None):
                raise PeerRefused(header.reason, header.message, header.retry_after_s)
            case Refused():
                self._directory.refuse(str(header.topic), header.reason)
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
        self._hearing.stamp = hello.stamp
        self.clock_offset_ms = hello.clock_ms - self._ground.clock.wall_ms()
        if hello.topology_hash != self._ground.topology_hash:
            self.note("other topology", f"{hello.node} runs another topology than this node")

    def forget_untold(self) -> None:
        """The hello is complete: of topics that it does not name the peer has nothing."""
        self._directory.forget_untold()

    @property
    def same_topology(self) -> bool | None:
        """Whether the peer runs the same topology; None before it said."""
        return None if self._hello is None else self._hello.topology_hash == self._ground.topology_hash

    # ---- records and covers ----------------------------------------------------------------------

    def local(self, no: int) -> Topic | None:
        """The local topic of a number; None when it is refused here. Raises ProtocolViolation for one never told."""
        if self._hello is None:
            raise ProtocolViolation("records came before hello")
        return self._directory.topics.get(no)

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
            self._hearing.reached(name, number, oseq)
            board.delivered(peer, name, number, oseq)
        for number in result.ahead:
            self.asking.confirm(name, number)
        if result.forks or result.mine:
            topic = self._ground.registry.any(name)
            for fork in result.forks:
                if topic is not None:
                    self._hearing.fork(topic, fork.strand, fork.theirs)
            if result.mine:
                self._ground.rewound(f"{peer} sends records of our own open strand")

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
