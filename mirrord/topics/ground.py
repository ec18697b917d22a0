"""What all topics of a node stand on: handed in once, by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio
from msgspec import Struct, field

from ..actors.rounds import Crowd, Rounds
from ..clock import Clock
from ..storage.life import Life
from ..storage.store import Change, Store
from ..storage.turns import FIRST, Turn
from .log.shelf import Shelf
from .log.sources import Sources
from .log.turn import Sizes
from .quota import Quota


class Writer(Protocol):
    """The journal, as topics see it."""

    def take_desk(self, *, sync: bool) -> bool:
        """Whether one small turn may be committed here and now; then ``leave_desk`` must follow."""
        ...

    def leave_desk(self) -> None: ...

    def submit(self, turn: Turn) -> None:
        """Put a turn in line; with the desk taken it is settled when this returns."""
        ...

    async def commit(
        self,
        changes: Sequence[Change],
        *,
        sync: bool,
        urgent: bool,
        size: int,
        then: Callable[[], None] | None = None,
        priority: int = FIRST,
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
    asks: Crowd = field(default_factory=lambda: Crowd(Rounds()))  # what is asked of all topics, by rounds of the loop
    quota: Quota = field(default_factory=Quota)
