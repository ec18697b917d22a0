"""How long a client may be silent, as the server's patrol sees it. The time is what the patrol is told: none passes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.abc import Instrument
from trio.testing import wait_all_tasks_blocked

from mirrord.clock import SystemClock
from mirrord.web.connection import Connection, Service
from mirrord.web.errors import answer
from mirrord.web.heads import KnownHeads
from mirrord.web.message import Dateline, Request, Response, ServerLimits, Tally

LIMITS = ServerLimits(header_timeout_ms=10_000, body_timeout_ms=30_000, keep_alive_timeout_ms=75_000)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"


class Guarded:
    """A connection whose patrol is the test; it ends by itself or with the case."""

    def __init__(self, nursery: trio.Nursery) -> None:
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.release, self._nursery, self.ended = trio.Event(), nursery, False
        tally, self.draining = Tally(), trio.Event()
        self.connection = Connection(ours, None, Service(
            _no_app, lambda _: self._handle, LIMITS, answer, self.draining, Dateline(SystemClock()), tally,
            KnownHeads(lambda _: self._handle),
        ))  # fmt: skip

    async def _handle(self, request: Request) -> Response:
        if request.method == "GET":
            await self.release.wait()
        return Response(200, b"done")

    async def live(self) -> None:
        try:
            await self.connection.live()
        finally:
            self.ended = True
            self.connection.close()

    async def lives_at(self, now: float, *sent: bytes) -> bool:
        """Whether it lives on after the patrol at ``now``, before which the client has sent this."""
        for data in sent:
            self.client.sendall(data)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        self.connection.patrol(now, self._nursery)
        await wait_all_tasks_blocked()
        return not self.ended


async def _no_app(*_: object) -> None:
    raise AssertionError("nothing here is for the application")


@asynccontextmanager
async def guarded() -> AsyncIterator[Guarded]:
    """A connection on which nothing has been said yet."""
    async with trio.open_nursery() as nursery:
        found = Guarded(nursery)
        with found.client:
            nursery.start_soon(found.live)
            await wait_all_tasks_blocked()
            yield found
            nursery.cancel_scope.cancel()


async def test_an_idle_client_has_until_the_keep_alive_ends() -> None:
    """Before its first request, and anew behind each answer, whatever its handler took."""
    async with guarded() as fresh:
        assert await fresh.lives_at(0)
        assert await fresh.lives_at(74.9)
        assert not await fresh.lives_at(75.1)
    async with guarded() as served:
        assert await served.lives_at(0, GET)
        assert await served.lives_at(1000)
        served.release.set()
        assert await served.lives_at(1001)
        assert await served.lives_at(1075)
        assert not await served.lives_at(1076.1)
        assert served.client.recv(1 << 16).endswith(b"done")  # and not a word behind it


async def test_bytes_of_a_head_earn_no_patience() -> None:
    """From its first byte a head has ten seconds, and so has the next one: a known head is no exception."""
    async with guarded() as slow:
        assert await slow.lives_at(70, GET[:5])
        assert await slow.lives_at(79.9, GET[5:9], GET[9:12])
        assert not await slow.lives_at(80.1, GET[12:14])
        assert slow.client.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
    async with guarded() as quick:
        quick.release.set()
        assert await quick.lives_at(0, GET[:5])
        assert await quick.lives_at(9, GET[5:], GET, GET, GET[:5])
        assert await quick.lives_at(18.9)
        assert not await quick.lives_at(19.1)


async def test_a_body_that_goes_on_earns_patience() -> None:
    """16 KiB of it, and no less."""
    async with guarded() as sending:
        assert await sending.lives_at(0, POST)
        assert await sending.lives_at(29, b"x" * 20_000)
        assert await sending.lives_at(58.9, b"x" * 100)
        assert not await sending.lives_at(59.1)
        assert sending.client.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


async def test_what_is_coming_in_while_the_node_stops_is_the_last() -> None:
    """Its answer says so, and the connection ends behind it; an idle one ends at once."""
    async with guarded() as half, guarded() as idle:
        await half.lives_at(0, POST)
        half.connection.dismiss()
        idle.connection.dismiss()
        assert not await idle.lives_at(0)
        assert not await half.lives_at(0, b"x" * 100_000)
        assert b"\r\nconnection: close\r\n" in half.client.recv(1 << 16)


async def test_who_is_told_to_go_begins_nothing() -> None:
    """A request that comes in that very moment is not begun and then cancelled: its client knows that it may repeat."""

    class AsItWakes(Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith("Guarded.live"):
                late.connection.dismiss()

    async with guarded() as late:
        trio.lowlevel.add_instrument(waking := AsItWakes())
        late.client.sendall(GET)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(waking)
        assert (late.ended, late.connection.begun) == (True, 0)


async def test_the_end_of_a_request_is_nobodys_head() -> None:
    """What completes a request that came in two pieces is not remembered for it."""
    begin, end = b"POST / HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 2\r\n\r\nhi"
    async with guarded() as halved:
        assert await halved.lives_at(0, begin, end)
        assert halved.client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert not await halved.lives_at(0, end)
        assert halved.client.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
