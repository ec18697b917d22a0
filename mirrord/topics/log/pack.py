"""Making a pack: the storage row that holds consecutive chunks of a topic's log. Private to the node."""

from __future__ import annotations

from collections.abc import Iterable

from ...records.run import Run
from ...storage.store import MANY_TAGS, Pack, Part, PutPack

Piece = tuple[int, bytes | memoryview, Run]  # the strand's sid, its chunks as bytes, and what they are


def pack_of(tid: int, seq: int, pieces: Iterable[Piece]) -> PutPack:
    """These chunks as they are committed; ``seq`` is that of the first record."""
    bodies: list[bytes | memoryview] = []
    parts: list[Part] = []
    tags: dict[str, None] = {}
    records = text = ts = 0
    many = False
    for sid, body, run in pieces:
        first, last = run.first, run.first + run.records - 1
        if parts and parts[-1].sid == sid and parts[-1].last == first - 1:
            first = parts.pop().first
        parts.append(Part(sid, first, last))
        bodies.append(body)
        records += run.records
        text += run.text_bytes
        if run.ts_last > ts:
            ts = run.ts_last
        if run.tags is None:
            many = True
        elif run.tags:
            tags.update(run.tags)
    pack = Pack(tid, seq, seq + records - 1, records, text, ts, b"".join(bodies))
    return PutPack(pack, tuple(parts), (MANY_TAGS,) if many else tuple(tags))
