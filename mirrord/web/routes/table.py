"""The one table of routes: which handler answers what, and what a key needs for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from msgspec import Struct

from ..auth.principal import Scope
from ..message import Response, Stream
from . import description, erasure, groups, health, peers, queues, routers, topics
from .streams import socket, watch, work

Handler = Callable[..., Awaitable[Response | Stream]]
Open = Literal["key", "probe", "all"]


class Endpoint(Struct, frozen=True):
    """One route. ``handler(node, request, **path_params)`` answers a Response or a Stream.

    Names in bodies are checked by the handler itself: ``request.principal.require(scope, *names)``, and
    lists show only what ``request.principal.sees(name)``.
    """

    method: str
    path: str
    handler: Handler
    scopes: tuple[Scope, ...] = ()
    """The key needs all of them."""
    names: tuple[str, ...] = ()
    """Path parameters that must be within the key's prefixes."""
    without_scope: Open = "key"
    """Who may call what needs no scope: any known key, everybody unless [auth] probe_auth, or everybody."""
    unlimited: bool = False
    """Not for a key with prefixes: the answer, or what it does, concerns names that the key may not know of."""
    by_peers: bool = False
    """A peer may send it for one of its own callers, whom it has let through itself."""
    token: bool = False
    """The key may come as ?token=, for readers of event streams that cannot send headers."""


class Socket(Struct, frozen=True):
    """One WebSocket. ``handler(node, request, websocket, **path_params)`` converses until one of the two has enough.

    Any known key may open it; what it asks for on the way, the handler checks. The request is the handshake; errors
    raised before ``websocket.accept()`` answer it.
    """

    path: str
    handler: Callable[..., Awaitable[None]]
    method: str = "GET"
    scopes: tuple[Scope, ...] = ()
    names: tuple[str, ...] = ()
    without_scope: Open = "key"
    unlimited: bool = False
    by_peers: bool = False
    token: bool = False


def _read(path: str, handler: Handler, **more: Any) -> Endpoint:
    return Endpoint("GET", path, handler, ("read",), **more)


NAME = ("name",)
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/v0/topics/{name}", topics.append, ("write",), NAME),
    Endpoint("POST", "/v0/topics/{name}/diff", topics.diff, ("read",), NAME),
    Endpoint("PUT", "/v0/topics/{name}", topics.put, ("admin",), NAME),
    Endpoint("PATCH", "/v0/topics/{name}", topics.patch, ("admin",), NAME),
    _read("/v0/topics/{name}", topics.state, names=NAME),
    Endpoint("DELETE", "/v0/topics/{name}", topics.delete, ("delete",), NAME),
    Endpoint("POST", "/v0/topics/{name}/delete", erasure.delete, ("delete",), NAME),
    _read("/v0/topics/{name}/digest", topics.digest, names=NAME),
    _read("/v0/topics", topics.topics),
    _read("/v0/topics/{name}/groups", groups.groups, names=NAME),
    _read("/v0/topics/{name}/groups/{group}", groups.state, names=NAME),
    Endpoint("DELETE", "/v0/topics/{name}/groups/{group}", groups.delete, ("delete",), NAME),
    Endpoint("POST", "/v0/topics/{name}/groups/{group}/read", groups.read, ("read",), NAME),
    Endpoint("POST", "/v0/topics/{name}/groups/{group}/commit", groups.commit, ("read",), NAME),
    Endpoint("POST", "/v0/topics/{name}/groups/{group}/reclaim", groups.reclaim, ("read",), NAME),
    Endpoint("POST", "/v0/topics/{name}/groups/{group}/seek", groups.seek, ("write",), NAME),
    Endpoint("POST", "/v0/topics/{name}/claim", queues.claim, ("read", "write"), NAME, by_peers=True),
    Endpoint("POST", "/v0/topics/{name}/ack", queues.ack, ("write",), NAME, by_peers=True),
    Endpoint("POST", "/v0/topics/{name}/nack", queues.nack, ("write",), NAME, by_peers=True),
    Endpoint("POST", "/v0/topics/{name}/extend", queues.extend, ("write",), NAME, by_peers=True),
    Endpoint("GET", "/v0/topics/{name}/work", work.work, ("read", "write"), NAME, by_peers=True, token=True),
    Endpoint("PUT", "/v0/routers/{name}", routers.put, ("admin",), NAME),
    _read("/v0/routers/{name}", routers.state, names=NAME),
    Endpoint("DELETE", "/v0/routers/{name}", routers.delete, ("delete",), NAME),
    _read("/v0/routers", routers.routers),
    Endpoint("POST", "/v0/watch", watch.create, ("read",)),
    Endpoint("GET", "/v0/watch/{wid}", watch.stream, token=True),
    Endpoint("POST", "/v0/feed", peers.feed, ("peer",)),
    Endpoint("POST", "/v0/feed/{feed_no}", peers.feed_change, ("peer",)),
    _read("/v0/links", peers.links),
    _read("/v0/links/{peer}", peers.link),
    _read("/v0/links/{peer}/events", peers.link_events, unlimited=True),
    Endpoint("POST", "/v0/links/{peer}/pause", peers.link_pause, ("admin",), unlimited=True),
    Endpoint("POST", "/v0/links/{peer}/resume", peers.link_resume, ("admin",), unlimited=True),
    Endpoint("POST", "/v0/links/{peer}/retry", peers.link_retry, ("admin",), unlimited=True),
    _read("/v0/lag", peers.lag),
    _read("/v0/topology", peers.topology, unlimited=True),
    _read("/v0/actors", health.actors),
    _read("/v0/metrics", health.metrics),
    Endpoint("GET", "/v0/openapi.json", description.openapi, without_scope="all"),
    Endpoint("GET", "/v0/health", health.health, without_scope="probe"),
    Endpoint("GET", "/v0/ready", health.ready, without_scope="probe"),
    Endpoint("GET", "/healthz", health.health, without_scope="probe"),
    Endpoint("GET", "/readyz", health.ready, without_scope="probe"),
)

SOCKETS: tuple[Socket, ...] = (Socket("/v0/ws", socket.socket),)

BELOW = ("", "/{rest:path}")  # the path itself, and everything below it
PARTS = ("jobs", "schedules", "locks", "limits", "presence")

# Specified surface that is not in this version: answered 501 by name, never half right.
LATER: tuple[tuple[str, str], ...] = (
    ("GET", "/v0/topics/{name}/explain"),
    *((m, f"/v0/{part}{below}") for part in PARTS for below in BELOW for m in ("GET", "PUT", "POST", "DELETE")),
    ("POST", "/v0/topology/plan"),
    ("PUT", "/v0/topology"),
    ("GET", "/"),
)
