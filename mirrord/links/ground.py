"""What all links of a node stand on: handed in once, by the switchboard."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..clock import Clock
from ..config.topic import TopicConfig
from ..storage.life import Life
from ..topics.registry import Registry
from .board.board import Board
from .board.covers import Witness
from .board.gossip import Gossip


class Ground(Struct, frozen=True):
    """Shared by the links of a node."""

    cluster: str
    topology_hash: bytes
    life: Life
    clock: Clock
    registry: Registry
    board: Board
    gossip: Gossip
    declared: Callable[[str, TopicConfig], TopicConfig]  # the file's settings for a topic, over a peer's
    rewound: Callable[[str], None]
    worth_waiting: Callable[[str, int, int, Witness], bool]
