"""What waits to be sent over a WebSocket: a few messages, and never more bytes than one watcher may hold."""

from __future__ import annotations

from collections import deque

import trio

from ....streams.dialect import MESSAGES
from ....streams.place import Batch, Place

MOST_MESSAGES = 4


class Outbox:
    """See ``streams.watcher.Outlet``. One task takes messages out with ``next`` and says when each was ``sent``."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = self._unsent = 0
        self._filled, self._emptied = trio.Event(), trio.Event()

    @property
    def full(self) -> bool:
        """Whether nothing more should be put before some of it has gone."""
        return self._unsent >= MOST_MESSAGES or self._bytes >= self._most_bytes

    def put(self, batch: Batch, _: Place) -> bool:
        """See ``Outlet``."""
        return self._add(*[event.body for event in batch.events])

    def beat(self) -> bool:
        """See ``Outlet``: the connection itself pings."""
        return not self.full

    def gone(self, name: str) -> bool:
        """See ``Outlet``."""
        return self._add(MESSAGES.deleted(name))

    async def say(self, message: bytes) -> None:
        """Put a reply when there is room for it."""
        while self.full:
            await self.drained()
        self._add(message)

    async def drained(self) -> None:
        """See ``Outlet``."""
        if self._unsent:
            await self._emptied.wait()

    async def next(self) -> bytes:
        """The next message to be sent."""
        while not self._waiting:
            await self._filled.wait()
        return self._waiting.popleft()

    def sent(self, message: bytes) -> None:
        """It went."""
        self._unsent -= 1
        self._bytes -= len(message)
        if not self._unsent:
            self._emptied.set()
            self._filled = trio.Event()

    def _add(self, *messages: bytes) -> bool:
        self._waiting.extend(messages)
        self._unsent += len(messages)
        self._bytes += sum(map(len, messages))
        if messages:
            self._filled.set()
            if self._emptied.is_set():
                self._emptied = trio.Event()
        return not self.full
