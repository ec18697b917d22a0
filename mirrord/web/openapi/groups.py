"""Reader groups."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from ...errors import BatchTooLarge, ChunkCorrupt, GroupNotFound
from ...groups.messages import ConsumerState
from ..routes.groups import CommitBody, ReadBody, ReclaimBody, SeekBody
from .operation import PAGES, WRITES, Operation, Operations, made, ok
from .shapes import Millis, Record, Seq, Told, Tombstone

GROUPS = "/v0/topics/{name}/groups"
GROUP = f"{GROUPS}/{{group}}"


class HandedRecord(Record, kw_only=True):
    """A record, and how often it was handed out by now."""

    deliveries: Seq


class Handed(Told, kw_only=True):
    """Records that are this consumer's until they are committed; ``gone``: pending ones that retention took."""

    topic: str
    group: str
    consumer: str
    log_id: str
    created: bool
    cursor: Seq
    head_seq: Seq
    lag: Seq
    caught_up: bool
    pending: Seq
    gone: list[Seq]
    records: list[HandedRecord]
    tombstone: Tombstone | None


class Reclaimed(Told, kw_only=True):
    """Records taken over; ``next_cursor`` 0: nothing more is idle behind it."""

    topic: str
    group: str
    consumer: str
    next_cursor: Seq
    pending: Seq
    gone: list[Seq]
    records: list[HandedRecord]


class Committed(Told, kw_only=True):
    """How many were committed, and which were not the consumer's."""

    topic: str
    group: str
    committed: Seq
    skipped: list[Seq]
    pending: Seq


class Sought(Told, kw_only=True):
    """Where the group stands now, and how many it held."""

    topic: str
    group: str
    cursor: Seq
    dropped: Seq
    created: bool


class GroupEntry(Struct, kw_only=True):
    """A group in the list."""

    group: str
    cursor: Seq
    committed_to: Seq
    pending: Seq
    lag: Seq
    created_ms: Millis


class Group(Told, kw_only=True):
    """How a group stands, and who holds what."""

    topic: str
    group: str
    cursor: Seq
    committed_to: Seq
    pending: Seq
    lag: Seq
    created_ms: Millis
    consumers: list[ConsumerState]


class Groups(Told, kw_only=True):
    """One page of groups, by name."""

    topic: str
    groups: list[GroupEntry]
    next_cursor: str | UnsetType = UNSET


class GroupDropped(Told, kw_only=True):
    """Whether there was one."""

    topic: str
    group: str
    deleted: bool


GROUP_CALLS = (*WRITES, GroupNotFound)
OPERATIONS: Operations = {
    ("GET", GROUPS): Operation(
        name="list_groups", summary="the groups of a topic, by name", query=PAGES, answers=ok(Groups), errors=WRITES
    ),
    ("GET", GROUP): Operation(name="get_group", summary="how a group stands", answers=ok(Group), errors=GROUP_CALLS),
    ("DELETE", GROUP): Operation(
        name="delete_group", summary="forget a group", answers=ok(GroupDropped), errors=WRITES
    ),
    ("POST", f"{GROUP}/read"): Operation(
        name="group_read",
        summary="next records for a consumer",
        body=ReadBody,
        answers=ok(Handed),
        errors=(*WRITES, ChunkCorrupt),
    ),
    ("POST", f"{GROUP}/commit"): Operation(
        name="group_commit",
        summary="these are done",
        body=CommitBody,
        answers=ok(Committed),
        errors=(*GROUP_CALLS, BatchTooLarge),
    ),
    ("POST", f"{GROUP}/reclaim"): Operation(
        name="group_reclaim",
        summary="take over idle records",
        body=ReclaimBody,
        answers=ok(Reclaimed),
        errors=(*GROUP_CALLS, ChunkCorrupt),
    ),
    ("POST", f"{GROUP}/seek"): Operation(
        name="group_seek", summary="stand somewhere else", body=SeekBody, answers=made(Sought), errors=WRITES
    ),
}
