"""Covers that a link's peer offers: held back until their time has come, then applied (design §3.3)."""

from __future__ import annotations

from collections.abc import Callable

from ...config.topology import LinkPlan
from ...errors import ChunkCorrupt, ProtocolViolation
from ...records.chunk import COUNT, FIRST, FLAGS, LAST_OSEQ, STRAND, STRIPPED, Header, chunks_in
from ...records.gap import DELETED, VOLUNTARY, Cover
from ...records.strand import Position
from ...topics.log.log import Strand
from ...topics.messages import Applied, ApplyCover
from ...topics.topic import Topic
from ..board.covers import Offer, applies_late, judge, needs_no_waiting
from ..board.line import Halt, Line, Side
from ..ground import Ground
from ..wire import CoverIs, StrippedIs
from .asking import Asking


class Offers:
    """The covers of one link."""

    def __init__(
        self, plan: LinkPlan, ground: Ground, line: Line, asking: Asking, note: Callable[[str, str], None]
    ) -> None:
        self._plan, self._ground, self._line, self._asking, self._note = plan, ground, line, asking, note

    def take(self, topic: Topic, header: CoverIs) -> None:
        """A cover came. Raises ProtocolViolation when it cannot be true."""
        cover = cover_of(header)
        if not cover.is_sound() or header.strand not in topic.strands:
            raise ProtocolViolation(f"a cover of strand {header.strand:016x} cannot be true")
        self._ground.board.offer(self._plan.peer, topic.topic, cover, self._ground.clock.monotonic())

    def take_stripped(self, topic: Topic, header: StrippedIs) -> None:
        """Chunks lack records at the peer. Raises ProtocolViolation when that cannot be true."""
        cover = Cover(header.strand, header.first, header.last, DELETED, None, None)
        if not cover.is_sound() or header.strand not in topic.strands:
            raise ProtocolViolation(f"stripped chunks of strand {header.strand:016x} cannot be true")
        board, now = self._ground.board, self._ground.clock.monotonic()
        board.offer(self._plan.peer, topic.topic, cover, now, stripped=True)

    def still_taken(self, topic: Topic, chunks: bytes) -> bytes:
        """These chunks without those that are stripped and not to be taken any more: another link came up that may have
        more. The peer then hears where we stand."""
        kept: list[bytes] = []
        try:
            for at, size, header in chunks_in(chunks):
                if not header[FLAGS] & STRIPPED or self._may_take(topic, header):
                    kept.append(chunks[at : at + size])
        except ChunkCorrupt as error:
            raise ProtocolViolation("a frame does not hold chunks") from error
        return b"".join(kept)

    def _may_take(self, topic: Topic, header: Header) -> bool:
        name, number, last = topic.topic, header[STRAND], header[FIRST] + header[COUNT] - 1
        strand = topic.strands.get(number)
        after = strand.durable_last if strand is not None else 0
        left = Offer(Cover(number, header[FIRST], last, DELETED, None, None), 0.0, stripped=True)
        others = self._ground.board.witnesses(name, number, self._plan.peer)
        if self._asking.takes(name, number, last) and applies_late(after, left, others)[0] >= last:
            return True
        self._asking.give_up(name, number)
        return False

    async def apply_due(self) -> list[tuple[str, Applied]]:
        """Apply every cover whose time has come; what became of each."""
        done: list[tuple[str, Applied]] = []
        for name, number in list(self._line.offered):
            side, topic = self._line.sides[name], self._ground.registry.any(name)
            strand = topic.strands.get(number) if topic is not None else None
            offer = side.offers.get(number)
            if topic is not None and strand is not None and offer is not None and number not in side.halted:
                applied = await self._apply(topic, strand, side, offer)
                if applied is not None:
                    done.append((name, applied))
        return done

    async def _apply(self, topic: Topic, strand: Strand, side: Side, offer: Offer) -> Applied | None:
        board, peer = self._ground.board, self._plan.peer
        name, number, after = topic.topic, offer.cover.strand, strand.durable_last
        if after >= offer.cover.last or offer.cover.first > after + 1:
            board.withdraw(peer, name, number)
            self._asking.confirm(name, number)
            return None
        through = self._judge(name, number, offer, after)
        if through is None:
            return None
        if offer.stripped:
            self._take_what_is_left(name, number, through)
            return None
        if self._plan.on_gap == "halt" and offer.cover.reason not in VOLUNTARY:
            board.halt(peer, name, number, Halt("gap", strand.durable, Position(offer.cover.last, offer.cover.hash)))
            return None
        result: Applied = await topic.mailbox.put(ApplyCover(offer.cover.cut(through)), bounded_elsewhere=True).wait()
        self._note("gap", f"{name} {number:016x} {offer.cover.first}..{through}: {offer.cover.reason}")
        if side.offers.get(number) is offer:
            board.withdraw(peer, name, number)
            self._asking.confirm(name, number)
        board.rejudge(name, number)  # our log stands elsewhere now: another peer may hold what comes next
        return result

    def _take_what_is_left(self, name: str, number: int, through: int) -> None:
        """Nobody has more up to there, a chunk's end: let the peer send its chunks as they are. Without any other link
        of the topic that holds for all that follows."""
        board, peer = self._ground.board, self._plan.peer
        if not board.witnesses(name, number, peer):
            through = LAST_OSEQ
        board.withdraw(peer, name, number)
        self._asking.take(name, number, through)

    def _judge(self, name: str, number: int, offer: Offer, after: int) -> int | None:
        ground = self._ground
        topic = ground.registry.any(name)
        ttl_ms = topic.config.ttl_ms if topic is not None else 0
        theirs_ms = self._line.sides[name].ttl_ms
        if needs_no_waiting(offer.cover, own_ttl_expired=0 < ttl_ms <= theirs_ms):
            return offer.cover.last
        others = ground.board.witnesses(name, number, self._plan.peer)
        moved_at = ground.board.moved_at.get((name, number), 0.0)
        return judge(
            after,
            offer,
            others,
            lambda w: ground.worth_waiting(name, number, after, w),
            ground.clock.monotonic(),
            moved_at,
        ).through


def cover_of(header: CoverIs) -> Cover:
    """What the frame tells, as topics know it."""
    return Cover(header.strand, header.first, header.last, header.reason, header.prev_hash, header.hash)
