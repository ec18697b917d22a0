"""What waits for the journal, and what goes next: by priority, writers before links, yet nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count

import trio

from ..errors import MirrordError
from .store import Change

FIRST, LAST = 1000, -1000
PASSES_S = 0.001
"""A point of priority passes who came up to so much earlier: 500 points, half a second."""


class Turn:
    """Changes that commit together. ``size`` is about how many bytes they write.

    ``urgent`` is a writer's turn; a link's is not. ``priority`` is that of the topic, -1000 to 1000; what is
    no topic's goes before all. With ``sync`` it counts as committed once it survives power loss. Whoever gives
    the turn to the journal may wait for it; if nobody does, or the waiter is cancelled, it is committed all the
    same.
    """

    __slots__ = ("_waited_for", "came_s", "changes", "error", "priority", "settled", "size", "sync", "then", "urgent")

    def __init__(
        self,
        changes: Sequence[Change],
        *,
        sync: bool,
        urgent: bool,
        size: int,
        then: Callable[[], None] | None = None,
        priority: int = FIRST,
    ) -> None:
        self.priority = priority
        self.changes = changes
        self.sync = sync
        self.urgent = urgent
        self.size = size
        self.came_s = 0.0  # monotonic seconds; set by the journal
        self.then = then  # called at once when it is committed: whoever waits for answers is spared a task switch
        self.error: MirrordError | None = None
        self.settled = False  # committed or refused
        self._waited_for: trio.Event | None = None

    def settle(self, error: MirrordError | None) -> None:
        """Called by the journal, on the event loop, once."""
        self.error = error
        if error is None and self.then is not None:
            self.then()
        self.settled = True
        if self._waited_for is not None:
            self._waited_for.set()

    async def wait(self) -> None:
        """Until it is committed. Raises StorageFailed, DiskFull, StoreCorrupt, ShuttingDown or ActorDied.

        Has no deadline of its own: the journal settles every turn, with an error if it ends or dies.
        """
        if not self.settled:
            if self._waited_for is None:
                self._waited_for = trio.Event()
            await self._waited_for.wait()
        if self.error is not None:
            raise self.error


class TurnQueue:
    """Who came first goes first, where a point of priority counts as ``PASSES_S`` of waiting, and a link's turn as
    if it had come ``ageing_s`` later: so nobody is passed by who came later than that and the range of priorities.
    """

    def __init__(self, ageing_s: float) -> None:
        self._ageing_s = ageing_s
        self._waiting: list[tuple[float, bool, int, Turn]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, turn: Turn) -> None:
        """Stand in line."""
        rank_s = turn.came_s - turn.priority * PASSES_S + (0.0 if turn.urgent else self._ageing_s)
        heappush(self._waiting, (rank_s, not turn.urgent, next(self._numbers), turn))

    def take(self, most_bytes: int) -> list[Turn]:
        """The next turns that share a transaction: at least one, then as many as fit into ``most_bytes``."""
        taken: list[Turn] = []
        while self._waiting:
            most_bytes -= self._waiting[0][-1].size
            if most_bytes < 0 and taken:
                break
            taken.append(heappop(self._waiting)[-1])
        return taken
