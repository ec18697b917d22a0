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
from .wire import Sight, Stamp


class Ground(Struct, frozen=True):
    """Shared by the links of a node."""

    cluster: str
    topology_hash: bytes
    life: Life
    clock: Clock
    registry: Registry
    board: Board
    declared: Callable[[str, TopicConfig], TopicConfig]  # the file's settings for a topic, over a peer's
    rewound: Callable[[str], None]
    sees: Callable[[str, str, int, int, int, Stamp], object]
    take_sights: Callable[[list[Sight]], None]
    sights_for: Callable[[str, int], tuple[list[Sight], int]]  # for a peer that does not pull from us
    worth_waiting: Callable[[str, int, int, Witness], bool]
