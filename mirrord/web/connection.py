"""The life of one connection: requests one after the other, each answered before the next is begun.

The common case costs no scheduling but the wait for the client: the kernel is asked before waiting, handlers
run in this task, and deadlines are numbers that the server's patrol looks at. A handler that is still busy at
the second patrol gets a watch: it reads ahead a little and cancels the handler if the client hangs up.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, TypeAlias

import trio
from msgspec import Struct

from ..errors import MirrordError, RequestTimeout
from .asgi import ASGIApp, Exchange
from .heads import KnownHeads
from .message import ClientGone, Drain, Request, Response, ServerLimits, Stream, Tally
from .parser import BODY, IDLE, RequestParser
from .websocket import WebSocket
from .wire import Reply, Wire

FastHandler: TypeAlias = Callable[[Request], Awaitable[Response | Stream]]

HEAD_READ_BYTES = 16 * 1024
BODY_READ_BYTES = 256 * 1024
AHEAD_BYTES = 64 * 1024
GRACE_S = 1.0
"""How long an ASGI application that listens for the client's going may take to end."""
LINGER_S = 2.0
FAIRNESS = 32
"""Reads and answers of one connection before the others surely get a turn."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Service(Struct, frozen=True):
    """What all connections of a server share."""

    app: ASGIApp
    fast: Callable[[Request], FastHandler | None]
    limits: ServerLimits
    errors: Callable[[MirrordError, Request | None], Response]
    draining: Drain
    date: Callable[[], bytes]
    tally: Tally
    heads: KnownHeads
    wire: Callable[[socket.socket, float], Wire] = Wire


class Connection:
    """One accepted socket, from its first byte to its close."""

    def __init__(self, sock: socket.socket, peer: tuple[Any, ...] | None, service: Service) -> None:
        self._service = service
        self.wire = service.wire(sock, service.limits.body_timeout_ms / 1000)
        self._parser = RequestParser(service.limits, self, peer)
        self._scope = trio.CancelScope()
        self._reply: Reply | None = None
        """The answer being made; None between requests."""
        self._exchange: Exchange | None = None
        self._watch: trio.CancelScope | None = None
        self._ahead = b""
        self._leaves = self._overdue = False
        self._lingers = False
        self._just_answered = False
        limits = service.limits
        patience_ms = (limits.keep_alive_timeout_ms, limits.header_timeout_ms, limits.body_timeout_ms)
        self._patience_s = tuple(ms / 1000 for ms in patience_ms)  # by the parser's stage
        self._progress: tuple[int, int, int] | None = None
        self._due = inf
        self._answered = 0
        self._patrolled = 0

    @property
    def draining(self) -> Drain:
        """Set when the node begins to stop."""
        return self._service.draining

    @property
    def certified(self) -> bool:
        """Whether the client showed a certificate that we believe."""
        return self.wire.certified

    async def live(self) -> None:
        """Answer requests until one of the two sides has had enough."""
        with self._scope:
            try:
                await self._converse()
            except ClientGone:
                return
        if self._scope.cancel_called:
            self._lingers = False
        if self._overdue and self._parser.stage != IDLE:
            self.refuse(RequestTimeout())

    async def linger(self) -> None:
        """Give last words, if there were any, a moment to arrive."""
        if self._lingers:
            await self.wire.linger(LINGER_S)

    def close(self) -> None:
        """Give the socket back."""
        self._end_watch()
        self.wire.close()
        self._service.tally.bytes_in += self.wire.bytes_in
        self._service.tally.bytes_out += self.wire.bytes_out

    def refuse(self, error: MirrordError) -> None:
        """The last words of this connection, if an answer has not begun yet."""
        self._service.tally.reject(error.code)
        if self._reply is not None and self._reply.begun:
            return
        self._lingers = True
        request = self._reply.request if self._reply is not None else None
        reply = Reply(self.wire, request or Request(), True, self._service.date)
        reply.last_words(self._service.errors(error, request))

    # What the server's patrol calls.

    def patrol(self, now: float, nursery: trio.Nursery) -> None:
        """Enforce the deadline; have the client watched if the request in hand is that of last time."""
        wire, seen = self.wire, self._patrolled
        self._patrolled = self._answered
        if now >= wire.deadline:
            self._overdue = True
            self._leave()
        elif seen == self._answered and self._watchable and wire.deadline == inf:
            self._watch = trio.CancelScope()
            nursery.start_soon(self._read_ahead, self._watch)

    def dismiss(self) -> None:
        """Close if no request has begun to come in or is being answered."""
        if self._reply is None and self._parser.stage == IDLE:
            self._leave()

    def _leave(self) -> None:
        self._leaves = True
        self._scope.cancel()

    @property
    def _watchable(self) -> bool:
        return self._reply is not None and self._watch is None and not self._reply.request.websocket

    async def _read_ahead(self, scope: trio.CancelScope) -> None:
        """Up to a bound, while a handler is busy; the client's end cancels it."""
        with scope:
            while not scope.cancel_called and len(self._ahead) < AHEAD_BYTES:
                try:
                    data = self.wire.receive_now(HEAD_READ_BYTES)
                except ClientGone:
                    data = b""
                if data == b"":
                    self._gone()
                    return
                self._ahead += data or b""
                await self.wire.readable()

    def _gone(self) -> None:
        if self._exchange is not None and self._exchange.tell_gone():
            self._scope.deadline = trio.current_time() + GRACE_S
        else:
            self._leave()

    # The conversation.

    async def _converse(self) -> None:
        parser, turns = self._parser, 0
        while True:
            while parser.requests:
                if not await self._answer(parser.requests.popleft()):
                    return
                turns += 1
                self._just_answered = True
            if parser.fault is not None:
                self.refuse(parser.fault)
                return
            if parser.expects_continue:
                parser.expects_continue = False
                await self.wire.send([CONTINUE])
            turns += 1
            if turns >= FAIRNESS:
                turns = 0
                await trio.lowlevel.checkpoint()
            if not await self._read():
                return

    async def _read(self) -> bool:
        """Feed the parser with what comes next. False when the client has ended, or may end now."""
        wire, parser = self.wire, self._parser
        size = BODY_READ_BYTES if parser.stage == BODY else HEAD_READ_BYTES
        data: bytes | None
        data, self._ahead = self._ahead or None, b""
        while data is None:
            if not self._just_answered:  # else the client has hardly had the time to say more: asking would be in vain
                data = wire.receive_now(size)
            self._just_answered = False
            if data is None:
                if parser.stage == IDLE and self.draining.is_set():
                    return False
                await self._await_client()
        if data:
            self._take(data)
        return bool(data)

    def _take(self, data: bytes) -> None:
        """A whole request whose head is known needs no parsing; what the parser has made of all others is learned."""
        parser, heads = self._parser, self._service.heads
        if parser.stage != IDLE or parser.upgraded is not None:
            parser.feed(data)
        elif (request := heads.recall(data, parser.peer, self)) is not None:
            parser.started += 1
            parser.requests.append(request)
        else:
            parser.feed(data)
            if len(parser.requests) == 1 and parser.stage == IDLE and parser.fault is None:
                heads.learn(data, parser.requests[0])

    async def _await_client(self) -> None:
        parser, wire = self._parser, self.wire
        if (progress := parser.progress) != self._progress:
            self._progress = progress
            self._due = trio.current_time() + self._patience_s[parser.stage]
        wire.deadline = self._due
        await wire.readable()
        wire.deadline = inf
        if self._leaves:
            # Told to go in the moment in which something came: the request must not be begun and then cancelled.
            await trio.lowlevel.checkpoint()

    async def _answer(self, request: Request) -> bool:
        """Have one request answered. True if the connection goes on."""
        tally = self._service.tally
        self._reply = reply = Reply(self.wire, request, not request.keep_alive, self._service.date)
        self._answered += 1
        tally.requests += 1
        tally.in_flight += 1
        try:
            await self._dispatch(request, reply)
        except MirrordError as error:
            if reply.begun:
                raise
            await reply.whole(self._service.errors(error, request))
        finally:
            tally.in_flight -= 1
            self._exchange = None
            self._end_watch()
        self._reply = None
        return not reply.close

    async def _dispatch(self, request: Request, reply: Reply) -> None:
        if request.websocket:
            reply.close = self._lingers = True
            early = self._parser.upgraded or b""
            await WebSocket(reply, self.wire, early, self._service.limits).run(self._service.app)
            return
        handler = self._service.fast(request)
        if handler is None:
            self._exchange = Exchange(request, reply)
            await self._exchange.run(self._service.app)
            return
        response = await handler(request)
        if isinstance(response, Response):
            await reply.whole(response)
        else:
            await reply.stream(response)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
