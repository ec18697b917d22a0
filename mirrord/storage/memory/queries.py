"""Reads over the tables in memory; they answer word for word as the SQLite store does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from ..store import (
    MANY_TAGS,
    Gap,
    HeadRow,
    IdempotencyRow,
    MaskRow,
    Pack,
    Part,
    StrandRow,
    TopicRow,
    VectorRow,
)
from .table import Table, Undo


class Row(Struct, frozen=True):
    """A pack with what its index rows say."""

    pack: Pack
    parts: tuple[Part, ...]
    tags: tuple[str, ...]


class Queries:
    """The tables, by the keys that stand beside them, and every read of the promise."""

    def __init__(self) -> None:
        undo: Undo = []
        self._undo = undo
        self._meta: Table[bytes] = Table(undo)  # key
        self._topics: Table[TopicRow] = Table(undo)  # tid
        self._heads: Table[HeadRow] = Table(undo)  # tid
        self._strands: Table[StrandRow] = Table(undo)  # sid
        self._strands_of: Table[None] = Table(undo)  # tid, sid
        self._vectors: Table[VectorRow] = Table(undo)  # sid
        self._packs: Table[Row] = Table(undo)  # tid, seq
        self._parts: Table[tuple[Part, int]] = Table(undo)  # sid, first -> with the seq of its pack
        self._tags: Table[None] = Table(undo)  # tid, tag, seq
        self._gaps: Table[Gap] = Table(undo)  # tid, sid, first
        self._gaps_in_log: Table[Gap] = Table(undo)  # tid, seq_from
        self._masks: Table[MaskRow] = Table(undo)  # tid, block
        self._keys: Table[IdempotencyRow] = Table(undo)  # tid, key
        self._marks: Table[bytes] = Table(undo)  # reader
        self._merged: Table[int] = Table(undo)  # tid

    def _tables(self) -> list[Table[object]]:
        return [table for table in vars(self).values() if isinstance(table, Table)]

    def meta(self, key: str) -> bytes | None:
        return self._meta.rows.get(key)

    def topics(self) -> list[TopicRow]:
        return [self._topics.rows[tid] for tid in self._topics.span(0)]

    def heads(self) -> list[HeadRow]:
        return [self._heads.rows[tid] for tid in self._heads.span(0)]

    def head(self, tid: int) -> HeadRow | None:
        return self._heads.rows.get(tid)

    def strands(self, tid: int) -> list[StrandRow]:
        return [self._strands.rows[sid] for _, sid in self._strands_of.span((tid,), (tid + 1,))]

    def vectors(self, tid: int) -> list[VectorRow]:
        rows = self._vectors.rows
        return [rows[sid] for _, sid in self._strands_of.span((tid,), (tid + 1,)) if sid in rows]

    def top_ids(self) -> tuple[int, int]:
        return self._topics.top() or 0, self._strands.top() or 0

    def _from(self, tid: int, seq: int) -> Iterator[Row]:
        """Packs from the one that holds ``seq`` on."""
        key = self._packs.before((tid, seq + 1))
        low = key if key and key[0] == tid and self._packs.rows[key].pack.last >= seq else (tid, seq)
        return (self._packs.rows[key] for key in self._packs.span(low, (tid + 1,)))

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]:
        found: list[Pack] = []
        for row in self._from(tid, seq):
            max_bytes -= len(row.pack.body)
            if max_bytes < 0 and found:
                break
            found.append(row.pack)
        return found

    def pack_sizes(self, tid: int, seq: int, limit: int) -> list[Pack]:
        packs = (row.pack for row in islice(self._from(tid, seq), limit))
        return [Pack(p.tid, p.seq, p.last, p.records, p.bytes, p.ts_last, b"") for p in packs]

    def parts(self, sid: int, oseq: int, limit: int) -> list[tuple[Part, int]]:
        low = self._parts.before((sid, oseq + 1))
        low = low if low and low[0] == sid else (sid, oseq)
        runs = (self._parts.rows[key] for key in self._parts.span(low, (sid + 1,)))
        return list(islice((run for run in runs if run[0].last >= oseq), limit))

    def parts_of_pack(self, tid: int, seq: int) -> list[Part]:
        row = self._packs.rows.get((tid, seq))
        return sorted(row.parts, key=lambda part: (part.sid, part.first)) if row else []

    def gaps(self, tid: int, sid: int, oseq: int, limit: int) -> list[Gap]:
        low = self._gaps.before((tid, sid, oseq + 1))
        low = low if low and low[:2] == (tid, sid) else (tid, sid, oseq)
        gaps = (self._gaps.rows[key] for key in self._gaps.span(low, (tid, sid + 1)))
        return list(islice((gap for gap in gaps if gap.last >= oseq), limit))

    def last_seq_gap(self, tid: int) -> int:
        key = self._gaps_in_log.before((tid + 1,))
        return self._gaps_in_log.rows[key].seq_to if key and key[0] == tid else 0

    def seq_gaps(self, tid: int, seq_from: int, seq_to: int, limit: int) -> list[Gap]:
        low = self._gaps_in_log.before((tid, seq_from + 1))
        low = low if low and low[0] == tid else (tid, seq_from)
        gaps = (self._gaps_in_log.rows[key] for key in self._gaps_in_log.span(low, (tid, seq_to + 1)))
        return list(islice((gap for gap in gaps if gap.seq_to >= seq_from), limit))

    def packs_with_tag(self, tid: int, tag: str, limit: int, *, after: int = 0, prefix: bool = False) -> list[int]:
        keys = list(self._tags.span((tid, MANY_TAGS), (tid, MANY_TAGS, float("inf"))))
        if prefix:
            for key in self._tags.span((tid, tag), (tid + 1,)):
                if not key[1].startswith(tag):
                    break
                keys.append(key)
        else:
            keys += self._tags.span((tid, tag), (tid, tag, float("inf")))
        return sorted({key[2] for key in keys if key[2] > after})[:limit]

    def masks(self, tid: int) -> list[MaskRow]:
        return [self._masks.rows[key] for key in self._masks.span((tid,), (tid + 1,))]

    def idempotency(self, tid: int, key: str) -> IdempotencyRow | None:
        return self._keys.rows.get((tid, key))

    def mark(self, reader: str) -> bytes | None:
        return self._marks.rows.get(reader)

    def marks(self, prefix: str) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for reader in self._marks.span(prefix):
            if not reader.startswith(prefix):
                break
            found.append((reader, self._marks.rows[reader]))
        return found
