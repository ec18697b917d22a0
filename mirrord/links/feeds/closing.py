"""What stands in a strand between a caller and the next records that there are: control chunks, and covers for what is
gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import ChunkCorrupt
from ...records.gap import CONTROL, ERASED, LOST, Cover
from ...topics.log.log import Strand
from ...topics.log.places import INSIDE, hash_at
from ..frames import Piece
from ..wire import Chunks, CoverIs

if TYPE_CHECKING:
    from .lane import Lane

CONTROLS = 256  # control chunks that are sent at once


class Closing:
    """Brings the caller of a lane over such places."""

    def __init__(self, lane: Lane, *, goes_on: bool) -> None:
        """``goes_on``: the caller takes covers that need no waiting in their place."""
        self._lane, self._goes_on = lane, goes_on

    def close_up(
        self, pieces: list[Piece], number: int, first: int, put: Callable[[bytes], None], flush: Callable[[], None]
    ) -> int:
        """Send what stands between the caller and ``first``, control chunks and covers; the bytes of the chunks. At a
        cover that the caller must answer the strand rests."""
        standing, size = self._lane.standings.of(number), 0
        while True:
            size += self._bring_to(number, first, put)
            if self._lane.begins_anew or standing.oseq >= first - 1:
                return size
            flush()
            if not self._cover(pieces, number, first - 1):
                return size

    def close_up_behind(self, pieces: list[Piece], strand: Strand, before: int) -> None:
        """The same where no pack follows. Then the walk looks again at what comes behind."""
        number, body = strand.descriptor.strand, list[bytes]()

        def flush() -> None:
            if body:
                pieces.append(Piece(Chunks(self._lane.no), (b"".join(body),)))
                body.clear()

        self._lane.introduce(pieces, number)
        self.close_up(pieces, number, before, body.append, flush)
        flush()
        if self._lane.wants(strand):
            self._lane.begins_anew = True

    def _bring_to(self, number: int, first: int, put: Callable[[bytes], None]) -> int:
        """Send the control chunks that stand right behind the caller. When there are more than one call looks at, the
        walk begins anew behind them."""
        topic, standing, size = self._lane.topic, self._lane.standings.of(number), 0
        rows = topic.reads.gaps(topic.tid, topic.strands[number].sid, standing.oseq + 1, CONTROLS)
        for gap in rows:
            if gap.reason != CONTROL or gap.first != standing.oseq + 1 or gap.first >= first:
                return size
            put(gap.ends)
            standing.oseq, size = gap.last, size + len(gap.ends)
        if len(rows) == CONTROLS:
            self._lane.begins_anew = True
        return size

    def _cover(self, pieces: list[Piece], number: int, until: int) -> bool:
        """Tell the gap between the caller and the next record that there is. Whether the strand goes on behind it; else
        it rests until the caller says where it stands then."""
        lane, standing = self._lane, self._lane.standings.of(number)
        lane.introduce(pieces, number)
        cover = self._gap_behind(lane.topic.strands[number], standing.oseq, until)
        goes_on = self._goes_on and cover.reason == ERASED
        if goes_on:
            standing.oseq = cover.last
        standing.rests = not goes_on
        told = CoverIs(lane.no, number, cover.first, cover.last, cover.reason, cover.prev_hash, cover.hash, goes_on)
        pieces.append(Piece(told))
        return goes_on

    def _gap_behind(self, strand: Strand, after: int, until: int) -> Cover:
        """Raises ChunkCorrupt where records are said to be which no pack holds: what may come back is not lost."""
        topic, number, sid = self._lane.topic, strand.descriptor.strand, strand.sid
        before = hash_at(strand, topic.tid, after, topic.reads)
        prev_hash = None if before is INSIDE else before
        for gap in topic.reads.gaps(topic.tid, sid, after + 1, 1):
            if gap.first <= after + 1 and gap.reason != CONTROL:
                return Cover(number, after + 1, gap.last, gap.reason, prev_hash, gap.hash)
            until = min(until, gap.first - 1)
        for part, seq in topic.reads.parts(sid, after + 1, 1):
            if part.first <= after + 1:
                told = f"strand {number:016x} is told to have {after + 1} in the pack at {seq}, which has not"
                raise ChunkCorrupt(f"topic {topic.topic}: {told}; fetch it from a peer", {"topic": topic.topic})
            until = min(until, part.first - 1)
        # Neither records nor a gap row: the store has lost them. Their hashes are not known here.
        return Cover(number, after + 1, until, LOST, prev_hash, None)
