"""Chunks: consecutive records of one strand, committed together at their origin, immutable, the unit of replication.

A chunk lies in the store, on the wire and in memory as the same bytes::

    hash 16 | prev_hash 16 | version u8 | kind u8 | header_len u16 | flags u16 | tags_len u16
    | strand u64 | first u64 | count u32 | body_len u32 | text_len u32 | ts_first i64 | ts_last i64 | tags | body

all little-endian. ``hash = xxh3_128(everything after itself)``, so it covers ``prev_hash``: a chain per strand, whose
first ``prev_hash`` is the hash of the strand's descriptor. The hash stands first so that one C call over one slice
checks a chunk. It finds accidents (forks, rewinds, bit rot); it is no signature. ``header_len`` lets a later version
add fields: unknown trailing header bytes are skipped. ``text_len`` is the JSON text of data and meta, which caps count.

The body is the records one after the other, each a msgpack array ``[ts_delta_ms, tag, node, meta, data]``: ``meta`` and
``data`` are msgpack ``str`` holding JSON text exactly as the writer sent it (``data`` may be ``bin``: opaque bytes).
A chunk with the flag STRIPPED lacks records that were deleted (``stripped.py``): between its tags and its records stand
a hash of its own and the mask of what is not there; ``hash`` stays that of the chunk as the origin wrote it.
With the flag ROUTED a sixth element tells where a router's copy came from (``Via``; nil: no copy).
Nothing here loops over records: that is done at the origin (``draft.py``) and for a reader (``record.py``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

import msgpack
from xxhash import xxh3_128, xxh3_128_digest

from ..errors import ChunkCorrupt, HashMismatch, ProtocolViolation

VERSION = 1
RECORDS, CONTROL = 0, 1  # kinds
MANY_TAGS = 1  # flag: more than MOST_TAGS distinct tags, so the list is not there
ROUTED = 2  # flag: records have a sixth element, ``via``
STRIPPED = 4  # flag: records were taken out; ``count`` is still that of the oseqs
MOST_TAGS = 64

_HEADER = struct.Struct("<16s16sBBHHHQQIIIqq")
HEADER_LEN = _HEADER.size
AFTER_HASH = struct.Struct("<16sBBHHHQQIIIqq")
HASH_LEN = 16
LAST_OSEQ = (1 << 53) - 1  # so that JSON readers in any language can hold it

# Indexes into the tuple that ``header_at`` returns: cheaper on the mirror path than an object per chunk.
HASH: Final = 0
PREV_HASH: Final = 1
KIND: Final = 3
_HLEN: Final = 4
FLAGS: Final = 5
TAGS_LEN: Final = 6
STRAND: Final = 7
FIRST: Final = 8
COUNT: Final = 9
BODY_LEN: Final = 10
TEXT_LEN: Final = 11
TS_FIRST: Final = 12
TS_LAST: Final = 13
Header = tuple[bytes, bytes, int, int, int, int, int, int, int, int, int, int, int, int]


def _unpack_header() -> Callable[[bytes | bytearray | memoryview, int], Header]:
    return _HEADER.unpack_from  # typed once here; a wrapper around it would cost a call per chunk


header_at = _unpack_header()


def header_bytes(header: Header, flags: int, tags_len: int, body_len: int, text_len: int) -> bytes:
    """The same header of this version's length, telling other contents."""
    return _HEADER.pack(
        *header[:_HLEN], HEADER_LEN, flags, tags_len, *header[STRAND:BODY_LEN], body_len, text_len, *header[TS_FIRST:]
    )


def size_of(header: Header) -> int:
    """Bytes of the whole chunk."""
    return header[_HLEN] + header[TAGS_LEN] + header[BODY_LEN]


def check_shape(header: Header, room: int) -> int:
    """The size of the chunk, of which ``room`` bytes are there. Raises ProtocolViolation for a header that cannot be.

    Never trusts a length that a peer tells before it has been compared with what is there.
    """
    _, _, version, _, header_len, flags, tags_len, _, first, count, body_len, text_len, ts, ts_last = header
    size = header_len + tags_len + body_len
    if (
        size > room
        or header_len < HEADER_LEN
        or version < VERSION
        or not 1 <= first <= LAST_OSEQ - count
        or count < 1
        or not text_len <= body_len >= (count if not flags & STRIPPED else _least_stripped(count))
        or ts_last < ts
    ):
        raise ProtocolViolation(
            f"a chunk header cannot be true: strand {header[STRAND]:016x} first {header[FIRST]} count {header[COUNT]}"
        )
    return size


def _least_stripped(count: int) -> int:
    return HASH_LEN + (count + 7) // 8


def _own_hash(buffer: memoryview, at: int, size: int, header: Header) -> bytes:
    """A stripped chunk's: of all its bytes but these."""
    place = at + header[_HLEN] + header[TAGS_LEN]
    digest = xxh3_128(buffer[at:place])
    digest.update(buffer[place + HASH_LEN : at + size])
    return digest.digest()


def check_hash(buffer: memoryview, at: int, size: int, header: Header) -> None:
    """Raises HashMismatch when the bytes do not have the hash that the chunk tells."""
    if header[FLAGS] & STRIPPED:
        place = at + header[_HLEN] + header[TAGS_LEN]
        same = _own_hash(buffer, at, size, header) == buffer[place : place + HASH_LEN]
    else:
        same = xxh3_128_digest(buffer[at + HASH_LEN : at + size]) == header[HASH]
    if not same:
        raise HashMismatch(f"chunk {header[STRAND]:016x}/{header[FIRST]} does not have the hash that it tells")


def chunks_in(body: bytes) -> Iterator[tuple[int, int, Header]]:
    """``(offset, size, header)`` of each chunk of a pack. Raises ChunkCorrupt when the bytes are not chunks."""
    at, end = 0, len(body)
    while at < end:
        size, header = chunk_at(body, at)
        yield at, size, header
        at += size


def chunk_at(body: bytes, at: int) -> tuple[int, Header]:
    """Size and header of the chunk of a pack that begins there. Raises ChunkCorrupt when the bytes are none."""
    try:
        header = header_at(body, at)
    except struct.error:
        raise ChunkCorrupt("a pack ends inside a chunk header") from None
    size = header[_HLEN] + header[TAGS_LEN] + header[BODY_LEN]
    if not 0 < size <= len(body) - at:
        raise ChunkCorrupt("a pack ends inside a chunk")
    return size, header


def tags_of(buffer: bytes | memoryview, at: int, header: Header) -> tuple[str, ...] | None:
    """The distinct tags that the origin wrote beside the header; None when there were too many to list."""
    if header[FLAGS] & MANY_TAGS:
        return None
    if not header[TAGS_LEN]:
        return ()
    start = at + header[_HLEN]
    try:
        tags = msgpack.unpackb(buffer[start : start + header[TAGS_LEN]], use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolViolation(f"the tags of chunk {header[STRAND]:016x}/{header[FIRST]} are not a list") from error
    if not isinstance(tags, tuple) or len(tags) > MOST_TAGS or not all(isinstance(t, str) for t in tags):
        raise ProtocolViolation(f"the tags of chunk {header[STRAND]:016x}/{header[FIRST]} are not a list of strings")
    return tags


def missing(body: bytes | memoryview, at: int, header: Header) -> int:
    """Which records a chunk lacks: bit i is oseq ``first + i``. 0 for a whole chunk."""
    if not header[FLAGS] & STRIPPED:
        return 0
    start = at + header[_HLEN] + header[TAGS_LEN] + HASH_LEN
    return int.from_bytes(body[start : start + (header[COUNT] + 7) // 8], "little") & (1 << header[COUNT]) - 1


def body_start(at: int, header: Header) -> int:
    """Where the first record of a chunk lies."""
    start: int = at + header[_HLEN] + header[TAGS_LEN]
    return start + HASH_LEN + (header[COUNT] + 7) // 8 if header[FLAGS] & STRIPPED else start
