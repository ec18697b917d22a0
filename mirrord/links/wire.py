"""The feed protocol's words: what a caller asks, what frames say, and how they lie on the wire (docs/FEED.md).

A frame is ``[u32 header_len][u32 body_len][header msgpack][body]``, little-endian. Lengths are checked before anything
is kept, so a peer that lies about them costs no memory. Unknown keys of a header are skipped, unknown frames too.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import InvalidRequest, ProtocolViolation

PROTO = 1
MOST_HEADER_BYTES = 4 << 20
_LENGTHS = struct.Struct("<II")

At = tuple[int, int, bytes | None]  # strand, oseq, hash there
Told = tuple[int, int, bytes | None, int, int]  # strand, oseq, hash, whole_from, ts of the last record (ms)
Take = tuple[int, int]  # strand, and the last oseq up to which chunks may come as they are left
Move = tuple[int, int, int, bytes | None, int]  # topic number, strand, oseq, hash, ts
Pending = tuple[int, int, int, int]  # topic number, strand, first and last oseq of a cover held back
Stamp = tuple[int, int, int]  # when a node was born (ms), its starts since then, ms since this start: only grows
Sight = tuple[str, str, int, int, int, Stamp]  # node, topic, strand, oseq, ts, stamp of that node


GOES_ON = "goes-on"  # a cover that needs no waiting is applied in its place, so that its strand need not rest


class FeedRequest(Struct, frozen=True, omit_defaults=True):
    """Open a feed. ``wants`` maps a topic (or a prefix ``chat:*``, whose vector is empty) to the caller's vector."""

    proto: int
    cluster: str
    node: str
    origin_id: bytes
    life: bytes
    topology_hash: bytes
    feed_no: int
    wants: dict[str, list[At]]
    features: list[str] = []  # what the caller can take beyond version 1: GOES_ON
    closed_strands_hash: bytes = b""
    closed_strands: dict[str, list[At]] | None = None  # the list itself, after `need-closed`
    not_from: dict[str, list[int]] = {}
    hold: bool = False  # tell positions, send nothing until the first change (at most a heartbeat): others serve too
    max_frame_bytes: int = 1 << 20
    heartbeat_ms: int = 1000


class FeedChange(Struct, frozen=True, omit_defaults=True):
    """Change a running feed: serve these strands from these positions on; do not serve those."""

    origin_id: bytes
    wants: dict[str, list[At]] = {}
    not_from: dict[str, list[int]] = {}
    takes: dict[str, list[Take]] = {}  # strands of which stripped chunks may be sent, up to where
    sights: list[Sight] = []  # what the caller knows of other nodes and itself, when the peer does not pull from it


class TopicInfo(Struct, frozen=True, omit_defaults=True):
    """A topic of the serving node, with its number on this connection."""

    no: int
    name: str
    log_id: bytes
    type: str
    ttl_ms: int
    durability: str
    head: int
    count: int
    text_bytes: int
    vector: list[Told]
    created_ms: int = 0  # when, and by whom the topic was created first: who grants a queue's leases, unless
    creator: str = ""
    home: str = ""  # somebody said who does


class Hello(Struct, frozen=True, tag_field="f", tag="hello", omit_defaults=True):
    """Who serves. ``topics`` of them follow in ``topic`` frames before anything else."""

    proto: int
    node: str
    origin_id: bytes
    life: bytes
    clock_ms: int
    topology_hash: bytes
    topics: int
    stamp: Stamp = (0, 0, 0)


class Topics(Struct, frozen=True, tag_field="f", tag="topic", omit_defaults=True):
    """``there`` (after hello), ``created``, ``deleted`` or ``reconfigured``: information only."""

    event: str
    topics: list[TopicInfo]


class StrandIs(Struct, frozen=True, tag_field="f", tag="strand", omit_defaults=True):
    """A strand's descriptor, before its first chunk or cover on this connection."""

    topic: int
    descriptor: bytes


class Chunks(Struct, frozen=True, tag_field="f", tag="chunks", omit_defaults=True):
    """Chunks as they lie in the store, in the body; per strand in order. ``lacks`` says why some of them are stripped:
    ``erased`` (by travelling deletions, so nobody has more) or ``deleted`` (the caller took it so); "" when none is."""

    topic: int
    lacks: str = ""


class CoverIs(Struct, frozen=True, tag_field="f", tag="cover", omit_defaults=True):
    """A range that is not sent, why, and the hashes around it. The strand rests until the caller changes its wants,
    unless it ``goes_on``: then what comes next follows the range."""

    topic: int
    strand: int
    first: int
    last: int
    reason: str
    prev_hash: bytes | None = None
    hash: bytes | None = None
    goes_on: bool = False


class StrippedIs(Struct, frozen=True, tag_field="f", tag="stripped", omit_defaults=True):
    """Chunks of this range lack records here that another node may still have. The strand rests until the caller
    changes its wants; with ``takes`` it gets what is left."""

    topic: int
    strand: int
    first: int
    last: int


class Head(Struct, frozen=True, tag_field="f", tag="head", omit_defaults=True):
    """A heartbeat: only what changed since the last one, and a digest of all positions told. Of two sights of
    a node the one with the higher ``stamp`` is newer, whatever its clock does."""

    clock_ms: int
    digest: int
    moves: list[Move] = []
    pending: list[Pending] | None = None  # all of them, when they changed
    sights: list[Sight] = []
    stamp: Stamp = (0, 0, 0)


class ForkIs(Struct, frozen=True, tag_field="f", tag="fork", omit_defaults=True):
    """The caller's position contradicts what this node has in the strand: it halts on this link."""

    topic: int
    strand: int
    here: tuple[int, bytes | None]
    yours: tuple[int, bytes | None]


class Rewound(Struct, frozen=True, tag_field="f", tag="rewound", omit_defaults=True):
    """The caller's position is below what it told before in the same life: its store was put back."""

    topic: int
    strand: int
    told: int
    before: int


class NeedClosed(Struct, frozen=True, tag_field="f", tag="need-closed", omit_defaults=True):
    """The list of closed strands is not known here: open the feed again and send it."""


class Refused(Struct, frozen=True, tag_field="f", tag="refused", omit_defaults=True):
    """No, in a word of docs/FEED.md; with a topic: only that one."""

    reason: str
    message: str = ""
    topic: str | None = None
    retry_after_s: float | None = None


Frame = Hello | Topics | StrandIs | Chunks | CoverIs | StrippedIs | Head | ForkIs | Rewound | NeedClosed | Refused
KNOWN = frozenset(
    {"hello", "topic", "strand", "chunks", "cover", "stripped", "head", "fork", "rewound", "need-closed", "refused"}
)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # all that a decoder raises at what it is given

_encode = msgspec.msgpack.Encoder().encode
_decode_frame = msgspec.msgpack.Decoder(Frame).decode
_decode_tag = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_request = msgspec.msgpack.Decoder(FeedRequest).decode
_decode_change = msgspec.msgpack.Decoder(FeedChange).decode


def encode(message: Struct) -> bytes:
    """A request or change, as a body."""
    return _encode(message)


def decode_request(body: bytes) -> FeedRequest:
    """Raises InvalidRequest: whoever asks is at fault, not a peer whom we asked."""
    try:
        return _decode_request(body)
    except UNREADABLE as error:
        raise InvalidRequest(f"the feed request cannot be read: {error}") from error


def decode_change(body: bytes) -> FeedChange:
    """Raises InvalidRequest."""
    try:
        return _decode_change(body)
    except UNREADABLE as error:
        raise InvalidRequest(f"the change of a feed cannot be read: {error}") from error


def frame(header: Frame, body: Sequence[bytes | memoryview] = ()) -> list[bytes | memoryview]:
    """A frame as buffers, so that chunks are sent from where they lie."""
    packed = _encode(header)
    return [_LENGTHS.pack(len(packed), sum(map(len, body))) + packed, *body]


def _decode(packed: bytes) -> Frame | None:
    try:
        found: Frame = _decode_frame(packed)
        return found
    except msgspec.ValidationError as error:
        try:
            tag = _decode_tag(packed).get("f")
        except UNREADABLE:
            tag = None
        if isinstance(tag, str) and tag not in KNOWN:
            return None  # a frame of a later version: skipped
        raise ProtocolViolation(f"a frame cannot be read: {error}") from error
    except UNREADABLE as error:
        raise ProtocolViolation(f"a frame cannot be read: {error}") from error


class FrameReader:
    """Bytes in, frames out. Holds at most one frame of ``max_body_bytes`` besides what was just fed."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body = max_body_bytes
        self._parts: deque[bytes | memoryview] = deque()
        self._have = 0
        self._need = _LENGTHS.size
        self._lengths: tuple[int, int] | None = None

    def feed(self, data: bytes) -> Iterator[tuple[Frame, bytes]]:
        """All frames that are complete with ``data``. Raises ProtocolViolation at the first that cannot be."""
        at, end = 0, len(data)
        whole = self._lengths is None and not self._have  # nothing was left over: whole frames need no putting together
        while whole and end - at >= _LENGTHS.size:
            header_len, body_len = self._check(*_LENGTHS.unpack_from(data, at))
            begin = at + _LENGTHS.size
            middle = begin + header_len
            if middle + body_len > end:
                break
            at = middle + body_len
            if (header := _decode(data[begin:middle])) is not None:
                yield header, data[middle:at]
        if at < end:
            self._have += end - at
            self._parts.append(memoryview(data)[at:] if at else data)
            yield from self._put_together()

    def _put_together(self) -> Iterator[tuple[Frame, bytes]]:
        """All frames that are complete in the parts."""
        while self._have >= self._need:
            if self._lengths is None:
                self._lengths = self._check(*_LENGTHS.unpack(self._pull(_LENGTHS.size)))
                self._need = sum(self._lengths)
                continue
            header_len, body_len = self._lengths
            header = _decode(self._pull(header_len))
            body = self._pull(body_len)
            self._lengths, self._need = None, _LENGTHS.size
            if header is not None:
                yield header, body

    def _check(self, header_len: int, body_len: int) -> tuple[int, int]:
        if header_len > MOST_HEADER_BYTES or body_len > self._max_body:
            raise ProtocolViolation(
                f"a frame tells a length of {header_len} + {body_len} bytes: more than a frame may have"
            )
        return header_len, body_len

    def _pull(self, size: int) -> bytes:
        """The next bytes. Parts are cut as views: a body is copied once."""
        parts, lacking = self._parts, size
        taken: list[bytes | memoryview] = []
        while lacking:
            part = parts.popleft()
            if len(part) > lacking:
                view = memoryview(part)
                parts.appendleft(view[lacking:])
                part = view[:lacking]
            taken.append(part)
            lacking -= len(part)
        self._have -= size
        return b"".join(taken)
