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
from ...records.chunk import COUNT, FIRST, HASH, KIND, PREV_HASH, RECORDS, STRAND, TS_FIRST, chunks_in, rows
from ...records.gap import EVICTED, EXPIRED, pack_end
from ...storage.store import Pack
from .log import Log

ENDS_BYTES = 16 << 10  # inner chunk ends kept in one gap row


class Reader(Protocol):
    """The reads that retention needs, of what is committed."""

    def pack_sizes(self, tid: int, seq: int, limit: int) -> list[Pack]: ...

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]: ...


class Sweep(Struct, frozen=True):
    """What to let go: the new floor and why, what is left above it, and which packs lie wholly below it."""

    floor: int
    taken: dict[str, int]  # reason -> highest seq that goes for it
    count: int
    bytes: int
    drops: tuple[tuple[Pack, str], ...]  # the pack (perhaps without its body) and the reason


def has_limits(config: TopicConfig) -> bool:
    """Whether there is anything to enforce."""
    return bool(config.ttl_ms or config.cap_records or config.cap_bytes)


def taken_before(config: TopicConfig, floor: int) -> dict[str, int]:
    """Why the front went, as far as that can be told after a restart: for all that the configuration takes it for."""
    capped = bool(config.cap_records or config.cap_bytes) or not config.ttl_ms
    return {reason: floor for reason, on in ((EVICTED, capped), (EXPIRED, bool(config.ttl_ms))) if on and floor}


def due(log: Log, now_ms: int, oldest_ts: int) -> bool:
    """Whether something must go now. ``oldest_ts`` is the commit time of the oldest live record (0: none)."""
    config = log.about.config
    return bool(
        (config.cap_records and log.count > config.cap_records)
        or (config.cap_bytes and log.bytes > config.cap_bytes)
        or (config.ttl_ms and oldest_ts and now_ms - oldest_ts > config.ttl_ms)
    )


def sweep(log: Log, now_ms: int, reader: Reader, fresh: list[Pack], most_packs: int = 256) -> Sweep:
    """What goes. ``fresh`` are the packs of the turn in flight, behind those of the reader."""
    config = log.about.config
    floor, count, size = log.floor, log.count, log.bytes
    drops: list[tuple[Pack, str]] = []
    taken: dict[str, int] = {}
    committed = {p.seq for p in fresh}
    for pack in _from(log.tid, reader, fresh, most_packs):
        expired = bool(config.ttl_ms) and now_ms - pack.ts_last > config.ttl_ms
        live = pack.last - max(floor, pack.seq - 1)
        over = bool(config.cap_records) and count - live >= config.cap_records
        if expired or (over and live) or live <= 0:
            if pack.seq not in committed:
                drops.append((pack, EXPIRED if expired else EVICTED))
            size -= _text_above(pack, floor, reader)
            count -= max(live, 0)
            if live > 0:
                floor = taken[EXPIRED if expired else EVICTED] = pack.last
            continue
        for seq, ts, text in _records(pack, floor, reader):
            too_many = config.cap_records and count > config.cap_records
            too_large = config.cap_bytes and size > config.cap_bytes
            if not (too_many or too_large or (config.ttl_ms and now_ms - ts > config.ttl_ms)):
                return Sweep(floor, taken, count, size, tuple(drops))
            floor, count, size = seq, count - 1, size - text
            taken[EVICTED if too_many or too_large else EXPIRED] = seq
        if pack.seq not in committed:
            drops.append((pack, EVICTED))
    return Sweep(floor, taken, count, 0 if not count else size, tuple(drops))


def oldest_ts(pack: Pack, floor: int) -> int:
    """Commit time (ms) of the oldest record of the pack above the floor; 0 when there is none."""
    seq = pack.seq
    for _, _, header in chunks_in(pack.body):
        if header[KIND] == RECORDS:
            if seq + header[COUNT] - 1 > floor:
                return header[TS_FIRST]
            seq += header[COUNT]
    return 0


def _from(tid: int, reader: Reader, fresh: list[Pack], most: int) -> Iterator[Pack]:
    stored = reader.pack_sizes(tid, 1, most)
    yield from stored
    if len(stored) < most:  # else there are more between these and the fresh ones: the next turn goes on
        yield from fresh


def _body(pack: Pack, reader: Reader) -> bytes:
    return pack.body or reader.packs(pack.tid, pack.seq, 1)[0].body


def _records(pack: Pack, floor: int, reader: Reader) -> Iterator[tuple[int, int, int]]:
    """``(seq, ts, text bytes)`` of each record above the floor."""
    body, seq = _body(pack, reader), pack.seq
    for at, _, header in chunks_in(body):
        if header[KIND] != RECORDS:
            continue
        count: int = header[COUNT]
        if seq + count - 1 > floor:
            try:
                for i, (delta, _, _, meta, data) in enumerate(rows(body, at, header)):
                    if seq + i > floor:
                        yield seq + i, header[TS_FIRST] + int(delta), len(_utf8(data)) + len(_utf8(meta))
            except (TypeError, ValueError) as error:
                raise ChunkCorrupt(f"pack {pack.seq} holds a record of another shape") from error
        seq += count


def _utf8(text: object) -> bytes:
    return text.encode() if isinstance(text, str) else text if isinstance(text, bytes) else b""


def _text_above(pack: Pack, floor: int, reader: Reader) -> int:
    return pack.bytes if floor < pack.seq else sum(text for _, _, text in _records(pack, floor, reader))


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
