"""A real server on a loopback port, and a client that speaks raw bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from mirrord.clock import SystemClock
from mirrord.errors import TopicNotFound
from mirrord.web.errors import answer
from mirrord.web.message import Request, Response, ServerLimits
from mirrord.web.server import Server, open_listeners

PATIENCE_S = 10.0


async def echo(request: Request) -> Response:
    """What the server understood, as one line."""
    told = f"{request.method} {request.path}?{request.query} ".encode() + request.body
    return Response(200, told, b"text/plain")


async def missing(_request: Request) -> Response:
    raise TopicNotFound("no such topic: t", {"topic": "t"})


async def broken(_request: Request) -> Response:
    raise ZeroDivisionError("a fault of ours")


class Client:
    """One connection. Every wait has an end."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._rest = b""

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with the mark."""
        while mark not in self._rest:
            data = await self._some()
            assert data, f"the server closed; came: {self._rest!r}"
            self._rest += data
        found, _, self._rest = self._rest.partition(mark)
        return found + mark

    async def rest(self) -> bytes:
        """Everything up to the server's close."""
        while data := await self._some():
            self._rest += data
        found, self._rest = self._rest, b""
        return found

    async def response(self) -> tuple[bytes, bytes]:
        """Head and body of the next answer that has a content-length."""
        head = await self.until(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(self._rest) < length:
            data = await self._some()
            assert data, "the server closed within a body"
            self._rest += data
        body, self._rest = self._rest[:length], self._rest[length:]
        return head, body

    async def _some(self) -> bytes:
        with trio.fail_after(PATIENCE_S):
            return bytes(await self.stream.receive_some(65536))


class Site:
    """A running server; ``notes`` are the exceptions that it heard of."""

    def __init__(self, server: Server, address: tuple[str, int], notes: list[BaseException]) -> None:
        self.server, self.address, self.notes = server, address, notes

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        stream = await trio.open_tcp_stream(*self.address)
        async with stream:
            yield Client(stream)

    async def ask(self, data: bytes) -> bytes:
        """Everything that the server says to these bytes, which are all that this client has to say."""
        async with self.client() as client:
            try:
                await client.send(data)
                await client.stream.send_eof()
                return await client.rest()
            except trio.BrokenResourceError:
                return b""


async def no_app(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("the ASGI application was not to be called")


@asynccontextmanager
async def serving(
    handlers: dict[str, Callable[[Request], Awaitable[Any]]] | None = None,
    app: Any = no_app,
    limits: ServerLimits | None = None,
) -> AsyncIterator[Site]:
    """A server on a free port. Paths without a handler go to the app, or to ``echo`` if there is none."""
    known = {"/missing": missing, "/broken": broken, **(handlers or {})}
    default = echo if app is no_app else None
    notes: list[BaseException] = []
    server = Server(
        app,
        lambda request: known.get(request.path, default),
        limits or ServerLimits(),
        answer,
        notes.append,
        SystemClock(),
    )
    listeners = open_listeners("127.0.0.1:0")
    address = listeners[0].getsockname()[:2]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        yield Site(server, address, notes)
        nursery.cancel_scope.cancel()


async def until_true(true: Callable[[], object]) -> None:
    """Let others work until it is true."""
    with trio.fail_after(PATIENCE_S):
        while not true():
            await trio.lowlevel.checkpoint()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """``await until(lambda: ...)``, with an end."""
    return until_true


@pytest.fixture(name="serving")
def _serving() -> Callable[..., Any]:
    """``async with serving(handlers, app, limits) as site``."""
    return serving


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A server that echoes."""
    async with serving() as running:
        yield running
