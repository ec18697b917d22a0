"""Which small packs become one, and what it then says: arithmetic over rows, the same for every store.

A single append makes a pack of its own. Later, neighbours are merged into packs of up to ``PACK_BYTES``;
bodies are concatenated byte for byte, so chunks and their hashes stay as they are. Only full groups are
merged: the tail of a log waits until it fills a pack, so each byte is rewritten once at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from msgspec import Struct

from .store import MANY_TAGS, Pack, Part

PACK_BYTES = 64 << 10
MOST_TAGS = 64  # a pack with more distinct tags is indexed under MANY_TAGS alone
_records, _bytes, _ts_last = map(attrgetter, ("records", "bytes", "ts_last"))


class Extent(Struct, frozen=True):
    """A pack as planning sees it: its seqs and the bytes of its body."""

    seq: int
    last: int
    size: int


class Plan(Struct, frozen=True):
    """Groups of neighbours, each by the seqs of its first and last pack; ``done`` is where to look next."""

    groups: list[tuple[int, int]]
    done: int


def plan(extents: Sequence[Extent], pack_bytes: int = PACK_BYTES) -> Plan:
    """Group neighbours in log order. ``done`` is the first pack that may still grow (0: no packs)."""
    groups: list[tuple[int, int]] = []
    begin = previous = None
    size = 0
    for extent in extents:
        joins = previous is not None and extent.seq == previous.last + 1 and size + extent.size <= pack_bytes
        if begin is None or previous is None or not joins:
            if begin is not None and previous is not None and begin is not previous:
                groups.append((begin.seq, previous.seq))
            begin, size = extent, 0
        size += extent.size
        previous = extent
    return Plan(groups, begin.seq if begin is not None else 0)


def merge(packs: Sequence[Pack]) -> Pack:
    """One pack out of neighbours in log order."""
    return Pack(
        tid=packs[0].tid,
        seq=packs[0].seq,
        last=packs[-1].last,
        records=sum(map(_records, packs)),
        bytes=sum(map(_bytes, packs)),
        ts_last=max(map(_ts_last, packs)),
        body=b"".join([pack.body for pack in packs]),
    )


def merge_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The same runs, by strand, those that touch made one."""
    merged: list[Part] = []
    for part in sorted(parts, key=lambda part: (part.sid, part.first)):
        if merged and merged[-1].sid == part.sid and merged[-1].last + 1 == part.first:
            merged[-1] = Part(part.sid, merged[-1].first, part.last)
        else:
            merged.append(part)
    return tuple(merged)


def index_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """What the tag index keeps of a pack: its distinct tags, or MANY_TAGS when they are too many to tell."""
    distinct = sorted(set(tags))
    if len(distinct) > MOST_TAGS or MANY_TAGS in distinct:
        return (MANY_TAGS,)
    return tuple(distinct)
