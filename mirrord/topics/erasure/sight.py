"""What a turn sees of the log's packs: those that it makes itself and those of the store. And what is in them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from ...errors import ChunkCorrupt
from ...records.chunk import COUNT, FIRST, KIND, RECORDS, STRAND, chunks_in, missing
from ...records.record import rows
from ...records.stripped import text_bytes
from ...storage.store import Pack

MOST_CONTENTS = 64  # packs whose contents are remembered, per topic


class Reads(Protocol):
    """Committed packs, from the one that holds a seq on (or the next one behind it)."""

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]: ...


class Contents(Struct, frozen=True):
    """One pack without its payloads: where its chunks begin, whose they are, and how long each record's text is."""

    seq: int
    last: int
    starts: list[int]  # local seq of each chunk's first record
    places: list[tuple[int, int]]  # strand and first oseq of each chunk
    texts: array[int]

    def place(self, seq: int) -> tuple[int, int]:
        """Strand and oseq of a record."""
        at = bisect_right(self.starts, seq) - 1
        strand, first = self.places[at]
        return strand, first + seq - self.starts[at]

    def text(self, seq: int) -> int:
        """Bytes of its JSON text."""
        return self.texts[seq - self.seq]


def contents_of(pack: Pack) -> Contents:
    """Raises ChunkCorrupt."""
    starts: list[int] = []
    places: list[tuple[int, int]] = []
    texts = array("Q")
    seq = pack.seq
    for at, _, header in chunks_in(pack.body):
        if header[KIND] == RECORDS:
            starts.append(seq)
            places.append((header[STRAND], header[FIRST]))
            gone = missing(pack.body, at, header)
            try:
                for i, (_, _, _, meta, data) in enumerate(rows(pack.body, at, header)):
                    texts.append(0 if gone >> i & 1 else text_bytes(data) + text_bytes(meta))
            except (TypeError, ValueError) as error:
                raise ChunkCorrupt(f"pack {pack.seq} holds a record of another shape") from error
            seq += header[COUNT]
    return Contents(pack.seq, pack.last, starts, places, texts)


def tagged(pack: Pack) -> Iterator[tuple[int, str]]:
    """``(seq, tag)`` of each record that has one. Raises ChunkCorrupt."""
    seq = pack.seq
    for at, _, header in chunks_in(pack.body):
        if header[KIND] == RECORDS:
            try:
                for i, (_, tag, _, _, _) in enumerate(rows(pack.body, at, header)):
                    if tag is not None:
                        yield seq + i, tag
            except (TypeError, ValueError) as error:
                raise ChunkCorrupt(f"pack {pack.seq} holds a record of another shape") from error
            seq += header[COUNT]


class Memory:
    """Contents of packs that were looked into lately: a queue is settled record by record, out of the same packs."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], Contents] = OrderedDict()

    def contents(self, pack: Pack) -> Contents:
        """What is in a pack. Raises ChunkCorrupt."""
        key = pack.seq, pack.last
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = contents_of(pack)
            if len(self._kept) > MOST_CONTENTS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found

    def covering(self, seq: int) -> Contents | None:
        """Contents that are remembered of the pack that holds a seq."""
        for (first, last), found in reversed(self._kept.items()):
            if first <= seq <= last:
                return found
        return None

    def clear(self) -> None:
        """Another log: its seqs mean other records."""
        self._kept.clear()


class Sight:
    """One turn's view. ``fresh`` are packs of the turn in flight, behind all that is committed."""

    def __init__(self, tid: int, reads: Reads, memory: Memory, fresh: Sequence[Pack]) -> None:
        self._tid, self._reads, self._memory, self._fresh = tid, reads, memory, fresh
        self._of_turn = Memory()  # the turn may be refused, and its seqs be those of other records in the next one

    def pack(self, seq: int) -> Pack | None:
        """The pack that holds the record at ``seq``; None when no record has it. Raises ChunkCorrupt."""
        for pack in self._fresh:
            if pack.seq <= seq <= pack.last:
                return pack
        if self._fresh and seq > self._fresh[0].seq:
            return None
        found = self._reads.packs(self._tid, seq, 1)
        return found[0] if found and found[0].seq <= seq <= found[0].last else None

    def contents(self, seq: int) -> Contents | None:
        """What is in the pack that holds ``seq``, or in one that was merged into it. Raises ChunkCorrupt."""
        known = self._memory.covering(seq)
        return known if known is not None else self.whole(seq)

    def whole(self, seq: int) -> Contents | None:
        """What is in the pack that holds ``seq``, as it is now. Raises ChunkCorrupt."""
        pack = self.pack(seq)
        if pack is None:
            return None
        fresh = any(pack is own for own in self._fresh)
        return (self._of_turn if fresh else self._memory).contents(pack)

    def fresh(self) -> Iterator[Contents]:
        """What is in the packs of the turn. Raises ChunkCorrupt."""
        return map(self._of_turn.contents, self._fresh)
