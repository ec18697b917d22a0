"""Topics: create, append, read, list, delete, digest."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Coroutine, Mapping
from time import perf_counter
from typing import Any

import msgspec
import trio
from msgspec import Struct

from ...actors.bell import Ear
from ...config.topic import DEFAULT, OPTIONS, TopicConfig, as_json, topic_config
from ...errors import DeclaredInFile, InvalidRequest, TopicNotFound
from ...names import check_topic
from ...node import Node
from ...observe.narrow import narrowed
from ...records.selector import selector
from ...routers.routers import LetTopicGo
from ...topics.messages import Append, Appended, Configure, Key
from ...topics.read.digest import digest_of
from ...topics.read.face import View
from ...topics.read.reading import Found, read
from ...topics.topic import Topic
from ..message import Request, Response
from .bodies import (
    AppendBody,
    AppendFields,
    AppendOfTexts,
    DiffBody,
    batches,
    decode,
    decode_append,
    decoder,
    flag,
    whole,
)
from .streams.prefix import diff_prefix

_diff_json = decoder(DiffBody)
_object_json = decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode
_APPENDED = (
    b'{"topic":"%b","first_seq":%d,"last_seq":%d,%b"head_seq":%d,"count":%d,"created":%b,"deduped":%b,'
    b'"performance":{"server_total_ms":%.3f,"wal_append_ms":%.3f,"fsync_ms":%.3f}}'
)
_JSON = {False: b"false", True: b"true"}
DEFAULT_LIMIT, DEFAULT_BATCH_BYTES, DEFAULT_PAGE = 256, 1 << 20, 100


def total_ms(began: float) -> dict[str, float]:
    """The ``performance`` of an answer."""
    return {"server_total_ms": round((perf_counter() - began) * 1000, 3)}


def reply(status: int, body: dict[str, Any], began: float) -> Response:
    """A JSON object with its ``performance``."""
    body["performance"] = total_ms(began)
    return Response(status, _encode(body))


def shown(body: dict[str, Any], request: Request) -> dict[str, Any]:
    """An answer without the names that the key may not know of."""
    sees = request.principal.sees_some
    return body if sees is None else narrowed(body, sees)


# ---- append --------------------------------------------------------------------------------------


async def append(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic``."""
    began = perf_counter()
    body = decode_append(request, node.config.limits)
    key = body.idempotency_key or (_header_key(request, node) if b"idempotency-key" in request.headers else None)
    message = message_of(body, key, node)
    topic, created = node.registry.known(name), False
    if topic is None or body.config or not topic.ready.is_set():
        topic, created = await topic_to_append(node, request, name, body)
    try:
        done = await hand_over(node, topic, message, patient=body.disable_backpressure)
    except TopicNotFound:  # a delete was before it in the same turn
        topic, created = await topic_to_append(node, request, name, body)
        done = await hand_over(node, topic, message, patient=body.disable_backpressure)
    with_seqs = "return_seqs" not in request.query or flag(request.query_args(), "return_seqs", True)
    fsync_ms = node.journal.fsync_ms if topic.config.durable else 0.0
    return Response(201 if created else 200, appended(name, done, created, with_seqs, began, fsync_ms))


def message_of(body: AppendBody | AppendOfTexts, key_name: str | None, node: Node) -> Append:
    """What the topic is asked. Raises InvalidRequest, BatchTooLarge, RecordTooLarge."""
    packed = batches(body, node.config.limits)
    return Append(packed, Key.of(key_name, packed) if key_name else None)


def hand_over(node: Node, topic: Topic, message: Append, *, patient: bool) -> Coroutine[Any, Any, Appended]:
    """Have the topic append; who is patient waits while there is too much at once, instead of a 429."""
    box = topic.mailbox
    return box.insist(message, node.config.limits.max_wait_ms / 1000) if patient else box.put(message).wait()


def appended(name: str, done: Appended, created: bool, with_seqs: bool, began: float, fsync_ms: float) -> bytes:
    """The answer of an append, as JSON."""
    first, last = done.first_seq, done.last_seq
    seqs = b'"seqs":%b,' % _encode(list(range(first, last + 1))) if with_seqs else b""
    ms = (perf_counter() - began) * 1000
    return _APPENDED % (
        name.encode(), first, last, seqs, done.head, last - first + 1, _JSON[created], _JSON[done.deduped],
        ms, max(0.0, ms - fsync_ms), fsync_ms,
    )  # fmt: skip


def _header_key(request: Request, node: Node) -> str:
    raw = request.headers[b"idempotency-key"]
    if len(raw) > node.config.limits.max_key_bytes:
        raise InvalidRequest(f"Idempotency-Key is longer than {node.config.limits.max_key_bytes} bytes")
    return raw.decode("latin-1")


async def topic_to_append(node: Node, request: Request, name: str, body: AppendFields) -> tuple[Topic, bool]:
    """An append's topic, and whether it was made for it. Raises TopicNotFound, Forbidden, InvalidRequest."""
    topic = node.registry.known(name)
    if topic is not None:
        if body.config:
            topic_config(body.inline_config() or {})  # it does not count, and is refused all the same if it is wrong
        return (topic, False) if topic.ready.is_set() else (await node.registry.find(name), False)
    check_topic(name)
    inline = body.inline_config()
    if inline is not None:
        request.principal.require("admin", name)
        _check_dead_letter(request, inline)
    config = topic_config(inline or {})
    node.queues.check(name, config)
    if body.create is False or (body.create is None and not config.auto_create):
        raise TopicNotFound(f"no topic {name!r} on this node, and this append may not create it", {"topic": name})
    return await node.registry.ensure(name, node.registry.declared_over(name, config), put=inline is not None)


# ---- read ----------------------------------------------------------------------------------------


async def diff(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic/diff``. The ear is taken before others run: no append is late."""
    began = perf_counter()
    body = decode(request, _diff_json, empty=DiffBody())
    if name.endswith("*"):
        return await diff_prefix(node, name, body, _view(body, node))
    if body.cursor is not None:
        raise InvalidRequest("cursor is for prefixes; read one topic by from_seq", {"field": "cursor"})
    topic = await _existing(node, name)
    topic.last_read_ms = node.clock.wall_ms()
    if topic.has_expired():
        await topic.expire()
    limits = node.config.limits
    view = _view(body, node)
    found = read(topic, body.from_seq, body.log_id, view)
    wait_ms = min(body.wait_ms, limits.max_wait_ms)
    if wait_ms and not found.worth_telling:
        found = await _wait_for_more(node, topic, body, view, found, wait_ms)
    return Response(200, found.body(topic, lambda: (perf_counter() - began) * 1000))


async def _existing(node: Node, name: str) -> Topic:
    topic = node.registry.known(name)
    if topic is not None and topic.ready.is_set() and name not in node.routers.into:
        return topic  # nearly always
    if topic is None:
        check_topic(name)
    if name in node.routers.into:  # what was written before is there, even through a router
        await node.routers.into.catch_up(name)
    return await node.registry.find(name)


async def _wait_for_more(node: Node, topic: Topic, body: DiffBody, view: View, found: Found, wait_ms: int) -> Found:
    """``found`` was read without a checkpoint since: nothing can have rung before the ear hears."""
    ear, until = topic.bell.attach(node.drain_bell.attach(Ear())), trio.current_time() + wait_ms / 1000
    try:
        while not found.worth_telling and not node.draining and await ear.wait_until(until):
            if topic.about.deleted:
                raise TopicNotFound(f"topic {topic.topic!r} was deleted", {"topic": topic.topic})
            found = read(topic, max(body.from_seq, found.next_from_seq), body.log_id, view)
        return found
    finally:
        ear.close()


def _view(body: DiffBody, node: Node) -> View:
    limits = node.config.limits
    skip = [body.node] if isinstance(body.node, str) else body.node or []
    return View(
        limit=min(body.limit or DEFAULT_LIMIT, limits.max_limit),
        max_bytes=min(body.max_batch_bytes or DEFAULT_BATCH_BYTES, limits.max_batch_bytes),
        skip_nodes=frozenset(skip),
        tags=body.include_tags,
        meta=body.include_meta,
        origin=body.include_origin,
        match=None if body.match is None else selector(body.match),
    )


# ---- configuration and state ---------------------------------------------------------------------


async def put(node: Node, request: Request, name: str) -> Response:
    """``PUT /v0/topics/:topic``: replaces over the defaults; what the file sets stays as the file sets it."""
    began = perf_counter()
    check_topic(name)
    fields = decode(request, _object_json, empty={})
    _check_dead_letter(request, fields)
    known = node.registry.known(name)
    if known is not None:
        _keep_what_is_for_ever(fields, known.config)
    config = _with_declared(node, name, fields, topic_config(fields))
    topic, created = await node.registry.ensure(name, config, put=True)
    if not created:
        await topic.mailbox.ask(Configure(config, put=True))
    return _configured(topic, created, began)


async def patch(node: Node, request: Request, name: str) -> Response:
    """``PATCH /v0/topics/:topic``: changes the fields that are sent and no other; null is the default again."""
    began = perf_counter()
    fields = decode(request, _object_json, empty={})
    _check_dead_letter(request, fields)
    topic = await _existing(node, name)
    changed = fields | {field: getattr(DEFAULT, field) for field in OPTIONS if fields.get(field, 0) is None}
    config = _with_declared(node, name, changed, topic_config(changed, topic.config))
    if decided := _decided_by(changed):
        await topic.mailbox.ask(Configure(config, put=True, fields=decided))
    return _configured(topic, False, began)


def _check_dead_letter(request: Request, fields: Mapping[str, Any]) -> None:
    """The queue will write into that topic. Raises Forbidden when the key may not speak of it."""
    dead = fields.get("dead_letter")
    if isinstance(dead, str):
        request.principal.require("admin", dead)


def _decided_by(fields: dict[str, Any]) -> tuple[str, ...]:
    """The fields of a configuration that these decide; another PATCH may be on its way for the others."""
    both = {"durable", "durability"}
    return tuple((fields.keys() & OPTIONS.keys()) | (both if both & fields.keys() else set()))


def _with_declared(node: Node, name: str, fields: dict[str, Any], config: TopicConfig) -> TopicConfig:
    """With what the file declares. Raises DeclaredInFile when the fields say otherwise, NotYet."""
    node.queues.check(name, config)
    declared, decided = node.registry.declared(name), _decided_by(fields)
    found = topic_config(declared, config)
    for field, value in declared.items():
        if field in decided and getattr(config, field) != getattr(found, field):
            told = f"{field} of {name} is set to {value!r} in the TOML file, which wins; change it there"
            raise DeclaredInFile(told, {"field": field})
    return found


def _configured(topic: Topic, created: bool, began: float) -> Response:
    body = {"topic": topic.topic, "created": created, "config": as_json(topic.config)}
    return reply(201 if created else 200, body, began)


def _keep_what_is_for_ever(fields: dict[str, Any], config: TopicConfig) -> None:
    """What a PUT cannot change it need not repeat: the type, and that the log is ephemeral."""
    fields.setdefault("type", config.type)
    if config.durability == "ephemeral" and not {"durability", "durable"} & fields.keys():
        fields["durability"] = "ephemeral"


async def state(node: Node, request: Request, name: str) -> Response:
    """``GET /v0/topics/:topic``."""
    began = perf_counter()
    topic = await _existing(node, name)
    if flag(request.query_args(), "touch", True):
        topic.last_read_ms = node.clock.wall_ms()
    await topic.expire()
    return reply(200, _state(node, topic) | {
        "next_seq": topic.head + 1, "config": as_json(topic.config), "log_id": topic.log_id_hex,
        "last_write_ts": topic.last_ts or None, "last_read_ts": topic.last_read_ms or None,
    }, began)  # fmt: skip


def _state(node: Node, topic: Topic) -> dict[str, Any]:
    queue = {"queue": node.queues.describe(topic)} if topic.config.type == "queue" else {}
    return queue | {
        "topic": topic.topic,
        "type": topic.config.type,
        "head_seq": topic.head,
        "earliest_seq": topic.earliest,
        "count": topic.count,
        "bytes": topic.bytes,
        "effective_priority": topic.priority(node.clock.wall_ms()),
    }


async def topics(node: Node, request: Request) -> Response:
    """``GET /v0/topics``."""
    began = perf_counter()
    args = request.query_args()
    size, after, prefix = page_size(args, node), cursor_after(args), args.get("prefix", "")
    page = _page(node, request, prefix, after, size + 1)
    touched = flag(args, "touch", False)
    for topic in page[:size]:
        if touched:
            topic.last_read_ms = node.clock.wall_ms()
        if topic.has_expired():
            await node.registry.sweep(topic)
    there = [topic for topic in page[:size] if not topic.about.deleted]
    listed = [_state(node, topic) | {"durable": topic.config.durable} for topic in there]
    more = {"next_cursor": cursor_for(page[size - 1].topic)} if len(page) > size else {}
    return reply(200, {"topics": listed, **more}, began)


def _page(node: Node, request: Request, prefix: str, after: str, size: int) -> list[Topic]:
    """Of the topics that begin so, those that the key may know of."""
    found: dict[str, Topic] = {}
    for narrower in request.principal.within(prefix):
        found.update((topic.topic, topic) for topic in node.registry.page(narrower, after, size))
    return [found[name] for name in sorted(found)[:size]]


def page_size(args: dict[str, str], node: Node) -> int:
    """``page_size``, clamped; what is no number is the default."""
    number = whole(args, "page_size")
    return min(max(DEFAULT_PAGE if number is None else number, 1), node.config.limits.max_page_size)


class _Cursor(Struct):
    after: str


def cursor_after(args: dict[str, str]) -> str:
    """The name that a page begins behind. Raises InvalidRequest."""
    text = args.get("cursor", "").replace(" ", "+")  # base64 that nobody encoded for the URL
    if not text:
        return ""
    try:
        return msgspec.json.decode(b64decode(text, validate=True), type=_Cursor).after
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequest("cursor is not one that this node gave out; begin without it") from error


def cursor_for(name: str) -> str:
    """The cursor behind a name."""
    return b64encode(_encode({"after": name})).decode()


async def delete(node: Node, request: Request, name: str) -> Response:
    """``DELETE /v0/topics/:topic``."""
    began = perf_counter()
    check_topic(name)
    args = request.query_args()
    if_empty, forget = flag(args, "if_empty", False), flag(args, "forget", False)
    deleted, routers = await node.routers.mailbox.ask(LetTopicGo(name, if_empty, forget))
    return reply(200, {"topic": name, "deleted": deleted, "routers_removed": routers}, began)


async def digest(node: Node, request: Request, name: str) -> Response:
    """``GET /v0/topics/:topic/digest``: what proves that two nodes hold the same."""
    began = perf_counter()
    topic = await _existing(node, name)
    args = request.query_args()
    at = _places(args.get("at", ""))
    strands = await digest_of(topic, at, deep=flag(args, "deep", False), rest=trio.lowlevel.checkpoint)
    return reply(200, {"topic": name, "node": node.name, "strands": strands}, began)


def _places(text: str) -> dict[int, int]:
    places: dict[int, int] = {}
    for part in filter(None, text.split(",")):
        strand, _, oseq = part.partition(":")
        try:
            places[int(strand, 16)] = int(oseq)
        except ValueError as error:
            raise InvalidRequest("at is a list of STRAND:OSEQ, the strand in hex") from error
    return places
