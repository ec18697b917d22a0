"""A faulty line: a TCP proxy between a node and its peer, under the conditions of the simulator's lines."""

from __future__ import annotations

import errno
import socket
import struct
from random import Random

import trio
from msgspec import Struct

from ..faults import FAIR, Conditions, Pace

BLOCK_BYTES = 32 << 10
SLOW_BLOCK_BYTES = 512
BUFFER_BYTES = 32 << 10  # per socket: what lies in kernels is not under our conditions
AHEAD_S = 0.1  # how much of a slow line's time may be given to it beforehand
ON_THE_WAY = 64  # blocks of a delayed line
Socket = trio.socket.SocketType
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Way(Struct):
    """One direction of a line."""

    conditions: Conditions = FAIR
    breaks_in: int | None = None  # bytes until the connection that carries them breaks
    noise: bytes = b""  # put in front of the next bytes
    passed_bytes: int = 0

    def cut(self, data: bytes) -> tuple[bytes, bool]:
        """What comes through of these bytes, and whether the connection that carries them breaks behind them: that is
        settled here, for while they are on their way another connection may carry some, or the line be healed."""
        if self.breaks_in is None or len(data) < self.breaks_in:
            self.breaks_in = None if self.breaks_in is None else self.breaks_in - len(data)
            return data, False
        data, self.breaks_in = data[: self.breaks_in], None
        return data, True


class Proxy:
    """The line on which a puller reaches its source: ``there`` carries requests, ``back`` what is sent.

    ``doubled`` and ``unanswered`` are faults of requests; a line of bytes knows neither.
    """

    def __init__(self, port: int, rng: Random) -> None:
        self._target = port
        self._rng = rng
        self._listener = _listener()
        self.port: int = self._listener.getsockname()[1]
        self.there, self.back = Way(), Way()
        self.connections = 0
        self._changed = trio.Event()
        self._open: set[trio.CancelScope] = set()

    @property
    def url(self) -> str:
        """What to write into the file as ``via``."""
        return f"http://127.0.0.1:{self.port}"

    # ---- faults ----------------------------------------------------------------------------------

    def set(self, there: Conditions | None = None, back: Conditions | None = None) -> None:
        """Other conditions from now on; what is not given stays."""
        self.there.conditions = there if there is not None else self.there.conditions
        self.back.conditions = back if back is not None else self.back.conditions
        if self._is_cut:
            self.reset()
        self._wake()

    def set_both(self, conditions: Conditions) -> None:
        """The same in both directions."""
        self.set(conditions, conditions)

    def heal(self) -> None:
        """A fair line again; connections that broke stay broken."""
        self.there.breaks_in = self.back.breaks_in = None
        self.there.noise = self.back.noise = b""
        self.set_both(FAIR)

    def reset(self) -> None:
        """Break all connections, now; new ones come through."""
        for scope in self._open:
            scope.cancel()

    def break_in(self, size: int) -> None:
        """Break the connection after so many more bytes from the source: most likely inside a frame."""
        self.back.breaks_in = size

    def babble(self, noise: bytes) -> None:
        """Put these bytes in front of the next ones from the source."""
        self.back.noise = noise

    @property
    def _is_cut(self) -> bool:
        return self.there.conditions.cut or self.back.conditions.cut

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ---- carrying --------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry until cancelled."""
        with self._listener:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    try:
                        near, _ = await self._listener.accept()
                    except OSError as error:
                        if error.errno != errno.ECONNABORTED:
                            raise
                        continue
                    nursery.start_soon(self._carry, near)

    async def _carry(self, near: Socket) -> None:
        """One connection, until either end closes it or the line breaks; then both ends are reset."""
        far = trio.socket.socket()
        _tune(near)
        _tune(far)
        try:
            with trio.CancelScope() as scope:
                if self._is_cut:
                    return
                self._open.add(scope)
                self.connections += 1
                await far.connect(("127.0.0.1", self._target))
                async with trio.open_nursery() as both:
                    both.start_soon(self._pump, near, far, self.there, scope)
                    both.start_soon(self._pump, far, near, self.back, scope)
        except OSError:
            pass  # the source is not there
        finally:
            self._open.discard(scope)
            _reset(near)
            _reset(far)

    async def _pump(self, source: Socket, target: Socket, way: Way, scope: trio.CancelScope) -> None:
        into, out = trio.open_memory_channel[tuple[float, bytes]](ON_THE_WAY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take, source, way, into)
            await self._give(out, target, way)
            scope.cancel()

    async def _take(self, source: Socket, way: Way, blocks: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
        pace = Pace(0.0, 0.0)
        async with blocks:
            while True:
                await trio.sleep_until(pace.free_at - AHEAD_S)
                size = SLOW_BLOCK_BYTES if way.conditions.rate_bytes_s else BLOCK_BYTES
                data = await _received(source, size)
                if not data:
                    return
                await blocks.send((pace.due(trio.current_time(), len(data), way.conditions, self._rng), data))

    async def _give(self, blocks: trio.MemoryReceiveChannel[tuple[float, bytes]], target: Socket, way: Way) -> None:
        async for due, data in blocks:
            await trio.sleep_until(due)
            while way.conditions.silent:
                await self._changed.wait()
            data, way.noise = way.noise + data, b""
            data, breaks = way.cut(data)
            way.passed_bytes += len(data)
            if not await _sent(target, data) or breaks:
                return


async def _received(source: Socket, size: int) -> bytes:
    """The next bytes; none when there are no more, however that came."""
    try:
        return await source.recv(size)
    except OSError:
        return b""


async def _sent(target: Socket, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[await target.send(view) :]
    except OSError:
        return False
    return True


def _listener() -> Socket:
    plain = socket.create_server(("127.0.0.1", 0), backlog=64)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    return trio.socket.from_stdlib_socket(plain)


def _tune(one: Socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset(one: Socket) -> None:
    if one.fileno() >= 0:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        one.close()
