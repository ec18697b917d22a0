"""Which lane sends next: each gets frames in proportion to the weight of its topic, and none waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

DOUBLES = 250
"""So many points of priority double a topic's share."""


def weight_of(priority: int) -> float:
    """A topic's share beside others: 1 at priority 0, 4 at 500 (one that is read now), 16 at 1000."""
    weight: float = 2.0 ** (priority / DOUBLES)
    return weight


class Order:
    """Lanes that have something to send, by weighted turns: whoever sent a frame stands in line again behind as much of
    the others' as its weight lets pass. With equal weights they take turns. Who comes alone is not weighed.
    """

    def __init__(self, weight: Callable[[str], float]) -> None:
        self._weight = weight
        self._alone: str | None = None
        self._waiting: list[tuple[float, int, str]] = []
        self._names: set[str] = set()
        self._numbers = count()
        self._time = 0.0  # virtual: the place in line of whoever sent last

    def __bool__(self) -> bool:
        return self._alone is not None or bool(self._names)

    def add(self, name: str) -> None:
        """It has something to send. Who stands in line keeps its place."""
        if not self:
            self._alone = name
        elif name != self._alone and name not in self._names:
            if self._alone is not None:
                self._stand_in_line(self._alone)
                self._alone = None
            self._stand_in_line(name)

    def _stand_in_line(self, name: str) -> None:
        self._names.add(name)
        heappush(self._waiting, (self._time + 1 / self._weight(name), next(self._numbers), name))

    def take(self) -> str:
        """Whose turn it is. There must be one."""
        if self._alone is not None:
            name, self._alone = self._alone, None
            return name
        self._time, _, name = heappop(self._waiting)
        self._names.discard(name)
        return name
