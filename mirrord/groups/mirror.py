"""Groups of one name on several nodes: each tells how far it is done with every strand, and passes over what another
one is done with. Only whole beginnings of strands are told: what was committed out of order is not, until it is joined.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from ..records.chunk import COUNT, FIRST, STRAND, chunks_in
from ..topics.read.face import View
from ..topics.read.reading import LogReads, read
from ..topics.vectors import Vector, tell
from .group import Group

TELL_EVERY_MS = 1000  # a group's place is told so often at most: the last word counts
TOLD_BYTES = 4 << 20  # of the log that is looked through for one telling
MOST_PAGES = 16  # of pending records looked through for what is done elsewhere, in one turn
_BEGIN, _END = ',"$origin":{', "}"


class _Origin(Struct):
    strand: str
    oseq: int


class _Placed(Struct, rename={"seq": "$seq", "origin": "$origin"}):
    seq: int
    origin: _Origin


_placed = msgspec.json.Decoder(_Placed).decode


def is_done(vector: Vector, text: str) -> bool:
    """Whether the record (with its origin) is one that another node's group is done with."""
    origin = _placed(text).origin
    return origin.oseq <= vector.get(int(origin.strand, 16), 0)


def without_origin(text: str) -> str:
    """A record's text as who did not ask for ``$origin`` sees it. The words stand in no JSON text but as a key."""
    begin = text.index(_BEGIN)
    return text[:begin] + text[text.index(_END, begin) + 1 :]


def done_elsewhere(group: Group, log: LogReads, vector: Vector) -> Iterator[int]:
    """Pending records that another node's group is done with, in pages from the first one on."""
    view = View(limit=1000, max_bytes=1 << 20, data=False, meta=False, origin=True)
    cursor = group.committed_to
    for _ in range(MOST_PAGES):
        if cursor >= group.cursor:
            return
        found = read(log, cursor, None, view, until=group.cursor)
        for text in found.records:
            placed = _placed(text)
            if placed.seq in group.holders and is_done(vector, text):
                yield placed.seq
        cursor = max(found.next_from_seq, cursor + 1)


def tell_in_ms(group: Group, now_ms: int) -> int:
    """How long until a group may tell again; a clock that was put back makes it no longer."""
    wait_ms = group.tell_from_ms - now_ms
    return wait_ms if 0 < wait_ms <= TELL_EVERY_MS else 0


def news(group: Group, log: LogReads, now_ms: int) -> tuple[str, bytes] | None:
    """What peers are to be told of the group now, if it came further and was not just told of. Moves ``told_to``."""
    if group.committed_to <= group.told_to or tell_in_ms(group, now_ms):
        return None
    group.tell_from_ms = now_ms + TELL_EVERY_MS
    vector, group.told_to = _between(log, group.told_to, group.committed_to)
    group.place_moved = True
    return tell(group.name, vector) if vector else None


def _between(log: LogReads, after: int, upto: int) -> tuple[Vector, int]:
    """The last oseq of every strand in these seqs, and the seq up to which was looked."""
    vector: Vector = {}
    seq, room = after + 1, TOLD_BYTES
    while seq <= upto and room > 0:
        packs = log.packs(seq, min(room, 1 << 20))
        if not packs or packs[0].seq > upto:
            return vector, upto
        for pack in packs:
            room -= len(pack.body)
            at = pack.seq
            for _, _, header in chunks_in(pack.body):
                if at > upto:
                    break
                if at + header[COUNT] > seq:
                    vector[header[STRAND]] = header[FIRST] + min(header[COUNT] - 1, upto - at)
                at += header[COUNT]
        seq = packs[-1].last + 1
    return vector, min(upto, seq - 1)
