"""Drafts: records as their writers sent them, and the chunks that their origin makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgpack
from msgspec import Raw, Struct
from xxhash import xxh3_128_digest

from .chunk import AFTER_HASH, HEADER_LEN, MANY_TAGS, MOST_TAGS, RECORDS, ROUTED, VERSION

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
        AFTER_HASH.pack(
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


def pieces_of(drafts: list[Draft], most_bytes: int) -> list[list[Draft]]:
    """Pieces of at most so much text (one larger record alone)."""
    pieces: list[list[Draft]] = [[]]
    size = 0
    for draft in drafts:
        if size + draft.text_bytes > most_bytes and pieces[-1]:
            pieces.append([])
            size = 0
        pieces[-1].append(draft)
        size += draft.text_bytes
    return pieces
