"""What a router does with the records behind its position: which it copies, and how the copies look. Pure reads.

A record is passed over when its tag does not match, when it was deleted, when it has been in the destination already
(its path says so: so rings end), when another node copies it (``forward = "origin"``), or when an earlier life of this
node has copied it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from msgspec import Raw, Struct, structs

from ..records.chunk import COUNT, FIRST, KIND, RECORDS, STRAND, Header, chunks_in, tags_of
from ..records.draft import NO_TEXT, Copy, Via
from ..records.gap import EVICTED, EXPIRED, LOST
from ..records.record import rows, vias
from ..records.selector import Selector
from ..storage.store import Gap, Pack
from ..topics.erasure.masks import Masks
from ..topics.read.face import Face
from .definition import Definition
from .position import Position

MOST_RECORDS = 1000  # copies in one turn
MOST_BYTES = 256 << 10  # of their text
READ_BYTES = 512 << 10  # of the source, at once
MOST_SCANNED = 20_000  # records looked at before others may run
TRIMMED = frozenset({EXPIRED, EVICTED})
MISSED = frozenset({EXPIRED, EVICTED, LOST})


class Source(Protocol):
    """The committed log of a source, as its topic shows it."""

    topic: str
    head: int
    floor: int
    taken: Mapping[str, int]
    last_gap: int

    def packs(self, seq: int, max_bytes: int) -> list[Pack]: ...

    def tagged(self, match: Selector, seq: int) -> int | None: ...

    def next_gap(self, seq: int) -> Gap | None: ...

    def gaps_within(self, first: int, last: int) -> list[Gap]: ...

    def face(self, strand: int) -> Face: ...

    def face_of_sid(self, sid: int) -> Face | None: ...

    @property
    def masks(self) -> Masks: ...


class Batch(Struct):
    """What one turn of a router does: ``copies``, or a loss of ``missed`` records to tell of; where it stands then."""

    position: Position
    copies: list[Copy]
    missed: int = 0
    others: bool = False  # whether any copy is of a record that was not written here in this life
    longest_path: int = 0  # topics that a copy has been through
    size: int = 0
    scanned: int = 0
    full: bool = False


class Rule:
    """A router's definition on a node of this name, ready to be used on many records. ``own`` is the strand of the
    source that the node writes now (0: none)."""

    def __init__(self, definition: Definition, me: str, own: int = 0, most_records: int = MOST_RECORDS) -> None:
        self._definition, self._me, self._own, self._most = definition, me, own, most_records
        self._own_only = definition.forward == "origin"

    def batch(self, source: Source, position: Position) -> Batch:
        """The next records behind the position. Raises ChunkCorrupt."""
        if position.seq < source.floor:
            return self._behind_front(source, position)
        found = Batch(position, [])
        cursor = position.seq
        while cursor < source.head and not found.full:
            gap = source.next_gap(cursor + 1) if cursor < source.last_gap else None
            if gap is not None and gap.seq_from <= cursor + 1:
                if found.copies:
                    break
                cursor, found.missed = gap.seq_to, self._missed_in(source, gap)
                found.full = bool(found.missed)
                continue
            until = gap.seq_from - 1 if gap is not None else source.head
            cursor = self._walk(source, cursor, until, position.known, found)
        found.position = structs.replace(
            position,
            seq=cursor,
            copied=position.copied + len(found.copies),
            missed=position.missed + found.missed,
        )
        return found

    def _behind_front(self, source: Source, position: Position) -> Batch:
        """Retention was faster: what went for a limit is told, what was deleted is not."""
        lost = any(seq > position.seq for reason, seq in source.taken.items() if reason in TRIMMED)
        passed = source.gaps_within(position.seq + 1, source.floor) if lost else []
        seqs = source.floor - position.seq if lost else 0
        missed = seqs + sum(self._missed_in(source, gap) - gap.seqs for gap in passed)
        moved = structs.replace(position, seq=source.floor, missed=position.missed + missed)
        return Batch(moved, [], missed, full=True)

    def _missed_in(self, source: Source, gap: Gap) -> int:
        face = source.face_of_sid(gap.sid) if gap.sid else None
        if face is None or gap.reason not in MISSED or (self._own_only and face.origin != self._me):
            return 0  # seqs that a life lost the tail of stand for no record of their own
        return gap.missed

    def _walk(self, source: Source, cursor: int, until: int, known: Mapping[int, int], found: Batch) -> int:
        wanted, most_bytes = self._definition.selector, READ_BYTES
        if wanted is not None and until - cursor > self._most:  # far enough for the index of tags to be worth it
            begin, most_bytes = source.tagged(wanted, cursor + 1), 1
            if begin is None or begin > until:
                return until
            cursor = max(cursor, begin - 1)
        packs = source.packs(cursor + 1, most_bytes)
        for pack in packs:
            if pack.seq > until:
                return until
            cursor = self._walk_pack(source, pack, cursor, known, found)
            if found.full:
                return cursor
        return cursor if packs else until

    def _walk_pack(self, source: Source, pack: Pack, cursor: int, known: Mapping[int, int], found: Batch) -> int:
        seq = pack.seq
        for at, _, header in chunks_in(pack.body):
            if header[KIND] != RECORDS:
                continue
            if seq + header[COUNT] - 1 > cursor:
                cursor = self._walk_chunk(source, pack.body, at, header, seq, cursor, known, found)
                if found.full:
                    return cursor
            seq += header[COUNT]
        return max(cursor, pack.last)

    def _walk_chunk(
        self, source: Source, body: bytes, at: int, header: Header, seq: int, cursor: int, known: Mapping[int, int],
        found: Batch,
    ) -> int:  # fmt: skip
        """Copies of a chunk's records behind the cursor; where the cursor stands then."""
        strand, first, count = header[STRAND], header[FIRST], header[COUNT]
        last = seq + count - 1
        origin = source.face(strand).origin
        begin = max(cursor + 1 - seq, known.get(strand, 0) + 1 - first, 0)
        if begin >= count or (self._own_only and origin != self._me) or not self._may_match(body, at, header):
            found.scanned += 1
            found.full = found.scanned >= MOST_SCANNED
            return last
        rule, routed, unlabelled = self._definition, vias(body, at, header), None if origin == self._me else origin
        gone = source.masks.within(seq, last) if source.masks else 0
        straight, others = (source.topic,), strand != self._own
        found.scanned += count - begin
        for i, (_, tag, label, meta, data) in enumerate(rows(body, at, header)[begin:], begin):
            if (rule.selector is not None and not rule.selector.matches(tag)) or gone >> i & 1:
                continue
            path = self._path(source.topic, routed[i]) if routed else straight
            if path is None:
                continue
            draft = Copy(
                Raw(data.encode()) if type(data) is str else data,
                tag if rule.preserve_tag else None,
                (unlabelled if label is None else label) if rule.preserve_node else None,
                NO_TEXT if meta is None else Raw(meta.encode()),
                Via(path, strand, first + i, rule.name),
            )
            found.copies.append(draft)
            found.others = found.others or others
            found.size += len(draft.data) + len(draft.meta)
            found.longest_path = max(found.longest_path, len(path))
            if len(found.copies) >= self._most or found.size >= MOST_BYTES:
                found.full = True
                return seq + i
        found.full = found.scanned >= MOST_SCANNED
        return last

    def _may_match(self, body: bytes, at: int, header: Header) -> bool:
        """Whether any record of the chunk can match, by the tags that stand beside its header."""
        wanted = self._definition.selector
        if wanted is None:
            return True
        tags = tags_of(body, at, header)
        return tags is None or any(map(wanted.matches, tags))

    def _path(self, source: str, via: Via | None) -> tuple[str, ...] | None:
        """The topics that the copy will have been through; None when it has been in the destination already."""
        if via is None:
            return (source,)
        return None if self._definition.dest in via.path else (*via.path, source)


def old_copies(packs: Sequence[Pack], after: int, router: str, ours: Set[int]) -> tuple[dict[int, int], int]:
    """What copies that came back tell: per strand of the source the highest oseq that the router has copied, and the
    last seq that was looked at. ``ours`` are the strands that earlier lives of this node wrote. Raises ChunkCorrupt."""
    known: dict[int, int] = {}
    last = after
    for pack in packs:
        for at, _, header in chunks_in(pack.body):
            if header[KIND] == RECORDS and header[STRAND] in ours:
                for via in vias(pack.body, at, header):
                    if via is not None and via.router == router:
                        known[via.strand] = max(known.get(via.strand, 0), via.oseq)
        last = max(last, pack.last)
    return known, last
