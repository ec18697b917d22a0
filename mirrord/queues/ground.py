"""What all queues of a node stand on: handed in once, by the composition root."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..clock import Clock
from ..storage.life import Life
from ..topics.registry import Registry
from ..topics.topic import Topic


class Ground(Struct, frozen=True):
    """Shared by the queues of a node."""

    node: str
    nodes: frozenset[str]  # of the configuration
    life: Life
    clock: Clock
    registry: Registry
    most_leases: int  # records that one queue remembers
    most_jitter_ms: int  # claims gather for no longer, whatever the topic says
    room: int  # of a mailbox
    mirrored: Callable[[str], bool]  # whether settlements must travel: a link names the topic
    unsure: Callable[[str], bool]  # whether peers may still bring settlements that this node lost


def home_of(topic: Topic, here: str) -> str:
    """The node that grants the leases of a queue: the one that the configuration names, else the one that created the
    topic; ``here`` when nobody told who did."""
    return topic.config.home or topic.about.creator or here
