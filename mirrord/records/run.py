"""Runs: chunks of one strand that lie one behind the other and follow each other without a doubt.

Records that were appended alone travel in chunks of their own. Judging each by every rule costs more than moving it, so
the chunks behind one that was judged are looked at here in one tight loop: whatever is not plainly the next link of the
same chain ends the run, and is judged by the rules.
"""

from __future__ import annotations

from itertools import chain

from msgspec import Struct
from xxhash import xxh3_128_digest

from .chunk import (
    COUNT,
    FIRST,
    HASH_LEN,
    HEADER_LEN,
    LAST_OSEQ,
    RECORDS,
    STRAND,
    STRIPPED,
    VERSION,
    Header,
    check_hash,
    header_at,
    size_of,
    tags_of,
)

Tags = tuple[str, ...] | None  # None: too many to tell


class Run(Struct, frozen=True):
    """``records`` of a strand from ``first`` on, in a chain that ends in ``hash``."""

    first: int
    records: int
    text_bytes: int
    ts_last: int  # of the newest record, ms
    hash: bytes
    tags: Tags  # the distinct ones


def run_from(buffer: bytes, at: int, size: int, header: Header, most_bytes: int) -> tuple[Run, int]:
    """The run that begins with the chunk at ``at``, whose shape was checked and which follows what the log has; and
    where it ends. ``most_bytes`` end it early.

    Raises ProtocolViolation, HashMismatch for a first chunk that cannot be; a later one ends the run before it.
    """
    view, end = memoryview(buffer), len(buffer)
    check_hash(view, at, size, header)
    tags, others = tags_of(buffer, at, header), list[Tags]()
    last_hash, _, _, _, _, _, _, number, first, records, _, text, _, newest = header
    here, following, most = at + size, first + records, at + most_bytes
    while here + HEADER_LEN <= end:
        header = header_at(buffer, here)
        told, prev, version, kind, hlen, flags, tags_len, strand, begin, count, body_len, text_len, ts, ts_last = header
        if prev != last_hash or begin != following or strand != number:
            break
        size = hlen + tags_len + body_len
        if kind != RECORDS or flags & STRIPPED or here + size > end or here + size > most:
            break
        if hlen != HEADER_LEN or version != VERSION or not 1 <= count <= body_len >= text_len or ts_last < ts:
            break  # whatever it is, the rules will name it
        if begin + count > LAST_OSEQ or xxh3_128_digest(view[here + HASH_LEN : here + size]) != told:
            break
        if tags_len or flags:
            others.append(tags_of(buffer, here, header))
        last_hash, following, here = told, begin + count, here + size
        text += text_len
        if ts_last > newest:
            newest = ts_last
    if others:
        tags = _joined([tags, *others])
    return Run(first, following - first, text, newest, last_hash, tags), here


def _joined(tags: list[Tags]) -> Tags:
    known = [some for some in tags if some is not None]
    return tuple(dict.fromkeys(chain.from_iterable(known))) if len(known) == len(tags) else None


def stretch_from(body: bytes, at: int, header: Header, most_bytes: int) -> tuple[int, int]:
    """Where the chunks end that lie behind the one at ``at`` and go on in its strand, and the oseq behind them. For
    what was checked when it was taken; ``most_bytes`` end it early, never before the first.
    """
    end, strand, following = at + size_of(header), header[STRAND], header[FIRST] + header[COUNT]
    length, most = len(body), at + most_bytes
    while end + HEADER_LEN <= length:
        header = header_at(body, end)
        if header[STRAND] != strand or header[FIRST] != following:
            break
        size = size_of(header)
        if end + size > most or end + size > length:
            break
        following += header[COUNT]
        end += size
    return end, following
