"""What a feed brings, on its way from the link's reader to the topics: in order, and no more than a link may hold.

Two tasks share it: the applier (frames to the topics' mailboxes, without waiting for the commits) and the settler (what
became of them). A frame that finds nothing of its topic under way passes the line by: a record that comes alone waits
neither for a task nor for a topic in catch-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ...actors.mailbox import Envelope
from ...topics.messages import Applied
from ..wire import Chunks, CoverIs, StrandIs, StrippedIs
from .inlet import Inlet

OUTSTANDING = 2  # applies on their way, per link: one is committed while the next waits; more would be one long turn
MOST_WAITING = 1  # frames in line for the applier: more bring no speed, and whatever comes next waits behind them
CARGO = (Chunks, CoverIs, StrandIs, StrippedIs)  # frames that keep their order; all others are for the reader

Cargo = Chunks | CoverIs | StrandIs | StrippedIs
Item = tuple[int, int, str, Envelope[Any] | CoverIs | StrippedIs]
"""Topic number, bytes, topic, and what is left in its mailbox, or stands in line behind that."""


class Intake:
    """Of one feed. ``settled`` hears what became of each frame of chunks."""

    def __init__(self, inlet: Inlet, room_bytes: int, settled: Callable[[Applied], None]) -> None:
        """``room_bytes`` may be held besides a frame that is larger."""
        self._inlet, self._settled, self._room_bytes = inlet, settled, room_bytes
        self._frames_in, self._frames_out = trio.open_memory_channel[tuple[Cargo, bytes]](MOST_WAITING)
        self._applied_in, self._applied_out = trio.open_memory_channel[Item](OUTSTANDING)
        self._under_way: dict[int, int] = {}  # by topic number: frames that wait, or are not settled
        self._held_bytes = 0  # in all of them
        self._one_done = trio.Event()
        self.busy = False  # the reader waits for room

    async def put(self, header: Cargo, body: bytes) -> bool:
        """Take a frame; whether it had to stand in line. Raises what the topics refuse it with."""
        no = header.topic
        if no not in self._under_way and isinstance(header, Chunks):
            name, envelope = await self._hand_over(header, body)
            if envelope is not None and envelope.done:
                self._look_at(name, await envelope.wait())
                return False
            if envelope is None:
                return False
            self.busy = True
            self._hold(no, body)
            await self._applied_in.send((no, len(body), name, envelope))
        else:
            self.busy = True
            while self._held_bytes and self._held_bytes + len(body) > self._room_bytes:
                self._one_done = trio.Event()
                await self._one_done.wait()
            self._hold(no, body)
            await self._frames_in.send((header, body))
        self.busy = False
        return True

    async def apply(self) -> None:
        """The applier's life. Raises ProtocolViolation, and what topics refuse with."""
        async for header, body in self._frames_out:
            if isinstance(header, StrandIs):
                await self._inlet.introduce(header)
                self._done_with(header.topic, len(body))
            elif isinstance(header, StrippedIs) or (isinstance(header, CoverIs) and not header.goes_on):
                # In line: what came before it must be in the log first.
                await self._applied_in.send((header.topic, len(body), "", header))
            else:
                name, envelope = await self._hand_over(header, body)
                if envelope is not None:
                    await self._applied_in.send((header.topic, len(body), name, envelope))
                else:
                    self._done_with(header.topic, len(body))

    async def _hand_over(self, header: Chunks | CoverIs, body: bytes) -> tuple[str, Envelope[Any] | None]:
        topic = self._inlet.local(header.topic)
        if topic is None:
            return "", None
        if isinstance(header, CoverIs):
            return topic.topic, await self._inlet.hand_over_cover(topic, header)
        return topic.topic, await self._inlet.hand_over(topic, body, header.lacks)

    async def settle(self) -> None:
        """The settler's life. Raises what topics refuse with."""
        async for no, size, name, item in self._applied_out:
            if isinstance(item, CoverIs):
                self._inlet.offered(item)
            elif isinstance(item, StrippedIs):
                self._inlet.stripped(item)
            else:
                self._look_at(name, await item.wait())
            self._done_with(no, size)

    def _hold(self, no: int, body: bytes) -> None:
        self._under_way[no] = self._under_way.get(no, 0) + 1
        self._held_bytes += len(body)

    def _done_with(self, no: int, size: int) -> None:
        self._held_bytes -= size
        self._one_done.set()
        self._under_way[no] -= 1
        if not self._under_way[no]:
            del self._under_way[no]

    def _look_at(self, name: str, applied: Applied) -> None:
        self._settled(applied)
        self._inlet.applied(name, applied)
