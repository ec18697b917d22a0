"""Orders that travel: control chunks say what is to be erased, and every node that they come to does it, also with
records that come later (design/3-replication.md §3.2, §3.6).

The content ``erase`` is a JSON object: strand (16 hex digits) to ranges of oseqs, both ends meant. Contents that this
version does not know are kept and passed on, like all control chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import msgpack
import msgspec

from ...errors import ChunkCorrupt, ProtocolViolation
from ...records.chunk import STRAND, header_at
from ...records.record import records
from ...storage.store import Change, DropMark, PutMark, Store, marks_of_log
from ..log.log import Strand
from ..log.turn import Turn
from ..vectors import GROUP, heard
from .eraser import Eraser

ERASE = "erase"
RANGES_AT_ONCE = 4096  # in one control chunk
MOST_RANGES = 200_000  # of one strand that has not come here yet

Range = tuple[int, int]
_ranges = msgspec.json.Decoder(dict[str, list[Range]]).decode
_encode = msgspec.json.Encoder().encode


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same oseqs, in order, with as few ranges as can be."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def erase_orders(places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The contents that have these ``(strand, oseq)`` erased everywhere."""
    by_strand: dict[int, list[Range]] = {}
    for strand, oseq in places:
        by_strand.setdefault(strand, []).append((oseq, oseq))
    told: dict[str, list[Range]] = {}
    room = RANGES_AT_ONCE
    for strand, single in by_strand.items():
        for span in merged(single):
            told.setdefault(f"{strand:016x}", []).append(span)
            room -= 1
            if not room:
                yield _encode(told)
                told, room = {}, RANGES_AT_ONCE
    if told:
        yield _encode(told)


def ranges_of(text: str | bytes) -> dict[int, tuple[Range, ...]]:
    """What an ``erase`` content means. Raises ProtocolViolation when it cannot be."""
    try:
        told = {int(strand, 16): merged(ranges) for strand, ranges in _ranges(text).items()}
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolViolation("a control chunk does not tell what to erase") from error
    for ranges in told.values():
        if any(not 0 < first <= last < 1 << 53 for first, last in ranges):
            raise ProtocolViolation("a control chunk tells oseqs to erase that cannot be")
    return told


class Orders:
    """The orders that one turn follows. What they mean of strands that this log has not come to waits as a mark."""

    def __init__(self, turn: Turn, store: Store, eraser: Eraser) -> None:
        self._turn, self._store, self._eraser = turn, store, eraser

    def follow(self, packed: bytes) -> None:
        """Do what a control chunk says. Raises ProtocolViolation."""
        header = header_at(packed, 0)
        try:
            found = records(packed, 0, header)
        except ChunkCorrupt as error:
            raise ProtocolViolation("a control chunk cannot be read") from error
        for record in found:
            if record.tag == ERASE:
                for number, ranges in ranges_of(record.data).items():
                    self._erase(number, ranges)
            elif record.tag == GROUP:
                self._turn.marks.append(heard(self._turn.log.tid, header[STRAND], record.data))

    def _erase(self, number: int, ranges: tuple[Range, ...]) -> None:
        strand = self._turn.log.strands.get(number)
        last = strand.last if strand is not None else 0
        if strand is not None:
            self._erase_here(strand, ranges, 1, last)
        self._wait(number, (*self._turn.log.awaited.get(number, ()), *ranges), last)

    def _erase_here(self, strand: Strand, ranges: Iterable[Range], first: int, last: int) -> None:
        for low, high in ranges:
            if low > last or high < first:
                continue
            with suppress(ChunkCorrupt):  # what does not read back is never served
                self._eraser.erase_oseqs(strand.descriptor.strand, strand.sid, max(low, first), min(high, last))

    def came(self, number: int, last: int) -> None:
        """Records of a strand came that orders were waiting for."""
        waiting, strand = self._turn.log.awaited.get(number), self._turn.log.strands[number]
        if waiting:
            self._erase_here(strand, waiting, 1, last)
            self._wait(number, waiting, last)

    def _wait(self, number: int, ranges: Iterable[Range], last: int) -> None:
        """Remember of these ranges what lies behind ``last``."""
        log = self._turn.log
        left = merged((max(low, last + 1), high) for low, high in ranges if high > last)
        before = log.awaited.get(number, ())
        if left == before:
            return
        if len(left) > MOST_RANGES:
            raise ProtocolViolation(f"more than {MOST_RANGES} ranges of strand {number:016x} are to be erased before")
        mark = awaited_prefix(log.tid) + f"{number:016x}"
        change: Change = PutMark(mark, msgpack.packb(left)) if left else DropMark(mark)
        self._turn.marks.append(change)
        log.awaited = {**log.awaited, number: left} if left else {n: r for n, r in log.awaited.items() if n != number}


def awaited_prefix(tid: int) -> str:
    """What the marks begin with that hold orders for strands that have not come so far."""
    return f"{marks_of_log(tid)}erase/"


def load_awaited(marks: Iterable[tuple[str, bytes]]) -> Mapping[int, tuple[Range, ...]]:
    """Orders that wait, as stored."""
    return {int(mark.rsplit("/", 1)[1], 16): tuple((a, b) for a, b in msgpack.unpackb(kept)) for mark, kept in marks}
