"""What one peer is told on one feed of how far nodes have come, as it changes: other nodes, and this one in the topics
of which the feed itself does not tell.
"""

from __future__ import annotations

from collections.abc import Callable

from ...topics.registry import Registry
from ...topics.topic import Topic
from ..wire import Sight, Stamp
from .matrix import Matrix


class Sights:
    """``stamp`` is that of this node, ``me``; ``is_untold`` knows the topics of which the feed does not tell, ``sees``
    those of which the peer may know."""

    def __init__(
        self, peer: str, me: str, registry: Registry, matrix: Matrix,
        stamp: Callable[[], Stamp], is_untold: Callable[[str], bool], sees: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._peer, self._me, self._registry, self._matrix = peer, me, registry, matrix
        self._stamp, self._is_untold, self._sees = stamp, is_untold, sees
        self._change = 0  # of the matrix: told up to there
        self._topics: dict[str, Topic] = {}
        self._told: dict[str, int] = {}  # topic: commits of it up to here were looked at
        self._moved: dict[tuple[str, int], None] = {}  # topic and strand: still to be told
        self._went = registry.went
        self._take_in(registry.names)

    def next(self, most: int) -> list[Sight]:
        """What changed since the last call; if that is more than ``most``, the rest comes with later ones."""
        own = self._own(most // 2)
        others, self._change = self._matrix.since(self._change, most - len(own), self._peer)
        return own + [sight for sight in others if self._sees(sight[1])]

    def _own(self, most: int) -> list[Sight]:
        self._look()
        now, told = self._stamp(), list[Sight]()
        for name, number in list(self._moved)[:most]:
            del self._moved[name, number]
            strand = self._topics[name].strands.get(number)
            if strand is not None and strand.durable_last:
                told.append((self._me, name, number, strand.durable_last, strand.durable_ts, now))
        return told

    def _look(self) -> None:
        registry = self._registry
        if registry.went != self._went:
            self._went = registry.went
            self._topics = {name: topic for name, topic in self._topics.items() if registry.known(name) is topic}
            self._moved = {place: None for place in self._moved if place[0] in self._topics}
        if registry.creations != self._came:
            self._take_in(registry.came_since(self._came))
        for name, topic in self._topics.items():
            told = self._told.get(name)
            if topic.ready.is_set() and topic.move_no != told:
                moved = list(topic.strands) if told is None else topic.moved_since(told)[0]
                self._moved.update(((name, number), None) for number in moved)
                self._told[name] = topic.move_no

    def _take_in(self, names: list[str]) -> None:
        self._came = self._registry.creations
        for name in names:
            topic = self._registry.known(name)
            if topic is not None and self._sees(name) and self._is_untold(name):
                self._topics[name] = topic
                self._told.pop(name, None)
