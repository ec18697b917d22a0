"""Retention: what a log lets go, and how it tells. Caps count live records, never seq arithmetic.

What readers see moves record by record (the floor may lie inside a chunk); what is dropped is whole packs, once all of
them lies below the floor. A dropped range stays as a gap with its hashes, so positions in it remain comparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from ...config.topic import TopicConfig
from ...errors import ChunkCorrupt
from ...records.chunk import COUNT, FIRST, HASH, KIND, PREV_HASH, RECORDS, STRAND, TS_FIRST, chunks_in
from ...records.gap import EVICTED, EXPIRED, pack_end
from ...records.record import rows
from ...records.stripped import text_bytes
from ...storage.store import Pack
from ..erasure.masks import Masks
from .log import Log

ENDS_BYTES = 16 << 10  # inner chunk ends kept in one gap row


class Reader(Protocol):
    """The reads that retention needs, of what is committed."""

    def pack_sizes(self, tid: int, seq: int, limit: int) -> list[Pack]: ...

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]: ...


class Sweep(Struct, frozen=True):
    """What to let go: the new floor and why, and what is left above it."""

    floor: int
    taken: dict[str, int]  # reason -> highest live seq that goes for it
    count: int
    bytes: int


def has_limits(config: TopicConfig) -> bool:
    """Whether there is anything to enforce."""
    return bool(config.ttl_ms or config.cap_records or config.cap_bytes)


def taken_before(config: TopicConfig, floor: int) -> dict[str, int]:
    """Why the front went, as far as that can be told after a restart: for all that the configuration takes it for."""
    capped = bool(config.cap_records or config.cap_bytes) or not config.ttl_ms
    return {reason: floor for reason, on in ((EVICTED, capped), (EXPIRED, bool(config.ttl_ms))) if on and floor}


def caps(config: TopicConfig) -> tuple[int, int]:
    """The caps that evict, in records and bytes; 0: none. A topic that rejects never evicts what is live."""
    return (config.cap_records, config.cap_bytes) if config.discard == "old" else (0, 0)


def due(log: Log, now_ms: int, oldest_ts: int) -> bool:
    """Whether something must go now. ``oldest_ts`` is the commit time of the oldest live record (0: none)."""
    ttl_ms, (cap_records, cap_bytes) = log.about.config.ttl_ms, caps(log.about.config)
    return bool(
        (cap_records and log.count > cap_records)
        or (cap_bytes and log.bytes > cap_bytes)
        or (ttl_ms and oldest_ts and now_ms - oldest_ts > ttl_ms)
    )


def sweep(log: Log, masks: Masks, now_ms: int, reader: Reader, fresh: list[Pack], most_packs: int = 256) -> Sweep:
    """What goes. ``fresh`` are the packs of the turn in flight, behind those of the reader. Deleted records count for
    nothing: they take no room, and their going is told to nobody."""
    ttl_ms, (cap_records, cap_bytes) = log.about.config.ttl_ms, caps(log.about.config)
    floor, count, size = log.floor, log.count, log.bytes
    taken: dict[str, int] = {}
    for pack in _from(log, reader, fresh, most_packs):
        begin = max(floor + 1, pack.seq)
        live = _live_bits(masks, begin, pack.last)
        if not live:
            continue
        expired = bool(ttl_ms) and now_ms - pack.ts_last > ttl_ms
        over = bool(cap_records) and count - live.bit_count() >= cap_records
        if expired or over:
            size -= _text_from(pack, begin, live, reader)
            count -= live.bit_count()
            floor, taken[EXPIRED if expired else EVICTED] = pack.last, begin + live.bit_length() - 1
            continue
        for seq, ts, text in _records(pack, begin, live, reader):
            too_many = cap_records and count > cap_records
            too_large = cap_bytes and size > cap_bytes
            if not (too_many or too_large or (ttl_ms and now_ms - ts > ttl_ms)):
                return Sweep(floor, taken, count, size)
            floor, count, size = seq, count - 1, size - text
            taken[EVICTED if too_many or too_large else EXPIRED] = seq
    return Sweep(floor, taken, count, 0 if not count else size)


def _live_bits(masks: Masks, first: int, last: int) -> int:
    every = (1 << max(0, last - first + 1)) - 1
    return every & ~masks.within(first, last) if every else 0


def oldest_ts(pack: Pack, floor: int) -> int:
    """Commit time (ms) of the oldest record of the pack above the floor; 0 when there is none."""
    seq = pack.seq
    for _, _, header in chunks_in(pack.body):
        if header[KIND] == RECORDS:
            if seq + header[COUNT] - 1 > floor:
                return header[TS_FIRST]
            seq += header[COUNT]
    return 0


def _from(log: Log, reader: Reader, fresh: list[Pack], most: int) -> Iterator[Pack]:
    stored = reader.pack_sizes(log.tid, log.floor + 1, most)
    yield from stored
    if len(stored) < most:  # else there are more between these and the fresh ones: the next turn goes on
        yield from fresh


def _body(pack: Pack, reader: Reader) -> bytes:
    return pack.body or reader.packs(pack.tid, pack.seq, 1)[0].body


def _records(pack: Pack, begin: int, live: int, reader: Reader) -> Iterator[tuple[int, int, int]]:
    """``(seq, ts, text bytes)`` of each live record from ``begin`` on; bit i of ``live`` is seq ``begin + i``."""
    body, seq = _body(pack, reader), pack.seq
    for at, _, header in chunks_in(body):
        if header[KIND] != RECORDS:
            continue
        count: int = header[COUNT]
        if seq + count > begin:
            try:
                for i, (delta, _, _, meta, data) in enumerate(rows(body, at, header), seq):
                    if i >= begin and live >> i - begin & 1:
                        yield i, header[TS_FIRST] + int(delta), text_bytes(data) + text_bytes(meta)
            except (TypeError, ValueError) as error:
                raise ChunkCorrupt(f"pack {pack.seq} holds a record of another shape") from error
        seq += count


def _text_from(pack: Pack, begin: int, live: int, reader: Reader) -> int:
    if begin == pack.seq and live.bit_count() == pack.last - pack.seq + 1:
        return pack.bytes
    return sum(text for _, _, text in _records(pack, begin, live, reader))


class Trail(Struct):
    """A run of one strand that goes with a pack: its range, the hashes around it and at its inner chunk ends."""

    strand: int
    first: int
    last: int
    prev_hash: bytes
    hash: bytes
    ends: bytes


def trails(body: bytes) -> list[Trail]:
    """The runs of a pack, in order; what must be known of them when the bodies are gone."""
    found: list[Trail] = []
    newest: dict[int, Trail] = {}
    for _, _, header in chunks_in(body):
        strand, first, last = header[STRAND], header[FIRST], header[FIRST] + header[COUNT] - 1
        trail = newest.get(strand)
        if trail is not None and trail.last == first - 1:
            trail.ends += pack_end(trail.last, trail.hash)
            trail.last, trail.hash = last, header[HASH]
        else:
            newest[strand] = trail = Trail(strand, first, last, header[PREV_HASH], header[HASH], b"")
            found.append(trail)
    return found
