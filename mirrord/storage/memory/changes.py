"""What each change does to the tables in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import StoreCorrupt
from ..packing import index_tags
from ..store import (
    Change,
    DropGap,
    DropIdempotency,
    DropLog,
    DropMark,
    DropMasks,
    DropPack,
    DropTopic,
    PutGap,
    PutHead,
    PutIdempotency,
    PutMark,
    PutMask,
    PutMeta,
    PutPack,
    PutStrand,
    PutTopic,
    PutVector,
)
from .queries import Queries, Row


class Changes(Queries):
    """The writing half. Raises StoreCorrupt; the caller then undoes what was done so far."""

    def _apply(self, change: Change) -> None:
        _STEPS[type(change)](self, change)

    def _put_pack(self, change: PutPack) -> None:
        pack, tags = change.pack, index_tags(change.tags)
        if (pack.tid, pack.seq) in self._packs.rows:
            raise StoreCorrupt(f"topic {pack.tid} has a pack at {pack.seq} already")
        self._packs.put((pack.tid, pack.seq), Row(pack, change.parts, tags))
        for part in change.parts:
            if (part.sid, part.first) in self._parts.rows:
                raise StoreCorrupt(f"strand {part.sid} has a run at {part.first} already")
            self._parts.put((part.sid, part.first), (part, pack.seq))
        for tag in tags:
            self._tags.put((pack.tid, tag, pack.seq), None)

    def _drop_pack(self, change: DropPack) -> None:
        row = self._packs.rows.get((change.tid, change.seq))
        if row is None or row.pack.last != change.last:
            raise StoreCorrupt(f"there is no pack {change.seq}..{change.last} to drop; read the packs again")
        self._take(row)

    def _take(self, row: Row) -> None:
        tid, seq = row.pack.tid, row.pack.seq
        self._packs.drop((tid, seq))
        for part in row.parts:
            self._parts.drop((part.sid, part.first))
        for tag in row.tags:
            self._tags.drop((tid, tag, seq))

    def _put_gap(self, change: PutGap) -> None:
        gap = change.gap
        self._drop_gap(DropGap(gap.tid, gap.sid, gap.first))
        self._gaps.put((gap.tid, gap.sid, gap.first), gap)
        if gap.seq_from:
            self._gaps_in_log.put((gap.tid, gap.seq_from), gap)

    def _drop_gap(self, change: DropGap) -> None:
        key = (change.tid, change.sid, change.first)
        gap = self._gaps.rows.get(key)
        if gap is not None:
            self._gaps.drop(key)
            self._gaps_in_log.drop((gap.tid, gap.seq_from))

    def _put_strand(self, change: PutStrand) -> None:
        row = change.row
        old = self._strands.rows.get(row.sid)
        if old is not None:
            self._strands_of.drop((old.tid, old.sid))
        self._strands.put(row.sid, row)
        self._strands_of.put((row.tid, row.sid), None)

    def _drop_idempotency(self, change: DropIdempotency) -> None:
        for key in list(self._keys.span((change.tid,), (change.tid + 1,))):
            if self._keys.rows[key].ts < change.before:
                self._keys.drop(key)

    def _drop_log(self, change: DropLog | DropTopic) -> None:
        low, high = (change.tid,), (change.tid + 1,)
        for key in list(self._packs.span(low, high)):
            self._take(self._packs.rows[key])
        for table in (self._gaps, self._gaps_in_log, self._masks, self._keys):
            table.drop_span(low, high)
        self._merged.drop(change.tid)

    def _drop_topic(self, change: DropTopic) -> None:
        self._drop_log(change)
        for key in list(self._strands_of.span((change.tid,), (change.tid + 1,))):
            self._strands_of.drop(key)
            self._strands.drop(key[1])
            self._vectors.drop(key[1])
        self._heads.drop(change.tid)
        self._topics.drop(change.tid)


_STEPS: dict[type, Callable[[Any, Any], None]] = {
    PutMeta: lambda store, change: store._meta.put(change.key, change.value),
    PutTopic: lambda store, change: store._topics.put(change.row.tid, change.row),
    PutHead: lambda store, change: store._heads.put(change.row.tid, change.row),
    PutStrand: Changes._put_strand,
    PutVector: lambda store, change: store._vectors.put(change.row.sid, change.row),
    PutPack: Changes._put_pack,
    DropPack: Changes._drop_pack,
    PutGap: Changes._put_gap,
    DropGap: Changes._drop_gap,
    PutMask: lambda store, change: store._masks.put((change.row.tid, change.row.block), change.row),
    DropMasks: lambda store, change: store._masks.drop_span((change.tid,), (change.tid, change.before)),
    PutIdempotency: lambda store, change: store._keys.put((change.row.tid, change.row.key), change.row),
    DropIdempotency: Changes._drop_idempotency,
    PutMark: lambda store, change: store._marks.put(change.reader, change.value),
    DropMark: lambda store, change: store._marks.drop(change.reader),
    DropLog: Changes._drop_log,
    DropTopic: Changes._drop_topic,
}
