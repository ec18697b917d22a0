"""Watching: sessions and their event streams."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ..routes.streams.watch import WatchBody
from .operation import SSE, WRITES, Operation, Operations, Query, ok
from .shapes import Seq, Told


class WatchedTopic(Struct, kw_only=True):
    """Where a topic stands, and where reading it begins."""

    from_seq: Seq
    head_seq: Seq
    earliest_seq: Seq
    log_id: str


class Watch(Told, kw_only=True):
    """A session: open ``stream_url`` with GET."""

    wid: str
    stream_url: str
    session_ttl_ms: Seq
    topics: dict[str, WatchedTopic]


Events = Annotated[str, Meta(description="event frames; see docs/HTTP.md")]
_TOKEN = Query("token", str, "the key, for clients that cannot send headers")

OPERATIONS: Operations = {
    ("GET", "/v0/ws"): Operation(
        name="websocket",
        summary="a WebSocket: subscribe, unsubscribe, publish, ping as JSON messages",
        answers=((101, None),),
        kinds=(),
    ),
    ("POST", "/v0/watch"): Operation(
        name="create_watch",
        summary="make a session",
        body=WatchBody,
        query=(Query("lenient", bool, "leave topics out that are not there"),),
        answers=ok(Watch),
        errors=WRITES,
    ),
    ("GET", "/v0/watch/{wid}"): Operation(
        name="watch",
        summary="its events, for as long as the client listens",
        query=(_TOKEN, Query("last-event-id", str, "id of the last frame that was processed", place="header")),
        answers=ok(Events),
        kinds=(SSE,),
    ),
}
