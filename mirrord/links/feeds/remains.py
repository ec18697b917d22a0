"""What is sent of a pack of which records are deleted: chunks without them, covers for those of which nothing is left.

Where travelling deletions took the records nobody has more, so what is left goes out at once. Where somebody deleted
them on this node another one may still have them: the caller is told so, and gets what is left when it asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...records.chunk import COUNT, FIRST, HASH, PREV_HASH, STRAND, Header, chunks_in
from ...records.gap import DELETED, ERASED
from ...records.stripped import strip
from ...storage.store import Pack
from ..frames import Piece
from ..wire import Chunks, CoverIs, StrippedIs
from .standing import FORKED, GAP, SEND

if TYPE_CHECKING:
    from .lane import Lane


class Remains:
    """One walk over one such pack. Bit i of ``gone`` and ``erased`` is the pack's i-th seq."""

    def __init__(self, lane: Lane, pack: Pack, gone: int, erased: int) -> None:
        self._lane, self._pack, self._gone, self._erased = lane, pack, gone, erased
        self._body: list[bytes | memoryview] = []
        self._lacks = ""
        self._open: dict[int, CoverIs | StrippedIs] = {}  # told when the pack is done: as far as they reach by then
        self.pieces: list[Piece] = []
        self.taken = 0
        self.seq = pack.seq

    def walk(self, room: int) -> None:
        """Collect ``pieces`` worth about ``room`` bytes; ``seq`` is where the walk goes on."""
        for at, size, header in chunks_in(self._pack.body):
            if self.taken and self.taken + size > room:
                break
            self._look_at(at, size, header)
            self.seq += header[COUNT]
        else:
            self.seq = self._pack.last + 1
        self._flush()
        self.pieces += [Piece(told) for told in self._open.values()]

    def _look_at(self, at: int, size: int, header: Header) -> None:
        lane, number, first = self._lane, header[STRAND], header[FIRST]
        if number in self._open:
            self._extend(header)
            return
        standing, last = lane.standings.of(number), first + header[COUNT] - 1
        verdict = standing.verdict(first, last)
        if verdict is GAP:
            self.taken += lane.closing.close_up(self.pieces, number, first, self._put, self._flush)
            verdict = standing.verdict(first, last)
        if verdict is SEND:
            self._send(at, size, header)
        elif verdict is FORKED:
            self.pieces.append(lane.forked(number))

    def _bits(self, bits: int, header: Header) -> int:
        return bits >> self.seq - self._pack.seq & (1 << header[COUNT]) - 1

    def _send(self, at: int, size: int, header: Header) -> None:
        lane, number, count = self._lane, header[STRAND], header[COUNT]
        last, standing = header[FIRST] + count - 1, lane.standings.of(number)
        gone = self._bits(self._gone, header)
        only_erased = not gone & ~self._bits(self._erased, header)
        lane.introduce(self.pieces, number)
        if not gone:
            self._put(memoryview(self._pack.body)[at : at + size], "")
        elif only_erased or last <= standing.strip_to:
            self._put(strip(self._pack.body, at, header, gone), ERASED if only_erased else DELETED)
        else:
            self._tell(header, whole=gone.bit_count() == count)
            return
        self.taken += size
        standing.oseq = last

    def _put(self, packed: bytes | memoryview, lacks: str = "") -> None:
        if lacks != self._lacks:
            self._flush()
            self._lacks = lacks
        self._body.append(packed)

    def _flush(self) -> None:
        if self._body:
            self.pieces.append(Piece(Chunks(self._lane.no, self._lacks), tuple(self._body)))
            self._body.clear()

    # ---- what is told instead --------------------------------------------------------------------

    def _tell(self, header: Header, *, whole: bool) -> None:
        """The strand rests here: nothing is left of the chunk, or something that must be asked for."""
        lane, number, first = self._lane, header[STRAND], header[FIRST]
        last = first + header[COUNT] - 1
        lane.standings.of(number).rests = True
        if whole:
            self._open[number] = CoverIs(lane.no, number, first, last, DELETED, header[PREV_HASH], header[HASH])
        else:
            self._open[number] = StrippedIs(lane.no, number, first, last)

    def _extend(self, header: Header) -> None:
        """The strand rests already; what it is told may reach over chunks that follow."""
        number, last = header[STRAND], header[FIRST] + header[COUNT] - 1
        told = self._open[number]
        if told.last != header[FIRST] - 1:
            return
        gone = self._bits(self._gone, header)
        if isinstance(told, StrippedIs):
            if gone & ~self._bits(self._erased, header):  # of a chunk that is whole here others need not have more
                self._open[number] = StrippedIs(told.topic, number, told.first, last)
        elif gone.bit_count() == header[COUNT]:
            self._open[number] = CoverIs(told.topic, number, told.first, last, DELETED, told.prev_hash, header[HASH])
