"""Servers that are no peers: what they answer to a request for a feed is wrong, each in its own way."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from mirrord.links.frames import MOST_HEADER_BYTES

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/msgpack\r\ntransfer-encoding: chunked\r\n\r\n"
BLOCK = b"x" * (64 << 10)
Answer = Callable[[trio.SocketStream], Awaitable[None]]


async def _piece(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(b"%x\r\n%b\r\n" % (len(data), data))


async def not_http(stream: trio.SocketStream) -> None:
    """Another protocol altogether."""
    await stream.send_all(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n" * 100)


async def web_page(stream: trio.SocketStream) -> None:
    """A server of something else."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>hi</html>")


async def not_found(stream: trio.SocketStream) -> None:
    """The same, which says so."""
    await stream.send_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope")


async def endless_header(stream: trio.SocketStream) -> None:
    """An HTTP header that never ends."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\nx-padding: ")
    while True:
        await stream.send_all(BLOCK)


async def endless_error(stream: trio.SocketStream) -> None:
    """A refusal whose body never ends."""
    await stream.send_all(b"HTTP/1.1 503 Unavailable\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await _piece(stream, BLOCK)


async def lying_lengths(stream: trio.SocketStream) -> None:
    """A frame that tells four gigabytes, and sends on."""
    await stream.send_all(HEAD)
    await _piece(stream, struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF))
    while True:
        await _piece(stream, BLOCK)


async def endless_frames(stream: trio.SocketStream) -> None:
    """Frames as large as they may be, with nothing in them that can be read."""
    await stream.send_all(HEAD)
    while True:
        await _piece(stream, struct.pack("<II", MOST_HEADER_BYTES, 1 << 20))
        for _ in range((MOST_HEADER_BYTES + (1 << 20)) // len(BLOCK)):
            await _piece(stream, BLOCK)


async def unknown_frames(stream: trio.SocketStream) -> None:
    """Frames of a kind that nobody knows, for ever: skipped one by one, and no sign of a peer."""
    header = b"\x81\xa1f\xa5later"
    await stream.send_all(HEAD)
    while True:
        await _piece(stream, struct.pack("<II", len(header), 1 << 20) + header + b"\0" * (1 << 20))


async def silence(stream: trio.SocketStream) -> None:
    """Takes the request, and says nothing."""
    await stream.send_all(b"")
    await trio.sleep_forever()


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """The URL of such a server."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await stream.receive_some(1 << 16)
                await answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()
