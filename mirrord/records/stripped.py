"""Stripped chunks: a chunk without the records that were deleted where it is served.

The header stays as it is but for ``flags``, ``tags_len``, ``body_len`` and ``text_len``, which tell what is left; its
``hash`` stays that of the chunk as the origin wrote it, so the chain goes on. The body begins with a hash of its own
(XXH3-128 of all the chunk's other bytes) and the mask, ``(count + 7) // 8`` bytes, bit i for oseq ``first + i``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
from xxhash import xxh3_128

from ..errors import ChunkCorrupt
from .chunk import (
    COUNT,
    FIRST,
    FLAGS,
    MANY_TAGS,
    MOST_TAGS,
    STRAND,
    STRIPPED,
    Header,
    body_start,
    header_bytes,
    missing,
    size_of,
)


def strip(body: bytes, at: int, header: Header, gone: int) -> bytes:
    """The chunk at ``at`` without the records of ``gone`` (bit i is oseq ``first + i``). Raises ChunkCorrupt.

    A chunk that is stripped already loses more; one that loses nothing comes back as it is.
    """
    before = missing(body, at, header)
    gone &= (1 << header[COUNT]) - 1  # more than the header tells, the chunk cannot lose
    if not gone & ~before:
        return body[at : at + size_of(header)]
    kept, tags, text = _keep(body, at, header, gone | before)
    listed = tuple(dict.fromkeys(tags))
    flags = header[FLAGS] & ~MANY_TAGS | STRIPPED | (MANY_TAGS if len(listed) > MOST_TAGS else 0)
    tag_bytes = msgpack.packb(listed) if listed and len(listed) <= MOST_TAGS else b""
    rest = (gone | before).to_bytes((header[COUNT] + 7) // 8, "little") + kept
    head = header_bytes(header, flags, len(tag_bytes), len(rest) + 16, text) + tag_bytes
    digest = xxh3_128(head)
    digest.update(rest)
    return head + digest.digest() + rest


def _keep(body: bytes, at: int, header: Header, gone: int) -> tuple[bytes, Sequence[str], int]:
    """The bytes of the records that stay, their tags, and their JSON text in bytes."""
    start, before = body_start(at, header), missing(body, at, header)
    room = memoryview(body)[start : at + size_of(header)]
    unpacker = msgpack.Unpacker(None, max_buffer_size=len(room) or 1)
    kept: list[memoryview] = []
    tags: list[str] = []
    text = end = 0
    try:
        unpacker.feed(room)
        for i in range(header[COUNT]):
            if before >> i & 1:
                continue
            row, begin, end = unpacker.unpack(), end, unpacker.tell()
            if gone >> i & 1:
                continue
            kept.append(room[begin:end])
            if row[1] is not None:
                tags.append(row[1])
            text += text_bytes(row[4]) + text_bytes(row[3])
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise ChunkCorrupt(f"chunk {header[STRAND]:016x}/{header[FIRST]} holds no records") from error
    return b"".join(kept), tags, text


def text_bytes(field: object) -> int:
    """What caps count of a record's data or meta: bytes of JSON text, or of what stands for it."""
    if isinstance(field, str):
        return len(field) if field.isascii() else len(field.encode())
    return len(field) if isinstance(field, bytes) else 0
