"""Control chunks are kept for who comes later, and say the same again and again. So now and then a node says all that
its own ones said, and that still counts, anew in few: a snapshot. What it stands for need not be kept by anybody.

The snapshot and what it supersedes are one commit. Its last content (``supersedes``) has peers let go as well, once it
has come to them, so in any log stands either what was said or, later in the strands of the same node, what says it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...records.chunk import header_at
from ...records.gap import CONTROL, ERASED
from ...records.record import records
from ...storage.store import Gap, Store
from ..log.log import Spoken, Strand
from ..log.turn import Turn
from .contents import Range, Said, Span, bridged, supersedes
from .rows import GapRows

OLD_RANGES = 4096  # of one strand, of what this node itself does not hold any more


class Compactor:
    """What a turn that told something says anew."""

    def __init__(self, turn: Turn, store: Store) -> None:
        self._turn, self._store = turn, store
        self._rows = GapRows(turn, store)

    def run(self) -> None:
        """Say a snapshot when enough was said since the one before. Raises ChunkCorrupt."""
        log = self._turn.log
        if log.spoken is None:
            log.spoken = self._count()
        if log.spoken.calls_for_snapshot(self._turn.sizes.control_chunks, self._turn.sizes.control_bytes):
            self._turn.log.spoken = Spoken()  # also when what was said cannot be read: it is not tried at every turn
            self._say_anew()

    def _mine(self) -> list[Strand]:
        """Strands of this node, in all its lives."""
        log, me = self._turn.log, self._turn.identity
        return [strand for strand in log.strands.values() if strand.descriptor.origin == me.name and strand.last]

    def _count(self) -> Spoken:
        spoken = Spoken()
        for strand in self._mine():
            for gap in self._said_in(strand)[1]:
                spoken.add(len(gap.ends))
        return spoken

    def _say_anew(self) -> None:
        said, spans = Said(), dict[int, Span]()
        for strand in self._mine():
            first, rows = self._said_in(strand)
            for gap in rows:
                for record in records(gap.ends, 0, header_at(gap.ends, 0)):
                    said.hear(record.tag or "", record.data)
            if rows and strand.hash is not None:
                spans[strand.descriptor.strand] = first, strand.last, strand.hash
        size = self._turn.tell([*said.contents(self._joined), supersedes(spans)])
        for number, (first, last, _) in spans.items():
            self._rows.supersede(self._turn.log.strands[number], first, last)
        self._turn.log.spoken = Spoken(snapshot=size)

    def _said_in(self, strand: Strand) -> tuple[int, list[Gap]]:
        """The control chunks of a strand behind an oseq from which on all of it was heard here. In a strand of an
        earlier life that is the end of the last range that a peer told to be gone: some may have stood in it."""
        first, rows = 1, list[Gap]()
        for gap in self._rows.between(strand.sid, strand.controls_from, strand.last):
            if gap.reason == CONTROL:
                rows.append(gap)
            elif gap.reason != ERASED and strand is not self._turn.log.own:
                first, rows = gap.last + 1, []
        return first, rows

    def _joined(self, number: int, ranges: tuple[Range, ...]) -> Iterable[Range]:
        """Ranges of a strand that are erased, joined over control chunks and what is gone; of those below all that this
        node holds only the latest."""
        strand = self._turn.log.strands.get(number)
        if strand is None:
            return ranges
        rows = self._rows.between(strand.sid, ranges[0][0], ranges[-1][1])
        spans = bridged(ranges, [(gap.first, gap.last) for gap in rows if gap.reason in (CONTROL, ERASED)])
        held = next((part.first for part, _ in self._store.parts(strand.sid, 1, 1)), strand.last + 1)
        old = sum(last < held for _, last in spans)
        return spans[max(0, old - OLD_RANGES) :]
