"""Requests to their handlers: the hot routes by a dict in front, the rest through Starlette, so that the application
also runs under any ASGI server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketState

from ..errors import InvalidRequest, MethodNotAllowed, MirrordError, NotFound, NotYet, ShuttingDown
from ..node import Node
from .auth.gate import Gate
from .errors import answer
from .formats.envelope import is_plain, leaves_as_it_is, opened, sealed
from .message import Handler, Request, Response, Stream, Writer
from .routes.peers import not_yet
from .routes.table import ENDPOINTS, LATER, SOCKETS, Endpoint, Socket

TOPIC = "/v0/topics/"
WATCH = "/v0/watch/"
_HOT = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}
_APPEND = _HOT["POST", "/v0/topics/{name}"]
_VERBS = {verb: _HOT["POST", f"/v0/topics/{{name}}/{verb}"] for verb in ("diff", "claim", "ack", "nack", "extend")}
_FEED = _HOT["POST", "/v0/feed"]
_WATCH = _HOT["GET", "/v0/watch/{wid}"]


async def _no_upgrade(_node: Node, request: Request, **_params: str) -> Response:
    raise InvalidRequest(f"{request.path} is a WebSocket: ask for an upgrade")


_PLAIN = tuple(Endpoint(socket.method, socket.path, _no_upgrade) for socket in SOCKETS)


class Door:
    """Requests in, answers out, for one node. ``gate``: who may pass; without one everybody."""

    def __init__(self, node: Node, gate: Gate | None = None) -> None:
        self._node = node
        self._gate = gate if gate is not None else Gate()
        self.app = Starlette(routes=self._starlette_routes(), exception_handlers={404: self._no_route})

    def fast(self, request: Request) -> Handler | None:
        """Who answers the hot paths, in the connection's own task; None for all others. For the same head always the
        same: whether it may come in is asked when it does."""
        method, path = request.method, request.path
        if method == "GET" and path.startswith(WATCH):
            wid = path[len(WATCH) :]
            return partial(self._let_in, False, _WATCH, {"wid": wid}) if wid and "/" not in wid else None
        if method != "POST":
            return None
        if path == "/v0/feed":
            return partial(self._let_in, is_plain(request), _FEED, {})
        if not path.startswith(TOPIC):
            return None
        name, slash, verb = path[len(TOPIC) :].partition("/")
        endpoint = _VERBS.get(verb) if slash else _APPEND
        return partial(self._let_in, is_plain(request), endpoint, {"name": name}) if name and endpoint else None

    def _let_in(
        self, plain: bool, endpoint: Endpoint, params: Mapping[str, str], request: Request
    ) -> Awaitable[Response | Stream]:
        """``plain``: nothing is to be unpacked or packed, so that, as long as the gate is open, all that is left is the
        endpoint's own handler."""
        if not self._gate.open:
            return self._admitted(endpoint, params, request)
        if not plain:
            return self._through(endpoint, params, request)
        if self._node.draining:
            raise ShuttingDown(retry_after_s=1.0)
        return endpoint.handler(self._node, request, **params)

    async def _admitted(self, endpoint: Endpoint, params: Mapping[str, str], request: Request) -> Response | Stream:
        principal = self._gate.admit(endpoint, request, params)
        self._gate.enter(principal)
        try:
            return await self._through(endpoint, params, request)
        finally:
            self._gate.leave(principal)

    async def _through(self, endpoint: Endpoint, params: Mapping[str, str], request: Request) -> Response | Stream:
        if self._node.draining and request.method not in ("GET", "HEAD"):
            raise ShuttingDown(retry_after_s=1.0)
        if b"content-encoding" in request.headers:
            await opened(request, self._node.config.limits.max_body_bytes)
        response = await endpoint.handler(self._node, request, **params)
        if isinstance(response, Stream) and request.method == "HEAD":
            return msgspec.structs.replace(response, write=_nothing)  # nothing is handed out, and no place is taken
        if isinstance(response, Stream) or leaves_as_it_is(request, response):
            return response
        return await sealed(request, response)

    # ---- the same through ASGI -------------------------------------------------------------------

    def _starlette_routes(self) -> list[BaseRoute]:
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in (*ENDPOINTS, *(Endpoint(*later, not_yet) for later in LATER), *_PLAIN):
            by_path.setdefault(endpoint.path, {}).setdefault(endpoint.method, endpoint)
        ordered = sorted(by_path.items(), key=lambda item: ("{rest" in item[0], item[0].count("{"), item[0]))
        routes = [Route(path, self._answering(endpoints)) for path, endpoints in ordered]
        routes.append(Route("/{rest:path}", self._nothing_here))
        for route in routes:
            route.methods = None  # wrong methods are answered here, in the one error shape
        sockets = [WebSocketRoute(one.path, self._conversing(one)) for one in SOCKETS]
        return [*routes, *sockets, WebSocketRoute("/{rest:path}", self._no_websocket)]

    def _answering(self, endpoints: dict[str, Endpoint]) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
        allow = sorted({*endpoints, *(["HEAD"] if "GET" in endpoints else [])})

        async def answering(request: StarletteRequest) -> StarletteResponse:
            try:
                method = "GET" if request.method == "HEAD" and "GET" in endpoints else request.method
                endpoint = endpoints.get(method)
                if endpoint is None:
                    told = f"{request.method} is not for this path; use {', '.join(allow)}"
                    raise MethodNotAllowed(told, {"allow": allow})
                return await _to_starlette(await self._answer(endpoint, request))
            except MirrordError as error:
                return await _to_starlette(answer(error, await _from_starlette(request)))

        return answering

    async def _answer(self, endpoint: Endpoint, asked: StarletteRequest) -> Response | Stream:
        params = {k: v for k, v in asked.path_params.items() if k != "rest"}
        return await self._admitted(endpoint, params, await _from_starlette(asked))

    def _conversing(self, socket: Socket) -> Callable[[WebSocket], Awaitable[None]]:
        async def conversing(websocket: WebSocket) -> None:
            try:
                if self._node.draining:
                    raise ShuttingDown(retry_after_s=1.0)
                request, params = _handshake(websocket), websocket.path_params
                self._gate.admit(socket, request, params)
                await socket.handler(self._node, request, websocket, **params)
            except MirrordError as error:
                if websocket.application_state is not WebSocketState.CONNECTING:
                    raise
                await websocket.send_denial_response(await _to_starlette(answer(error)))

        return conversing

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
        error = NotFound(f"there is nothing at {request.url.path}")
        return await _to_starlette(answer(error, await _from_starlette(request)))


async def _nothing(_: Writer) -> None:
    """The body of an answer to HEAD."""


async def _from_starlette(request: StarletteRequest) -> Request:
    ours: Any = request.scope.get("mirrord")
    if isinstance(ours, Request):
        return ours
    headers = {k.lower(): v for k, v in request.headers.raw}
    return Request(
        method=request.method, path=request.url.path, raw_path=request.scope.get("raw_path", b""),
        query=request.url.query, headers=headers, body=await request.body(),
    )  # fmt: skip


def _handshake(websocket: WebSocket) -> Request:
    ours: Any = websocket.scope.get("mirrord")
    if isinstance(ours, Request):
        return ours
    headers = {k.lower(): v for k, v in websocket.headers.raw}
    return Request(path=websocket.url.path, query=websocket.url.query, headers=headers, websocket=True)


class _Chunks:
    """A streaming answer's writer under a foreign ASGI server."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._waiting = b""

    async def send(self, buffers: Any) -> None:
        await self._send({"type": "http.response.body", "body": b"".join(buffers), "more_body": True})

    def send_now(self, buffers: Any) -> bool:
        self._waiting = b"".join(buffers)
        return False

    async def drained(self) -> None:
        waiting, self._waiting = self._waiting, b""
        await self.send([waiting])

    def unacknowledged(self) -> int:
        return 0

    def low_latency(self, unsent_bytes: int) -> None:
        """The server's business."""


class _Streamed(StreamingResponse):
    def __init__(self, stream: Stream) -> None:
        headers = {name.decode(): value.decode() for name, value in stream.headers}
        headers["content-type"] = stream.content_type.decode()  # as a media_type it would be given a charset
        super().__init__(iter(()), stream.status, headers)
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
