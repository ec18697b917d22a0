"""One HTTP request through an ASGI application. The request's body is whole before the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

import trio

from .message import ClientGone, Headers, Request, Response
from .wire import Reply

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# From 2.4 on Starlette would notice a client's going only when it sends; with 2.3 it listens for it.
SPEC = {"version": "3.0", "spec_version": "2.3"}


def asgi_scope(request: Request, kind: str) -> dict[str, Any]:
    """What the application is told. ``scope["mirrord"]`` is the Request itself."""
    peer = request.connection.peer if request.connection is not None else None
    return {
        "type": kind,
        "method": request.method,
        "asgi": SPEC,
        "http_version": "1.1" if request.http_1_1 else "1.0",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": list(request.headers.items()),
        "client": (peer[0], peer[1]) if peer else None,
        "server": None,
        "mirrord": request,
    }


class Exchange:
    """``receive`` and ``send`` of one call. A complete small answer leaves in one piece."""

    def __init__(self, request: Request, reply: Reply) -> None:
        self._request, self._reply = request, reply
        self._gone = trio.Event()
        self._listening = 0
        self._body_given = False
        self._start: Event | None = None
        self._done = False

    async def run(self, app: ASGIApp) -> None:
        """Call the application and see that it answers. Raises what it raises; ClientGone; RuntimeError."""
        await app(asgi_scope(self._request, "http"), self.receive, self.send)
        if not self._done:
            if self._gone.is_set():
                raise ClientGone("the client hung up, and the application ended")
            raise RuntimeError("the ASGI application returned before its answer was complete")

    def tell_gone(self) -> bool:
        """The client hung up. True if the application listens for that and will end by itself."""
        self._gone.set()
        return self._listening > 0

    async def receive(self) -> Event:
        """The whole body first; then, when the client is gone or the answer complete, ``http.disconnect``."""
        if not self._body_given:
            self._body_given = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        self._listening += 1
        try:
            await self._gone.wait()
        finally:
            self._listening -= 1
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        """Raises ClientGone (an OSError, as ASGI wants); RuntimeError for an event out of order."""
        kind = event["type"]
        if self._gone.is_set():
            if self._done:
                raise RuntimeError(f"{kind} after the complete answer")
            raise ClientGone("the client hung up")
        if kind == "http.response.start" and self._start is None:
            self._start = event
        elif kind == "http.response.body" and self._start is not None:
            await self._body(self._start, event.get("body", b""), event.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} is not expected now")

    async def _body(self, start: Event, body: bytes, more: bool) -> None:
        content_type, headers, length = _told(start.get("headers", ()))
        if not self._reply.begun:
            if not more and (length is None or length == len(body)):
                self._complete()
                await self._reply.whole(Response(start["status"], body, content_type, headers))
                return
            await self._reply.begin(start["status"], content_type, headers, length)
        await self._reply.send([body])
        if not more:
            self._complete()
            await self._reply.finish()

    def _complete(self) -> None:
        self._done = True
        self._gone.set()


def _told(raw: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, Headers, int | None]:
    """An application's headers: content type, the others but what the server writes, content length."""
    content_type, length, others = b"", None, []
    for name, value in raw:
        match name.lower():
            case b"content-type":
                content_type = value
            case b"content-length":
                length = int(value)
            case b"transfer-encoding" | b"connection" | b"date" | b"server":
                pass
            case _:
                others.append((name, value))
    return content_type, tuple(others), length
