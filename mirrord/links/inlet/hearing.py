"""What a feed says of positions: for the board and for gossip, and what of it cannot be true of one strand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...config.topology import LinkPlan
from ...errors import ProtocolViolation
from ...records.strand import Position
from ...topics.log.places import contradicts
from ...topics.topic import Topic
from ..board.line import Halt, Told
from ..feeds.telling import Tally
from ..ground import Ground
from ..wire import ForkIs, Head, Rewound, Stamp
from ..wire import Told as WireTold

MOST_POSITIONS = 1_000_000  # that a peer may tell: its words must not fill our memory


class Hearing:
    """Of one link; filled anew by each feed."""

    def __init__(self, plan: LinkPlan, ground: Ground, note: Callable[[str, str], None]) -> None:
        self._peer, self._ground, self._note = plan.peer, ground, note
        self.tally = Tally()
        self.stamp: Stamp = (0, 0, 0)  # the peer's: what comes now is of this moment of it

    def begin(self) -> None:
        """Forget the feed before."""
        self.tally = Tally()

    def count(self, no: int, strand: int, oseq: int) -> None:
        """A position was told, of a topic that is taken or not. Raises ProtocolViolation when it is one too many."""
        self.tally.note(no, strand, oseq)
        if self.tally.positions > MOST_POSITIONS:
            raise ProtocolViolation(f"the peer tells more than {MOST_POSITIONS} positions")

    def hear(self, topic: Topic, told: WireTold) -> None:
        """The peer stands there in a strand of this local topic."""
        number, oseq, digest, whole_from, ts = told
        ground, board = self._ground, self._ground.board
        board.hear(self._peer, topic.topic, number, Told(oseq, digest, whole_from, ts), ground.clock.monotonic())
        source = board.lines[self._peer].sides[topic.topic].source
        ground.gossip.matrix.see(self._peer, source, number, oseq, ts, self.stamp)
        strand = topic.strands.get(number)
        if strand is None:
            return
        theirs = Position(oseq, digest)
        if strand is topic.own_strand and oseq > strand.durable_last:
            ground.rewound(f"{self._peer} holds our strand {number:016x} to {oseq}, we only to {strand.durable_last}")
        elif contradicts(strand, topic.tid, theirs, topic.reads):
            self.fork(topic, number, theirs)

    def on_head(self, head: Head, topics: Mapping[int, Topic]) -> None:
        """A heartbeat. Raises ProtocolViolation when it does not add up with what was told before."""
        board = self._ground.board
        board.beat(self._peer)
        self.stamp = head.stamp
        for no, number, oseq, digest, ts in head.moves:
            self.count(no, number, oseq)
            if (topic := topics.get(no)) is not None:
                self.hear(topic, (number, oseq, digest, 0, ts))
                board.rejudge(topic.topic, number)
        if head.pending is not None:
            sides = board.lines[self._peer].sides
            for side in sides.values():
                side.pending.clear()
            for no, number, first, last in head.pending:
                if (topic := topics.get(no)) is not None:
                    sides[topic.topic].pending[number] = (first, last)
        self._ground.gossip.saw(head.sights)
        if head.digest != self.tally.digest:
            raise ProtocolViolation("what the peer told of its positions does not add up to its digest")

    # ---- what cannot be --------------------------------------------------------------------------

    def reached(self, name: str, number: int, oseq: int) -> None:
        """Our log came to a place. What peers told of it before can be compared only now."""
        topic = self._ground.registry.any(name)
        for peer, theirs in self._ground.board.reached(name, number, oseq):
            if topic is not None and contradicts(topic.strands[number], topic.tid, theirs, topic.reads):
                self.fork(topic, number, theirs, peer)

    def fork(self, topic: Topic, number: int, theirs: Position, peer: str | None = None) -> None:
        """The strand halts on the link of ``peer``, this one's if none is named."""
        peer = peer or self._peer
        strand, board = topic.strands[number], self._ground.board
        if number not in board.lines[peer].sides[topic.topic].halted:
            where = f"{topic.topic} strand {number:016x}"
            self._note("fork", f"{where}: here {strand.last}, at {peer} {theirs.oseq}")
        board.halt(peer, topic.topic, number, Halt("fork", strand.durable, theirs))
        if strand is topic.own_strand:
            self._ground.rewound(f"{peer} holds another content of our open strand {number:016x}")

    def on_fork(self, fork: ForkIs, topic: Topic) -> None:
        """The peer says that our position contradicts what it has."""
        if fork.strand in topic.strands:
            self.fork(topic, fork.strand, Position(*fork.here))

    def on_rewound(self, frame: Rewound, topic: Topic) -> None:
        """The peer holds more of a strand of our present life than we told; perhaps more than we have."""
        strand = topic.strands.get(frame.strand)
        if strand is None or strand.durable_last < frame.told:
            self._ground.rewound(
                f"{self._peer} holds {frame.told} records of our strand {frame.strand:016x} of {topic.topic}"
            )
