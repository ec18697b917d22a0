"""A reader group: its state, and readers who share a topic's records among them."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from ..nodes import Nodes
from ..patience import Manner
from ..records.record import Tombstone
from . import call
from .call import Start
from .reader import GroupReader, Terms


class Consumer(Struct, frozen=True):
    """One consumer that holds records."""

    consumer: str
    pending: int
    first_seq: int = 0
    idle_ms: int = 0


class GroupState(Struct, frozen=True):
    """How a group stands. ``lag``: seqs behind its cursor that nobody was given yet."""

    group: str
    cursor: int
    pending: int
    lag: int
    committed_to: int = 0
    created_ms: int = 0
    consumers: tuple[Consumer, ...] = ()


class Group:
    """One group of a topic, on the client's first node: its cursor and what is pending live there.

    It begins with its first read. Every record goes to one consumer, and comes again until one has committed it.
    """

    def __init__(self, nodes: Nodes, topic: str, name: str) -> None:
        self.topic = topic
        self.name = name
        self._nodes = nodes

    def reader(
        self,
        consumer: str | None = None,
        *,
        start: Start = "earliest",
        page_records: int = 32,
        min_idle_ms: int = 60_000,
        on_gap: Callable[[Tombstone], object] | None = None,
    ) -> GroupReader:
        """One consumer of the group; use it with ``async with``.

        ``consumer`` is who holds the records (default: this process, anew each time). With a name of its own that
        outlives the process, what it left uncommitted comes first when it is back. ``start`` counts if this makes the
        group: "earliest", "latest" or a seq. What somebody holds for ``min_idle_ms`` without a commit goes to others.
        """
        who = consumer or f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        return GroupReader(self._nodes, self.topic, self.name, Terms(who, start, page_records, min_idle_ms), on_gap)

    async def state(self) -> GroupState:
        """Cursor, pending, lag. Raises GroupNotFound, TopicNotFound."""
        return (await self._nodes.ask(call.group(self.topic, self.name), Manner.HERE)).read_as(GroupState)

    async def seek(self, to: Start) -> None:
        """Go on from "earliest", "latest", or after a seq; whatever is pending is let go."""
        await self._nodes.ask(call.seek(self.topic, self.name, to=to), Manner.HERE)

    async def drop(self) -> bool:
        """Forget the group; whether there was one."""
        told: Mapping[str, Any] = (
            await self._nodes.ask(call.delete_group(self.topic, self.name), Manner.HERE)
        ).object()
        return bool(told.get("deleted"))
