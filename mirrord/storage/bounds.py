"""What a change may contain: the ranges that every store enforces alike, before it touches anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import StoreCorrupt
from .store import (
    MASK_BITS,
    MAX_SEQ,
    SEQ_BITS,
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

MAX_TID = (1 << (63 - SEQ_BITS)) - 1
MAX_INT = (1 << 63) - 1


def check(changes: Sequence[Change]) -> None:
    """Raises StoreCorrupt when a number is out of range or a text is no valid Unicode."""
    for change in changes:
        _RULES[type(change)](change)


def _refusal(what: object) -> StoreCorrupt:
    return StoreCorrupt(f"a value is out of range and was not stored: {str(what)[:300]}")


def _require(holds: bool, what: object) -> None:
    if not holds:
        raise _refusal(what)


def _tid(change: Any) -> None:
    _require(0 < change.tid <= MAX_TID, change)


def _number(what: object, *values: int) -> None:
    if min(values) < -MAX_INT or max(values) > MAX_INT:
        raise _refusal(what)


def _text(what: object, *values: str) -> None:
    for value in values:
        if not value.isascii():
            _require(value.encode("utf-8", "replace").decode() == value, ascii(what))


def _pack(change: PutPack) -> None:
    pack = change.pack
    if not (0 < pack.tid <= MAX_TID and 0 < pack.seq <= pack.last <= MAX_SEQ):
        raise _refusal((pack.tid, pack.seq, pack.last))
    if not (abs(pack.records) <= MAX_INT and abs(pack.bytes) <= MAX_INT and abs(pack.ts_last) <= MAX_INT):
        raise _refusal((pack.tid, pack.seq))
    for part in change.parts:
        if not (0 < part.sid <= MAX_INT and 0 < part.first <= part.last <= MAX_INT):
            raise _refusal(part)
    if change.tags:
        _text(change.tags, *change.tags)


def _drop_pack(change: DropPack) -> None:
    _tid(change)
    _require(0 < change.seq <= change.last <= MAX_SEQ, change)


def _head(change: PutHead) -> None:
    row = change.row
    _number(row, row.head, row.ceiling, row.floor, row.count, row.bytes, row.last_ts)
    if not 0 < row.tid <= MAX_TID:
        raise _refusal(row)


def _topic(change: PutTopic) -> None:
    _tid(change.row)
    _text(change.row, change.row.name)


def _strand(change: PutStrand) -> None:
    _tid(change.row)
    _require(0 < change.row.sid <= MAX_INT and 0 < change.row.strand <= MAX_INT, change.row)


def _vector(change: PutVector) -> None:
    row = change.row
    _number(row, row.sid, row.last, row.whole_from, row.ts)
    if row.sid <= 0:
        raise _refusal(row)


def _gap(change: PutGap) -> None:
    gap = change.gap
    _tid(gap)
    _require(0 <= gap.sid <= MAX_INT and 0 < gap.first <= gap.last <= MAX_INT, gap)
    _require(0 <= gap.seq_from <= gap.seq_to <= MAX_SEQ, gap)
    _text(gap, gap.reason)


def _drop_gap(change: DropGap) -> None:
    _tid(change)
    _number(change, change.sid, change.first)


def _mask(change: PutMask) -> None:
    row = change.row
    _tid(row)
    _require(0 <= row.block <= MAX_SEQ // MASK_BITS and len(row.bits) <= MASK_BITS // 8, (row.tid, row.block))
    _require(len(row.erased) <= len(row.bits), (row.tid, row.block))
    _number((row.tid, row.block), row.text)


def _drop_masks(change: DropMasks) -> None:
    _tid(change)
    _require(0 <= change.before <= MAX_SEQ, change)


def _idempotency(change: PutIdempotency) -> None:
    row = change.row
    _tid(row)
    _number(row, row.first, row.last, row.head, row.ts)
    _text(row, row.key)


def _drop_idempotency(change: DropIdempotency) -> None:
    _tid(change)
    _number(change, change.before)


_RULES: dict[type, Callable[[Any], None]] = {
    PutMeta: lambda change: _text(change, change.key),
    PutTopic: _topic,
    PutHead: _head,
    PutStrand: _strand,
    PutVector: _vector,
    PutPack: _pack,
    DropPack: _drop_pack,
    PutGap: _gap,
    DropGap: _drop_gap,
    PutMask: _mask,
    DropMasks: _drop_masks,
    PutIdempotency: _idempotency,
    DropIdempotency: _drop_idempotency,
    PutMark: lambda change: _text(change, change.reader),
    DropMark: lambda change: _text(change, change.reader),
    DropLog: _tid,
    DropTopic: _tid,
}
