"""The life of one connection: requests one after the other, each answered before the next is begun.

The common case costs no scheduling but the wait for the client: handlers run in this task, the kernel is asked for the
rest of a body before waiting, and how long a client has been silent is the patrol's business alone. A handler that is
still busy at the second patrol gets a watch: it reads ahead a little and cancels the handler if the client hangs up.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf
from typing import Any

import trio
from msgspec import Struct

from ..errors import MirrordError, RequestTimeout
from .asgi import ASGIApp, Exchange
from .heads import KnownHeads
from .message import ClientGone, Dateline, Drain, Handler, Request, Response, ServerLimits, Tally
from .parser import IDLE, RequestParser
from .websocket import WebSocket
from .wire import Reply, Wire

READ_BYTES = 16 * 1024
LARGE_READ_BYTES = 256 * 1024
"""Where the read before was a large one: large bodies mostly come one behind the other, and then whole."""
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
    fast: Callable[[Request], Handler | None]
    limits: ServerLimits
    errors: Callable[[MirrordError, Request | None], Response]
    draining: Drain
    dateline: Dateline
    tally: Tally
    heads: KnownHeads
    wire: Callable[[socket.socket, float], Wire] = Wire


class Connection:
    """One accepted socket, from its first byte to its close."""

    def __init__(self, sock: socket.socket, peer: tuple[Any, ...] | None, service: Service) -> None:
        self._service = service
        self.wire = service.wire(sock, service.limits.body_timeout_ms / 1000)
        self.peer = peer
        self.begun = 0
        """Requests, counted when they are whole."""
        self._parser = RequestParser(service.limits, self)
        self._scope = trio.CancelScope()
        self._reply: Reply | None = None
        """The answer being made; None between requests."""
        self._exchange: Exchange | None = None
        self._watch: trio.CancelScope | None = None
        self._ahead = b""
        self._leaves = self._overdue = self._over = False
        self._is_last = False
        """The answer in hand, or else the next one, ends the connection."""
        self._lingers = False
        self._size = READ_BYTES
        self._turns = 0
        self._progress: tuple[int, int, int] | None = None
        self._due = inf
        self._patrolled = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._reply is not None and not self._over

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
        parser, heads, goes_on = self._parser, self._service.heads, True
        with self._scope:
            try:
                while goes_on and (data := await self._read()):
                    if parser.stage == IDLE and (request := heads.recall(data, self)) is not None:
                        goes_on = await self._answer(request)  # a whole request whose head is known needs no parsing
                    else:
                        goes_on = await self._parse(data)
            except ClientGone:
                return
            finally:
                self._over = True
                self._end_watch()
        if self._scope.cancel_called:
            self._lingers = False
        if self._overdue and parser.stage != IDLE:
            self.refuse(RequestTimeout())

    async def linger(self) -> None:
        """Give last words, if there were any, a moment to arrive."""
        if self._lingers:
            await self.wire.linger(LINGER_S)

    def close(self) -> None:
        """Give the socket back."""
        self.wire.close()
        tally = self._service.tally
        tally.requests += self.begun
        tally.bytes_in += self.wire.bytes_in
        tally.bytes_out += self.wire.bytes_out

    def refuse(self, error: MirrordError) -> None:
        """The last words of this connection, if an answer has not begun yet."""
        self._service.tally.reject(error.code)
        if self._reply is not None and self._reply.begun:
            return
        self._lingers = True
        request = self._reply.request if self._reply is not None else None
        reply = Reply(self.wire, request or Request(), self._service.dateline, True)
        reply.last_words(self._service.errors(error, request))

    # What the server's patrol calls.

    def patrol(self, now: float, nursery: trio.Nursery) -> None:
        """Enforce the deadlines; have the client watched if the request in hand is that of last time."""
        if self._over:
            return  # last words have a bound of their own, and listen to the client themselves
        due, seen = self.wire.deadline, self._patrolled
        self._patrolled = self.begun
        if now >= (due if self.busy else min(due, self._patience_ends(now))):
            self._overdue = True
            self._leave()
        elif seen == self.begun and self._watchable and due == inf:
            self._watch = trio.CancelScope()
            nursery.start_soon(self._read_ahead, self._watch)

    def _patience_ends(self, now: float) -> float:
        """When the client must have said more. What it has said since the last patrol earns it new patience."""
        stage, limits = self._parser.stage, self._service.limits
        if (progress := (self.begun, stage, self._parser.body_progress)) != self._progress:
            patience_ms = (limits.keep_alive_timeout_ms, limits.header_timeout_ms, limits.body_timeout_ms)[stage]
            self._progress, self._due = progress, now + patience_ms / 1000
        return self._due

    def dismiss(self) -> None:
        """End behind the request that is coming in or being answered; at once if there is none."""
        self._is_last = True
        if self._reply is not None:
            self._reply.close = True
        elif self._parser.stage == IDLE:
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
                    data = self.wire.receive_now(READ_BYTES)
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

    async def _read(self) -> bytes:
        """What comes next; nothing when the client has ended. Between requests the client has hardly had the time to
        say more: to ask the kernel without a wait would be in vain."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        wire = self.wire
        came = None if self._parser.stage == IDLE else wire.receive_now(self._size)
        while came is None:
            await wire.readable()
            if self._leaves:
                # Told to go in the moment in which something came: no request may be begun and then cancelled.
                await trio.lowlevel.checkpoint()
            came = wire.receive_now(self._size)
        self._size = READ_BYTES if len(came) < READ_BYTES else LARGE_READ_BYTES
        return came

    async def _parse(self, data: bytes) -> bool:
        """Learn the head of what is a whole request, and answer all that are whole by now. True if the connection goes
        on."""
        parser, requests, was_idle = self._parser, self._parser.requests, self._parser.stage == IDLE
        parser.feed(data)
        if len(requests) == 1 and was_idle and parser.stage == IDLE and parser.fault is None:
            self._service.heads.learn(data, requests[0])
        while requests:
            if not await self._answer(requests.popleft()):
                return False
            if requests:
                await self._be_fair()
        if parser.fault is not None:
            self.refuse(parser.fault)
            return False
        if parser.expects_continue:
            parser.expects_continue = False
            await self.wire.send([CONTINUE])
        await self._be_fair()
        return True

    async def _be_fair(self) -> None:
        self._turns += 1
        if self._turns >= FAIRNESS:
            self._turns = 0
            await trio.lowlevel.checkpoint()

    async def _answer(self, request: Request) -> bool:
        """Have one request answered. True if the connection goes on."""
        service = self._service
        self.begun += 1
        self._reply = reply = Reply(self.wire, request, service.dateline, self._is_last or not request.keep_alive)
        try:
            handler = request.handler or self._handler(request)
            if handler is None:
                await self._hand_to_app(request, reply)
            elif isinstance(response := await handler(request), Response):
                if not reply.offer(response):
                    await reply.drained()
            else:
                await reply.stream(response)
        except MirrordError as error:
            if reply.begun:
                raise
            await reply.whole(service.errors(error, request))
        if self._watch is not None:
            self._end_watch()
        self._reply = None
        return not reply.close

    def _handler(self, request: Request) -> Handler | None:
        return None if request.websocket else self._service.fast(request)

    async def _hand_to_app(self, request: Request, reply: Reply) -> None:
        if request.websocket:
            reply.close = self._lingers = True
            early = self._parser.upgraded or b""
            await WebSocket(reply, self.wire, early, self._service.limits).run(self._service.app)
            return
        self._exchange = Exchange(request, reply)
        try:
            await self._exchange.run(self._service.app)
        finally:
            self._exchange = None

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
