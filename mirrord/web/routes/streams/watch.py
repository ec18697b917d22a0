"""Watching over server-sent events: a session by POST, its streams by GET."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Literal

import trio
from msgspec import Struct

from ....errors import (
    InvalidRequest,
    MirrordError,
    NotAcceptable,
    ShuttingDown,
    SlowConsumer,
    TopicNotFound,
    Unauthorized,
)
from ....node import Node
from ....records.selector import selector
from ....streams.cursor import EventId, parse_event_id
from ....streams.dialect import SSE
from ....streams.eventstream import EventStream
from ....streams.place import Place
from ....streams.session import Session
from ....streams.streams import From
from ....streams.watcher import Pace, Prefix, Watcher
from ....topics.read.face import View
from ....topics.topic import Topic
from ...auth.permit import Permit
from ...auth.principal import Principal
from ...message import ClientGone, Request, Response, Stream, Writer
from ..bodies import Count, Match, decode, decoder, flag
from ..topics import DEFAULT_LIMIT, reply

EVENT_STREAM = b"text/event-stream"
HEADERS = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
DEFAULT_EVENT_BYTES, DEFAULT_HEARTBEAT_MS = 256 << 10, 15_000
LAST_WORDS_S = 2.0
"""How long a client that is too slow has to take what is under way, and then why it is let go."""


class WatchFields(Struct, kw_only=True):
    """What all topics of a watch or a subscription are seen by."""

    node: str | list[str] | None = None
    limit: Count = 0
    include_data: bool = True
    include_tags: bool = False
    include_meta: bool = True
    include_origin: bool = False
    match: Match = None


class TopicFrom(Struct):
    """Where a watch of one topic, or of all that a prefix means now, begins."""

    from_seq: Count = 0
    tail: bool = False
    log_id: str | None = None


class WatchBody(WatchFields, kw_only=True):
    """``POST /v0/watch``."""

    topics: dict[str, TopicFrom]
    max_batch_bytes: Count = DEFAULT_EVENT_BYTES
    heartbeat_ms: Count = DEFAULT_HEARTBEAT_MS
    consistency: Literal["eventual", "strong"] = "eventual"


_watch_json = decoder(WatchBody)


async def create(node: Node, request: Request) -> Response:
    """``POST /v0/watch``."""
    began = perf_counter()
    body = decode(request, _watch_json)
    limits = node.config.limits
    check_names(body.topics, limits.max_watch_topics)
    request.principal.require("read", *body.topics)
    session, topics = await node.streams.watch(
        {name: From(one.from_seq, one.tail, one.log_id) for name, one in body.topics.items()},
        lenient=flag(request.query_args(), "lenient", False),
        owner=request.principal,
        view=view_of(node, body, body.max_batch_bytes),
        heartbeat_ms=min(max(body.heartbeat_ms, limits.min_heartbeat_ms), limits.max_heartbeat_ms),
        strong=body.consistency == "strong",
    )
    return reply(200, {
        "wid": session.wid, "stream_url": f"/v0/watch/{session.wid}", "session_ttl_ms": limits.session_ttl_ms,
        "topics": {name: begins(topic, session.starts[name].seq) for name, topic in topics.items()},
    }, began)  # fmt: skip


def check_names(names: dict[str, Any], most: int) -> None:
    """Raises InvalidRequest for none, or for more topics and prefixes than one watch may have."""
    if not names:
        raise InvalidRequest("topics is empty; name at least one")
    if len(names) > most:
        raise InvalidRequest(f"{len(names)} topics in one watch; at most {most}", {"max": most})


def view_of(node: Node, fields: WatchFields, max_bytes: int) -> View:
    """What a watch shows. Raises InvalidRequest."""
    limits = node.config.limits
    skip = [fields.node] if isinstance(fields.node, str) else fields.node or []
    return View(
        limit=min(fields.limit or DEFAULT_LIMIT, limits.max_limit),
        max_bytes=min(max_bytes or 1 << 20, limits.max_batch_bytes, limits.watch_buffer_bytes),
        skip_nodes=frozenset(skip),
        tags=fields.include_tags,
        meta=fields.include_meta,
        data=fields.include_data,
        origin=fields.include_origin,
        match=None if fields.match is None else selector(fields.match),
    )


def begins(topic: Topic, seq: int) -> dict[str, Any]:
    """Where a topic stands, and where reading it begins."""
    return {"from_seq": seq, "head_seq": topic.head, "earliest_seq": topic.earliest, "log_id": topic.log_id_hex}


async def stream(node: Node, request: Request, wid: str) -> Stream:
    """``GET /v0/watch/:wid``."""
    session = node.streams.sessions.find(wid, node.streams.now_s())
    permit = Permit(request.principal, ("read",), lambda: session.asked)
    if session.owner is not request.principal:
        raise Unauthorized("this watch was made by another key; open it with that one")
    # The key's prefixes may have become narrower since: what is opened anew is checked anew.
    request.principal.require("read", *session.asked)
    check_accepts(request)
    told = request.header(b"last-event-id")
    last = parse_event_id(told.decode("latin-1")) if told else None
    node.streams.check_seat(counted(request.principal))

    async def write(writer: Writer) -> None:
        with node.streams.seat(counted(request.principal)):
            await _Streaming(node, session, writer, permit).run(last)

    return Stream(write, 200, EVENT_STREAM, HEADERS)


def check_accepts(request: Request) -> None:
    """Raises NotAcceptable when the client says that it takes no event stream."""
    accept = request.header(b"accept")
    if accept and EVENT_STREAM not in accept and b"*/*" not in accept:
        raise NotAcceptable("this is an event stream: accept text/event-stream")


def counted(principal: Principal) -> Principal | None:
    """Whose open connections are counted: with no keys there is one bound for all."""
    return principal if principal.is_key else None


def over(node: Node, permit: Permit) -> MirrordError | None:
    """Why an open stream or connection must end now; None: it may go on."""
    if node.draining:
        return ShuttingDown("the node is shutting down; come again, or go to another node")
    return permit.fault()


class _Streaming:
    """One open stream of a session."""

    def __init__(self, node: Node, session: Session, writer: Writer, permit: Permit) -> None:
        self._node, self._session, self._writer, self._permit = node, session, writer, permit
        self._outlet = EventStream(writer, session)
        pace = Pace(session.heartbeat_ms / 1000, node.config.limits.slow_consumer_timeout_ms / 1000)
        self._watcher = Watcher(node.streams.ground, self._outlet, SSE, pace, lambda: over(node, permit))

    async def run(self, last: EventId | None) -> None:
        """Until everything that it watches is gone, the client is, or the node is to stop."""
        watcher, sessions = self._watcher, self._node.streams.sessions
        self._writer.low_latency(self._node.config.limits.watch_buffer_bytes)
        self._permit.attach(self._node.drain_bell.attach(watcher.ear))
        self._outlet.places = watcher.places
        sessions.began(self._session, watcher.places)
        try:
            await self._put(self._outlet.begin())
            await self._begin(last)
            await watcher.run()
            await self._writer.drained()
        except SlowConsumer as error:
            await self._let_go(error)
        except MirrordError as error:
            await self._put(self._outlet.end(_told(error)))
        finally:
            watcher.close()
            sessions.ended(self._session, watcher.places, self._node.streams.now_s())

    async def _put(self, taken: bool) -> None:
        if not taken:
            await self._writer.drained()

    async def _begin(self, last: EventId | None) -> None:
        session, registry = self._session, self._node.registry
        for text in session.prefixes:
            self._watcher.watch_prefix(Prefix(text, session.view, session.strong))
        for name, start in session.begin(last).items():
            try:
                topic = await registry.find(name)
            except TopicNotFound:
                if name in session.named:
                    await self._put(self._outlet.gone(name))
                continue
            self._watcher.watch(Place(topic, session.view, start.seq, start.log_id, session.strong))
        await self._watch_those_that_came()

    async def _watch_those_that_came(self) -> None:
        """Topics that a prefix means and that were created since the session was."""
        for text in self._session.prefixes:
            for topic in await self._node.streams.meant_by(text + "*"):
                if topic.topic not in self._watcher.places:
                    self._watcher.watch(Place(topic, self._session.view, 0, topic.log_id_hex, self._session.strong))

    async def _let_go(self, error: SlowConsumer) -> None:
        """What is under way must come to its end first: the kernel may now take as much as it will."""
        self._writer.low_latency(0)
        with trio.move_on_after(LAST_WORDS_S):
            await self._writer.drained()
            await self._put(self._outlet.end(_told(error)))
            return
        raise ClientGone("it took nothing for too long")


def _told(error: MirrordError) -> bytes:
    code = "server_shutting_down" if isinstance(error, ShuttingDown) else error.code
    return SSE.error(code, str(error), error.detail)
