"""Lease queues."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ...errors import BatchTooLarge, ChunkCorrupt, HomeUnreachable, NotAQueue
from ..routes.queues import ClaimBody, ExtendBody, NackBody, SettleBody
from .operation import SSE, WRITES, Operation, Operations, Query, ok
from .shapes import Millis, Performance, Seq, Told

TOPIC = "/v0/topics/{name}"
LeaseId = Annotated[str, Meta(pattern="^lease_[0-9a-f]+$")]


class Job(Struct, kw_only=True):
    """A leased record. After ``deadline`` it may be another's."""

    seq: Seq = field(name="$seq")
    lease_id: LeaseId
    deadline: Millis
    ts: Millis = field(name="$ts")
    tag: str | UnsetType = field(name="$tag", default=UNSET)
    deliveries: Seq
    data: Any
    meta: Any | UnsetType = UNSET


class Claimed(Told, kw_only=True):
    """What was leased, by seq, and how many records could be claimed now."""

    topic: str
    claimed: list[Job]
    count: Seq
    ready: Seq


class SettleTimes(Performance, kw_only=True):
    """How long it took; on a queue of class fsync also how long a sync takes."""

    fsync_ms: float | UnsetType = UNSET


class Acked(Struct, kw_only=True):
    """How many are gone for ever, and which were not the caller's."""

    topic: str
    acked: Seq
    skipped: list[Seq]
    ready: Seq
    in_flight: Seq
    performance: SettleTimes


class Nacked(Told, kw_only=True):
    """How many were given back, and which were not the caller's."""

    topic: str
    nacked: Seq
    skipped: list[Seq]
    ready: Seq
    in_flight: Seq


class Extended(Told, kw_only=True):
    """How many are held for longer, until when, and which were not the caller's."""

    topic: str
    extended: Seq
    skipped: list[Seq]
    deadlines: dict[str, Millis]


Jobs = Annotated[str, Meta(description="job frames; see docs/HTTP.md")]
CALLS = (*WRITES, NotAQueue, HomeUnreachable)
OPERATIONS: Operations = {
    ("POST", f"{TOPIC}/claim"): Operation(
        name="claim", summary="lease records", body=ClaimBody, answers=ok(Claimed), errors=(*CALLS, ChunkCorrupt)
    ),
    ("POST", f"{TOPIC}/ack"): Operation(
        name="ack", summary="these are done", body=SettleBody, answers=ok(Acked), errors=(*CALLS, BatchTooLarge)
    ),
    ("POST", f"{TOPIC}/nack"): Operation(
        name="nack", summary="give these back", body=NackBody, answers=ok(Nacked), errors=(*CALLS, BatchTooLarge)
    ),
    ("POST", f"{TOPIC}/extend"): Operation(
        name="extend",
        summary="hold these for longer",
        body=ExtendBody,
        answers=ok(Extended),
        errors=(*CALLS, BatchTooLarge),
    ),
    ("GET", f"{TOPIC}/work"): Operation(
        name="work",
        summary="leased records, pushed; all are given back when the stream ends",
        query=(
            Query("node", str, "who works", required=True),
            Query("max", int, "leases held at a time; 1"),
            Query("lease_ms", int, "how long each is held; the topic's"),
            Query("token", str, "the key, for clients that cannot send headers"),
        ),
        answers=ok(Jobs),
        errors=CALLS,
        kinds=(SSE,),
    ),
}
