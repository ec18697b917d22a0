"""Feeds for peers, and what is known of links, lag and topology."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

from ...errors import InvalidRequest, NotYet
from ...links.link import Link
from ...links.wire import decode_change, decode_request
from ...node import Node
from ..auth.principal import Principal
from ..formats.negotiation import MSGPACK
from ..message import ClientGone, Request, Response, Stream, Writer
from .bodies import check_media_type
from .topics import reply, shown


class _Line:
    """A caller's connection, for as long as its key is what it was."""

    def __init__(self, writer: Writer, principal: Principal) -> None:
        self._writer, self._principal, self._renewals = writer, principal, principal.renewals
        self.unacknowledged, self.low_latency, self.sees = writer.unacknowledged, writer.low_latency, principal.sees

    async def send(self, buffers: Any) -> None:
        """Bytes or views of them; without a checkpoint when the kernel takes all at once. Raises ClientGone."""
        if self._principal.revoked or self._principal.renewals != self._renewals:
            raise ClientGone  # the caller comes again, and is refused by name or let through for what it may now
        if not self._writer.send_now(buffers):
            await self._writer.drained()


async def feed(node: Node, request: Request) -> Stream:
    """``POST /v0/feed``: frames for as long as the caller listens."""
    check_media_type(request, MSGPACK)
    asked = decode_request(request.body)
    principal = request.principal
    principal.require("peer", *asked.wants)

    async def write(writer: Writer) -> None:
        with suppress(ClientGone):
            await node.feeds.serve(asked, _Line(writer, principal))

    return Stream(write, 200, MSGPACK)


async def feed_change(node: Node, request: Request, feed_no: str) -> Response:
    """``POST /v0/feed/:feed_no``."""
    began = perf_counter()
    check_media_type(request, MSGPACK)
    if not feed_no.isdecimal() or len(feed_no) > 18:
        raise InvalidRequest("a feed's number is a number")
    asked = decode_change(request.body)
    request.principal.require("peer", *asked.wants)
    await node.feeds.change(int(feed_no), asked)
    return reply(200, {"feed_no": int(feed_no)}, began)


async def links(node: Node, request: Request) -> Response:
    """``GET /v0/links``."""
    began = perf_counter()
    return reply(200, shown({"links": node.switchboard.describe()}, request), began)


async def link(node: Node, request: Request, peer: str) -> Response:
    """``GET /v0/links/:peer``."""
    began = perf_counter()
    return reply(200, shown(node.switchboard.describe_link(node.switchboard.link(peer)), request), began)


async def link_events(node: Node, _: Request, peer: str) -> Response:
    """``GET /v0/links/:peer/events``: the flight recorder."""
    began = perf_counter()
    return reply(200, {"peer": peer, "events": list(node.switchboard.link(peer).inlet.notes)}, began)


async def link_pause(node: Node, _: Request, peer: str) -> Response:
    """``POST /v0/links/:peer/pause``: pull nothing from it until ``resume``."""
    return _ordered(node, peer, Link.pause)


async def link_resume(node: Node, _: Request, peer: str) -> Response:
    """``POST /v0/links/:peer/resume``."""
    return _ordered(node, peer, Link.resume)


async def link_retry(node: Node, _: Request, peer: str) -> Response:
    """``POST /v0/links/:peer/retry``: do not wait for the back-off."""
    return _ordered(node, peer, Link.poke)


def _ordered(node: Node, peer: str, order: Callable[[Link], None]) -> Response:
    began = perf_counter()
    found = node.switchboard.link(peer)
    order(found)
    return reply(200, node.switchboard.describe_link(found), began)


async def lag(node: Node, request: Request) -> Response:
    """``GET /v0/lag``: the matrix origin x holder."""
    began = perf_counter()
    return reply(200, shown(node.switchboard.lag(), request), began)


async def topology(node: Node, _: Request) -> Response:
    """``GET /v0/topology``."""
    began = perf_counter()
    return reply(200, node.topology(), began)


async def not_yet(_: Node, request: Request, **__: str) -> Response:
    """Specified, but not in this version."""
    told = f"{request.method} {request.path} is specified but not in this version of mirrord"
    if request.path == "/":  # whoever opens the node in a browser
        told += "; GET /v0/openapi.json tells what there is, and `mirrord status` how the node stands"
    raise NotYet(told, {"path": request.path})
