"""The bytes of one connection: a non-blocking socket, deadlines, and the outgoing side of one answer.

Plain sockets with ``trio.lowlevel`` waits instead of ``trio.SocketStream``: the common case, where the kernel
has the bytes or takes them at once, then costs one system call and no scheduling.
"""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from math import inf

import trio
from msgspec import Struct
from trio.lowlevel import wait_readable, wait_writable

from .message import (
    PLAIN,
    ClientGone,
    Dateline,
    Headers,
    Request,
    Response,
    Stream,
    may_have_body,
    plain_answer,
    response_head,
)

MOST_BUFFERS = 1000  # below IOV_MAX, which is 1024 on Linux
JOIN_BYTES = 16 * 1024
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""How the kernel, or OpenSSL in front of it, says that one has to wait."""


class Wire:
    """One accepted socket. Nothing here waits without ``deadline``, which the server's patrol enforces."""

    __slots__ = ("_rest", "bytes_in", "bytes_out", "deadline", "sock", "stall_s")

    def __init__(self, sock: socket.socket, stall_s: float) -> None:
        self.sock = sock
        self.stall_s = stall_s
        """A client that takes nothing for so long is gone."""
        self.deadline = inf
        """On trio's clock; whoever is past it is cancelled."""
        self.bytes_in = 0
        self.bytes_out = 0
        self._rest: deque[memoryview] = deque()
        """What the kernel did not take at once."""

    @property
    def certified(self) -> bool:
        """Whether the client proved by a certificate who it is; over a plain socket it cannot."""
        return False

    def receive_now(self, size: int) -> bytes | None:
        """What the kernel holds; nothing yet is None, the client's end is empty. Raises ClientGone."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientGone(str(error)) from error
        self.bytes_in += len(data)
        return data

    def readable(self) -> Awaitable[None]:
        """Wait until there is something to receive, an end included."""
        return wait_readable(self.sock)  # noqa: ASYNC105 -- the caller awaits it: a step less at each waking

    async def send(self, buffers: Sequence[bytes]) -> None:
        """Returns when the kernel took it all; no checkpoint if it did at once. Raises ClientGone."""
        if not self.offer(buffers):
            await self.drained()

    def offer(self, buffers: Sequence[bytes]) -> bool:
        """Send without waiting. False: the kernel did not take it all, and nothing else may be sent before ``drained``
        has returned. Raises ClientGone."""
        if len(buffers) == 1:
            return self.offer_one(buffers[0])
        total = sum(map(len, buffers))
        sent = self._send_some(buffers)
        self.bytes_out += total
        if sent == total:
            return True
        self._rest.extend(map(memoryview, buffers))
        self._took(sent)
        return False

    def offer_one(self, data: bytes) -> bool:
        """``offer`` of a single buffer."""
        self.bytes_out += len(data)
        try:
            sent = self.sock.send(data)
        except NOT_NOW:
            sent = 0
        except OSError as error:
            raise ClientGone(str(error)) from error
        if sent == len(data):
            return True
        self._rest.append(memoryview(data)[sent:])
        return False

    async def drained(self) -> None:
        """Returns when the kernel took what ``offer`` left; may be cancelled and called again. Raises ClientGone."""
        while self._rest:
            sent = self._send_some(list(islice(self._rest, MOST_BUFFERS)))
            self._took(sent)
            if not sent:
                self.deadline = trio.current_time() + self.stall_s
                try:
                    await wait_writable(self.sock)
                finally:
                    self.deadline = inf

    def _took(self, sent: int) -> None:
        rest = self._rest
        while rest and sent >= len(rest[0]):
            sent -= len(rest.popleft())
        if sent:
            rest[0] = rest[0][sent:]

    def send_now(self, data: bytes) -> None:
        """Last words: what the kernel takes at once, and no complaint about the rest. Nothing into the middle of what
        ``offer`` left."""
        if not self._rest:
            with suppress(OSError):
                self.bytes_out += self.sock.send(data)

    def _send_some(self, buffers: Sequence[bytes | memoryview]) -> int:
        try:
            return self.sock.sendmsg(buffers if len(buffers) <= MOST_BUFFERS else buffers[:MOST_BUFFERS])
        except NOT_NOW:
            return 0
        except OSError as error:
            raise ClientGone(str(error)) from error

    def unacknowledged(self) -> int:
        """Bytes in the kernel's hands that the client's machine has not acknowledged."""
        try:
            answer = fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError) as error:
            raise ClientGone(str(error)) from error
        return int(struct.unpack("i", answer)[0])

    def low_latency(self, unsent_bytes: int) -> None:
        """Let the kernel hold at most about so much unsent; more is refused until the line has taken some."""
        with suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)

    async def linger(self, seconds: float) -> None:
        """Say that nothing follows and read the client out: else its kernel may throw our last words away."""
        with trio.move_on_after(seconds), suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            while self.receive_now(1 << 16) != b"":
                await wait_readable(self.sock)

    def close(self) -> None:
        """Wake whoever waits on the socket, and give it back."""
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()


@lru_cache(maxsize=16)
def _chunk(piece: bytes) -> bytes:
    """A chunk of a body. Many connections send the same one: it is framed once."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Reply(Struct, eq=False):
    """The outgoing side of one request: decides the framing, once, and keeps to it. A Writer for streams."""

    wire: Wire
    request: Request
    dateline: Dateline
    close: bool
    """The connection ends behind this answer."""
    begun: bool = False
    _mute: bool = False
    """The answer ends with its head."""
    _chunked: bool = False
    _left: int | None = None
    """Bytes still owed to a content-length that was promised."""

    def offer(self, response: Response) -> bool:
        """Send a complete answer without waiting, in one system call. False: ``drained`` must come next. Raises
        ClientGone."""
        body, status = response.body, response.status
        if (
            isinstance(body, bytes)
            and len(body) < JOIN_BYTES
            and status in PLAIN
            and not (response.headers or self.close)
            and self.request.method != "HEAD"
        ):
            self.begun = True
            return self.wire.offer_one(plain_answer(status, response.content_type, self.dateline.text, body))
        buffers = self._encode(response)
        self.begun = True
        return self.wire.offer(buffers)

    async def whole(self, response: Response) -> None:
        """Send a complete answer. Raises ClientGone."""
        if not self.offer(response):
            await self.wire.drained()

    async def stream(self, stream: Stream) -> None:
        """Send an answer whose length nobody knows. Raises ClientGone, and what its writer raises."""
        await self.begin(stream.status, stream.content_type, stream.headers)
        if not self._mute:
            await stream.write(self)
        await self.finish()

    def last_words(self, response: Response) -> None:
        """Send what the kernel takes at once of a small answer, and no more after it."""
        self.close = True
        self.wire.send_now(b"".join(self._encode(response)))

    def _encode(self, response: Response) -> list[bytes]:
        body = response.body
        length = len(body) if isinstance(body, bytes) else sum(map(len, body))
        head = self._head(response.status, response.content_type, response.headers, length)
        if self._mute:
            return [head]
        if isinstance(body, bytes):
            return [head + body] if length < JOIN_BYTES else [head, body]
        return [b"".join([head, *body])] if length < JOIN_BYTES else [head, *body]

    def _head(self, status: int, content_type: bytes, headers: Headers, length: int | None) -> bytes:
        """``length`` None: chunked, or over HTTP/1.0, which knows no chunks, to the end of the connection."""
        self._mute = self.request.method == "HEAD" or not may_have_body(status)
        if not may_have_body(status):
            framing = b""
        elif length is not None:
            framing = b"content-length: %d\r\n" % length
        else:
            self._chunked = self.request.http_1_1
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        return response_head(status, content_type, headers, framing, self.dateline.text, self.close)

    async def begin(self, status: int, content_type: bytes, headers: Headers, length: int | None = None) -> None:
        """Send the head; the body follows in pieces. ``length`` if it is known. Raises ClientGone."""
        head = self._head(status, content_type, headers, length)
        self._left = length
        self.begun = True
        await self.wire.send([head])

    async def send(self, buffers: Sequence[bytes]) -> None:
        """Send a piece of the body; always a checkpoint, so that a fast client does not starve others.

        Raises ClientGone; ValueError when more comes than was promised.
        """
        length = sum(map(len, buffers))
        if self._left is not None and not self._mute:
            if length > self._left:
                raise ValueError("the body is longer than its content-length")
            self._left -= length
        if length and not self._mute:
            framed = [b"%x\r\n" % length, *buffers, b"\r\n"] if self._chunked else buffers
            await self.wire.send(framed)
        await trio.lowlevel.checkpoint()

    def send_now(self, buffers: Sequence[bytes]) -> bool:
        """See ``Writer``."""
        if self._mute:
            return True
        if not self._chunked:
            return self.wire.offer(buffers)
        length = sum(map(len, buffers))
        if length >= JOIN_BYTES:
            return self.wire.offer([b"%x\r\n" % length, *buffers, b"\r\n"])
        if len(buffers) == 1:
            return self.wire.offer_one(_chunk(buffers[0]))
        return self.wire.offer_one(b"%x\r\n%b\r\n" % (length, b"".join(buffers)))

    async def drained(self) -> None:
        """See ``Writer``."""
        await self.wire.drained()

    async def finish(self) -> None:
        """Say that the body is complete. Raises ClientGone; ValueError when less came than was promised."""
        if self._left and not self._mute:
            raise ValueError("the body is shorter than its content-length")
        if self._chunked and not self._mute:
            await self.wire.send([b"0\r\n\r\n"])

    def unacknowledged(self) -> int:
        """See ``Writer``."""
        return self.wire.unacknowledged()

    def low_latency(self, unsent_bytes: int) -> None:
        """See ``Writer``."""
        self.wire.low_latency(unsent_bytes)
