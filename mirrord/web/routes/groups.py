"""Reader groups: read, commit, reclaim, seek, and how a group stands."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any, Literal, TypeVar

import trio
from msgspec import Meta, Struct, structs

from ...actors.bell import Ear
from ...errors import BatchTooLarge, InvalidRequest, TopicNotFound
from ...groups.messages import (
    After,
    Commit,
    Committed,
    Drop,
    GroupState,
    Handed,
    ListGroups,
    Read,
    Reclaim,
    Reclaimed,
    Seek,
    Sought,
    Start,
    Tell,
)
from ...names import check_group, check_topic
from ...node import Node
from ...topics.read.face import View, join
from ..message import Request, Response
from .bodies import Count, decode, decoder
from .topics import (
    DEFAULT_BATCH_BYTES,
    DEFAULT_LIMIT,
    cursor_after,
    cursor_for,
    page_size,
    reply,
)

Seq = Annotated[int, Meta(ge=0, le=(1 << 40) - 1)]
Place = Literal["earliest", "latest"] | Seq | After
DEFAULT_IDLE_MS = 60_000
T = TypeVar("T")


class Consuming(Struct, kw_only=True):
    """Who asks, and what its records are to show."""

    consumer: str
    limit: Count = 0
    max_batch_bytes: Count = 0
    include_tags: bool = False
    include_meta: bool = True
    include_origin: bool = False


class ReadBody(Consuming, kw_only=True):
    """``POST .../read``."""

    wait_ms: Count = 0
    min_idle_ms: Count | None = None
    start: Place = "earliest"


class ReclaimBody(Consuming, kw_only=True):
    """``POST .../reclaim``."""

    min_idle_ms: Count = DEFAULT_IDLE_MS
    cursor: Seq = 0
    of: str | None = None


class CommitBody(Struct):
    """``POST .../commit``."""

    consumer: str
    seqs: list[Seq] | None = None
    up_to: Seq | None = None


class SeekBody(Struct):
    """``POST .../seek``."""

    to: Place


_read_json, _reclaim_json = decoder(ReadBody), decoder(ReclaimBody)
_commit_json, _seek_json = decoder(CommitBody), decoder(SeekBody)


async def read(node: Node, request: Request, name: str, group: str) -> Response:
    """``POST /v0/topics/:topic/groups/:group/read``: the next records, from now on this consumer's."""
    began = perf_counter()
    _check(name, group)
    body = decode(request, _read_json)
    asked = Read(group, _consumer(node, body.consumer), _view(node, body), body.min_idle_ms, _start(body.start))
    if name in node.routers.into:
        await node.routers.into.catch_up(name)
    found: Handed = await node.groups.ask(name, asked)
    wait_ms = min(body.wait_ms, node.config.limits.max_wait_ms)
    if wait_ms and not found.worth_telling:
        found = await _wait_for_more(node, name, asked, wait_ms)
    return _records(began, found.records, {
        "topic": name, "group": group, "consumer": body.consumer, "log_id": found.log_id, "created": found.created,
        "cursor": found.cursor, "head_seq": found.head, "lag": found.head - found.cursor,
        "caught_up": found.caught_up, "pending": found.pending, "gone": found.gone,
    }, found.tombstone)  # fmt: skip


async def _wait_for_more(node: Node, name: str, asked: Read, wait_ms: int) -> Handed:
    """Ask anew whenever something was committed, or something pending has been idle for long enough."""
    topic = await node.registry.find(name)
    ear = topic.bell.attach(node.drain_bell.attach(Ear()))
    try:
        found: Handed = await node.groups.ask(name, asked)
        created = found.created
        with trio.move_on_after(wait_ms / 1000):
            while not found.worth_telling and not node.draining:
                with trio.move_on_after(_until_idle_s(node, found)):
                    await ear.wait()
                if topic.about.deleted:
                    raise TopicNotFound(f"topic {name!r} was deleted", {"topic": name})
                with trio.CancelScope(shield=True):  # what is handed out must reach whoever it was handed to
                    found = await node.groups.ask(name, asked)
                created = created or found.created
        return structs.replace(found, created=created)
    finally:
        ear.close()


def _until_idle_s(node: Node, found: Handed) -> float:
    if found.next_idle_ms is None:
        return float("inf")
    return max(0.001, (found.next_idle_ms - node.clock.wall_ms()) / 1000)


async def commit(node: Node, request: Request, name: str, group: str) -> Response:
    """``POST /v0/topics/:topic/groups/:group/commit``: true only for what the consumer still holds."""
    began = perf_counter()
    _check(name, group)
    body = decode(request, _commit_json)
    if (body.seqs is None) == (body.up_to is None):
        raise InvalidRequest("say what is done by seqs or by up_to, one of them")
    seqs, most = body.seqs or [], node.config.limits.max_settle
    if len(seqs) > most:
        raise BatchTooLarge(f"{len(seqs)} seqs in one commit; at most {most}", {"seqs": len(seqs), "max": most})
    asked = Commit(group, _consumer(node, body.consumer), tuple(seqs), body.up_to)
    done: Committed = await node.groups.ask(name, asked)
    return reply(200, {"topic": name, "group": group, **structs.asdict(done)}, began)


async def reclaim(node: Node, request: Request, name: str, group: str) -> Response:
    """``POST /v0/topics/:topic/groups/:group/reclaim``: take over what others left pending."""
    began = perf_counter()
    _check(name, group)
    body = decode(request, _reclaim_json)
    consumer = _consumer(node, body.consumer)
    asked = Reclaim(group, consumer, _view(node, body), body.min_idle_ms, body.cursor, body.of)
    done: Reclaimed = await node.groups.ask(name, asked)
    return _records(began, done.records, {
        "topic": name, "group": group, "consumer": consumer, "next_cursor": done.next_after,
        "pending": done.pending, "gone": done.gone,
    })  # fmt: skip


async def seek(node: Node, request: Request, name: str, group: str) -> Response:
    """``POST /v0/topics/:topic/groups/:group/seek``: stand somewhere else, and hold nothing."""
    began = perf_counter()
    _check(name, group)
    body = decode(request, _seek_json)
    done: Sought = await node.groups.ask(name, Seek(group, _start(body.to)))
    return reply(201 if done.created else 200, {"topic": name, "group": group, **structs.asdict(done)}, began)


async def state(node: Node, _request: Request, name: str, group: str) -> Response:
    """``GET /v0/topics/:topic/groups/:group``."""
    began = perf_counter()
    _check(name, group)
    told: GroupState = await node.groups.ask(name, Tell(group))
    consumers = [structs.asdict(consumer) for consumer in told.consumers]
    return reply(200, {"topic": name, **structs.asdict(told), "consumers": consumers}, began)


async def groups(node: Node, request: Request, name: str) -> Response:
    """``GET /v0/topics/:topic/groups``."""
    began = perf_counter()
    check_topic(name)
    args = request.query_args()
    size, after = page_size(args, node), cursor_after(args)
    told: list[GroupState] = await node.groups.ask(name, ListGroups(args.get("prefix", ""), after, size + 1))
    page = [structs.asdict(state) for state in told[:size]]
    for entry in page:
        del entry["consumers"]
    more = {"next_cursor": cursor_for(page[-1]["group"])} if len(told) > size else {}
    return reply(200, {"topic": name, "groups": page, **more}, began)


async def delete(node: Node, _request: Request, name: str, group: str) -> Response:
    """``DELETE /v0/topics/:topic/groups/:group``."""
    began = perf_counter()
    _check(name, group)
    deleted: bool = await node.groups.ask(name, Drop(group))
    return reply(200, {"topic": name, "group": group, "deleted": deleted}, began)


def _check(name: str, group: str) -> None:
    check_topic(name)
    check_group(group)


def _consumer(node: Node, name: str) -> str:
    most = node.config.limits.max_node_bytes
    if not name or len(name.encode()) > most:
        raise InvalidRequest(f"consumer names who reads: 1 to {most} bytes")
    return name


def _start(place: Literal["earliest", "latest"] | int | After) -> Start:
    return After(place) if isinstance(place, int) else place


def _view(node: Node, body: Consuming) -> View:
    limits = node.config.limits
    return View(
        limit=min(body.limit or DEFAULT_LIMIT, limits.max_limit),
        max_bytes=min(body.max_batch_bytes or DEFAULT_BATCH_BYTES, limits.max_batch_bytes),
        tags=body.include_tags,
        meta=body.include_meta,
        origin=body.include_origin,
    )


def _records(began: float, records: list[str], facts: dict[str, Any], tombstone: str | None = None) -> Response:
    """An answer with records: their text is copied as it is."""
    head = reply(200, facts, began)
    assert isinstance(head.body, bytes)
    told = f',"tombstone":{tombstone or "null"}' if "cursor" in facts else ""
    return Response(200, head.body[:-1] + f',"records":{join(records)}{told}}}'.encode())
