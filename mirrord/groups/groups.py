"""All groups of a node: which topics have somebody who keeps them now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..actors.supervisor import Supervisor
from ..clock import Clock
from ..topics.registry import Registry
from .keeper import TopicGroups
from .messages import Message
from .turn import Bounds


class Groups:
    """``ask`` is the door; a topic's keeper is born at its first use and ends when it is not used."""

    def __init__(self, registry: Registry, supervisor: Supervisor, clock: Clock, bounds: Bounds, room: int) -> None:
        self._registry, self._supervisor, self._clock = registry, supervisor, clock
        self._bounds, self._room = bounds, room
        self._keepers: dict[str, TopicGroups] = {}

    async def ask(self, topic: str, message: Message) -> Any:
        """Have a message decided. Raises TopicNotFound, GroupNotFound, InvalidRequest, Throttled, StorageFailed."""
        return await (await self._keeper(topic)).mailbox.ask(message)

    async def _keeper(self, name: str) -> TopicGroups:
        topic = await self._registry.find(name)
        keeper = self._keepers.get(name)
        if keeper is not None and keeper.topic is not topic:  # forgotten, and made anew
            await self._supervisor.end(keeper.name)
            self._left(keeper)
            keeper = self._keepers.get(name)
        if keeper is None:
            keeper = TopicGroups(topic, self._clock, self._bounds, self._room, self._left)
            self._keepers[name] = keeper
            self._supervisor.keep(keeper)
        return keeper

    def _left(self, keeper: TopicGroups) -> None:
        if self._keepers.get(keeper.topic.topic) is keeper:
            del self._keepers[keeper.topic.topic]

    def __iter__(self) -> Iterator[TopicGroups]:
        return iter([keeper for _, keeper in sorted(self._keepers.items())])

    def statistics(self) -> list[dict[str, Any]]:
        """Groups that were used lately, for metrics: what they were not given yet, and what is pending."""
        return [
            {"topic": keeper.topic.topic, "group": name, "lag": lag, "pending": pending}
            for keeper in self
            for name, lag, pending in keeper.lags()
        ]
