"""Gaps: typed ranges of a strand that a log does not hold, and the covers that tell of them on the wire."""

from __future__ import annotations

import struct

from msgspec import Struct

FILTERED, DELETED, ERASED, REFUSED = "filtered", "deleted", "erased", "refused"
EXPIRED, EVICTED, LOST = "expired", "evicted", "lost"
SOURCE_TRIM = "source_trim"  # not of a strand: a router's source lost records before they were copied
VOLUNTARY = frozenset({FILTERED, DELETED, ERASED, REFUSED})  # silent: somebody wanted it so
REASONS = VOLUNTARY | {EXPIRED, EVICTED, LOST}
CONTROL = "control"
"""No gap: a control chunk, which has oseqs and no seq; kept whole where gaps stand. Never on the wire."""

# How /v0 readers see a reason in a tombstone (5-http-api.md): the words of the reference surface where it has one.
TOMBSTONE_WORDS = {EXPIRED: "ttl", EVICTED: "cap", LOST: "lost"}

_END = struct.Struct("<Q16s")
END_LEN = _END.size


class Cover(Struct, frozen=True):
    """An answer for ``first..last`` of a strand that brings no records: why, and the hashes before and at its end."""

    strand: int
    first: int
    last: int
    reason: str
    prev_hash: bytes | None
    hash: bytes | None

    def is_sound(self) -> bool:
        """Whether a peer may say this."""
        return 1 <= self.first <= self.last < 1 << 53 and self.reason in REASONS

    def cut(self, last: int) -> Cover:
        """The cover up to ``last`` only; the hash at an inner end is not known."""
        return self if last >= self.last else Cover(self.strand, self.first, last, self.reason, self.prev_hash, None)


def takes_a_seq(reason: str) -> bool:
    """Whether a gap that came over a link is shown to readers: once, as one seq of its own."""
    return reason not in VOLUNTARY


def pack_end(oseq: int, digest: bytes) -> bytes:
    """One inner chunk end of an evicted range, as it is kept so that positions inside stay comparable."""
    return _END.pack(oseq, digest)


def find_end(ends: bytes, oseq: int) -> bytes | None:
    """The hash at ``oseq`` among packed ends (in order), or None. Binary search: ends may be many."""
    low, high = 0, len(ends) // END_LEN
    while low < high:
        middle = (low + high) // 2
        at, digest = _END.unpack_from(ends, middle * END_LEN)
        if at == oseq:
            return bytes(digest)
        low, high = (middle + 1, high) if at < oseq else (low, middle)
    return None
