"""A node that answers what a case tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from msgspec import Struct

KEPT = b'{"topic":"t","first_seq":1,"last_seq":1,"head_seq":1,"count":1,"created":true,"deduped":false}'


class Reply(Struct, frozen=True):
    """One answer. ``status`` 0: the connection ends without one."""

    status: int = 200
    body: bytes = KEPT
    headers: str = ""


def fault(status: int, code: str, headers: str = "") -> Reply:
    """An error as a node tells it."""
    return Reply(status, b'{"error":{"code":"%s","message":"as the case wants it"}}' % code.encode(), headers)


class Scripted:
    """Where it listens, and the bodies of the requests so far."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self._replies = list(replies)

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        """One connection, one request after the other."""
        async with stream:
            while message := await _message(stream):
                self.bodies.append(message.split(b"\r\n\r\n", 1)[1])
                reply = self._replies.pop(0)
                if not reply.status:
                    return
                head = f"HTTP/1.1 {reply.status} X\r\ncontent-length: {len(reply.body)}\r\n{reply.headers}\r\n"
                await stream.send(head.encode() + reply.body)


async def _message(stream: anyio.abc.SocketStream) -> bytes:
    """One request or answer, whole; nothing at the end of the connection."""
    held = b""
    try:
        while b"\r\n\r\n" not in held or len(held.split(b"\r\n\r\n", 1)[1]) < _length(held):
            held += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return b""
    return held


def _length(held: bytes) -> int:
    for line in held.split(b"\r\n\r\n", 1)[0].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@asynccontextmanager
async def scripted(*replies: Reply) -> AsyncIterator[Scripted]:
    """Such a node, for the block."""
    node = Scripted(replies)
    async with listening(node.serve) as node.url:
        yield node


@asynccontextmanager
async def lossy(url: str, loses: Callable[[], bool]) -> AsyncIterator[str]:
    """A line to a real node on which some answers are lost, after the node has done what was asked."""
    host, _, port = url.removeprefix("http://").partition(":")

    async def carry(stream: anyio.abc.SocketStream) -> None:
        async with stream, await anyio.connect_tcp(host, int(port)) as node:
            while message := await _message(stream):
                await node.send(message)
                answer = await _message(node)
                if loses():
                    return
                await stream.send(answer)

    async with listening(carry) as address:
        yield address


@asynccontextmanager
async def listening(serve: Callable[[anyio.abc.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Every connection is served so, for the block; where."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()
