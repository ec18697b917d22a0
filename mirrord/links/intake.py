"""What a feed brings, on its way from the link's reader to the topics: in order, and no more than a link may hold.

Two tasks share it: the applier (frames to the topics' mailboxes, without waiting for the commits) and the settler (what
became of them). A frame that finds nothing under way passes both by: a record that comes alone waits for no task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ..actors.mailbox import Envelope
from ..topics.messages import Applied
from .inlet import Inlet
from .wire import Chunks, CoverIs, Frame, StrandIs, StrippedIs

OUTSTANDING = 4  # applies on their way through a topic, per link
CARGO = (Chunks, CoverIs, StrandIs, StrippedIs)  # frames that keep their order; all others are for the reader

Item = tuple[str, Envelope[Any] | CoverIs | StrippedIs]  # left in a topic's mailbox, or in line behind it


class Intake:
    """Of one feed. ``settled`` hears what became of each frame of chunks."""

    def __init__(self, inlet: Inlet, room: int, settled: Callable[[Applied], None]) -> None:
        """``room``: frames that may wait for the topics to take what came before."""
        self._inlet, self._settled = inlet, settled
        self._frames_in, self._frames_out = trio.open_memory_channel[tuple[Frame, bytes]](room)
        self._applied_in, self._applied_out = trio.open_memory_channel[Item](OUTSTANDING)
        self._under_way = 0
        self.busy = False  # the reader waits for room

    async def put(self, header: Frame, body: bytes) -> bool:
        """Take a frame of CARGO; whether it had to stand in line. Raises what the topics refuse it with."""
        if not self._under_way and isinstance(header, Chunks):
            name, envelope = await self._hand_over(header, body)
            if envelope is not None and envelope.done:
                self._look_at(name, await envelope.wait())
            elif envelope is not None:
                await self._hand_on((name, envelope))
            return False
        self._under_way += 1
        self.busy = True
        await self._frames_in.send((header, body))
        self.busy = False
        return True

    async def apply(self) -> None:
        """The applier's life. Raises ProtocolViolation, and what topics refuse with."""
        async for header, body in self._frames_out:
            if isinstance(header, StrandIs):
                await self._inlet.introduce(header)
            elif isinstance(header, StrippedIs) or (isinstance(header, CoverIs) and not header.goes_on):
                await self._hand_on(("", header))  # in line: what came before it must be in the log first
            elif isinstance(header, Chunks | CoverIs):
                name, envelope = await self._hand_over(header, body)
                if envelope is not None:
                    await self._hand_on((name, envelope))
            self._under_way -= 1

    async def _hand_over(self, header: Chunks | CoverIs, body: bytes) -> tuple[str, Envelope[Any] | None]:
        topic = self._inlet.local(header.topic)
        if topic is None:
            return "", None
        if isinstance(header, CoverIs):
            return topic.topic, await self._inlet.hand_over_cover(topic, header)
        return topic.topic, await self._inlet.hand_over(topic, body, header.lacks)

    async def _hand_on(self, item: Item) -> None:
        self._under_way += 1
        await self._applied_in.send(item)

    async def settle(self) -> None:
        """The settler's life. Raises what topics refuse with."""
        async for name, item in self._applied_out:
            if isinstance(item, CoverIs):
                self._inlet.offered(item)
            elif isinstance(item, StrippedIs):
                self._inlet.stripped(item)
            else:
                self._look_at(name, await item.wait())
            self._under_way -= 1

    def _look_at(self, name: str, applied: Applied) -> None:
        self._settled(applied)
        self._inlet.applied(name, applied)
