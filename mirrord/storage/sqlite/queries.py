"""Reads, on the event loop: each fetches all and closes its cursor, so that no snapshot outlives a call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import apsw

from ...errors import ChunkCorrupt
from ..store import (
    MANY_TAGS,
    MAX_SEQ,
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
from .connection import named, rows
from .deferred import Deferred
from .statements import checksum, pack_key, parts_of

_PACK_COLUMNS = "key, last, records, bytes, ts_last"
_START = "SELECT key, last FROM packs WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1"
_BODIES = f"SELECT {_PACK_COLUMNS}, checksum, body FROM packs WHERE key BETWEEN ? AND ? ORDER BY key"
# From the last pack that begins at or before ?2 on. Lengths are told without reading bodies.
_SPAN = """SELECT key, last, length(body) FROM packs WHERE key BETWEEN coalesce((SELECT key FROM packs
    WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1), ?2) AND ?3 ORDER BY key"""
_SIZES = f"SELECT {_PACK_COLUMNS} FROM packs WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"
# Runs of a strand do not overlap, so at most one that begins before ``oseq`` ends at or after it.
_PARTS = """SELECT sid, first, last, pack FROM parts WHERE sid = ?1 AND last >= ?2 AND first >= coalesce(
    (SELECT first FROM parts WHERE sid = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1), ?2) ORDER BY first
    LIMIT ?3"""
_GAP_COLUMNS = "tid, sid, first, last, reason, prev_hash, hash, seq_from, seq_to, ends"
_GAPS = f"""SELECT {_GAP_COLUMNS} FROM gaps WHERE tid = ?1 AND sid = ?2 AND last >= ?3
    AND first >= coalesce((SELECT first FROM gaps WHERE tid = ?1 AND sid = ?2 AND first <= ?3
    ORDER BY first DESC LIMIT 1), ?3) ORDER BY first LIMIT ?4"""
_SEQ_GAPS = f"""SELECT {_GAP_COLUMNS} FROM gaps WHERE tid = ?1 AND seq_from > 0 AND seq_from <= ?3
    AND seq_to >= ?2 AND seq_from >= coalesce((SELECT seq_from FROM gaps WHERE tid = ?1 AND seq_from > 0
    AND seq_from <= ?2 ORDER BY seq_from DESC LIMIT 1), ?2) ORDER BY seq_from LIMIT ?4"""

_WITH_TAG = """SELECT DISTINCT pack FROM tags WHERE tid = ?1 AND tag IN (?2, ?4) AND ?3 IS NULL AND pack > ?5
    ORDER BY pack LIMIT ?6"""
_WITH_PREFIX = """SELECT pack FROM tags WHERE tid = ?1 AND tag >= ?2 AND (?3 IS NULL OR tag < ?3) AND pack > ?5
    UNION SELECT pack FROM tags WHERE tid = ?1 AND tag = ?4 AND pack > ?5 ORDER BY pack LIMIT ?6"""
_MASKS = "SELECT key, bits, erased, text FROM masks WHERE key BETWEEN ? AND ? ORDER BY key"


def beyond(prefix: str) -> str | None:
    """The least text that is greater than every text with this prefix; None when there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # surrogates stand in no text


class Queries:
    """The reading half of the store. Raises StorageFailed or StoreCorrupt when the database does.

    What waits to be written (``deferred.py``) is looked at before the tables: it leaves there after it came into them.
    """

    def __init__(self, reader: apsw.Connection, deferred: Deferred) -> None:
        self._reader = reader
        self._deferred = deferred

    def _rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        try:
            return rows(self._reader, sql, *args)
        except apsw.Error as error:
            raise named(error) from error

    def meta(self, key: str) -> bytes | None:
        found = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return found[0][0] if found else None

    def topics(self) -> list[TopicRow]:
        return [TopicRow(*row) for row in self._rows("SELECT * FROM topics ORDER BY tid")]

    def heads(self) -> list[HeadRow]:
        waiting = self._deferred.heads.copy()
        heads = {row[0]: HeadRow(*row) for row in self._rows("SELECT * FROM heads")} | waiting
        return [heads[tid] for tid in sorted(heads)]

    def head(self, tid: int) -> HeadRow | None:
        if (waiting := self._deferred.heads.get(tid)) is not None:
            return waiting
        found = self._rows("SELECT * FROM heads WHERE tid = ?", tid)
        return HeadRow(*found[0]) if found else None

    def strands(self, tid: int) -> list[StrandRow]:
        return [StrandRow(*row) for row in self._rows("SELECT * FROM strands WHERE tid = ? ORDER BY sid", tid)]

    def vectors(self, tid: int) -> list[VectorRow]:
        waiting = self._deferred.vectors
        sql = "SELECT s.sid, v.* FROM strands s LEFT JOIN vectors v USING (sid) WHERE s.tid = ? ORDER BY s.sid"
        found = [waiting.get(sid) or (VectorRow(*row) if row[0] else None) for sid, *row in self._rows(sql, tid)]
        return [row for row in found if row is not None]

    def top_ids(self) -> tuple[int, int]:
        sql = "SELECT coalesce((SELECT max(tid) FROM topics), 0), coalesce((SELECT max(sid) FROM strands), 0)"
        ((tid, sid),) = self._rows(sql)
        return tid, sid

    def _start(self, tid: int, seq: int) -> int:
        """The key from which to read packs so that the one that holds ``seq`` comes first."""
        wanted = pack_key(tid, min(max(seq, 0), MAX_SEQ))
        found = self._rows(_START, pack_key(tid, 0), wanted)
        return found[0][0] if found and found[0][1] >= seq else wanted

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]:
        try:
            while span := self._span(tid, seq, max_bytes):
                found = rows(self._reader, _BODIES, *span)
                if found and found[0][0] == span[0]:
                    return list(self._read(tid, found))
                # The writer merged or dropped the first pack between the two reads: look again.
            return []
        except apsw.Error as error:
            raise named(error) from error

    def _span(self, tid: int, seq: int, max_bytes: int) -> tuple[int, int] | None:
        """The keys of the pack that holds ``seq`` (or the first behind it) and of the last one that fits: a body
        that is not wanted is not read."""
        first = last = None
        wanted = pack_key(tid, min(max(seq, 0), MAX_SEQ))
        cursor = self._reader.execute(_SPAN, (pack_key(tid, 0), wanted, pack_key(tid, MAX_SEQ)))
        try:
            for key, ends, size in cursor:
                if ends < seq:
                    continue
                max_bytes -= size
                if first is None:
                    first = key
                elif max_bytes < 0:
                    break
                last = key
        finally:
            cursor.close()
        return (first, last) if first is not None and last is not None else None

    def _read(self, tid: int, found: list[tuple[Any, ...]]) -> Iterator[Pack]:
        for key, last, records, text_bytes, ts_last, check, body in found:
            if checksum(body) != check:
                raise self._corrupt(tid, key & MAX_SEQ, last)
            yield Pack(tid, key & MAX_SEQ, last, records, text_bytes, ts_last, body)

    def _corrupt(self, tid: int, seq: int, last: int) -> ChunkCorrupt:
        found = self._rows("SELECT name FROM topics WHERE tid = ?", tid)
        topic = found[0][0] if found else f"number {tid}"
        return ChunkCorrupt(
            f"topic {topic}, seqs {seq}..{last}: the chunks fail their checksum; fetch them from a peer",
            {"topic": topic, "seq": seq, "last": last},
        )

    def pack_sizes(self, tid: int, seq: int, limit: int) -> list[Pack]:
        sizes = self._rows(_SIZES, self._start(tid, seq), pack_key(tid, MAX_SEQ), limit)
        return [Pack(tid, row[0] & MAX_SEQ, row[1], row[2], row[3], row[4], b"") for row in sizes]

    def parts(self, sid: int, oseq: int, limit: int) -> list[tuple[Part, int]]:
        deferred = self._deferred.parts.get(sid, [])  # in order, and behind all of the table
        found = [(Part(*row), pack & MAX_SEQ) for *row, pack in self._rows(_PARTS, sid, oseq, limit)]
        after = max(oseq, found[-1][0].last + 1) if found else oseq
        begin = bisect_left(deferred, after, key=lambda one: one[0].last)
        return found + [(part, key & MAX_SEQ) for part, key in deferred[begin : begin + limit - len(found)]]

    def parts_of_pack(self, tid: int, seq: int) -> list[Part]:
        found = self._rows("SELECT parts FROM packs WHERE key = ?", pack_key(tid, seq))
        return sorted(parts_of(found[0][0]), key=lambda part: (part.sid, part.first)) if found else []

    def gaps(self, tid: int, sid: int, oseq: int, limit: int) -> list[Gap]:
        return [Gap(*row) for row in self._rows(_GAPS, tid, sid, oseq, limit)]

    def last_seq_gap(self, tid: int) -> int:
        sql = "SELECT seq_to FROM gaps WHERE tid = ? AND seq_from > 0 ORDER BY seq_from DESC LIMIT 1"
        found = self._rows(sql, tid)
        return found[0][0] if found else 0

    def seq_gaps(self, tid: int, seq_from: int, seq_to: int, limit: int) -> list[Gap]:
        return [Gap(*row) for row in self._rows(_SEQ_GAPS, tid, seq_from, seq_to, limit)]

    def packs_with_tag(self, tid: int, tag: str, limit: int, *, after: int = 0, prefix: bool = False) -> list[int]:
        low, high = (tag, beyond(tag)) if prefix else (tag, None)
        return [
            pack
            for (pack,) in self._rows(_WITH_PREFIX if prefix else _WITH_TAG, tid, low, high, MANY_TAGS, after, limit)
        ]

    def masks(self, tid: int) -> list[MaskRow]:
        found = self._rows(_MASKS, pack_key(tid, 0), pack_key(tid, MAX_SEQ))
        return [MaskRow(tid, key & MAX_SEQ, bits, erased, text) for key, bits, erased, text in found]

    def idempotency(self, tid: int, key: str) -> IdempotencyRow | None:
        found = self._rows("SELECT * FROM idempotency WHERE tid = ? AND key = ?", tid, key)
        return IdempotencyRow(*found[0]) if found else None

    def mark(self, reader: str) -> bytes | None:
        found = self._rows("SELECT value FROM marks WHERE reader = ?", reader)
        return found[0][0] if found else None

    def marks(self, prefix: str) -> list[tuple[str, bytes]]:
        high = beyond(prefix)  # a range of the index: cost by matches
        sql = "SELECT * FROM marks WHERE reader >= ?1 AND reader < ?2 ORDER BY reader"
        if high is None:
            sql = "SELECT * FROM marks WHERE reader >= ?1 AND ?2 IS NULL ORDER BY reader"
        return [(reader, value) for reader, value in self._rows(sql, prefix, high)]
