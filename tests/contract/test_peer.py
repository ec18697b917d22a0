"""What every peer promises a link, held for the one over HTTP and for the simulator's; and HTTP servers that lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio

from mirrord.errors import FeedNotFound, MirrordError, PeerRefused, PeerUnreachable
from mirrord.links.peer import HttpPeer, Peer
from mirrord.testing.world.net import FakeNet
from mirrord.testing.world.stream import Stream

PATIENCE_S = 10.0
FRAMES = [b"first frame", b"x" * 70_000, b"last"]


class Source:
    """Both kinds of source behave as this says."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.changes: list[tuple[int, bytes]] = []
        self.unknown = False  # no feed of that number runs
        self.answers = self.has_power = True


class FakeHost(Source):
    """The simulator's end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._nursery = nursery

    def serve(self, request: bytes, stream: Stream) -> None:
        self.asked.append(request)
        self._nursery.start_soon(self._send, stream)

    async def _send(self, stream: Stream) -> None:
        for data in FRAMES:
            await stream.send(data)
        stream.end()

    async def change(self, feed_no: int, change: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.unknown:
            raise FeedNotFound("no such feed")
        self.changes.append((feed_no, change))


class HttpHost(Source):
    """A server of plain bytes on loopback."""

    async def serve(self, stream: trio.SocketStream) -> None:
        head, body = await _request(stream)
        path = head.split(b" ")[1].decode()
        if path == "/v0/feed":
            self.asked.append(body)
            await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
            for data in FRAMES:
                await stream.send_all(b"%x\r\n%s\r\n" % (len(data), data))
            await stream.send_all(b"0\r\n\r\n")
        elif self.unknown:
            await _answer(stream, 404, b'{"error":{"code":"feed_not_found","message":"no such feed"}}')
        else:
            self.changes.append((int(path.rpartition("/")[2]), body))
            await _answer(stream, 200, b'{"feed_no":7}')


async def _request(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(ln[15:]) for ln in head.lower().split(b"\r\n") if ln.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += await stream.receive_some()
    return head, body


async def _answer(stream: trio.SocketStream, status: int, body: bytes) -> None:
    head = b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    await stream.send_all(head + body)


@asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[HttpPeer]:
    """A peer at a server that does as the handler says; a caller that has gone is no fault of it."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await handler(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            peer = HttpPeer(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", 2.0)
            try:
                yield peer
            finally:
                await peer.aclose()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def http_pair() -> AsyncIterator[tuple[Peer, Source]]:
    host = HttpHost()
    async with listening(host.serve) as peer:
        yield peer, host


@asynccontextmanager
async def fake_pair() -> AsyncIterator[tuple[Peer, Source]]:
    async with trio.open_nursery() as nursery:
        host = FakeHost(nursery)
        net = FakeNet(("here", "there"), Random(1))
        net.hosts["there"] = host
        yield net.peer("here", "there"), host
        nursery.cancel_scope.cancel()


both = pytest.mark.parametrize("pair", [http_pair, fake_pair])
Pair = Any


@both
async def test_a_feed_brings_the_source_s_bytes_in_order(pair: Pair) -> None:
    """Cut anywhere, lost nowhere; and its end is an end or a named error, not silence."""
    async with pair() as (peer, source):
        found = b""
        async with peer.feed(b"the request") as stream:
            try:
                async for data in stream:
                    assert data
                    found += data
            except PeerUnreachable:
                pass
        assert found == b"".join(FRAMES)
        assert source.asked == [b"the request"]


@both
async def test_a_change_reaches_its_feed(pair: Pair) -> None:
    """By number, with its bytes."""
    async with pair() as (peer, source):
        await peer.change(7, b"the change")
        assert source.changes == [(7, b"the change")]


@both
async def test_a_change_of_a_feed_that_does_not_run_is_refused_by_name(pair: Pair) -> None:
    """Then the link opens another one."""
    async with pair() as (peer, source):
        source.unknown = True
        with pytest.raises(FeedNotFound):
            await peer.change(7, b"the change")


@pytest.mark.parametrize("kind", ["http", "fake"])
async def test_nobody_there_has_a_name(kind: str) -> None:
    """Unreachable, for feeds and for changes."""
    if kind == "fake":
        async with fake_pair() as (peer, source):
            source.answers = False
            await _expect_unreachable(peer)
    else:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        await listener.aclose()
        peer = HttpPeer(f"http://127.0.0.1:{port}", 2.0)
        await _expect_unreachable(peer)
        await peer.aclose()


async def _expect_unreachable(peer: Peer) -> None:
    with pytest.raises(PeerUnreachable):
        async with peer.feed(b"request"):
            pass
    with pytest.raises(PeerUnreachable):
        await peer.change(1, b"change")


# ---- servers that lie

REFUSAL = b'{"error":{"code":"%s","message":"no"}}'


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


ANSWERS: dict[str, tuple[bytes, type[MirrordError]]] = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", PeerUnreachable),
    "nothing": (b"", PeerUnreachable),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-", PeerUnreachable),
    "a page": (answer(404, b"<html>"), PeerUnreachable),
    "an empty 500": (answer(500, b""), PeerUnreachable),
    "a redirect": (b"HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", PeerUnreachable),
    "an error that is a list": (answer(400, b'{"error":[]}'), PeerUnreachable),
    "text that is none": (answer(400, b'{"error":"\xff"}'), PeerUnreachable),
    "nesting without end": (answer(400, b"[" * 60_000), PeerUnreachable),
    "a refusal": (answer(403, REFUSAL % b"forbidden"), PeerRefused),
    "draining": (answer(503, REFUSAL % b"shutting_down"), PeerUnreachable),
}


@pytest.mark.parametrize("case", list(ANSWERS))
async def test_answers_that_are_no_feed_have_a_name(case: str) -> None:
    """Whatever listens at the address, the link hears a named error, for feeds and for changes."""
    told, expected = ANSWERS[case]

    async def handler(stream: trio.SocketStream) -> None:
        await _request(stream)
        await stream.send_all(told)

    async with listening(handler) as peer:
        with pytest.raises(expected):
            async with peer.feed(b"request"):
                pass
        with pytest.raises(expected):
            await peer.change(1, b"change")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx leaves its own generators
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_an_end_is_cut(status: int) -> None:
    """A change's answer and a refusal are short: whoever sends for ever fills no memory and holds nobody up."""
    sent = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal sent
        await _request(stream)
        await stream.send_all(b"HTTP/1.1 %d X\r\ntransfer-encoding: chunked\r\n\r\n" % status)
        while sent < 1 << 28:
            await stream.send_all(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            sent += 65_536

    async with listening(handler) as peer:
        if status == 500:
            with pytest.raises(PeerUnreachable):
                async with peer.feed(b"request"):
                    pass
            with pytest.raises(PeerUnreachable):
                await peer.change(1, b"change")
        else:
            await peer.change(1, b"change")
    assert sent < 1 << 26


async def test_headers_without_an_end_are_cut() -> None:
    """A head has a bound."""

    async def handler(stream: trio.SocketStream) -> None:
        await _request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"x-%s: y\r\n" % (b"a" * 1000))

    async with listening(handler) as peer:
        with pytest.raises(PeerUnreachable):
            async with peer.feed(b"request"):
                pass


async def test_a_feed_that_breaks_off_has_a_name() -> None:
    """A cut line in the middle of a frame is an unreachable peer, wherever it is read."""

    async def handler(stream: trio.SocketStream) -> None:
        await _request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nabc")

    async def read(peer: HttpPeer) -> None:
        async with peer.feed(b"request") as stream:
            async for _ in stream:
                pass

    async with listening(handler) as peer:
        with pytest.raises(PeerUnreachable):
            await read(peer)
