"""All routes, as one table; the hot ones by a dict in front, the rest through Starlette, so that the application also
runs under any ASGI server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ..errors import MethodNotAllowed, MirrordError, NotFound, NotYet, ShuttingDown
from ..node import Node
from .connection import FastHandler
from .errors import answer
from .message import Request, Response, Stream
from .routes import health, peers, topics

Handler = Callable[..., Awaitable[Response | Stream]]

TOPIC = "/v0/topics/"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v0/topics/{name}", topics.append),
    ("POST", "/v0/topics/{name}/diff", topics.diff),
    ("PUT", "/v0/topics/{name}", topics.put),
    ("GET", "/v0/topics/{name}", topics.state),
    ("DELETE", "/v0/topics/{name}", topics.delete),
    ("GET", "/v0/topics/{name}/digest", topics.digest),
    ("GET", "/v0/topics", topics.topics),
    ("POST", "/v0/feed", peers.feed),
    ("POST", "/v0/feed/{feed_no}", peers.feed_change),
    ("GET", "/v0/links", peers.links),
    ("GET", "/v0/links/{peer}", peers.link),
    ("GET", "/v0/links/{peer}/events", peers.link_events),
    ("POST", "/v0/links/{peer}/pause", peers.link_pause),
    ("POST", "/v0/links/{peer}/resume", peers.link_resume),
    ("POST", "/v0/links/{peer}/retry", peers.link_retry),
    ("GET", "/v0/lag", peers.lag),
    ("GET", "/v0/topology", peers.topology),
    ("GET", "/v0/actors", health.actors),
    ("GET", "/v0/health", health.health),
    ("GET", "/v0/ready", health.ready),
    ("GET", "/v0/metrics", health.metrics),
    ("GET", "/healthz", health.health),
    ("GET", "/readyz", health.ready),
)

BELOW = ("", "/{rest:path}")  # the path itself, and everything below it
PARTS = ("jobs", "schedules", "locks", "limits", "presence")

# Specified surface that is not in this version: answered 501 by name, never half right.
LATER: tuple[tuple[str, str], ...] = (
    ("PATCH", "/v0/topics/{name}"),
    *(("POST", f"/v0/topics/{{name}}/{verb}") for verb in ("delete", "claim", "ack", "nack", "extend")),
    ("GET", "/v0/topics/{name}/work"),
    ("GET", "/v0/topics/{name}/explain"),
    *((m, f"/v0/topics/{{name}}/groups{below}") for below in BELOW for m in ("GET", "POST", "DELETE")),
    *((m, f"/v0/routers{below}") for below in BELOW for m in ("GET", "PUT", "DELETE")),
    *((m, f"/v0/watch{below}") for below in BELOW for m in ("GET", "POST")),
    ("GET", "/v0/ws"),
    *((m, f"/v0/{part}{below}") for part in PARTS for below in BELOW for m in ("GET", "PUT", "POST", "DELETE")),
    ("POST", "/v0/topology/plan"),
    ("PUT", "/v0/topology"),
    ("GET", "/v0/openapi.json"),
    ("GET", "/"),
)


class Door:
    """Requests in, answers out, for one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.app = Starlette(routes=self._starlette_routes(), exception_handlers={404: self._no_route})

    def fast(self, request: Request) -> FastHandler | None:
        """The handler of the hot paths, run in the connection's own task; None for all others."""
        if request.method != "POST":
            return None
        path = request.path
        if path.startswith(TOPIC):
            name, slash, verb = path[len(TOPIC) :].partition("/")
            if name and not slash:
                return self._bind(topics.append, name=name)
            if name and verb == "diff":
                return self._bind(topics.diff, name=name)
        elif path == "/v0/feed":
            return self._bind(peers.feed)
        return None

    def _bind(self, handler: Handler, **params: str) -> FastHandler:
        node = self._node

        async def handle(request: Request) -> Response | Stream:
            if node.draining:
                raise ShuttingDown(retry_after_s=1.0)
            return await handler(node, request, **params)

        return handle

    # ---- the same through ASGI -------------------------------------------------------------------

    def _starlette_routes(self) -> list[BaseRoute]:
        by_path: dict[str, dict[str, Handler]] = {}
        for method, path, handler in ROUTES:
            by_path.setdefault(path, {})[method] = handler
        for method, path in LATER:
            by_path.setdefault(path, {}).setdefault(method, peers.not_yet)
        ordered = sorted(by_path.items(), key=lambda item: ("{rest" in item[0], item[0].count("{"), item[0]))
        routes = [Route(path, self._endpoint(handlers)) for path, handlers in ordered]
        routes.append(Route("/{rest:path}", self._nothing_here))
        for route in routes:
            route.methods = None  # wrong methods are answered here, in the one error shape
        return [*routes, WebSocketRoute("/{rest:path}", self._no_websocket)]

    def _endpoint(self, handlers: dict[str, Handler]) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
        allow = sorted({*handlers, *(["HEAD"] if "GET" in handlers else [])})

        async def endpoint(request: StarletteRequest) -> StarletteResponse:
            try:
                method = "GET" if request.method == "HEAD" and "GET" in handlers else request.method
                handler = handlers.get(method)
                if self._node.draining and method != "GET":
                    raise ShuttingDown(retry_after_s=1.0)
                if handler is None:
                    told = f"{request.method} is not for this path; use {', '.join(allow)}"
                    raise MethodNotAllowed(told, {"allow": allow})
                params = {k: v for k, v in request.path_params.items() if k != "rest"}
                return await _to_starlette(await handler(self._node, await _from_starlette(request), **params))
            except MirrordError as error:
                return await _to_starlette(answer(error))

        return endpoint

    async def _no_websocket(self, websocket: WebSocket) -> None:
        path = websocket.url.path
        error: MirrordError = NotFound(f"there is no WebSocket at {path}")
        if ("GET", path) in LATER:
            error = NotYet(f"GET {path} is specified but not in this version of mirrord", {"path": path})
        await websocket.send_denial_response(await _to_starlette(answer(error)))

    async def _no_route(self, request: StarletteRequest, _: Exception) -> StarletteResponse:
        """A path that no pattern matches, such as one with a line break in it."""
        return await self._nothing_here(request)

    async def _nothing_here(self, request: StarletteRequest) -> StarletteResponse:
        return await _to_starlette(answer(NotFound(f"there is nothing at {request.url.path}")))


async def _from_starlette(request: StarletteRequest) -> Request:
    ours: Any = request.scope.get("mirrord")
    if isinstance(ours, Request):
        return ours
    headers = {k.lower(): v for k, v in request.headers.raw}
    return Request(
        method=request.method, path=request.url.path, raw_path=request.scope.get("raw_path", b""),
        query=request.url.query, headers=headers, body=await request.body(),
    )  # fmt: skip


class _Chunks:
    """A streaming answer's writer under a foreign ASGI server."""

    def __init__(self, send: Any) -> None:
        self._send = send

    async def send(self, buffers: Any) -> None:
        await self._send({"type": "http.response.body", "body": b"".join(buffers), "more_body": True})

    def unacknowledged(self) -> int:
        return 0

    def low_latency(self, unsent_bytes: int) -> None:
        """The server's business."""


class _Streamed(StreamingResponse):
    def __init__(self, stream: Stream) -> None:
        super().__init__(iter(()), stream.status, media_type=stream.content_type.decode())
        self._stream = stream

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._stream.write(_Chunks(send))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _to_starlette(ours: Response | Stream) -> StarletteResponse:
    if isinstance(ours, Stream):
        return _Streamed(ours)
    body = ours.body if isinstance(ours.body, bytes) else b"".join(ours.body)
    made = StarletteResponse(body, ours.status, media_type=ours.content_type.decode())
    for name, value in ours.headers:
        made.headers[name.decode()] = value.decode()
    return made
