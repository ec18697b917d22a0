"""The rules of apply: what a log does with a chunk, a cover, a seq. Small pure functions, each a sentence of
design/3-replication.md §3.3; the simulator switches them off one by one and must notice (``mirrord sim --without``).
"""

from __future__ import annotations

from ...config.topic import TopicConfig
from ...records.chunk import COUNT, FIRST, HASH, PREV_HASH, Header
from ...records.gap import Cover
from .log import Log

NEXT, KNOWN, AHEAD, FORKED = "next", "known", "ahead", "forked"

CEILING_STEP = 4096


def follows(last: int, header: Header) -> str:
    """The vector check: NEXT when the chunk begins where the log ends, KNOWN when the log covers it, AHEAD when
    something is missing before it, FORKED when the log ends inside it (boundaries are the same on every node)."""
    first = header[FIRST]
    if first == last + 1:
        return NEXT
    if first > last + 1:
        return AHEAD
    return KNOWN if first + header[COUNT] - 1 <= last else FORKED


def chains(last_hash: bytes | None, header: Header) -> bool:
    """The chain check: the chunk names the hash that the log has before it. An unknown hash (after a cover that told
    none) is adopted."""
    return last_hash is None or header[PREV_HASH] == last_hash


def same_end(last: int, last_hash: bytes | None, header: Header) -> bool:
    """Whether a KNOWN chunk that ends just where the log ends has the log's hash there; otherwise it is a fork."""
    return last_hash is None or header[FIRST] + header[COUNT] - 1 != last or header[HASH] == last_hash


def cover_chains(last_hash: bytes | None, cover: Cover) -> bool:
    """Whether a cover that begins right after the log's end agrees with the hash there (null: it cannot say)."""
    return last_hash is None or cover.prev_hash is None or cover.prev_hash == last_hash


def has_room(log: Log, config: TopicConfig, records: int, size: int) -> bool:
    """Whether so many records, and bytes of JSON text, fit beside what is live."""
    return not (0 < config.cap_records < log.count + records or 0 < config.cap_bytes < log.bytes + size)


def raise_ceiling(head: int, ceiling: int, per_second: float) -> int:
    """The new ceiling when ``head`` passes the old one: steps of two seconds of appends, at least 4 096. The commit
    that carries it is a full sync, before any seq above the old one is readable, whoever brought it."""
    if head <= ceiling:
        return ceiling
    return head + max(CEILING_STEP, int(2 * per_second))


def after_ceiling(head: int, ceiling: int) -> int:
    """Where a new life goes on: seqs up to the ceiling may have been readable and are never used again."""
    return max(head, ceiling)
