"""The feed protocol's words: what a caller asks, and what frames say (docs/FEED.md). Unknown keys are skipped."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from ..errors import InvalidRequest

PROTO = 1

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
