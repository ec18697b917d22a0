"""What many answers have in common: times, records, losses."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ...config.topic import OPTIONS, TopicConfig

Seq = Annotated[int, Meta(ge=0)]
Millis = Annotated[int, Meta(description="ms since the epoch")]
Reason = Annotated[str, Meta(description="why it is gone: a word of docs/HTTP.md")]


class Performance(Struct):
    """How long the node took."""

    server_total_ms: Annotated[float, Meta(ge=0)]


class Told(Struct, kw_only=True):
    """What every answer that is an object has."""

    performance: Performance


class Origin(Struct):
    """Where a record was first accepted: the node, its strand in hex, and the place there."""

    node: str
    strand: str
    oseq: Seq


class Lost(Struct, kw_only=True):
    """Where a gap that came over a link lies in its strand."""

    node: str
    strand: str
    oseq_from: Seq
    oseq_to: Seq


class Tombstone(Struct, kw_only=True):
    """A loss that a reader is told of once."""

    gap_from: Seq
    gap_to: Seq
    reason: Reason
    missed_estimate: Seq
    earliest_seq: Seq
    head_seq: Seq
    origin: Lost | UnsetType = field(name="$origin", default=UNSET)


class Record(Struct, kw_only=True):
    """A record as it is read. ``data`` is what was sent; bytes show as ``{"$bin": base64}``."""

    seq: Seq = field(name="$seq")
    ts: Millis = field(name="$ts")
    topic: str | UnsetType = field(name="$topic", default=UNSET)
    node: str = field(name="$node")
    tag: str | UnsetType = field(name="$tag", default=UNSET)
    origin: Origin | UnsetType = field(name="$origin", default=UNSET)
    data: Any
    meta: Any | UnsetType = UNSET


class SentRecord(Struct, kw_only=True):
    """A record as its writer sends it."""

    data: Any
    tag: Annotated[str, Meta(max_length=256)] | None = None
    node: Annotated[str, Meta(max_length=128)] | None = None
    meta: Annotated[Any, Meta(description="up to 16 KiB of JSON; an object has at most 64 keys")] = None


def _bounds(name: str) -> Meta:
    option = OPTIONS[name]
    if option.kind in ("flag", "word", "text"):
        return Meta(description=option.meaning)
    return Meta(description=option.meaning, ge=option.least, le=option.most if option.most < 1 << 63 else None)


def _kind(info: msgspec.structs.FieldInfo) -> Any:
    plain = info.type.__origin__ if hasattr(info.type, "__metadata__") else info.type
    return Annotated[plain, _bounds(info.name)] if plain in (int, bool, str) else plain


TopicFields = msgspec.defstruct(
    "TopicFields",
    [(info.name, _kind(info) | UnsetType, UNSET) for info in msgspec.structs.fields(TopicConfig)],
    namespace={"__doc__": "A topic's configuration as PUT takes it: what is left out is the default."},
)
TopicChanges = msgspec.defstruct(
    "TopicChanges",
    [(info.name, _kind(info) | UnsetType | None, UNSET) for info in msgspec.structs.fields(TopicConfig)],
    namespace={"__doc__": "A topic's configuration as PATCH takes it: what is left out stays, null is the default."},
)
