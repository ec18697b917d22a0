"""The ASGI seam: a Starlette application behind the server, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from mirrord.web.message import ServerLimits

LIVELY = ServerLimits(header_timeout_ms=40)
stream_ended = trio.Event()


async def plain(request: Request) -> JSONResponse:
    ours = request.scope["mirrord"]
    same = ours.path == request.scope["path"]
    return JSONResponse({"path": request.path_params["name"], "q": request.query_params["q"], "same": same})


async def body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body(), headers={"x-kind": "echo"})


async def stream(_: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return StreamingResponse(pieces())


async def endless(_: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"begun"
            await trio.sleep_forever()
        finally:
            stream_ended.set()

    return StreamingResponse(pieces())


async def waits(_: Request) -> PlainTextResponse:
    try:
        await trio.sleep_forever()
    finally:
        stream_ended.set()
    raise AssertionError


async def breaks(_: Request) -> PlainTextResponse:
    raise ZeroDivisionError("a fault of ours")


APP = Starlette(
    routes=[
        Route("/plain/{name}", plain),
        Route("/body", body, methods=["POST"]),
        Route("/stream", stream),
        Route("/endless", endless),
        Route("/waits", waits),
        Route("/breaks", breaks),
    ]
)


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_request_goes_through_and_the_connection_goes_on(serving: Any) -> None:
    """Path, query, body, headers both ways; the server's own headers once."""
    async with serving(app=APP) as site, site.client() as client:
        await client.send(get(b"/plain/a%20b?q=%31"))
        head, told = await client.response()
        assert told == b'{"path":"a b","q":"1","same":true}'
        assert head.lower().count(b"content-length") == 1
        assert head.lower().count(b"content-type: application/json") == 1
        await client.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        head, told = await client.response()
        assert (b"\r\nx-kind: echo\r\n" in head, told) == (True, b"hi")
        await client.send(get(b"/nowhere"))
        assert (await client.response())[0].startswith(b"HTTP/1.1 404 ")


async def test_an_answer_in_pieces_is_chunked(serving: Any) -> None:
    """And HEAD of it has no body."""
    async with serving(app=APP) as site, site.client() as client:
        await client.send(get(b"/stream"))
        await client.until(b"\r\n\r\n")
        assert await client.until(b"0\r\n\r\n") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        await client.send(b"HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n" + get(b"/plain/a?q=1"))
        await client.until(b"\r\n\r\n")
        assert (await client.response())[1].startswith(b'{"path"')


@pytest.mark.parametrize("path", [b"/endless", b"/waits"])
async def test_an_application_ends_when_its_client_hangs_up(serving: Any, path: bytes, until: Any) -> None:
    """One that listens is told and ends by itself; one that does not is cancelled. Neither is a fault."""
    global stream_ended
    stream_ended = trio.Event()
    async with serving(app=APP, limits=LIVELY) as site:
        async with site.client() as client:
            await client.send(get(path))
            if path == b"/endless":
                await client.until(b"begun\r\n")
            else:
                await until(lambda: site.server.statistics().in_flight == 1)
        with trio.fail_after(10):
            await stream_ended.wait()
        assert site.notes == []


async def test_an_application_that_listens_is_told_and_ends_by_itself(serving: Any, until: Any) -> None:
    """ASGI's own way comes before cancelling."""
    told: list[str] = []

    async def listens(_scope: Any, receive: Any, _send: Any) -> None:
        told.append((await receive())["type"])
        told.append((await receive())["type"])
        await trio.lowlevel.checkpoint()
        told.append("ended")

    async with serving(app=listens, limits=LIVELY) as site:
        async with site.client() as client:
            await client.send(get(b"/"))
            await until(lambda: told)
        await until(lambda: site.server.statistics().connections == 0)
        assert told == ["http.request", "http.disconnect", "ended"]
        assert site.notes == []


async def test_framing_is_the_servers_business(serving: Any) -> None:
    """What an application says about the connection is not passed on."""

    async def meddles(_scope: Any, _receive: Any, send: Any) -> None:
        ours = [(b"Transfer-Encoding", b"chunked"), (b"connection", b"close"), (b"Server", b"other")]
        headers = [*ours, (b"x", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"123"})

    async with serving(app=meddles) as site, site.client() as client:
        for _ in range(2):
            await client.send(get(b"/"))
            head, told = await client.response()
            assert (head.count(b"erver:"), b"\r\nx: 1\r\n" in head, told) == (1, True, b"123")
            assert b"hunked" not in head
            assert b"close" not in head


async def test_a_fault_in_the_application_is_noted_and_ends_its_connection(serving: Any) -> None:
    """Starlette answers 500 itself; the fault still reaches the log."""
    async with serving(app=APP) as site:
        assert (await site.ask(get(b"/breaks"))).startswith(b"HTTP/1.1 500 ")
        assert [type(note) for note in site.notes] == [ZeroDivisionError]


async def silent(_scope: Any, _receive: Any, _send: Any) -> None:
    """Answers nothing."""


async def liar(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"123", "more_body": True})
    await send({"type": "http.response.body", "body": b"45678901"})


async def short(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"123"})


async def disordered(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"123"})


RULE_BREAKERS = [(silent, RuntimeError), (liar, ValueError), (short, ValueError), (disordered, RuntimeError)]


@pytest.mark.parametrize(("app", "error"), RULE_BREAKERS)
async def test_an_application_that_breaks_the_rules_is_noted(serving: Any, app: Any, error: type[Exception]) -> None:
    """It can never make the next answer of the connection look like part of this one."""
    async with serving(app=app) as site:
        came = await site.ask(get(b"/") + get(b"/"))
        assert came.count(b"HTTP/1.1 ") == 1
        assert b"45678901" not in came
        assert [type(note) for note in site.notes] == [error]
