"""Rows under sorted keys, and a log of how to take each change back."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V")

Undo = list[tuple["Table[Any]", Any, Any]]  # table, key, what stood there (ABSENT: nothing)
ABSENT = object()


class Table(Generic[V]):
    """Keys of one table are comparable with each other: numbers, texts, or tuples of them."""

    __slots__ = ("_order", "_undo", "rows")

    def __init__(self, undo: Undo) -> None:
        self._undo = undo
        self.rows: dict[Any, V] = {}
        self._order: list[Any] = []

    def put(self, key: Any, row: V) -> None:
        """Put or replace a row."""
        old = self.rows.get(key, ABSENT)
        self._undo.append((self, key, old))
        if old is ABSENT:
            self._insert(key)
        self.rows[key] = row

    def drop(self, key: Any) -> None:
        """Take a row away; a key that is not there is fine."""
        if key in self.rows:
            self._undo.append((self, key, self.rows[key]))
            self._remove(key)

    def drop_span(self, low: Any, high: Any) -> None:
        """Take away the keys from ``low`` to before ``high``."""
        for key in list(self.span(low, high)):
            self.drop(key)

    def put_back(self, key: Any, old: Any) -> None:
        """Undo one change."""
        if old is ABSENT:
            self._remove(key)
        else:
            if key not in self.rows:
                self._insert(key)
            self.rows[key] = old

    def span(self, low: Any, high: Any = ABSENT) -> Iterator[Any]:
        """Keys in order from ``low`` on, to before ``high``. The table must not change meanwhile."""
        order = self._order
        for at in range(bisect_left(order, low), len(order)):
            if high is not ABSENT and not order[at] < high:
                return
            yield order[at]

    def before(self, key: Any) -> Any:
        """The greatest key that is less than ``key``, or None."""
        at = bisect_left(self._order, key)
        return self._order[at - 1] if at else None

    def top(self) -> Any:
        """The greatest key, or None."""
        return self._order[-1] if self._order else None

    def copy(self) -> tuple[dict[Any, V], list[Any]]:
        """The rows as they stand; they are frozen and are shared."""
        return self.rows.copy(), self._order.copy()

    def restore(self, copied: tuple[dict[Any, V], list[Any]]) -> None:
        """Be again as at ``copy``. The log of changes must be empty."""
        self.rows, self._order = copied[0].copy(), copied[1].copy()

    def _insert(self, key: Any) -> None:
        if self._order and key < self._order[-1]:
            insort(self._order, key)
        else:
            self._order.append(key)

    def _remove(self, key: Any) -> None:
        del self.rows[key]
        del self._order[bisect_left(self._order, key)]
