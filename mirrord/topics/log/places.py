"""Finding the hash at a place of a strand: what both ends of a link compare, and what digests tell."""

from __future__ import annotations

from typing import Protocol

from msgspec import UNSET, UnsetType

from ...records.chunk import COUNT, FIRST, HASH, PREV_HASH, STRAND, chunks_in
from ...records.gap import CONTROL, find_end
from ...records.strand import Position
from ...storage.store import Gap, Pack, Part
from .log import Strand


class PlaceReads(Protocol):
    """The reads that finding a place needs."""

    def parts(self, sid: int, oseq: int, limit: int) -> list[tuple[Part, int]]: ...

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]: ...

    def gaps(self, tid: int, sid: int, oseq: int, limit: int) -> list[Gap]: ...


INSIDE = UNSET  # the place lies inside one of our chunks, where no boundary can be: a fork


def hash_at(strand: Strand, tid: int, oseq: int, store: PlaceReads) -> bytes | UnsetType | None:
    """The chain hash at ``oseq`` as this log has it: bytes, None when it is not known (beyond us, or inside a range
    whose inner ends were let go), or INSIDE when it lies inside one of our chunks."""
    if oseq == strand.durable_last:
        return strand.durable_hash
    if oseq == 0:
        return strand.descriptor.id_hash
    if oseq > strand.durable_last or oseq < 0:
        return None
    found = store.parts(strand.sid, oseq, 1)
    if found and found[0][0].first <= oseq:
        return _in_pack(strand.descriptor.strand, oseq, found[0][1], tid, store)
    if found and found[0][0].first == oseq + 1:
        return _in_pack(strand.descriptor.strand, oseq, found[0][1], tid, store)
    return _in_gap(strand.sid, oseq, tid, store)


def _in_pack(strand: int, oseq: int, seq: int, tid: int, store: PlaceReads) -> bytes | UnsetType | None:
    for pack in store.packs(tid, seq, 1):
        for _, _, header in chunks_in(pack.body):
            if header[STRAND] != strand:
                continue
            first, last = header[FIRST], header[FIRST] + header[COUNT] - 1
            if first == oseq + 1:
                return header[PREV_HASH]
            if last == oseq:
                return header[HASH]
            if first <= oseq < last:
                return INSIDE
    return None


def _in_gap(sid: int, oseq: int, tid: int, store: PlaceReads) -> bytes | UnsetType | None:
    for gap in store.gaps(tid, sid, oseq, 2):
        if gap.last == oseq:
            return gap.hash
        if gap.first == oseq + 1:
            return gap.prev_hash
        if gap.first <= oseq:
            if gap.reason == CONTROL:
                return INSIDE
            return find_end(gap.ends, oseq)
    return None


def contradicts(strand: Strand, tid: int, told: Position, store: PlaceReads) -> bool:
    """Whether a peer's position proves a fork: another hash at the same oseq, or a place inside one of our chunks."""
    if told.hash is None or told.oseq > strand.durable_last:
        return False
    ours = hash_at(strand, tid, told.oseq, store)
    return ours is INSIDE or (isinstance(ours, bytes) and ours != told.hash)
