"""A page under way: which records of a pack a reader is shown, and where the page is full."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from ...errors import ChunkCorrupt, ProtocolViolation
from ...records.chunk import COUNT, FIRST, KIND, RECORDS, STRAND, TEXT_LEN, TS_FIRST, Header, chunks_in, tags_of
from ...records.record import rows
from ...storage.store import Pack
from .face import Column, Face, Row, View, texts


class Page(Struct):
    """The records as JSON text, how far it came, and whether it has no more room."""

    cursor: int
    records: list[str]
    size: int = 0
    scanned: int = 0  # records looked at, and chunks that could be skipped whole
    full: bool = False
    lead: str = ""

    def add_pack(self, pack: Pack, floor: int, until: int, view: View, faces: dict[int, Face], gone: int = 0) -> None:
        """Records of the pack above the cursor and the floor and not beyond ``until``, as far as the page has room.
        ``gone`` are the deleted ones: bit i is the pack's i-th seq."""
        seq, body = pack.seq, pack.body
        for at, _, header in chunks_in(body):
            if header[KIND] != RECORDS:
                continue
            last = seq + header[COUNT] - 1
            after = max(self.cursor, floor)
            dead = gone >> seq - pack.seq & (1 << header[COUNT]) - 1 if gone else 0
            if last > after and not (dead and dead.bit_count() == header[COUNT]):
                if seq > until or len(self.records) >= view.limit:
                    self.full = True
                    return
                face = faces[header[STRAND]]
                try:
                    if _may_show(body, at, header, view, face):
                        self._add_chunk(rows(body, at, header), header, (seq, after, until), view, face, dead)
                    else:
                        self.scanned += 1
                        self.cursor, self.full = min(last, until), last > until
                except (TypeError, ValueError, IndexError, ProtocolViolation) as error:
                    told = f"{face.strand_hex}/{header[FIRST]} holds a record of another shape"
                    raise ChunkCorrupt(told) from error
                if self.full:
                    return
            seq = last + 1
        self.cursor = max(self.cursor, min(pack.last, until))

    def _add_chunk(
        self, found: Sequence[Row], header: Header, span: tuple[int, int, int], view: View, face: Face, dead: int
    ) -> None:
        seq, after, until = span
        begin, end = max(0, after + 1 - seq), min(len(found), until + 1 - seq)
        seqs: Sequence[int] = range(seq + begin, seq + end)
        chosen = found[begin:end] if end - begin < len(found) else found
        self.scanned += len(chosen)
        if dead or view.skip_nodes or view.match is not None:
            dead >>= begin
            shown = [i for i, row in enumerate(chosen) if not dead >> i & 1 and _shows(row, view)]
            seqs, chosen = [seqs[i] for i in shown], [chosen[i] for i in shown]
        passed, self.full = seq + end - 1, end < len(found)
        room = view.limit - len(self.records)
        if header[TEXT_LEN] > view.max_bytes - self.size:
            room = min(room, _fitting(chosen[:room], view.max_bytes - self.size, begun=bool(self.records)))
        if room < len(chosen):
            seqs, chosen, self.full = seqs[:room], chosen[:room], True
            passed = seqs[-1] if room else self.cursor
        if chosen:
            column = Column(face, header[TS_FIRST], header[FIRST] - seq, self.lead)
            passed = self._add_texts(texts(seqs, chosen, column, view), seqs, passed, view.max_bytes)
        self.cursor = max(self.cursor, passed)

    def _add_texts(self, made: list[str], seqs: Sequence[int], passed: int, most: int) -> int:
        """Take what fits (a page's first record always does); the seq that the page has come to."""
        size = self.size + sum(map(len, made))
        if size > most:
            sizes = list(accumulate(map(len, made), initial=self.size))
            fits = bisect_right(sizes, most) - 1
            if not self.records:
                fits = max(fits, 1)
            if fits < len(made):
                self.full = True
                size, made = sizes[fits], made[:fits]
                passed = seqs[fits - 1] if fits else self.cursor
        self.size = size
        self.records += made
        return passed


def _may_show(body: bytes, at: int, header: Header, view: View, face: Face) -> bool:
    """Whether any record of the chunk can be meant, as far as its head tells: the others are not even unpacked."""
    if face.origin in view.skip_nodes:
        return False
    if view.match is None:
        return True
    tags = tags_of(body, at, header)
    return tags is None or any(map(view.match.matches, tags))


def _shows(row: Row, view: View) -> bool:
    return row[2] not in view.skip_nodes and (view.match is None or view.match.matches(row[1]))


def _fitting(chosen: Sequence[Row], size: int, *, begun: bool) -> int:
    """How many of these records to make texts of: not many more than their payloads allow."""
    payloads = list(accumulate([len(row[4]) for row in chosen]))
    return bisect_right(payloads, size) + (0 if begun else 1)
