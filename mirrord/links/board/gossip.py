"""What goes round of how far nodes have come: with heartbeats to whoever pulls from this node, to others that it pulls
from with the changes of their feeds. So every node knows of every other one, over one-way links too.
"""

from __future__ import annotations

from collections.abc import Callable

from ...clock import Clock
from ...config.model import Config
from ...config.topology import links_of, pulled_by
from ...storage.life import Life
from ...topics.registry import Registry
from ..wire import Pending, Sight, Stamp
from .board import Board
from .matrix import Matrix
from .sights import Sights


class Gossip:
    """Of one node."""

    def __init__(self, config: Config, life: Life, clock: Clock, registry: Registry, board: Board) -> None:
        self._life, self._clock, self._registry, self._board = life, clock, registry, board
        self._started_at = clock.monotonic()
        self._nodes = frozenset(config.nodes)
        self._taken = {
            puller: plan.wants
            for puller in pulled_by(config, life.name)
            for plan in links_of(config, puller)
            if plan.peer == life.name
        }
        self.matrix = Matrix(life.name)

    def stamp(self) -> Stamp:
        """Orders what others see of this node: grows over kill -9 and clock steps, and a node that was wiped or put
        back was born later."""
        record = self._life.record
        return record.born_ms, record.starts, int(1000 * (self._clock.monotonic() - self._started_at))

    def saw(self, sights: list[Sight]) -> None:
        """What a peer told of nodes, itself included."""
        self.matrix.take(sights, self._nodes)

    def pending(self, lanes: dict[str, int]) -> list[Pending]:
        """Covers that this node holds back, for the topics of a feed."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for _, topic, offer in self._board.offers():
            if topic in lanes:
                found[topic, offer.cover.strand] = (offer.cover.first, offer.cover.last)
        return [(lanes[topic], strand, first, last) for (topic, strand), (first, last) in sorted(found.items())]

    def pulls(self, peer: str) -> bool:
        """Whether the peer pulls from this node, so that it hears heartbeats."""
        return peer in self._taken

    def sights(self, peer: str, sees: Callable[[str], bool]) -> Sights:
        """What the peer is to be told on one feed, from the beginning: it may have forgotten what it was told before.
        ``sees``: whether it may know of a topic of this name."""
        return Sights(
            peer, self._life.name, self._registry, self.matrix, self.stamp,
            lambda topic: self._is_untold(peer, topic), sees,
        )  # fmt: skip

    def _is_untold(self, peer: str, topic: str) -> bool:
        """Whether links carry the topic, and none from here to the peer: that one would tell where this node stands."""
        brought = any(line.wants(topic) for line in self._board.lines.values())
        return not self._takes(peer, topic) and (brought or any(self._takes(puller, topic) for puller in self._taken))

    def _takes(self, puller: str, topic: str) -> bool:
        return any(want.local_name(topic) is not None for want in self._taken.get(puller, ()))
