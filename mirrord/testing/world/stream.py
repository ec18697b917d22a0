"""The bytes of one feed on their way: in order, late, slow, cut in the middle, or silent for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

import trio

from ...errors import PeerUnreachable
from ..faults import Conditions, Pace

WINDOW_BYTES = 32 << 10  # what may be on its way before the serving side waits
WRITE_TIMEOUT_S = 20.0


class Gone(Exception):
    """The caller does not listen any more, as far as the serving side can know."""


class Stream:
    """One direction; ``send`` and ``end`` belong to the serving side, ``receive`` and ``close`` to the caller."""

    def __init__(self, pace: Pace, conditions: Callable[[], Conditions], rng: Random) -> None:
        self._pace, self._conditions, self._rng = pace, conditions, rng
        self._queue: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._rung = trio.Event()
        self._ended = self._closed = self._lost = False
        self._broken: str | None = None

    def ring(self) -> None:
        """Something about the line has changed."""
        self._rung.set()
        self._rung = trio.Event()

    # ---- the serving side -------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Returns when there was room for it. Raises Gone."""
        with trio.move_on_after(WRITE_TIMEOUT_S):
            while self._bytes >= WINDOW_BYTES and not self._over:
                await self._rung.wait()
            if not self._over:
                due = self._pace.due(trio.current_time(), len(data), self._conditions(), self._rng)
                for piece in self._pieces(data):
                    self._queue.append((due, piece))
                self._bytes += len(data)
                self.ring()
                return
        raise Gone

    @property
    def _over(self) -> bool:
        reaches = not (self._lost or self._conditions().silent)
        return self._broken is not None or (self._closed and reaches)

    def _pieces(self, data: bytes) -> list[bytes]:
        """Bytes come cut anywhere."""
        if len(data) < 2 or self._rng.random() < 0.7:
            return [data]
        at = self._rng.randrange(1, len(data))
        return [data[:at], data[at:]]

    def end(self) -> None:
        """Everything was sent."""
        self._ended = True
        self.ring()

    # ---- the caller -------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        while True:
            now = trio.current_time()
            passes = not (self._lost or self._conditions().silent)
            if passes and self._queue:
                due, data = self._queue[0]
                if due <= now:
                    self._queue.popleft()
                    self._bytes -= len(data)
                    self.ring()
                    return data
                with trio.move_on_after(due - now):
                    await self._rung.wait()
                continue
            if passes and self._broken is not None:
                raise PeerUnreachable(self._broken)
            if passes and self._ended:
                raise StopAsyncIteration
            await self._rung.wait()

    def close(self) -> None:
        """The caller lets go; the serving side notices when it next sends, if that can reach it."""
        self._closed = True
        self.ring()

    # ---- what befalls it --------------------------------------------------------------------------------------------

    def lose(self) -> None:
        """The connection is forgotten on its way: no byte comes any more, and nobody is told."""
        self._lost = True
        self.ring()

    def break_off(self, why: str) -> None:
        """Both ends get an error; of what was on its way a part may still arrive, cut in the middle of a frame."""
        if self._broken is None and not self._ended:
            self._broken = why
            kept = self._rng.randrange(len(self._queue) + 1)
            while len(self._queue) > kept:
                self._queue.pop()
            if self._queue and self._rng.random() < 0.7:
                due, data = self._queue.pop()
                self._queue.append((due, data[: self._rng.randrange(len(data)) + 1]))
            self.ring()
