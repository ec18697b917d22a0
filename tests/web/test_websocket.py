"""WebSockets through a Starlette application, with wsproto as the client."""

from __future__ import annotations

import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from mirrord.web.message import ServerLimits

codes: list[int] = []


async def echo(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol=offered[0] if offered else None)
    while True:
        event = await socket.receive()
        if event["type"] == "websocket.disconnect":
            codes.append(event["code"])
            return
        await socket.send({**event, "type": "websocket.send"})


async def refuses(socket: WebSocket) -> None:
    await socket.close()


async def breaks(socket: WebSocket) -> None:
    await socket.accept()
    raise ZeroDivisionError


async def pours(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_bytes(b"z" * 10_000)
    except WebSocketDisconnect as end:
        codes.append(end.code)


APP = Starlette(
    routes=[
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/refuses", refuses),
        WebSocketRoute("/breaks", breaks),
        WebSocketRoute("/pours", pours),
    ]
)


class Peer:
    """wsproto over one client of the site."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    async def send(self, event: Event) -> None:
        await self.client.send(self.ws.send(event))

    async def event(self) -> Event:
        while not self._events:
            with trio.fail_after(10):
                data = await self.client.stream.receive_some(65536)
            self.ws.receive_data(data or None)
            self._events.extend(self.ws.events())
        return self._events.pop(0)

    async def message(self) -> Any:
        """The next whole message's data."""
        parts: list[Any] = []
        while True:
            part = await self.event()
            assert isinstance(part, Message)
            parts.append(part.data)
            if part.message_finished:
                return type(part.data)().join(parts)


async def opened(client: Any, path: str = "/echo", subprotocols: tuple[str, ...] = ()) -> tuple[Peer, Event]:
    peer = Peer(client)
    await peer.send(Request(host="x", target=path, subprotocols=list(subprotocols)))
    return peer, await peer.event()


async def test_messages_come_back(serving: Any) -> None:
    """Text and bytes, small and long, split into frames; pings are answered; the subprotocol is agreed."""
    async with serving(app=APP) as site, site.client() as client:
        peer, answer = await opened(client, subprotocols=("v0", "other"))
        assert isinstance(answer, AcceptConnection)
        assert answer.subprotocol == "v0"
        await peer.send(TextMessage("hä"))
        assert await peer.message() == "hä"
        await peer.send(BytesMessage(b"a" * 100_000, message_finished=False))
        await peer.send(Ping(b"now"))
        assert await peer.event() == Pong(b"now")
        await peer.send(BytesMessage(b"b"))
        assert await peer.message() == b"a" * 100_000 + b"b"


async def test_a_frame_may_come_with_the_handshake(serving: Any) -> None:
    """What stands behind the handshake in the same packet is not lost."""
    async with serving(app=APP) as site, site.client() as client:
        peer = Peer(client)
        hello = peer.ws.send(Request(host="x", target="/echo"))
        # A masked text frame "hi", with a mask of zeros.
        await client.send(hello + b"\x81\x82\0\0\0\0hi")
        assert isinstance(await peer.event(), AcceptConnection)
        assert await peer.message() == "hi"


async def test_both_sides_can_close(serving: Any) -> None:
    """The application learns the client's code; the connection ends."""
    codes.clear()
    async with serving(app=APP) as site, site.client() as client:
        peer, _ = await opened(client)
        await peer.send(CloseConnection(1000))
        assert await peer.event() == CloseConnection(1000, "")
        assert await client.rest() == b""
        assert codes == [1000]
        assert site.notes == []


async def test_a_lost_client_is_noticed(serving: Any, until: Any) -> None:
    """Without a close frame the code is 1006."""
    codes.clear()
    async with serving(app=APP) as site:
        async with site.client() as client:
            await opened(client)
        await until(lambda: site.server.statistics().connections == 0)
        assert codes == [1006]


async def test_a_silent_client_is_pinged_and_then_given_up(serving: Any) -> None:
    """Nothing waits without a deadline."""
    codes.clear()
    limits = ServerLimits(keep_alive_timeout_ms=50)
    async with serving(app=APP, limits=limits) as site, site.client() as client:
        peer, _ = await opened(client)
        heard = [await peer.event()]
        while isinstance(heard[-1], Ping):
            heard.append(await peer.event())
        assert len(heard) > 2
        assert isinstance(heard[-1], CloseConnection)
        assert codes == [1006]


async def test_a_message_too_big_is_refused(serving: Any) -> None:
    """Memory for one message is bounded, in however many frames it comes."""
    async with serving(app=APP, limits=ServerLimits(max_body_bytes=1000)) as site, site.client() as client:
        peer, _ = await opened(client)
        await peer.send(BytesMessage(b"a" * 900, message_finished=False))
        await peer.send(BytesMessage(b"a" * 900))
        closed = await peer.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1009


async def test_a_message_of_endless_tiny_frames_is_refused(serving: Any) -> None:
    """What little each holds must not hide what it costs to keep them."""
    async with serving(app=APP, limits=ServerLimits(max_body_bytes=1000)) as site, site.client() as client:
        peer, _ = await opened(client)
        for _ in range(100):
            await peer.send(BytesMessage(b"", message_finished=False))
        closed = await peer.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1009


async def test_broken_frames_are_a_protocol_error(serving: Any) -> None:
    """The client is told 1002; the server has no fault."""
    async with serving(app=APP) as site, site.client() as client:
        peer, _ = await opened(client)
        await client.send(b"\xff" * 20)
        closed = await peer.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1002
        assert site.notes == []


async def test_the_application_may_refuse(serving: Any) -> None:
    """403, and for an unknown path as well."""
    for path in ("/refuses", "/nowhere"):
        async with serving(app=APP) as site, site.client() as client:
            _, answer = await opened(client, path)
            assert isinstance(answer, RejectConnection)
            assert answer.status_code == 403


async def test_a_bad_handshake_is_a_bad_request(serving: Any) -> None:
    """An upgrade without a key is answered, by name, in HTTP."""
    async with serving(app=APP) as site:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        came = await site.ask(b"GET /echo HTTP/1.1\r\nHost: x\r\n" + upgrade)
    assert came.startswith(b"HTTP/1.1 400 ")
    assert b"WebSocket" in came


@pytest.mark.parametrize("answers", ["accept", "close"])
async def test_a_client_that_is_gone_before_the_answer_is_no_fault(serving: Any, until: Any, answers: str) -> None:
    """Whoever resets its connections at once puts nothing into the log."""
    may_answer = trio.Event()

    async def late(socket: WebSocket) -> None:
        await may_answer.wait()
        await getattr(socket, answers)()

    async with serving(app=Starlette(routes=[WebSocketRoute("/", late)])) as site:
        async with site.client() as client:
            await Peer(client).send(Request(host="x", target="/"))
            await until(lambda: site.server.statistics().in_flight)
            client.stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        may_answer.set()
        await until(lambda: site.server.statistics().connections == 0)
        assert site.notes == []


async def test_a_fault_of_the_application_closes_with_1011(serving: Any, until: Any) -> None:
    """The client learns that it was not its doing; the log learns why."""
    async with serving(app=APP) as site, site.client() as client:
        peer, _ = await opened(client, "/breaks")
        closed = await peer.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1011
        await client.stream.aclose()
        await until(lambda: site.notes)
        with pytest.raises(ExceptionGroup, match="nursery"):
            raise site.notes[0]


async def test_a_client_that_does_not_read_is_given_up(serving: Any, until: Any) -> None:
    """What is sent to it waits in the kernel and for so long only."""
    limits = ServerLimits(body_timeout_ms=80)
    async with serving(app=APP, limits=limits) as site, site.client() as client:
        await opened(client, "/pours")
        await until(lambda: site.server.statistics().connections == 0)
        assert site.server.statistics().bytes_out < 32_000_000
        assert site.notes == []


async def test_a_draining_node_says_going_away(serving: Any) -> None:
    """1001: the client should come back elsewhere."""
    codes.clear()
    async with serving(app=APP) as site, site.client() as client, trio.open_nursery() as nursery:
        peer, _ = await opened(client)
        nursery.start_soon(site.server.drain)
        closed = await peer.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1001
        await peer.send(closed.response())
        await client.rest()
        await client.stream.aclose()
        assert codes == [1001]
