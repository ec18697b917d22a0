"""``diff`` of a prefix: one page over all topics that it means."""

from __future__ import annotations

from time import perf_counter

import trio

from ....actors.bell import Ear
from ....errors import InvalidRequest
from ....node import Node
from ....topics.read.face import View
from ....topics.read.prefix import FoundMany, PrefixCursor, parse_prefix_cursor, read_many
from ....topics.topic import Topic
from ...message import Response
from ..bodies import DiffBody


async def diff_prefix(node: Node, pattern: str, body: DiffBody, view: View) -> Response:
    """``POST /v0/topics/chat:*/diff``. Raises InvalidRequest."""
    began = perf_counter()
    cursor = _cursor(body)
    topics = await _topics(node, pattern)
    found = read_many(topics, cursor, view)
    wait_ms = min(body.wait_ms, node.config.limits.max_wait_ms)
    if wait_ms and not found.worth_telling:
        topics, found = await _wait_for_more(node, pattern, found, view, wait_ms)
    return Response(200, found.body(pattern, len(topics), lambda: (perf_counter() - began) * 1000))


def _cursor(body: DiffBody) -> PrefixCursor:
    if body.log_id is not None:
        raise InvalidRequest("log_id is of one topic; a prefix read carries them in its cursor", {"field": "log_id"})
    if body.cursor is None:
        return PrefixCursor(begin=body.from_seq)
    if body.from_seq:
        raise InvalidRequest("send cursor or from_seq, not both", {"field": "from_seq"})
    return parse_prefix_cursor(body.cursor)


async def _topics(node: Node, pattern: str) -> list[Topic]:
    """What the prefix means now, fit to be read."""
    topics = await node.streams.meant_by(pattern)
    now_ms = node.clock.wall_ms()
    for topic in topics:
        if topic.topic in node.routers.into:
            await node.routers.into.catch_up(topic.topic)
        topic.last_read_ms = now_ms
    return [topic for topic in topics if not topic.about.deleted]


async def _wait_for_more(
    node: Node, pattern: str, found: FoundMany, view: View, wait_ms: int
) -> tuple[list[Topic], FoundMany]:
    """The ears are taken before the read, so that neither an append nor a new topic in between is late."""
    ear, topics = node.registry.bell.attach(node.drain_bell.attach(Ear())), []
    try:
        with trio.move_on_after(wait_ms / 1000):
            while True:
                topics = await _topics(node, pattern)
                for topic in topics:
                    topic.bell.attach(ear)
                found = read_many(topics, found.cursor, view)
                if found.worth_telling or node.draining:
                    break
                await ear.wait()
        return topics, found
    finally:
        ear.close()
