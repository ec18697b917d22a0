"""The HTTP server: listeners, connections, the patrol of their deadlines, the drain at the end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from errno import EADDRINUSE, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

import trio
from msgspec import Struct

from ..actors.supervisor import shielded
from ..clock import Clock
from ..errors import AddressInUse, ConfigError, MirrordError, Unavailable
from .asgi import ASGIApp
from .connection import Connection, Service
from .heads import KnownHeads
from .message import ClientGone, Dateline, Handler, Request, Response, ServerLimits, Tally
from .wire import Wire

BACKLOG = 1024
ACCEPTS_AT_ONCE = 64
REFUSALS_AT_ONCE = 64
PATROL_S = 0.2


class ServerStatistics(Struct, frozen=True):
    """Numbers to be pulled. ``rejected`` counts what the server itself refused, by error code."""

    connections: int
    accepted: int
    requests: int
    in_flight: int
    bytes_in: int
    bytes_out: int
    rejected: dict[str, int]


class Server:
    """Serves HTTP/1.1 and WebSockets on listening sockets.

    ``fast`` names the handler that runs in the connection's own task; where it names none, the ASGI ``app``
    is called. ``errors`` makes an answer of a named error, ``note`` hears of every other exception, which
    costs its connection. ``wire`` makes of an accepted socket what is spoken on it: plain, or TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        fast: Callable[[Request], Handler | None],
        limits: ServerLimits,
        errors: Callable[[MirrordError, Request | None], Response],
        note: Callable[[BaseException], None],
        clock: Clock,
        wire: Callable[[socket.socket, float], Wire] = Wire,
    ) -> None:
        self._limits, self._note = limits, note
        self._draining = trio.Event()
        self._empty = trio.Event()
        self._ended = trio.Event()
        self._tally = Tally()
        self._connections: set[Connection] = set()
        self._refusals = 0
        self._service = Service(
            app, fast, limits, errors, self._draining, Dateline(clock), self._tally, KnownHeads(fast), wire,
        )  # fmt: skip

    async def serve(
        self, listeners: list[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until drained or cancelled; the listeners are closed then."""
        try:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(self._accept, listener, nursery)
                nursery.start_soon(self._patrol, nursery)
                task_status.started()
                await self._draining.wait()
                with trio.move_on_after(self._limits.drain_timeout_ms / 1000):
                    await self._empty.wait()
                nursery.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.close()
            self._ended.set()

    async def drain(self) -> None:
        """Stop accepting, let what is in flight end within ``drain_timeout_ms``; returns when ``serve`` has.

        Idle connections are closed at once, streams are told by ``Request.draining``, answers say
        ``Connection: close``.
        """
        self._draining.set()
        for connection in list(self._connections):
            connection.dismiss()
        self._see_if_empty()
        await self._ended.wait()

    def statistics(self) -> ServerStatistics:
        """Counts since the start, with those of the connections that are open now."""
        tally, now = self._tally, self._connections
        return ServerStatistics(
            connections=len(now),
            accepted=tally.accepted,
            requests=tally.requests + sum(connection.begun for connection in now),
            in_flight=sum(connection.busy for connection in now),
            bytes_in=tally.bytes_in + sum(connection.wire.bytes_in for connection in now),
            bytes_out=tally.bytes_out + sum(connection.wire.bytes_out for connection in now),
            rejected=dict(tally.rejected),
        )

    async def _patrol(self, nursery: trio.Nursery) -> None:
        limits = self._limits
        shortest_ms = min(limits.header_timeout_ms, limits.body_timeout_ms, limits.keep_alive_timeout_ms)
        while True:
            self._service.dateline.renew()
            await trio.sleep(min(PATROL_S, shortest_ms / 4000))
            now = trio.current_time()
            for connection in list(self._connections):
                connection.patrol(now, nursery)

    async def _accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        listener.setblocking(False)
        async with trio.open_nursery() as gate:
            gate.start_soon(self._close_when_draining, listener, gate.cancel_scope)
            while True:
                await trio.lowlevel.wait_readable(listener)
                for _ in range(ACCEPTS_AT_ONCE):
                    try:
                        sock, peer = listener.accept()
                    except BlockingIOError:
                        break
                    except OSError as error:
                        await self._after_failed_accept(error)
                        break
                    self._admit(sock, peer, nursery)

    async def _close_when_draining(self, listener: socket.socket, gate: trio.CancelScope) -> None:
        await self._draining.wait()
        gate.cancel()
        listener.close()

    async def _after_failed_accept(self, error: OSError) -> None:
        if error.errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            # Nothing to open it with: the caller waits in the backlog until another connection ends.
            self._tally.reject("no_file_descriptors")
            await trio.sleep(0.1)
        elif error.errno != ECONNABORTED:
            raise error

    def _admit(self, sock: socket.socket, peer: Any, nursery: trio.Nursery) -> None:
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = Connection(sock, peer if isinstance(peer, tuple) else None, self._service)
        except ClientGone:  # before a TLS handshake could begin
            sock.close()
            return
        if len(self._connections) < self._limits.max_connections:
            self._tally.accepted += 1
            self._connections.add(connection)
            nursery.start_soon(self._attend, connection)
            if self._draining.is_set():  # it came in the very moment
                connection.dismiss()
            return
        connection.refuse(Unavailable("all [limits] max_connections are taken; try again", retry_after_s=1.0))
        if self._refusals < REFUSALS_AT_ONCE:
            self._refusals += 1
            nursery.start_soon(self._see_off, connection)
        else:
            connection.close()

    async def _attend(self, connection: Connection) -> None:
        try:
            if await shielded(self._note, connection.live) is not None:
                connection.refuse(MirrordError("this request met a fault of the node; its log names it"))
            await connection.linger()
        finally:
            connection.close()
            self._connections.discard(connection)
            self._see_if_empty()

    async def _see_off(self, connection: Connection) -> None:
        try:
            await connection.linger()
        finally:
            connection.close()
            self._refusals -= 1

    def _see_if_empty(self) -> None:
        if self._draining.is_set() and not self._connections:
            self._empty.set()


def open_listeners(listen: str) -> list[socket.socket]:
    """Listening sockets for ``host:port``: IPv6 in brackets, no host is all addresses, port 0 a free one.

    Raises AddressInUse; ConfigError when the address cannot be one of this machine.
    """
    host, port = _split_address(listen)
    listeners: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            # A free port is chosen once: all the addresses of a name share it.
            chosen = listeners[0].getsockname()[1] if listeners else port
            listeners.append(_open_listener(family, (address[0], chosen, *address[2:])))
    except OSError as error:
        for listener in listeners:
            listener.close()
        if error.errno == EADDRINUSE:
            raise AddressInUse(f"{listen} is taken; stop what listens there or change `listen`") from None
        raise ConfigError(f"listen = {listen!r}: {error.strerror or error}") from None
    return listeners


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _open_listener(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _split_address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host_ok = colon and (":" not in host or (host.startswith("[") and host.endswith("]")))
    if not host_ok or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"listen = {listen!r}: expected host:port, such as 127.0.0.1:4000 or [::1]:4000")
    return host.strip("[]"), int(port)
