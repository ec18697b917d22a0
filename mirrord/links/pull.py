"""One endless answer over HTTP/1.1, received with as little as possible between the socket and its reader.

The client library of the rest of the tree costs half of a puller's time on a long feed (docs/decisions/0013); here
httptools takes the chunked framing off in C and whoever reads gets large pieces.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import httptools
import trio

from ..errors import PeerUnreachable
from ..reasons import reason_of

RECEIVE_BYTES = 1 << 18
MOST_HEAD_BYTES = 64 << 10
SEND_WITHIN_S = 60.0
SHORT_LINE_US = 2000  # the shortest round trip over a line that needs no large window, microseconds
SHORT_LINE_BYTES = 256 << 10  # the kernel takes twice as much for its own needs
TCP_INFO_BYTES, LEAST_RTT_AT, LEAST_RTT = 152, 148, struct.Struct("=I")  # linux/tcp.h: struct tcp_info, tcpi_min_rtt
UNKNOWN_US = (1 << 32) - 1  # the kernel did not look
PORTS = {"http": 80, "https": 443}


class Answer:
    """What httptools tells of the peer's answer. ``pieces`` of the body wait here to be taken."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.status = 0
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError for what is no answer."""
        self._parser.feed_data(data)

    def take(self) -> bytes:
        """The body that came since the last time."""
        pieces, self.pieces = self.pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # Called by httptools.

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self.status = status if status >= 200 else 0  # what is below comes before the answer

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = self.status != 0


class Pull:
    """A POST whose answer is read piece by piece. Everything that goes wrong is PeerUnreachable."""

    def __init__(self, url: str, connect_timeout_s: float, trust: ssl.SSLContext | None) -> None:
        """``url`` with its path; ``trust`` says whose certificates are believed, None: those of the system."""
        parts = urlsplit(url)
        self._url, self._secure = url, parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 80)
        self._path, self._authority = parts.path or "/", parts.netloc.rpartition("@")[2]
        self._connect_timeout_s, self._trust = connect_timeout_s, trust
        self._answer = Answer()

    async def open(self, body: bytes, headers: Mapping[str, str]) -> trio.abc.ReceiveStream:
        """Connect and send; what comes back is the caller's to receive and to close."""
        try:
            with trio.fail_after(self._connect_timeout_s):
                stream = await self._connect()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError) as error:
            raise self._unreachable(error) from error
        sent = False
        try:
            with trio.fail_after(SEND_WITHIN_S):
                await stream.send_all(self._head(len(body), headers) + body)
            sent = True
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise self._unreachable(error) from error
        finally:
            if not sent:
                await trio.aclose_forcefully(stream)
        return PlainStream(stream) if isinstance(stream, trio.SocketStream) else stream

    async def _connect(self) -> trio.abc.Stream:
        plain = await trio.open_tcp_stream(self._host, self._port)
        if not self._secure:
            return plain
        trust = self._trust or ssl.create_default_context()
        secure = trio.SSLStream(plain, trust, server_hostname=self._host, https_compatible=True)
        greeted = False
        try:
            await secure.do_handshake()
            greeted = True
        finally:
            if not greeted:
                await trio.aclose_forcefully(secure)
        return secure

    def _head(self, length: int, headers: Mapping[str, str]) -> bytes:
        lines = [f"POST {self._path} HTTP/1.1", f"host: {self._authority}", f"content-length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def status(self, stream: trio.abc.ReceiveStream) -> int:
        """Wait for the head of the answer."""
        seen = 0
        while not self._answer.status:
            seen += len(data := await self._receive(stream))
            if not self._answer.status and (not data or seen > MOST_HEAD_BYTES):
                raise PeerUnreachable(f"{self._url}: the peer closed the connection without an answer")
        if isinstance(stream, PlainStream):
            stream.keep_short()
        return self._answer.status

    async def body(self, stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
        """The pieces of the answer, as they come. Ends with it."""
        while True:
            if self._answer.pieces:
                yield self._answer.take()
            if self._answer.complete:
                return
            if not await self._receive(stream):
                raise PeerUnreachable(f"{self._url}: the peer closed the connection in the middle of an answer")

    async def _receive(self, stream: trio.abc.ReceiveStream) -> bytes:
        try:
            data = bytes(await stream.receive_some(RECEIVE_BYTES))
            if data:
                self._answer.feed(data)
        except (trio.BrokenResourceError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise self._unreachable(error) from error
        return data

    def _unreachable(self, error: BaseException) -> PeerUnreachable:
        return PeerUnreachable(f"{self._url}: {reason_of(error)}")


class PlainStream(trio.abc.ReceiveStream):
    """What comes over a plain socket, without asking the kernel in vain before waiting, as trio's own does: a record
    that comes alone would pay for it. One task receives, and closes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        """Takes the socket out of ``stream``, which is of no use any more."""
        self.socket = socket.socket(fileno=stream.socket.detach())
        self.socket.setblocking(False)

    def keep_short(self) -> None:
        """Over a short line a large window brings no speed, and a record of another topic waits behind all that lies in
        it. Over a long one the kernel finds by itself what it needs."""
        if _least_rtt_us(self.socket) <= SHORT_LINE_US:
            with suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SHORT_LINE_BYTES)

    @property
    def room_bytes(self) -> int:
        """What the kernel may hold for us, its own needs included."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Empty at the end. Raises trio.BrokenResourceError."""
        while True:
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return self.socket.recv(max_bytes or RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def aclose(self) -> None:
        """At once."""
        self.socket.close()
        await trio.lowlevel.checkpoint()


def round_trip_s(stream: trio.abc.ReceiveStream) -> float:
    """The shortest over the line of what ``open`` returned, as the kernel saw it: neither the peer nor what is in the
    way of its answers counts. 0.0 when it did not look."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    least_us = _least_rtt_us(stream.socket) if isinstance(stream, PlainStream | trio.SocketStream) else UNKNOWN_US
    return least_us / 1e6 if least_us < UNKNOWN_US else 0.0


def _least_rtt_us(line: socket.socket | trio.socket.SocketType) -> int:
    try:
        told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        return int(LEAST_RTT.unpack_from(told, LEAST_RTT_AT)[0])
    except (OSError, struct.error):
        return UNKNOWN_US
