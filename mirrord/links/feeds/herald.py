"""What a feed tells besides records: who serves, which topics there are and where they stand, and gossip."""

from __future__ import annotations

from collections.abc import Iterable

from ...clock import Clock
from ...records.strand import Identity
from ...topics.topic import Topic
from ..board.gossip import Gossip
from ..board.sights import Sights
from ..frames import frame
from ..wire import PROTO, Head, Hello, Move, Pending, TopicInfo, Topics
from .telling import Tally, Telling

TOPICS_PER_FRAME = 32

Buffers = list[bytes | memoryview]


class Herald:
    """Of one feed. Tells each topic once, and then only what has moved."""

    def __init__(self, gossip: Gossip, sights: Sights, clock: Clock) -> None:
        self._gossip, self._sights, self._clock = gossip, sights, clock
        self._tally = Tally()
        self._tellings: dict[str, Telling] = {}
        self._numbers: dict[str, int] = {}
        self._moved: dict[str, None] = {}
        self._pending: list[Pending] = []

    def hello(self, me: Identity, topology_hash: bytes) -> Buffers:
        """The first frame."""
        now_ms, stamp = self._clock.wall_ms(), self._gossip.stamp()
        return frame(Hello(PROTO, me.name, me.origin_id, me.life, now_ms, topology_hash, len(self._tellings), stamp))

    def know(self, no: int, topic: Topic) -> None:
        """The feed has a lane for this topic now."""
        self._tellings[topic.topic] = Telling(no, topic, self._tally)
        self._numbers[topic.topic] = no

    def tell(self, names: Iterable[str], event: str) -> list[Buffers]:
        """These topics, with all their positions."""
        return _in_frames([self._tellings[name].info() for name in names], event)

    def bid_farewell(self, names: Iterable[str]) -> list[Buffers]:
        """These topics are gone."""
        infos: list[TopicInfo] = []
        for name in names:
            infos.append(self._tellings.pop(name).farewell())
            del self._numbers[name]
        return _in_frames(infos, "deleted")

    def heard(self, name: str) -> None:
        """The topic's bell rang: only such topics can have moved by the next heartbeat."""
        self._moved[name] = None

    def beat(self, most_sights: int) -> Buffers:
        """A heartbeat: what changed since the last one."""
        moved, self._moved = self._moved, {}
        tellings = [telling for name in moved if (telling := self._tellings.get(name)) is not None]
        corrections = [info for telling in tellings if (info := telling.correction()) is not None]
        moves: list[Move] = [move for telling in tellings for move in telling.moves()]
        pending = self._gossip.pending(self._numbers)
        changed, self._pending = pending != self._pending, pending
        sights = self._sights.next(most_sights)
        now_ms, digest, stamp = self._clock.wall_ms(), self._tally.digest, self._gossip.stamp()
        told = [buffer for buffers in _in_frames(corrections, "reconfigured") for buffer in buffers]
        return told + frame(Head(now_ms, digest, moves, pending if changed else None, sights, stamp))


def _in_frames(infos: list[TopicInfo], event: str) -> list[Buffers]:
    return [frame(Topics(event, infos[i : i + TOPICS_PER_FRAME])) for i in range(0, len(infos), TOPICS_PER_FRAME)]
