"""Making a pack: the storage row that holds consecutive chunks of a topic's log. Private to the node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...records.run import Run
from ...storage.packing import merge
from ...storage.store import MANY_TAGS, Pack, Part, PutPack


def pack_of(tid: int, seq: int, sid: int, packed: bytes, run: Run) -> PutPack:
    """The chunks of a run as they are committed; ``seq`` is that of its first record."""
    records = run.records
    pack = Pack(tid, seq, seq + records - 1, records, run.text_bytes, run.ts_last, packed)
    part = Part(sid, run.first, run.first + records - 1)
    return PutPack(pack, (part,), (MANY_TAGS,) if run.tags is None else run.tags)


def joined_packs(puts: Sequence[PutPack]) -> PutPack:
    """Packs that lie one behind the other, as one."""
    tags = dict.fromkeys([tag for put in puts for tag in put.tags])
    parts = _joined_parts([part for put in puts for part in put.parts])
    return PutPack(merge([put.pack for put in puts]), parts, (MANY_TAGS,) if MANY_TAGS in tags else tuple(tags))


def _joined_parts(found: Iterable[Part]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for part in found:
        if parts and parts[-1].sid == part.sid and parts[-1].last == part.first - 1:
            parts[-1] = Part(part.sid, parts[-1].first, part.last)
        else:
            parts.append(part)
    return tuple(parts)
