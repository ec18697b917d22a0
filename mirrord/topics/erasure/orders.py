"""Orders that travel: control chunks say what is to be erased, and every node that they come to does it, also with
records that come later (design/3-replication.md §3.2, §3.6).

Contents that this version does not know are kept and passed on, like all control chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgpack

from ...errors import ChunkCorrupt, ProtocolViolation
from ...records.chunk import FIRST, STRAND, TS_LAST, Header, header_at
from ...records.record import records
from ...storage.store import Change, DropMark, PutMark, Store, marks_of_log
from ..log.log import Strand
from ..log.places import hash_at
from ..log.turn import Turn
from ..vectors import GROUP, MOST_GROUPS, elsewhere, longest_silent, mark_of, raised, told_of
from .contents import ERASE, SUPERSEDES, Range, merged, ranges_of, spans_of
from .eraser import Eraser
from .rows import GapRows

MOST_RANGES = 200_000  # of one strand that has not come here yet


class Orders:
    """The orders that one turn follows. What they mean of strands that this log has not come to waits as a mark."""

    def __init__(self, turn: Turn, store: Store, eraser: Eraser) -> None:
        self._turn, self._store, self._eraser = turn, store, eraser
        self._heard: dict[str, bytes] = {}  # marks of groups that this turn heard of

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
                self._hear_of_group(record.data, header[TS_LAST])
            elif record.tag == SUPERSEDES:
                self._supersede(header, record.data)

    def _hear_of_group(self, text: str | bytes, at_ms: int) -> None:
        group, vector = told_of(text)
        mark = mark_of(self._turn.log.tid, group)
        before = self._heard.get(mark) or self._store.mark(mark)
        if before is None:
            self._make_room()
        change = raised(mark, before, vector, at_ms)
        self._heard[mark] = change.value
        self._turn.marks.append(change)

    def _make_room(self) -> None:
        """For one group more: of too many, some of which nobody told for longest are forgotten."""
        log = self._turn.log
        if log.groups is None or log.groups >= MOST_GROUPS:
            marks = [(name, kept) for name, kept in self._store.marks(elsewhere(log.tid)) if name not in self._heard]
            log.groups = len(marks) + len(self._heard)
            if log.groups >= MOST_GROUPS:
                silent = longest_silent(marks, MOST_GROUPS // 10)
                self._turn.marks += map(DropMark, silent)
                log.groups -= len(silent)
        log.groups += 1

    def _supersede(self, header: Header, text: str | bytes) -> None:
        """A node speaks for its own strands, and of another one than it speaks in only where our histories are one."""
        log, rows = self._turn.log, GapRows(self._turn, self._store)
        speaker = log.strands[header[STRAND]]
        for number, (first, last, digest) in spans_of(text).items():
            strand = log.strands.get(number)
            if strand is None or strand.descriptor.origin != speaker.descriptor.origin:
                continue
            if strand is speaker:
                known = last < header[FIRST]
            else:
                known = last <= strand.durable_last and hash_at(strand, log.tid, last, self._store) == digest
            if known:
                rows.supersede(strand, first, last)

    def _erase(self, number: int, ranges: tuple[Range, ...]) -> None:
        strand = self._turn.log.strands.get(number)
        last = strand.last if strand is not None else 0
        if strand is not None:
            self._erase_here(strand, ranges, last)
        self._wait(number, (*self._turn.log.awaited.get(number, ()), *ranges), last)

    def _erase_here(self, strand: Strand, ranges: Iterable[Range], last: int) -> None:
        here = [(low, min(high, last)) for low, high in ranges if low <= last]
        self._eraser.erase_oseqs(strand.descriptor.strand, strand.sid, here)

    def came(self, number: int, last: int) -> None:
        """Records of a strand came that orders were waiting for."""
        waiting, strand = self._turn.log.awaited.get(number), self._turn.log.strands[number]
        if waiting:
            self._erase_here(strand, waiting, last)
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
