"""Deleting records: by place, by tag, or both."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

from msgspec import Meta, Struct

from ...errors import InvalidRequest
from ...names import check_topic
from ...node import Node
from ...records.selector import selector
from ...topics.deletion import delete as delete_of
from ..message import Request, Response
from .bodies import Match, decode, decoder
from .topics import reply

Seq = Annotated[int, Meta(ge=0)]


class DeleteBody(Struct):
    """``POST /v0/topics/:topic/delete``: at least one of the two; both mean what both mean."""

    before_seq: Seq | None = None
    match: Match = None


_delete_json = decoder(DeleteBody)


async def delete(node: Node, request: Request, name: str) -> Response:
    """``POST /v0/topics/:topic/delete``: for ever, at once, of what is in the log now."""
    began = perf_counter()
    body = decode(request, _delete_json)
    if body.before_seq is None and body.match is None:
        raise InvalidRequest("name what to delete: before_seq, match, or both")
    match = None if body.match is None else selector(body.match)
    check_topic(name)
    topic = await node.registry.find(name)
    done = await delete_of(topic, body.before_seq, match)
    return reply(200, {
        "topic": name, "deleted": done.records, "earliest_seq": topic.earliest,
        "head_seq": topic.head, "count": topic.count, "bytes": topic.bytes,
    }, began)  # fmt: skip
