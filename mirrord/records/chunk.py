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
Nothing here loops over records except ``encode_body`` (at the origin) and ``records`` (for a reader).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgpack
import msgspec
from msgspec import Raw, Struct
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
_AFTER_HASH = struct.Struct("<16sBBHHHQQIIIqq")
HASH_LEN = 16
LAST_OSEQ = (1 << 53) - 1  # so that JSON readers in any language can hold it

# Indexes into the tuple that ``header_at`` returns: cheaper on the mirror path than an object per chunk.
HASH: Final = 0
PREV_HASH: Final = 1
_VERSION: Final = 2
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


NO_TEXT = Raw(b"")  # a record without meta: msgspec keeps a value raw only where nothing else may stand


if TYPE_CHECKING:
    Payload = Raw | bytes
else:
    Payload = Raw  # what a JSON decoder makes of it


class Draft(Struct):
    """A record as its writer sent it. ``data`` and ``meta`` are JSON text, never parsed further; ``data`` of type
    ``bytes`` is opaque."""

    data: Payload
    tag: str | None = None
    node: str | None = None
    meta: Raw = NO_TEXT

    @property
    def text_bytes(self) -> int:
        """Its size as caps and limits count it."""
        return len(self.data) + len(self.meta)


class Via(Struct, frozen=True, array_like=True):
    """Where a router's copy came from: the topics that the record has been through (the source last), the record's
    place there, and the router."""

    path: tuple[str, ...]
    strand: int
    oseq: int
    router: str


class Copy(Draft):
    """A record that a router makes. No client can send one."""

    via: Via | None = None


class Record(Struct, frozen=True):
    """A record as a reader of a chunk finds it. ``data`` is JSON text, or bytes when the writer sent bytes."""

    oseq: int
    ts: int
    tag: str | None
    node: str | None
    meta: str | None
    data: str | bytes


NOT_HERE: Final[list[Any]] = [0, None, None, None, "null"]  # stands for a record that was taken out
_PLAIN = b"\x95\x00\xc0\xc0\xc0"  # [0, nil, nil, nil, data]: most records
_TEXT_HEADS = [bytes((0xA0 | n,)) if n < 32 else bytes((0xD9, n)) for n in range(256)]
_PLAIN_HEADS = [_PLAIN + head for head in _TEXT_HEADS]


def _text_head(length: int) -> bytes:
    if length < 256:
        return _TEXT_HEADS[length]
    return b"\xda" + length.to_bytes(2, "big") if length < 65536 else b"\xdb" + length.to_bytes(4, "big")


def _head(data: Payload) -> bytes:
    size = len(data)
    if type(data) is not bytes:
        return _text_head(size)
    if size < 256:
        return bytes((0xC4, size))
    return b"\xc5" + size.to_bytes(2, "big") if size < 65536 else b"\xc6" + size.to_bytes(4, "big")


def _text(raw: Raw) -> bytes:
    if not raw:
        return b"\xc0"
    return _text_head(len(raw)) + bytes(raw)


_pack = msgpack.Packer(autoreset=True).pack


_TEXT = frozenset({Raw})


def encode_body(drafts: Sequence[Draft], ts_delta_ms: int = 0) -> bytes:
    """The records' bytes, one after the other. All of one commit share one time."""
    return _body(drafts, ts_delta_ms)[0]


def _body(drafts: Sequence[Draft], ts_delta_ms: int = 0) -> tuple[bytes, int]:
    """The records' bytes, and how many of them are text. Most records are data and nothing else: those are gone through
    column by column, which is three times as fast as record by record."""
    datas = [draft.data for draft in drafts]
    more = [1 for draft in drafts if draft.tag is not None or draft.node is not None or draft.meta]
    if not more and not ts_delta_ms and _TEXT.issuperset(map(type, datas)):
        sizes = list(map(len, datas))
        parts: list[bytes | Raw] = [b""] * (2 * len(datas))
        parts[::2] = [_PLAIN_HEADS[size] if size < 256 else _PLAIN + _text_head(size) for size in sizes]
        parts[1::2] = datas
        return b"".join(parts), sum(sizes)
    return _mixed_body(drafts, ts_delta_ms)


def _mixed_body(drafts: Sequence[Draft], ts_delta_ms: int) -> tuple[bytes, int]:
    parts: list[bytes | Raw] = []  # what join takes as it lies there
    text_len = 0
    for draft in drafts:
        data, meta = draft.data, draft.meta
        size = len(data)
        if draft.tag is None and draft.node is None and not meta and not ts_delta_ms and type(data) is not bytes:
            parts.append(_PLAIN_HEADS[size] if size < 256 else _PLAIN + _text_head(size))
        else:
            parts.append(b"\x95" + _pack(ts_delta_ms) + _pack(draft.tag) + _pack(draft.node) + _text(meta))
            parts.append(_head(data))
            text_len += len(meta)
        parts.append(data)
        text_len += size
    return b"".join(parts), text_len


def _routed_body(drafts: Sequence[Draft]) -> tuple[bytes, int]:
    """The same for a chunk with the flag ROUTED: each record tells where it came from. Labels and ways are few, so each
    is packed once."""
    parts: list[bytes | Raw] = []
    text_len = 0
    heads: dict[tuple[str | None, str | None], bytes] = {}
    ways: dict[tuple[tuple[str, ...], int, str], tuple[bytes, bytes]] = {}
    for draft in drafts:
        data, meta, labels = draft.data, draft.meta, (draft.tag, draft.node)
        head = heads.get(labels)
        if head is None:
            head = heads[labels] = b"\x96\x00" + _pack(draft.tag) + _pack(draft.node)
        parts += (head, _text(meta), _head(data), data)
        text_len += len(data) + len(meta)
        via = draft.via if isinstance(draft, Copy) else None
        if via is None:
            parts.append(b"\xc0")
            continue
        way = ways.get(key := (via.path, via.strand, via.router))
        if way is None:
            way = ways[key] = (b"\x94" + _pack(via.path) + _pack(via.strand), _pack(via.router))
        parts += (way[0], _pack(via.oseq), way[1])
    return b"".join(parts), text_len


def encode(
    strand: int, first: int, prev_hash: bytes, ts: int, drafts: Sequence[Draft], kind: int = RECORDS
) -> tuple[bytes, bytes, tuple[str, ...]]:
    """A chunk of these drafts: its bytes, its hash, and the distinct tags (empty when there are too many to list)."""
    tags = tuple(dict.fromkeys([d.tag for d in drafts if d.tag is not None]))
    flags = MANY_TAGS if len(tags) > MOST_TAGS else 0
    tag_bytes = msgpack.packb(tags) if tags and not flags else b""
    routed = isinstance(drafts[0], Copy)  # what a router makes is an append of its own
    body, text_len = _routed_body(drafts) if routed else _body(drafts)
    flags |= ROUTED if routed else 0
    rest = (
        _AFTER_HASH.pack(
            prev_hash,
            VERSION,
            kind,
            HEADER_LEN,
            flags,
            len(tag_bytes),
            strand,
            first,
            len(drafts),
            len(body),
            text_len,
            ts,
            ts,
        )
        + tag_bytes
        + body
    )
    digest = xxh3_128_digest(rest)
    return digest + rest, digest, tags


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
    size = header[_HLEN] + header[TAGS_LEN] + header[BODY_LEN]
    if (
        size > room
        or header[_HLEN] < HEADER_LEN
        or header[_VERSION] < VERSION
        or header[COUNT] < 1
        or header[FIRST] < 1
        or header[BODY_LEN] < (header[COUNT] if not header[FLAGS] & STRIPPED else _least_stripped(header))
        or header[TEXT_LEN] > header[BODY_LEN]
        or header[FIRST] + header[COUNT] > LAST_OSEQ
        or header[TS_LAST] < header[TS_FIRST]
    ):
        raise ProtocolViolation(
            f"a chunk header cannot be true: strand {header[STRAND]:016x} first {header[FIRST]} count {header[COUNT]}"
        )
    return size


def _least_stripped(header: Header) -> int:
    return HASH_LEN + (header[COUNT] + 7) // 8


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
        raise HashMismatch(
            f"chunk {header[STRAND]:016x}/{header[FIRST]} does not have the hash that it tells"
        )


def chunks_in(body: bytes) -> Iterator[tuple[int, int, Header]]:
    """``(offset, size, header)`` of each chunk of a pack. Raises ChunkCorrupt when the bytes are not chunks."""
    at, end = 0, len(body)
    while at < end:
        size, header = chunk_at(body, at)
        yield at, size, header
        at += size


def chunk_at(body: bytes, at: int) -> tuple[int, Header]:
    """Size and header of the chunk of a pack that begins there. Raises ChunkCorrupt when the bytes are none."""
    if len(body) - at < HEADER_LEN:
        raise ChunkCorrupt("a pack ends inside a chunk header")
    header = header_at(body, at)
    size = header[_HLEN] + header[TAGS_LEN] + header[BODY_LEN]
    if size <= 0 or at + size > len(body):
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
        raise ProtocolViolation(
            f"the tags of chunk {header[STRAND]:016x}/{header[FIRST]} are not a list"
        ) from error
    if not isinstance(tags, tuple) or len(tags) > MOST_TAGS or not all(isinstance(t, str) for t in tags):
        raise ProtocolViolation(
            f"the tags of chunk {header[STRAND]:016x}/{header[FIRST]} are not a list of strings"
        )
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
    start, gone = body_start(at, header), missing(body, at, header)
    room = at + size_of(header) - start
    unpacker = msgpack.Unpacker(None, max_buffer_size=room or 1)
    try:
        unpacker.feed(memoryview(body)[start : start + room])
        found = list(unpacker)
    except (ValueError, msgpack.UnpackException) as error:
        raise ChunkCorrupt(f"chunk {header[STRAND]:016x}/{header[FIRST]} does not hold msgpack") from error
    if len(found) + gone.bit_count() != header[COUNT] or unpacker.tell() != room:
        raise ChunkCorrupt(
            f"chunk {header[STRAND]:016x}/{header[FIRST]} holds {len(found)} records, its header tells {header[COUNT]}"
        )
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
        raise ChunkCorrupt(
            f"chunk {header[STRAND]:016x}/{header[FIRST]} holds a record of another shape"
        ) from error


def _record(
    oseq: int, ts: int, delta: object, tag: object, node: object, meta: object, data: object
) -> Record:
    labels = (tag, node, meta)
    if (
        not isinstance(delta, int)
        or not isinstance(data, str | bytes)
        or not all(isinstance(x, str | None) for x in labels)
    ):
        raise TypeError
    return Record(oseq, ts + delta, tag, node, meta, data)  # type: ignore[arg-type]
