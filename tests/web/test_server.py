"""The server over real sockets: order, limits, deadlines, faults."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mirrord.errors import AddressInUse, ConfigError, MirrordError
from mirrord.web.message import Request, Response, ServerLimits
from mirrord.web.server import open_listeners

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
# A patrol every ten milliseconds, and nothing else that is short.
LIVELY = ServerLimits(header_timeout_ms=40)


async def test_pipelined_requests_are_answered_in_order(site: Any) -> None:
    """A client may send many requests at once."""
    async with site.client() as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(500)))
        for number in range(500):
            assert (await client.response())[1] == b"GET /%d? " % number


async def test_a_request_may_come_byte_by_byte(site: Any) -> None:
    """And the connection goes on behind it."""
    async with site.client() as client:
        for byte in b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
            await client.send(bytes([byte]))
        assert (await client.response())[1] == b"POST /p? abc"
        await client.send(GET)
        assert (await client.response())[1] == b"GET /a?b=c "


async def test_an_answer_names_server_date_and_length(site: Any) -> None:
    """What HTTP asks of every answer."""
    async with site.client() as client:
        await client.send(GET)
        head, _ = await client.response()
    assert head.startswith(b"HTTP/1.1 200 OK\r\nserver: mirrord\r\ndate: ")
    assert b" GMT\r\ncontent-type: text/plain\r\ncontent-length: 11\r\n\r\n" in head


async def test_head_has_no_body_and_the_connection_goes_on(site: Any) -> None:
    """The length is told as if."""
    async with site.client() as client:
        await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"content-length: 9\r\n" in await client.until(b"\r\n\r\n")
        await client.send(GET)
        assert (await client.response())[1] == b"GET /a?b=c "


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"])
async def test_close_is_honoured(site: Any, head: bytes) -> None:
    """The answer says so, and the connection ends behind it; what follows is not read."""
    async with site.client() as client:
        await client.send(head)
        came = await client.rest()
    assert b"\r\nconnection: close\r\n" in came
    assert came.endswith(b"GET /? ")


async def test_no_body_goes_with_a_status_that_has_none(serving: Any) -> None:
    """204 ends with its head, whatever the handler gave."""

    async def nothing(_: Request) -> Response:
        return Response(204, b"not to be sent")

    async with serving({"/nothing": nothing}) as site, site.client() as client:
        await client.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert b"content-length" not in await client.until(b"\r\n\r\n")
        assert (await client.response())[1] == b"GET /a?b=c "


async def test_a_body_of_very_many_pieces_arrives_whole(serving: Any) -> None:
    """More buffers than one system call takes, more bytes than the kernel holds."""
    pieces = [b"%07d," % number for number in range(60_000)]

    async def long(_: Request) -> Response:
        return Response(200, pieces)

    async with serving({"/long": long}) as site, site.client() as client:
        await client.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.response())[1] == b"".join(pieces)


async def test_large_bodies_one_behind_the_other_arrive_whole(site: Any) -> None:
    """Their connection reads more at once from then on, and less again when they end; nothing is lost in between."""
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    async with site.client() as client:
        for body in (b"a" * 100_000, b"b" * 100_000, b"c", b"d" * 100_000, b"e" * 700_000, b"f" * 100_000, b"g"):
            await client.send(head % len(body) + body)
            assert (await client.response())[1] == b"POST /p? " + body


async def test_a_waiting_client_is_told_to_go_on(site: Any) -> None:
    """Expect: 100-continue."""
    async with site.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await client.response())[1] == b"POST /? hi"


async def test_a_named_error_is_its_answer(site: Any) -> None:
    """Status and code come from its class, the rest from who raised it; the connection goes on."""
    async with site.client() as client:
        await client.send(b"GET /missing HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        head, body = await client.response()
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        error = b'{"code":"topic_not_found","message":"no such topic: t","detail":{"topic":"t"}}'
        assert body == b'{"error":' + error + b"}"
        assert (await client.response())[1] == b"GET /a?b=c "


async def test_a_fault_costs_its_connection_only(site: Any) -> None:
    """It is answered without a word of the inside, told to the log, and others do not notice."""
    async with site.client() as other:
        came = await site.ask(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert came.startswith(b"HTTP/1.1 500 ")
        assert came.count(b"HTTP/1.1") == 1
        assert b'"code":"internal"' in came
        assert b"ours" not in came
        assert [type(note) for note in site.notes] == [ZeroDivisionError]
        await other.send(GET)
        assert (await other.response())[1] == b"GET /a?b=c "


async def test_a_client_that_stays_after_a_fault_is_not_listened_to_twice(serving: Any) -> None:
    """Its last words are given a moment to arrive; patrols that come by meanwhile leave it alone."""
    async with serving(limits=LIVELY) as site, site.client() as client:
        await client.send(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.response())[0].startswith(b"HTTP/1.1 500 ")
        await wait_all_tasks_blocked(0.004)
        for _ in range(5):
            await site.ask(GET)
            await wait_all_tasks_blocked(0.008)
        assert [type(note) for note in site.notes] == [ZeroDivisionError]


async def test_a_header_with_a_line_break_is_never_sent(serving: Any) -> None:
    """A handler cannot be made to split its answer."""

    async def split(_: Request) -> Response:
        return Response(200, b"", headers=((b"x", b"1\r\nset-cookie: y"),))

    async with serving({"/split": split}) as site:
        assert (await site.ask(b"GET /split HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 500 ")


REFUSED = {
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", b"invalid_request"),
    "both framings": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + GET,
        b"400",
        b"invalid_request",
    ),
    "long header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, b"431", b"headers_too_large"),
    "large body, not even sent": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"413",
        b"payload_too_large",
    ),
}


@pytest.mark.parametrize(("data", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_refusal_is_named_and_closes(site: Any, data: bytes, status: bytes, code: bytes) -> None:
    """The client learns why, once, and nothing behind it is read as a request."""
    async with site.client() as client:
        await client.send(data)
        came = await client.rest()
    assert came.startswith(b"HTTP/1.1 " + status)
    assert came.count(b"server: mirrord") == 1
    assert b'"code":"' + code + b'"' in came
    assert b"\r\nconnection: close\r\n" in came
    assert site.server.statistics().rejected == {code.decode(): 1}


async def test_a_refusal_arrives_although_the_client_still_sends(site: Any) -> None:
    """Closing at once would make the client's kernel throw the answer away."""
    async with site.client() as client, trio.open_nursery() as nursery:

        async def pour() -> None:
            while True:
                await client.send(b"z" * 65536)

        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        nursery.start_soon(pour)
        assert (await client.rest()).startswith(b"HTTP/1.1 413 ")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"],
    ids=["header", "body"],
)
@pytest.mark.parametrize("dribbles", [False, True])
async def test_a_slow_request_is_ended(serving: Any, start: bytes, dribbles: bool) -> None:
    """Slow loris: neither silence nor a byte now and then keeps a connection; 408 says why."""
    limits = ServerLimits(header_timeout_ms=80, body_timeout_ms=80, max_header_bytes=10_000_000)
    async with serving(limits=limits) as site, site.client() as client, trio.open_nursery() as nursery:

        async def dribble() -> None:
            while dribbles:
                await client.send(b"y")
                await wait_all_tasks_blocked(0.001)

        await client.send(start)
        nursery.start_soon(dribble)
        assert (await client.until(b"}}")).startswith(b"HTTP/1.1 408 ")
        nursery.cancel_scope.cancel()


async def test_an_idle_connection_is_closed_without_a_word(serving: Any) -> None:
    """Before the first request (line ends are none) and between two."""
    async with serving(limits=ServerLimits(keep_alive_timeout_ms=60)) as site:
        async with site.client() as client:
            await client.send(b"\r\n")
            assert await client.rest() == b""
        async with site.client() as client:
            await client.send(GET)
            await client.response()
            assert await client.rest() == b""
        assert site.server.statistics().rejected == {}


async def test_a_client_that_does_not_take_its_answer_is_given_up(serving: Any, until: Any) -> None:
    """An answer nobody reads does not hold its memory for ever."""

    async def large(_: Request) -> Response:
        return Response(200, b"z" * 50_000_000)

    limits = ServerLimits(body_timeout_ms=80)
    async with serving({"/large": large}, limits=limits) as site, site.client() as client:
        await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.server.statistics().requests == 1)
        await until(lambda: site.server.statistics().connections == 0)


async def test_connections_are_bounded(serving: Any, until: Any) -> None:
    """One more than allowed is told so and asked to come back; when one ends, there is room again."""
    async with serving(limits=ServerLimits(max_connections=1)) as site:
        async with site.client() as first:
            await first.send(GET)
            await first.response()
            came = await site.ask(b"")
            assert came.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in came
        await until(lambda: site.server.statistics().connections == 0)
        assert b"200 OK" in await site.ask(GET)


async def test_a_long_wait_ends_when_its_client_hangs_up(serving: Any) -> None:
    """Nobody works for nobody."""
    begun, ended = trio.Event(), trio.Event()

    async def wait(_: Request) -> Response:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving({"/wait": wait}, limits=LIVELY) as site:
        async with site.client() as client:
            await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.wait()
        with trio.fail_after(10):
            await ended.wait()
        assert site.notes == []


async def test_reading_ahead_of_a_busy_handler_is_bounded_and_in_order(serving: Any, until: Any) -> None:
    """What came while a handler was busy is answered after it; the rest stays with the client."""
    release = trio.Event()

    async def wait(_: Request) -> Response:
        await release.wait()
        return Response(200, b"waited")

    async with serving({"/wait": wait}, limits=LIVELY) as site, site.client() as client:
        second = b"POST /next HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, second + b"z" * 3_000_000)
            await until(lambda: site.server.statistics().bytes_in > 64 * 1024)
            await wait_all_tasks_blocked(0.004)
            assert site.server.statistics().bytes_in < 100_000
            release.set()
        assert (await client.response())[1] == b"waited"
        assert len((await client.response())[1]) == len(b"POST /next? ") + 3_000_000


async def test_garbage_never_hurts_the_server(site: Any) -> None:
    """A hundred clients with random bytes, with and without a head; then business as usual."""
    rng = random.Random(7)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(50):
        noise = rng.randbytes(rng.randrange(1, 400))
        assert (await site.ask(noise))[:8] in (b"", b"HTTP/1.1")
        await site.ask(head + noise)
    assert b"200 OK" in await site.ask(GET)
    assert site.notes == []


async def test_statistics_count(site: Any, until: Any) -> None:
    """Numbers that can be pulled at any time, open connections included."""
    async with site.client() as client:
        await client.send(GET)
        head, body = await client.response()
        told = site.server.statistics()
        assert (told.connections, told.accepted, told.requests, told.in_flight) == (1, 1, 1, 0)
        assert (told.bytes_in, told.bytes_out) == (len(GET), len(head + body))
    await until(lambda: site.server.statistics().connections == 0)
    assert site.server.statistics().bytes_in == len(GET)


def test_a_taken_address_is_named() -> None:
    """Two daemons on one port: the second says which, and leaves nothing open."""
    (first,) = open_listeners("127.0.0.1:0")
    with first, pytest.raises(AddressInUse, match=str(first.getsockname()[1])):
        open_listeners(f"127.0.0.1:{first.getsockname()[1]}")


@pytest.mark.parametrize(
    "listen", ["4000", "a:b", "::1:4000", "[::1]4000", "a:65536", "a:-1", "192.0.2.1:0", "no.such.invalid:1"]
)
def test_an_impossible_address_is_a_configuration_error(listen: str) -> None:
    """The message shows what was written."""
    with pytest.raises(ConfigError) as caught:
        open_listeners(listen)
    assert listen in str(caught.value)


def test_all_addresses_of_a_name_share_a_free_port() -> None:
    """`:0` listens everywhere on one port; brackets mean IPv6."""
    listeners = open_listeners(":0")
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    for listener in listeners:
        listener.close()
    if socket.has_ipv6 and any(listener.family == socket.AF_INET6 for listener in listeners):
        (only,) = open_listeners("[::1]:0")
        assert only.getsockname()[0] == "::1"
        only.close()


def test_every_named_error_has_an_answer() -> None:
    """One shape for all, with a status that HTTP knows."""
    from msgspec import json

    from mirrord.errors import PeerRefused, every_error
    from mirrord.web.errors import answer

    for code, cls in every_error().items():
        error = cls("another_cluster") if cls is PeerRefused else cls()
        response = answer(error)
        assert 400 <= response.status < 600
        assert json.decode(response.body)["error"]["code"] == code  # type: ignore[arg-type]
    assert dict(answer(MirrordError("m", retry_after_s=0.2)).headers) == {b"retry-after": b"1"}
