"""Runs: chunks of one strand that lie one behind the other and follow each other without a doubt.

Records that were appended alone travel in chunks of their own. Judging each by every rule costs more than moving it, so
the chunks behind one that was judged are looked at here in one tight loop: whatever is not plainly the next link of the
same chain ends the run, and is judged by the rules.
"""

from __future__ import annotations

from msgspec import Struct
from xxhash import xxh3_128_digest

from .chunk import (
    COUNT,
    FIRST,
    HASH,
    HASH_LEN,
    HEADER_LEN,
    LAST_OSEQ,
    RECORDS,
    STRAND,
    STRIPPED,
    TEXT_LEN,
    TS_LAST,
    VERSION,
    Header,
    check_hash,
    check_shape,
    header_at,
    size_of,
    tags_of,
)


class Run(Struct):
    """``records`` of a strand from ``first`` on, in a chain that ends in ``hash``."""

    first: int
    records: int
    text_bytes: int
    ts_last: int  # of the newest record, ms
    hash: bytes
    tags: dict[str, None] | None  # None: too many to tell


def run_from(buffer: bytes, at: int, header: Header, most_bytes: int) -> tuple[Run, int]:
    """The run that begins with the chunk at ``at``, which follows what the log has, and where it ends; ``most_bytes``
    end it early.

    Raises ProtocolViolation, HashMismatch for a first chunk that cannot be; a later one ends the run before it.
    """
    view, end, size = memoryview(buffer), len(buffer), check_shape(header, len(buffer) - at)
    check_hash(view, at, size, header)
    tags = tags_of(buffer, at, header)
    run = Run(
        header[FIRST], header[COUNT], header[TEXT_LEN], header[TS_LAST], header[HASH],
        None if tags is None else dict.fromkeys(tags),
    )  # fmt: skip
    here, number, following, most = at + size, header[STRAND], run.first + run.records, at + most_bytes
    last_hash, text, newest = run.hash, run.text_bytes, run.ts_last
    while here + HEADER_LEN <= end:
        header = header_at(buffer, here)
        told, prev, version, kind, hlen, flags, tags_len, strand, first, count, body_len, text_len, ts, ts_last = header
        if prev != last_hash or first != following or strand != number:
            break
        size = hlen + tags_len + body_len
        if kind != RECORDS or flags & STRIPPED or here + size > end or here + size > most:
            break
        if hlen != HEADER_LEN or version != VERSION or not 1 <= count <= body_len >= text_len or ts_last < ts:
            break  # whatever it is, the rules will name it
        if first + count > LAST_OSEQ or xxh3_128_digest(view[here + HASH_LEN : here + size]) != told:
            break
        if tags_len or flags:
            _add_tags(run, buffer, here, header)
        last_hash, following, here = told, first + count, here + size
        text += text_len
        if ts_last > newest:
            newest = ts_last
    run.hash, run.records, run.text_bytes, run.ts_last = last_hash, following - run.first, text, newest
    return run, here


def _add_tags(run: Run, buffer: bytes, at: int, header: Header) -> None:
    tags = tags_of(buffer, at, header)
    if tags is None:
        run.tags = None
    elif run.tags is not None:
        run.tags.update(dict.fromkeys(tags))


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
