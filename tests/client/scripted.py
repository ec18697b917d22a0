"""A node that answers what a case tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
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
            held = b""
            while True:
                try:
                    while b"\r\n\r\n" not in held or len(held.split(b"\r\n\r\n", 1)[1]) < _length(held):
                        held += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                body = held.split(b"\r\n\r\n", 1)[1]
                self.bodies.append(body)
                held = b""
                reply = self._replies.pop(0)
                if not reply.status:
                    return
                head = f"HTTP/1.1 {reply.status} X\r\ncontent-length: {len(reply.body)}\r\n{reply.headers}\r\n"
                await stream.send(head.encode() + reply.body)


def _length(held: bytes) -> int:
    for line in held.split(b"\r\n\r\n", 1)[0].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@asynccontextmanager
async def scripted(*replies: Reply) -> AsyncIterator[Scripted]:
    """Such a node, for the block."""
    node = Scripted(replies)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        node.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, node.serve)
        yield node
        tasks.cancel_scope.cancel()
