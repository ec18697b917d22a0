"""What waits for the journal, and what goes next: writers before links, yet no link waits for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import trio

from ..errors import MirrordError
from .store import Change


class Turn:
    """Changes that commit together. ``size`` is about how many bytes they write.

    ``urgent`` is a writer's turn; a link's is not. With ``sync`` it counts as committed once it survives
    power loss. Whoever gives the turn to the journal may wait for it; if nobody does, or the waiter is
    cancelled, it is committed all the same.
    """

    __slots__ = ("_settled", "came_s", "changes", "error", "size", "sync", "then", "urgent")

    def __init__(
        self,
        changes: Sequence[Change],
        *,
        sync: bool,
        urgent: bool,
        size: int,
        then: Callable[[], None] | None = None,
    ) -> None:
        self.changes = changes
        self.sync = sync
        self.urgent = urgent
        self.size = size
        self.came_s = 0.0  # monotonic seconds; set by the journal
        self.then = then  # called at once when it is committed: whoever waits for answers is spared a task switch
        self.error: MirrordError | None = None
        self._settled = trio.Event()

    @property
    def settled(self) -> bool:
        """Whether it was committed or refused."""
        return self._settled.is_set()

    def settle(self, error: MirrordError | None) -> None:
        """Called by the journal, on the event loop, once."""
        self.error = error
        if error is None and self.then is not None:
            self.then()
        self._settled.set()

    async def wait(self) -> None:
        """Until it is committed. Raises StorageFailed, DiskFull, StoreCorrupt, ShuttingDown or ActorDied.

        Has no deadline of its own: the journal settles every turn, with an error if it ends or dies.
        """
        if not self._settled.is_set():
            await self._settled.wait()
        if self.error is not None:
            raise self.error


class TurnQueue:
    """Two lines, each first come first served; a link's turn counts as if it had come ``ageing_s`` later."""

    def __init__(self, ageing_s: float) -> None:
        self._ageing_s = ageing_s
        self._urgent: deque[Turn] = deque()
        self._patient: deque[Turn] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._patient)

    def put(self, turn: Turn) -> None:
        """Stand in line."""
        (self._urgent if turn.urgent else self._patient).append(turn)

    def take(self, most_bytes: int) -> list[Turn]:
        """The next turns that share a transaction: at least one, then as many as fit into ``most_bytes``."""
        taken: list[Turn] = []
        while (line := self._next()) is not None:
            most_bytes -= line[0].size
            if most_bytes < 0 and taken:
                break
            taken.append(line.popleft())
        return taken

    def _next(self) -> deque[Turn] | None:
        if not self._patient:
            return self._urgent or None
        if not self._urgent or self._patient[0].came_s + self._ageing_s < self._urgent[0].came_s:
            return self._patient
        return self._urgent
