"""One WebSocket through an ASGI application: wsproto does the framing, this file the waiting.

Messages are bounded by ``max_body_bytes`` (close code 1009) and are not compressed. A client that is silent for an
eighth of ``keep_alive_timeout_ms`` is pinged; silent for all of it, it is gone. A draining node says 1001.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NoReturn

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    TextMessage,
)
from wsproto.events import Event as Frame
from wsproto.events import Request as Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from ..errors import InvalidRequest
from .asgi import ASGIApp, Event, Exchange, asgi_scope
from .message import ClientGone, Response, ServerLimits
from .wire import Reply, Wire

DENIAL = "websocket.http.response"  # ASGI's extension for saying no with an answer of one's own
INBOX_MESSAGES = 16
PART_BYTES = 64
GRACE_S = 0.5
PINGS = 8
NORMAL, GOING_AWAY, ABNORMAL, TOO_BIG, FAILED = 1000, 1001, 1006, 1009, 1011


class WebSocket:
    """One connection that asked to go on as a WebSocket."""

    def __init__(self, reply: Reply, wire: Wire, early: bytes, limits: ServerLimits) -> None:
        self._reply, self._wire, self._early = reply, wire, early
        self._most_bytes = limits.max_body_bytes
        self._patience_s = limits.keep_alive_timeout_ms / 1000
        self._ws = WSConnection(ConnectionType.SERVER)
        self._denial = Exchange(reply.request, reply)
        self._outgoing = trio.StrictFIFOLock()
        self._inbox_in, self._inbox = trio.open_memory_channel[Event](INBOX_MESSAGES)
        self._parts: list[Any] = []
        self._parts_bytes = 0
        self._code = ABNORMAL
        self._nursery: trio.Nursery

    async def run(self, app: ASGIApp) -> None:
        """Live until the app returns. Raises InvalidRequest for a bad handshake, and what the app raises."""
        scope = asgi_scope(self._reply.request, "websocket")
        scope["subprotocols"] = self._handshake().subprotocols
        scope["extensions"] = {DENIAL: {}}
        await self._inbox_in.send({"type": "websocket.connect"})
        code = FAILED
        try:
            async with trio.open_nursery() as self._nursery:
                with suppress(ClientGone):  # as part of a group, which a nursery makes of it, nobody would know it
                    await app(scope, self._receive, self._send)
                self._nursery.cancel_scope.cancel()
            if not self._reply.begun:
                raise RuntimeError("the ASGI application returned without accepting or closing the WebSocket")
            code = NORMAL
        finally:
            self._say_goodbye(code)

    def _handshake(self) -> Handshake:
        request = self._reply.request
        try:
            self._ws.initiate_upgrade_connection(list(request.headers.items()), request.raw_path)
            handshake = next(iter(self._ws.events()))
        except (RemoteProtocolError, LocalProtocolError, UnicodeError) as error:
            raise InvalidRequest(f"this is not a WebSocket handshake: {error}") from None
        assert isinstance(handshake, Handshake)
        return handshake

    def _say_goodbye(self, code: int) -> None:
        if self._reply.begun and self._ws.state is ConnectionState.OPEN:
            self._wire.send_now(self._ws.send(CloseConnection(code)))

    async def _receive(self) -> Event:
        try:
            return await self._inbox.receive()
        except trio.EndOfChannel:
            return {"type": "websocket.disconnect", "code": self._code}

    async def _send(self, event: Event) -> None:
        match event["type"]:
            case "websocket.accept":
                await self._accept(event)
            case "websocket.close" if not self._reply.begun:
                self._inbox_in.close()
                await self._reply.whole(Response(403))
            case str(kind) if kind.startswith(DENIAL) and self._ws.state is not ConnectionState.OPEN:
                await self._denial.send({**event, "type": kind.removeprefix("websocket.")})
            case "websocket.close":
                await self._transmit(CloseConnection(event.get("code", NORMAL), event.get("reason")))
            case "websocket.send":
                text, data = event.get("text"), event.get("bytes")
                await self._transmit(TextMessage(text) if text is not None else BytesMessage(data or b""))
            case kind:
                raise RuntimeError(f"{kind} is not an event that a WebSocket application sends")

    async def _accept(self, event: Event) -> None:
        headers = list(event.get("headers", ()))
        handshake = AcceptConnection(subprotocol=event.get("subprotocol"), extra_headers=headers)
        answer = self._ws.send(handshake)
        self._reply.begun = True
        await self._wire.send([answer])
        self._nursery.start_soon(self._read)
        self._nursery.start_soon(self._go_away)

    async def _transmit(self, frame: Frame) -> None:
        async with self._outgoing:
            try:
                data = self._ws.send(frame)
            except LocalProtocolError as error:
                raise ClientGone(f"the WebSocket is closed: {error}") from None
            await self._wire.send([data])

    async def _go_away(self) -> None:
        await self._reply.request.draining.wait()
        await trio.sleep(GRACE_S)  # the application knows too, and has perhaps something to say first
        with suppress(ClientGone):
            await self._transmit(CloseConnection(GOING_AWAY))

    async def _read(self) -> None:
        with self._inbox_in, suppress(ClientGone):
            while self._ws.state is not ConnectionState.CLOSED:
                self._ws.receive_data(await self._next_bytes())
                for frame in self._ws.events():
                    await self._take(frame)

    async def _next_bytes(self) -> bytes:
        if self._early:
            data, self._early = self._early, b""
            return data
        for pings_left in reversed(range(PINGS)):
            with trio.move_on_after(self._patience_s / PINGS):
                while (came := self._wire.receive_now(1 << 16)) is None:
                    await self._wire.readable()
                if not came:
                    raise ClientGone("the connection ended without a close frame")
                await trio.lowlevel.checkpoint()
                return came
            if pings_left:
                await self._transmit(Ping())
        raise ClientGone("the client does not answer a ping")

    async def _take(self, frame: Frame) -> None:
        if isinstance(frame, Message):
            await self._take_part(frame)
        elif isinstance(frame, Ping):
            await self._transmit(frame.response())
        elif isinstance(frame, CloseConnection):
            self._code = frame.code
            if self._ws.state is ConnectionState.OPEN:
                # Not a close frame: wsproto's word for frames that are none.
                await self._end(frame.code, frame.reason)
            elif self._ws.state is ConnectionState.REMOTE_CLOSING:
                await self._transmit(frame.response())

    async def _end(self, code: int, reason: str | None) -> NoReturn:
        self._code = code
        await self._transmit(CloseConnection(code, reason))
        raise ClientGone(reason or "the WebSocket was closed")

    async def _take_part(self, part: Message[Any]) -> None:
        self._parts.append(part.data)
        # However little it holds, a part costs this much to keep.
        self._parts_bytes += max(len(part.data), PART_BYTES)
        if self._parts_bytes > self._most_bytes:
            await self._end(TOO_BIG, "larger than [limits] max_body_bytes")
        if part.message_finished:
            kind, empty = ("text", "") if isinstance(part, TextMessage) else ("bytes", b"")
            whole = empty.join(self._parts)
            self._parts, self._parts_bytes = [], 0
            await self._inbox_in.send({"type": "websocket.receive", kind: whole})
