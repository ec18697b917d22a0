"""What all routers of a node stand on: handed in once, by the composition root."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..clock import Clock
from ..storage.life import Life
from ..storage.store import Store
from ..topics.ground import Writer
from ..topics.registry import Registry


class Ground(Struct, frozen=True):
    """Shared by the routers of a node."""

    life: Life
    clock: Clock
    store: Store
    journal: Writer
    registry: Registry
    holders: Callable[[str, bool], list[str]]
    """Nodes from which what earlier lives of this node wrote to a topic may still come: peers that tell more of it than
    is here, and in a new life also whoever was not heard yet, near or far, as long as links are patient."""
    patience_s: float  # how long they are waited for at most
    most_hops: int  # topics that a record may go through before that is an alarm
