"""Answers without an end, and the node's own end: back-pressure, framing, drain."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mirrord.errors import TopicNotFound
from mirrord.web.message import ClientGone, Request, Response, ServerLimits, Stream, Writer
from mirrord.web.wire import Wire

LIVELY = ServerLimits(header_timeout_ms=40)
ASK = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
PIECE = b"z" * 16384


def streaming(write: Any) -> dict[str, Any]:
    async def handler(_: Request) -> Stream:
        return Stream(write, content_type=b"application/msgpack")

    return {"/stream": handler}


async def three(writer: Writer) -> None:
    await writer.send([b"one", b"two"])
    await writer.send([])
    await writer.send([b"x" * 20])


async def test_pieces_are_chunks_and_the_connection_goes_on(serving: Any) -> None:
    """Each send is one chunk, the end is told, nothing empty ends it early."""
    async with serving(streaming(three)) as site, site.client() as client:
        await client.send(ASK + ASK)
        for _ in range(2):
            assert b"\r\ntransfer-encoding: chunked\r\n" in await client.until(b"\r\n\r\n")
            assert await client.until(b"0\r\n\r\n") == b"6\r\nonetwo\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"


async def test_an_old_client_gets_it_without_chunks(serving: Any) -> None:
    """HTTP/1.0: the end of the connection is the end of the body."""
    async with serving(streaming(three)) as site:
        head, _, body = (await site.ask(b"GET /stream HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"onetwo" + b"x" * 20


async def test_head_of_a_stream_does_not_run_it(serving: Any) -> None:
    """Nothing is written for a client that wants no body."""

    async def never(_: Writer) -> None:
        raise AssertionError("HEAD must not write")

    async with serving(streaming(never)) as site, site.client() as client:
        await client.send(b"HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.until(b"\r\n\r\n")
        assert (await client.response())[1] == b"GET /? "


@pytest.mark.parametrize("error", [ZeroDivisionError, TopicNotFound])
async def test_a_broken_stream_is_visibly_cut(serving: Any, error: type[Exception]) -> None:
    """A fault or a named error in the middle never looks like a complete answer, nor like a second one."""

    async def breaks(writer: Writer) -> None:
        await writer.send([b"half"])
        raise error

    async with serving(streaming(breaks)) as site:
        came = await site.ask(ASK)
        assert came.endswith(b"4\r\nhalf\r\n")
        assert [type(note) for note in site.notes] == [error]


async def poured_until_blocked(serving: Any, low_latency: bool) -> int:
    """How much a writer gets rid of while its client reads nothing; afterwards the client reads some."""
    poured = 0
    unacknowledged = 0

    async def pour(writer: Writer) -> None:
        nonlocal poured, unacknowledged
        if low_latency:
            writer.low_latency(16384)
        while True:
            await writer.send([PIECE, PIECE])
            poured += 2 * len(PIECE)
            unacknowledged = max(unacknowledged, writer.unacknowledged())

    async with serving(streaming(pour)) as site, site.client() as client:
        await client.send(ASK)
        await client.until(b"\r\n\r\n")
        await wait_all_tasks_blocked(0.05)
        blocked_at = poured
        assert unacknowledged > 0
        while poured == blocked_at:
            await client.stream.receive_some(65536)
    return blocked_at


async def test_a_client_that_does_not_read_stops_its_writer(serving: Any) -> None:
    """Memory for it is what the kernel holds, and less still when the writer asked for low latency."""
    plain = await poured_until_blocked(serving, low_latency=False)
    assert 0 < plain < 32_000_000
    assert await poured_until_blocked(serving, low_latency=True) < plain / 2


async def test_a_writer_learns_that_its_client_is_gone(serving: Any) -> None:
    """By ClientGone if it sends, by being cancelled if it waits."""
    ends: list[str] = []
    done = trio.Event()

    async def pour(writer: Writer) -> None:
        try:
            while True:
                await writer.send([PIECE])
        except ClientGone:
            ends.append("gone")
            raise
        except trio.Cancelled:
            ends.append("cancelled")
            raise
        finally:
            done.set()

    async def wait(writer: Writer) -> None:
        await writer.send([b"a"])
        try:
            await trio.sleep_forever()
        finally:
            ends.append("waiter")
            done.set()

    for write in (pour, wait):
        done = trio.Event()
        async with serving(streaming(write), limits=LIVELY) as site:
            async with site.client() as client:
                await client.send(ASK)
                await client.until(b"\r\n\r\n")
            with trio.fail_after(10):
                await done.wait()
            assert site.notes == []
    assert ends[0] in ("gone", "cancelled")
    assert ends[1:] == ["waiter"]


async def test_drain_ends_everything_in_good_order(serving: Any) -> None:
    """Idle: closed at once. In flight: answered, with `close`. Streams: told. New: refused."""
    release = trio.Event()

    async def slow(_: Request) -> Response:
        await release.wait()
        return Response(200, b"done")

    async def stream(request: Request) -> Stream:
        async def write(writer: Writer) -> None:
            await writer.send([b"on"])
            await request.draining.wait()
            await writer.send([b"bye"])

        return Stream(write)

    async with serving({"/slow": slow, "/stream": stream}) as site, trio.open_nursery() as nursery:
        async with site.client() as idle, site.client() as busy, site.client() as streamed:
            await idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await idle.response()
            await busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await streamed.send(ASK)
            await streamed.until(b"2\r\non\r\n")
            nursery.start_soon(site.server.drain)
            assert await idle.rest() == b""
            assert await streamed.rest() == b"3\r\nbye\r\n0\r\n\r\n"
            with pytest.raises(OSError, match=r".*"):
                await trio.open_tcp_stream(*site.address)
            release.set()
            came = await busy.rest()
            assert b"\r\nconnection: close\r\n" in came
            assert came.endswith(b"done")
        assert site.server.statistics().connections == 0


async def test_a_request_that_came_in_part_is_still_answered_while_draining(serving: Any, until: Any) -> None:
    """Its client cannot know that the node stops."""
    async with serving() as site, site.client() as client, trio.open_nursery() as nursery:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        await until(lambda: site.server.statistics().bytes_in > 0)
        nursery.start_soon(site.server.drain)
        await wait_all_tasks_blocked()
        await client.send(b"cd")
        assert (await client.rest()).endswith(b"POST /? abcd")


async def test_drain_does_not_wait_for_ever(serving: Any, until: Any) -> None:
    """What does not end within drain_timeout_ms is cut."""

    async def stuck(_: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    limits = ServerLimits(drain_timeout_ms=50)
    async with serving({"/stuck": stuck}, limits=limits) as site, site.client() as client:
        await client.send(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.server.statistics().in_flight == 1)
        with trio.fail_after(10):
            await site.server.drain()
        assert await client.rest() == b""


def test_last_words_do_not_come_into_the_middle_of_something() -> None:
    """What the kernel did not take yet is owed first: whoever reads on must not find other bytes in its place."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        wire = Wire(ours, 1.0)
        assert not wire.offer([b"z" * (8 << 20)])
        came = theirs.recv(1 << 20)
        wire.send_now(b"goodbye")
        ours.shutdown(socket.SHUT_WR)
        while piece := theirs.recv(1 << 20):
            came += piece
    assert set(came) == set(b"z")
