"""Batches: the records of one append, packed as they lie in a chunk; and the chunks that their origin makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import msgpack
from msgspec import Raw, Struct
from msgspec.msgpack import Encoder
from msgspec.structs import astuple
from xxhash import xxh3_128_digest

from .chunk import AFTER_HASH, HEADER_LEN, MANY_TAGS, MOST_TAGS, RECORDS, ROUTED, VERSION
from .draft import Copy, Draft, Payload, Via

CHUNK_BYTES = 256 << 10  # of text: a large append becomes several chunks, so that one never fills a frame

_PLAIN = b"\x95\x00\xc0\xc0\xc0"  # [0, nil, nil, nil, data]: most records
_RECORD, _COPY, _NIL = b"\x95\x00", b"\x96\x00", b"\xc0"
_pack = msgpack.Packer(autoreset=True).pack
_raws = Encoder().encode


class Batch(Struct, frozen=True, gc=False):
    """Records one behind the other. All of one commit share one time, so nothing in here tells it."""

    records: int
    text_bytes: int  # of JSON text, or of what stands for it, as caps count it
    body: bytes
    tags: tuple[str, ...] = ()  # the distinct ones
    routed: bool = False  # a router made them, and each tells where it came from


def batches_of(drafts: Sequence[Draft]) -> tuple[Batch, ...]:
    """The records of one append, all of writers or all of routers: of at most CHUNK_BYTES of text each (one larger
    record alone)."""
    routed = isinstance(drafts[0], Copy)
    sizes = [draft.text_bytes for draft in drafts]
    return tuple([_labelled(drafts[piece], sum(sizes[piece]), routed=routed) for piece in _pieces(sizes)])


def batches_of_text(datas: list[Raw]) -> tuple[Batch, ...]:
    """The same for records that are JSON text and nothing else. Most are, so this goes by columns and loops in C."""
    if len(datas) == 1:
        data, size = datas[0], len(datas[0])
        head = _PLAIN_HEADS[size] if size < len(_PLAIN_HEADS) else _PLAIN + _text_head(size)
        return (Batch(1, size, b"".join((head, data))),)
    sizes = list(map(len, datas))
    if (text_bytes := sum(sizes)) <= CHUNK_BYTES:
        return (_plain(datas, sizes, text_bytes),)
    return tuple([_plain(datas[piece], sizes[piece], sum(sizes[piece])) for piece in _pieces(sizes)])


def _pieces(sizes: list[int]) -> Iterator[slice]:
    begin = held = 0
    for i, size in enumerate(sizes):
        if held + size > CHUNK_BYTES and i > begin:
            yield slice(begin, i)
            begin, held = i, 0
        held += size
    yield slice(begin, len(sizes))


# ---- bytes of records ----------------------------------------------------------------------------


def _text_head(length: int) -> bytes:
    if length < 32:
        return bytes((0xA0 | length,))
    if length < 256:
        return bytes((0xD9, length))
    return b"\xda" + length.to_bytes(2, "big") if length < 65536 else b"\xdb" + length.to_bytes(4, "big")


_PLAIN_HEADS = [Raw(_PLAIN + _text_head(size)) for size in range(1024)]


def _plain(datas: list[Raw], sizes: list[int], text_bytes: int) -> Batch:
    if max(sizes) < len(_PLAIN_HEADS):
        heads = list(map(_PLAIN_HEADS.__getitem__, sizes))
    else:
        heads = [Raw(_PLAIN + _text_head(size)) for size in sizes]
    parts = datas * 2
    parts[::2], parts[1::2] = heads, datas
    listed = _raws(parts)  # puts raw values one behind the other, twice as fast as join does
    return Batch(len(datas), text_bytes, listed[1 if len(parts) < 16 else 3 if len(parts) < 65536 else 5 :])


def _labelled(drafts: Sequence[Draft], text_bytes: int, *, routed: bool) -> Batch:
    """Labels are few, so each pair of them is packed once."""
    parts: list[bytes | Raw] = []  # what join takes as it lies there
    heads: dict[tuple[str | None, str | None], bytes] = {}
    begin = _COPY if routed else _RECORD
    ways: dict[tuple[tuple[str, ...], int, str], tuple[bytes, bytes]] = {}
    for draft in drafts:
        labels = (draft.tag, draft.node)
        head = heads.get(labels)
        if head is None:
            head = heads[labels] = begin + _pack(draft.tag) + _pack(draft.node)
        data, meta = draft.data, draft.meta
        parts += (head, _text_head(len(meta)) if meta else _NIL, meta, _data_head(data), data)
        if routed:
            parts += _way(draft, ways)
    tags = tuple(dict.fromkeys([tag for tag, _ in heads if tag is not None]))
    return Batch(len(drafts), text_bytes, b"".join(parts), tags, routed)


def _data_head(data: Payload) -> bytes:
    size = len(data)
    if type(data) is not bytes:
        return _text_head(size)
    if size < 256:
        return bytes((0xC4, size))
    return b"\xc5" + size.to_bytes(2, "big") if size < 65536 else b"\xc6" + size.to_bytes(4, "big")


def _way(draft: Draft, ways: dict[tuple[tuple[str, ...], int, str], tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    """Where a copy came from; ways are few."""
    via: Via | None = draft.via if isinstance(draft, Copy) else None
    if via is None:
        return (_NIL,)
    way = ways.get(key := (via.path, via.strand, via.router))
    if way is None:
        way = ways[key] = (b"\x94" + _pack(via.path) + _pack(via.strand), _pack(via.router))
    return way[0], _pack(via.oseq), way[1]


# ---- chunks --------------------------------------------------------------------------------------


def encode(
    strand: int, first: int, prev_hash: bytes, ts: int, batches: Sequence[Batch], kind: int = RECORDS
) -> tuple[bytes, bytes, tuple[str, ...] | None]:
    """A chunk of these batches, all of writers or all of routers: its bytes, its hash, and the distinct tags; None when
    they are too many to list."""
    batch = batches[0] if len(batches) == 1 else joined_batches(batches)
    body, flags, tag_bytes = batch.body, ROUTED if batch.routed else 0, b""
    tags: tuple[str, ...] | None = batch.tags
    if tags:
        if len(tags) > MOST_TAGS:
            tags, flags = None, flags | MANY_TAGS
        else:
            tag_bytes = msgpack.packb(tags)
    rest = (
        AFTER_HASH.pack(
            prev_hash, VERSION, kind, HEADER_LEN, flags, len(tag_bytes), strand, first, batch.records, len(body),
            batch.text_bytes, ts, ts,
        )
        + tag_bytes
        + body
    )  # fmt: skip
    digest = xxh3_128_digest(rest)
    return digest + rest, digest, tags


def joined_batches(batches: Sequence[Batch]) -> Batch:
    """One of them all, in this order."""
    records, sizes, bodies, tags, routed = zip(*map(astuple, batches), strict=True)
    return Batch(sum(records), sum(sizes), b"".join(bodies), tuple(dict.fromkeys(chain(*tags))), routed[0])
