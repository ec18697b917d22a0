"""Topics: create, change, look, list, drop."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from ...config.topic import TopicConfig
from ...errors import Conflict, DeclaredInFile, TopicExistsIncompatible, TopicLinked, TopicNotEmpty
from .operation import PAGES, READS, WRITES, Operation, Operations, Query, made, ok
from .records import TOPIC
from .shapes import Millis, Seq, Told, TopicChanges, TopicFields


class Configured(Told, kw_only=True):
    """The configuration as it is now."""

    topic: str
    created: bool
    config: TopicConfig


class QueueState(Struct, kw_only=True):
    """How a lease queue stands. Leases are known at its home alone."""

    ready: Seq
    in_flight: Seq
    dead_lettered: Seq
    home: Annotated[str, Meta(description="the node that grants the leases")]


class TopicEntry(Struct, kw_only=True):
    """A topic in the list."""

    topic: str
    type: str
    head_seq: Seq
    earliest_seq: Seq
    count: Seq
    bytes: Seq
    durable: bool
    effective_priority: int
    queue: QueueState | UnsetType = UNSET


class TopicState(Told, kw_only=True):
    """How a topic stands on this node."""

    topic: str
    type: str
    head_seq: Seq
    earliest_seq: Seq
    next_seq: Seq
    count: Seq
    bytes: Seq
    effective_priority: int
    config: TopicConfig
    log_id: str
    last_write_ts: Millis | None
    last_read_ts: Millis | None
    queue: QueueState | UnsetType = UNSET


class Topics(Told, kw_only=True):
    """One page of topics, by name."""

    topics: list[TopicEntry]
    next_cursor: str | UnsetType = UNSET


class Dropped(Told, kw_only=True):
    """Whether there was one, and the routers that went with it."""

    topic: str
    deleted: bool
    routers_removed: list[str]


_TOUCH = Query("touch", bool, "whether looking counts as reading")
CONFIGURES = (*WRITES, TopicExistsIncompatible, DeclaredInFile, Conflict)

OPERATIONS: Operations = {
    ("PUT", TOPIC): Operation(
        name="put_topic",
        summary="create, or replace the configuration",
        body=TopicFields,
        body_optional=True,
        answers=made(Configured),
        errors=CONFIGURES,
    ),
    ("PATCH", TOPIC): Operation(
        name="patch_topic",
        summary="change fields of the configuration",
        body=TopicChanges,
        body_optional=True,
        answers=ok(Configured),
        errors=CONFIGURES,
    ),
    ("GET", TOPIC): Operation(
        name="get_topic", summary="how a topic stands", query=(_TOUCH,), answers=ok(TopicState), errors=WRITES
    ),
    ("DELETE", TOPIC): Operation(
        name="delete_topic",
        summary="drop the log on this node",
        query=(
            Query("if_empty", bool, "refuse while a record is live"),
            Query("forget", bool, "drop the positions too: what peers hold comes again"),
        ),
        answers=ok(Dropped),
        errors=(*WRITES, TopicNotEmpty, TopicLinked),
    ),
    ("GET", "/v0/topics"): Operation(
        name="list_topics", summary="topics, by name", query=(*PAGES, _TOUCH), answers=ok(Topics), errors=READS
    ),
}
