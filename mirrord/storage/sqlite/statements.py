"""A list of changes as SQL: one statement per table where the order of the changes allows it.

Puts into different tables do not touch each other, so they are gathered by table and go in together. A drop
acts at once. It must come after the puts that stand before it, so what was gathered goes in first if it
belongs to the same topic (or reader); puts of other topics stay gathered. That keeps the meaning of the order
with few statements.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import apsw
import xxhash
from msgspec import msgpack
from msgspec.structs import astuple

from ...errors import StoreCorrupt
from ..packing import index_tags
from ..store import (
    SEQ_BITS,
    Change,
    DropGap,
    DropIdempotency,
    DropLog,
    DropMark,
    DropMasks,
    DropPack,
    DropTopic,
    Part,
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
from .connection import rows

META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
TOPIC = "INSERT OR REPLACE INTO topics VALUES (?, ?, ?)"
HEAD = "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
STRAND = "INSERT OR REPLACE INTO strands VALUES (?, ?, ?, ?)"
VECTOR = "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)"
PACK = """INSERT INTO packs (key, last, records, bytes, ts_last, checksum, parts, tags, told, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
PART = "INSERT INTO parts VALUES (?, ?, ?, ?)"
TAG = "INSERT INTO tags VALUES (?, ?, ?)"
GAP = "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
IDEMPOTENCY = "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?)"
MASK = "INSERT OR REPLACE INTO masks VALUES (?, ?, ?, ?)"
MARK = "INSERT OR REPLACE INTO marks VALUES (?, ?)"

DROP_PACK = "DELETE FROM packs WHERE key = ?"
DROP_PART = "DELETE FROM parts WHERE sid = ? AND first = ?"
DROP_TAG = "DELETE FROM tags WHERE tid = ? AND tag = ? AND pack = ?"
DROP_LOG = (
    "DELETE FROM parts WHERE sid IN (SELECT sid FROM strands WHERE tid = ?1)",
    f"DELETE FROM packs WHERE key >= ?1 << {SEQ_BITS} AND key < (?1 + 1) << {SEQ_BITS}",
    "DELETE FROM tags WHERE tid = ?1",
    "DELETE FROM gaps WHERE tid = ?1",
    f"DELETE FROM masks WHERE key >= ?1 << {SEQ_BITS} AND key < (?1 + 1) << {SEQ_BITS}",
    "DELETE FROM idempotency WHERE tid = ?1",
    "DELETE FROM merged WHERE tid = ?1",
)
DROP_TOPIC = (
    "DELETE FROM vectors WHERE sid IN (SELECT sid FROM strands WHERE tid = ?1)",
    "DELETE FROM strands WHERE tid = ?1",
    "DELETE FROM heads WHERE tid = ?1",
    "DELETE FROM topics WHERE tid = ?1",
)

_Runs = list[tuple[int, int, int]]
_encode = msgpack.Encoder().encode
_runs = msgpack.Decoder(_Runs).decode
_tags = msgpack.Decoder(list[str]).decode


def pack_key(tid: int, seq: int) -> int:
    """The row of the pack that begins at ``seq``; of the mask of block ``seq``."""
    return tid << SEQ_BITS | seq


def checksum(body: bytes) -> int:
    """What a body must hash to whenever it is read: xxh3, 64 bits, as SQLite's signed integer."""
    return xxhash.xxh3_64_intdigest(body) - (1 << 63)


def parts_of(blob: bytes) -> list[Part]:
    """The runs that a pack's row tells."""
    return [Part(sid, first, last) for sid, first, last in _runs(blob)]


def tags_of(blob: bytes | None) -> list[str]:
    """The tags under which a pack's row is indexed."""
    return _tags(blob) if blob else []


def pack_row(change: PutPack, key: int, tags: Sequence[str], told: bytes | None) -> tuple[Any, ...]:
    """What PACK puts: ``tags`` are those of the index, ``told`` what the row tells of others (``deferred.py``)."""
    pack = change.pack
    return (
        key, pack.last, pack.records, pack.bytes, pack.ts_last, checksum(pack.body),
        _encode([astuple(part) for part in change.parts]), _encode(tags) if tags else None, told, pack.body,
    )  # fmt: skip


NOTHING: Mapping[int, bytes] = {}


class Transaction:
    """Changes on their way into a transaction. ``told``: what packs' rows tell, by key; with it parts, heads and
    vectors wait (``deferred.py``). Raises StoreCorrupt for what cannot be true, else apsw.Error.
    """

    def __init__(self, connection: apsw.Connection, told: Mapping[int, bytes] = NOTHING) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._told = told
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._touched: set[Hashable] = set()

    def commit(self, changes: Sequence[Change]) -> None:
        """Everything, in the order in which it stands, as a transaction of its own: one row needs no BEGIN."""
        self._gather(changes)
        if len(self._rows) == 1 and not self._connection.in_transaction:
            ((sql, gathered),) = self._rows.items()
            if len(gathered) == 1:
                self._execute(sql, gathered[0])
                return
        self._begin()
        self._settle()
        self._execute("COMMIT")

    def apply(self, changes: Sequence[Change]) -> None:
        """Everything, in the order in which it stands, into a transaction that is open."""
        self._gather(changes)
        self._settle()

    def _gather(self, changes: Sequence[Change]) -> None:
        for change in changes:
            _STEPS[type(change)](self, change)

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            self._execute("BEGIN IMMEDIATE")

    def _put(self, sql: str, *row: Any) -> None:
        self._rows.setdefault(sql, []).append(row)

    def _at_once(self, sql: str, row: tuple[Any, ...]) -> None:
        self._begin()
        self._execute(sql, row)

    def _settle(self) -> None:
        if self._rows:
            self._begin()
        for sql, gathered in self._rows.items():
            self._executemany(sql, gathered)
        self._rows.clear()
        self._touched.clear()

    def _settle_if(self, touched: Hashable) -> None:
        if touched in self._touched:
            self._settle()

    def put_pack(self, change: PutPack) -> None:
        pack = change.pack
        key = pack_key(pack.tid, pack.seq)
        tags = index_tags(change.tags) if change.tags else ()
        self._touched.add(pack.tid)
        told = self._told.get(key)
        self._put(PACK, *pack_row(change, key, tags, told))
        if told is None:
            for part in change.parts:
                self._put(PART, part.sid, part.first, part.last, key)
        for tag in tags:
            self._put(TAG, pack.tid, tag, pack.seq)

    def drop_pack(self, change: DropPack) -> None:
        self._begin()
        self._settle_if(change.tid)
        key = pack_key(change.tid, change.seq)
        found = rows(self._connection, "SELECT last, parts, tags FROM packs WHERE key = ?", key)
        if not found or found[0][0] != change.last:
            raise StoreCorrupt(f"there is no pack {change.seq}..{change.last} to drop; read the packs again")
        _, parts, tags = found[0]
        self._at_once(DROP_PACK, (key,))
        self._executemany(DROP_PART, [(part.sid, part.first) for part in parts_of(parts)])
        self._executemany(DROP_TAG, [(change.tid, tag, change.seq) for tag in tags_of(tags)])

    def put_gap(self, change: PutGap) -> None:
        gap = change.gap
        self._touched.add(gap.tid)
        self._put(
            GAP, gap.tid, gap.sid, gap.first, gap.last, gap.reason, gap.prev_hash, gap.hash, gap.seq_from,
            gap.seq_to, gap.ends,
        )  # fmt: skip

    def drop_gap(self, change: DropGap) -> None:
        self._settle_if(change.tid)
        self._at_once(
            "DELETE FROM gaps WHERE tid = ? AND sid = ? AND first = ?", (change.tid, change.sid, change.first)
        )

    def put_head(self, change: PutHead) -> None:
        row = change.row
        if self._told:
            return
        self._put(HEAD, row.tid, row.head, row.ceiling, row.floor, row.count, row.bytes, row.last_ts, row.taken)

    def put_mask(self, change: PutMask) -> None:
        row = change.row
        self._touched.add(row.tid)
        self._put(MASK, pack_key(row.tid, row.block), row.bits, row.erased, row.text)

    def drop_masks(self, change: DropMasks) -> None:
        self._settle_if(change.tid)
        span = (pack_key(change.tid, 0), pack_key(change.tid, change.before))
        self._at_once("DELETE FROM masks WHERE key >= ? AND key < ?", span)

    def put_vector(self, change: PutVector) -> None:
        row = change.row
        if self._told:
            return
        self._put(VECTOR, row.sid, row.last, row.hash, row.whole_from, row.ts)

    def put_strand(self, change: PutStrand) -> None:
        row = change.row
        self._put(STRAND, row.sid, row.tid, row.strand, row.descriptor)

    def put_topic(self, change: PutTopic) -> None:
        self._put(TOPIC, change.row.tid, change.row.name, change.row.blob)

    def put_idempotency(self, change: PutIdempotency) -> None:
        row = change.row
        self._touched.add(row.tid)
        self._put(IDEMPOTENCY, row.tid, row.key, row.first, row.last, row.head, row.digest, row.ts)

    def drop_idempotency(self, change: DropIdempotency) -> None:
        self._settle_if(change.tid)
        self._at_once("DELETE FROM idempotency WHERE tid = ? AND ts < ?", (change.tid, change.before))

    def put_meta(self, change: PutMeta) -> None:
        self._put(META, change.key, change.value)

    def put_mark(self, change: PutMark) -> None:
        self._touched.add(change.reader)
        self._put(MARK, change.reader, change.value)

    def drop_mark(self, change: DropMark) -> None:
        self._settle_if(change.reader)
        self._at_once("DELETE FROM marks WHERE reader = ?", (change.reader,))

    def drop_log(self, change: DropLog | DropTopic) -> None:
        self._settle()
        for sql in DROP_LOG:
            self._at_once(sql, (change.tid,))

    def drop_topic(self, change: DropTopic) -> None:
        self.drop_log(change)
        for sql in DROP_TOPIC:
            self._at_once(sql, (change.tid,))


_STEPS: dict[type, Callable[[Transaction, Any], None]] = {
    PutMeta: Transaction.put_meta,
    PutTopic: Transaction.put_topic,
    PutHead: Transaction.put_head,
    PutStrand: Transaction.put_strand,
    PutVector: Transaction.put_vector,
    PutPack: Transaction.put_pack,
    DropPack: Transaction.drop_pack,
    PutGap: Transaction.put_gap,
    DropGap: Transaction.drop_gap,
    PutMask: Transaction.put_mask,
    DropMasks: Transaction.drop_masks,
    PutIdempotency: Transaction.put_idempotency,
    DropIdempotency: Transaction.drop_idempotency,
    PutMark: Transaction.put_mark,
    DropMark: Transaction.drop_mark,
    DropLog: Transaction.drop_log,
    DropTopic: Transaction.drop_topic,
}
