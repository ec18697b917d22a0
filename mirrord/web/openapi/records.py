"""Records of a topic: append, read, delete, prove."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from ...errors import BatchTooLarge, ChunkCorrupt, IdempotencyConflict, RecordTooLarge, TopicFull
from ..routes.bodies import DiffBody
from ..routes.erasure import DeleteBody
from .operation import READS, WRITES, Operation, Operations, Query, made, ok
from .shapes import Performance, Record, SentRecord, Seq, Told, Tombstone, TopicFields

TOPIC = "/v0/topics/{name}"


class Append(Struct, kw_only=True):
    """Records to append: all are kept, or none."""

    records: Annotated[list[SentRecord], Meta(min_length=1, max_length=10_000)]
    node: Annotated[str, Meta(description="$node of records that bring none", max_length=128)] | None = None
    idempotency_key: Annotated[str, Meta(max_length=256)] | None = None
    create: Annotated[bool, Meta(description="false: 404 where there is no such topic")] | None = None
    config: TopicFields | None = None  # type: ignore[valid-type]
    disable_backpressure: bool = False


class AppendTimes(Performance, kw_only=True):
    """How long an append took, in all, and waiting for the disk."""

    wal_append_ms: float
    fsync_ms: float


class Appended(Struct, kw_only=True):
    """Where the records stand now."""

    topic: str
    first_seq: Seq
    last_seq: Seq
    seqs: list[Seq] | UnsetType = UNSET
    head_seq: Seq
    count: Seq
    created: bool
    deduped: bool
    performance: AppendTimes


class ReadTimes(Performance, kw_only=True):
    """How long a read took, and how many records it looked at."""

    records_scanned: Seq


class Page(Struct, kw_only=True):
    """Records after a cursor, and where to go on."""

    topic: str
    log_id: str
    records: list[Record]
    next_from_seq: Seq
    head_seq: Seq
    earliest_seq: Seq
    caught_up: bool
    tombstone: Tombstone | None
    lag: Seq
    performance: ReadTimes


class PrefixTombstone(Tombstone, kw_only=True):
    """A loss in one of the topics."""

    topic: str


class PrefixPage(Struct, kw_only=True):
    """Records of all topics that a prefix means, and where to go on; ``topics``: how many there are."""

    topic: str
    topics: Seq
    records: list[Record]
    next_cursor: str
    caught_up: bool
    tombstones: list[PrefixTombstone]
    lag: Seq
    performance: ReadTimes


class DigestGap(Struct):
    """A range of a strand that the log does not hold."""

    first: Seq
    last: Seq
    reason: str


class DigestAt(Struct):
    """The chain's hash at a place that was asked for; null when it is not known there."""

    oseq: int
    hash: str | None
    inside_chunk: bool


class DigestDeep(Struct, kw_only=True):
    """What reading everything back showed."""

    checked: Seq
    ok: bool
    fault: str | UnsetType = UNSET


class DigestStrand(Struct, kw_only=True):
    """How far the log has come in one strand, and the chain's hash there."""

    strand: str
    origin: str
    origin_id: str
    oseq: Seq
    hash: str | None
    whole_from: Seq
    controls: Annotated[Seq, Meta(description="oseqs of control chunks, which are no records")]
    unverified: bool
    gaps: list[DigestGap]
    at: DigestAt | UnsetType = UNSET
    deep: DigestDeep | UnsetType = UNSET


class Digest(Told, kw_only=True):
    """What proves that two nodes hold the same."""

    topic: str
    node: str
    strands: list[DigestStrand]


class Deleted(Told, kw_only=True):
    """How many went, and how the topic stands without them."""

    topic: str
    deleted: Seq
    earliest_seq: Seq
    head_seq: Seq
    count: Seq
    bytes: Seq


_KEY = Query("idempotency-key", str, "as idempotency_key in the body, which wins", place="header")

OPERATIONS: Operations = {
    ("POST", TOPIC): Operation(
        name="append",
        summary="append records",
        body=Append,
        query=(Query("return_seqs", bool, "false leaves seqs out"), _KEY),
        answers=made(Appended),
        errors=(*WRITES, BatchTooLarge, RecordTooLarge, IdempotencyConflict, TopicFull),
    ),
    ("POST", f"{TOPIC}/diff"): Operation(
        name="diff",
        summary="read after a cursor: one topic, or all that a prefix such as chat:* means",
        body=DiffBody,
        body_optional=True,
        answers=ok((Page, PrefixPage)),
        errors=(*WRITES, ChunkCorrupt),
    ),
    ("POST", f"{TOPIC}/delete"): Operation(
        name="delete_records", summary="delete records, for ever", body=DeleteBody, answers=ok(Deleted), errors=WRITES
    ),
    ("GET", f"{TOPIC}/digest"): Operation(
        name="digest",
        summary="what proves that two nodes hold the same",
        query=(
            Query("at", str, "STRAND:OSEQ,...: the chain's hash there too"),
            Query("deep", bool, "read everything back and check it"),
        ),
        answers=ok(Digest),
        errors=(*READS, ChunkCorrupt),
    ),
}
