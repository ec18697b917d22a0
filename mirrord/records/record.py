"""Records as a reader of a chunk finds them."""

from __future__ import annotations

from typing import Any, Final

import msgpack
import msgspec
from msgspec import Struct

from ..errors import ChunkCorrupt
from .chunk import (
    BODY_LEN,
    COUNT,
    FIRST,
    FLAGS,
    ROUTED,
    STRAND,
    STRIPPED,
    TS_FIRST,
    Header,
    body_start,
    missing,
    size_of,
)
from .draft import Via


class Record(Struct, frozen=True):
    """A record as a reader of a chunk finds it. ``data`` is JSON text, or bytes when the writer sent bytes."""

    oseq: int
    ts: int
    tag: str | None
    node: str | None
    meta: str | None
    data: str | bytes


_LIST = b"\xdd"  # msgpack: a list of as many as the next four bytes tell
NOT_HERE: Final[list[Any]] = [0, None, None, None, "null"]  # stands for a record that was taken out


def rows(body: bytes, at: int, header: Header) -> list[list[Any]]:
    """The records of one chunk as the lists that they are: ``[ts_delta_ms, tag, node, meta, data]``. One per
    oseq: where a stripped chunk lacks one stands ``NOT_HERE``, which the log's masks never let a reader see.

    Raises ChunkCorrupt when the body does not hold just ``count`` of them.
    """
    found = _rows(body, at, header)
    if not header[FLAGS] & ROUTED:
        return found
    return [row if row is NOT_HERE else row[:5] for row in found]


def vias(body: bytes, at: int, header: Header) -> list[Via | None]:
    """Where each record of a chunk was copied from; empty when no router made any of them. Raises ChunkCorrupt."""
    if not header[FLAGS] & ROUTED:
        return []
    try:
        found = _rows(body, at, header)
        return [None if row is NOT_HERE or row[5] is None else msgspec.convert(row[5], Via) for row in found]
    except (IndexError, TypeError, msgspec.ValidationError) as error:
        raise ChunkCorrupt(f"chunk {header[STRAND]:016x}/{header[FIRST]} does not tell where it came from") from error


def _rows(body: bytes, at: int, header: Header) -> list[list[Any]]:
    end, gone = at + size_of(header), 0
    start, count = end - header[BODY_LEN], header[COUNT]
    if header[FLAGS] & STRIPPED:
        start, gone = body_start(at, header), missing(body, at, header)
        count -= gone.bit_count()
    listed = b"".join((_LIST, count.to_bytes(4, "big"), memoryview(body)[start:end]))
    try:
        found: list[list[Any]] = msgpack.unpackb(listed)
    except (ValueError, msgpack.UnpackException) as error:
        raise ChunkCorrupt(
            f"chunk {header[STRAND]:016x}/{header[FIRST]} does not hold the {count} records that it tells"
        ) from error
    return _in_place(found, gone, header[COUNT]) if gone else found


def _in_place(found: list[list[Any]], gone: int, count: int) -> list[list[Any]]:
    here = iter(found)
    return [NOT_HERE if gone >> i & 1 else next(here) for i in range(count)]


def records(body: bytes, at: int, header: Header) -> list[Record]:
    """The records of one chunk. Raises ChunkCorrupt when they are not what a chunk holds."""
    first, ts = header[FIRST], header[TS_FIRST]
    try:
        found = enumerate(rows(body, at, header))
        return [_record(first + i, ts, *row) for i, row in found if row is not NOT_HERE]
    except (TypeError, ValueError) as error:
        raise ChunkCorrupt(f"chunk {header[STRAND]:016x}/{header[FIRST]} holds a record of another shape") from error


def _record(oseq: int, ts: int, delta: object, tag: object, node: object, meta: object, data: object) -> Record:
    labels = (tag, node, meta)
    if (
        not isinstance(delta, int)
        or not isinstance(data, str | bytes)
        or not all(isinstance(x, str | None) for x in labels)
    ):
        raise TypeError
    return Record(oseq, ts + delta, tag, node, meta, data)  # type: ignore[arg-type]
