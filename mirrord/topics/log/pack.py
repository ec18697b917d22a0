"""Making a pack: the storage row that holds consecutive chunks of a topic's log. Private to the node."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.run import Run, all_of
from ...storage.store import MANY_TAGS, Pack, Part, PutPack

Piece = tuple[int, int, bytes, Run]  # seq of the first record, the strand's sid, its chunks, and what they are


def pack_of(tid: int, pieces: Sequence[Piece]) -> PutPack:
    """These chunks as they are committed."""
    if len(pieces) > 1:
        return _pack_of_many(tid, pieces)
    seq, sid, body, run = pieces[0]
    records = run.records
    pack = Pack(tid, seq, seq + records - 1, records, run.text_bytes, run.ts_last, body)
    part = Part(sid, run.first, run.first + records - 1)
    return PutPack(pack, (part,), (MANY_TAGS,) if run.tags is None else run.tags)


def _pack_of_many(tid: int, pieces: Sequence[Piece]) -> PutPack:
    seq, runs = pieces[0][0], [run for _, _, _, run in pieces]
    records, text = sum([run.records for run in runs]), sum([run.text_bytes for run in runs])
    newest, tags = max([run.ts_last for run in runs]), all_of([run.tags for run in runs])
    body = b"".join([body for _, _, body, _ in pieces])
    pack = Pack(tid, seq, seq + records - 1, records, text, newest, body)
    return PutPack(pack, tuple(_parts(pieces)), (MANY_TAGS,) if tags is None else tags)


def _parts(pieces: Sequence[Piece]) -> list[Part]:
    parts: list[Part] = []
    for _, sid, _, run in pieces:
        first, last = run.first, run.first + run.records - 1
        if parts and parts[-1].sid == sid and parts[-1].last == first - 1:
            first = parts.pop().first
        parts.append(Part(sid, first, last))
    return parts
