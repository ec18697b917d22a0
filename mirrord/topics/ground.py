"""What all topics of a node stand on: handed in once, by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio
from msgspec import Struct

from ..clock import Clock
from ..storage.life import Life
from ..storage.store import Change, Store
from .log.shelf import Shelf
from .log.sources import Sources
from .log.turn import Sizes


class Writer(Protocol):
    """The journal, as topics see it."""

    async def commit(
        self,
        changes: Sequence[Change],
        *,
        sync: bool,
        urgent: bool,
        size: int,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Returns when the changes are committed (and synced, if asked); ``then`` is called the moment they are.
        Raises StorageFailed."""
        ...


class Ground(Struct, frozen=True):
    """Shared by all topics."""

    life: Life
    clock: Clock
    store: Store
    journal: Writer
    shelf: Shelf
    sources: Sources
    sizes: Sizes
    settled: trio.Event  # set once peers had their second to tell positions in our strands
