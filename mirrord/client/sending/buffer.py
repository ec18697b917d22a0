"""What waits to be sent, and which of it goes next. Pure: it never waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from msgspec import Struct

from ...errors import InvalidRequest
from .receipt import Receipt


class Bounds(Struct, frozen=True):
    """How much goes at once, and how much may wait. A single record may be larger than the bounds in bytes."""

    linger_ms: float = 5.0
    """How long the first record waits for company."""
    batch_records: int = 1000
    batch_bytes: int = 1 << 20
    waiting_records: int = 10_000
    waiting_bytes: int = 16 << 20

    def checked(self) -> Bounds:
        """These bounds, if one can work within them. Raises InvalidRequest."""
        if self.linger_ms < 0:
            raise InvalidRequest("linger_ms is 0 or more")
        for name in ("batch_records", "batch_bytes", "waiting_records", "waiting_bytes"):
            if getattr(self, name) < 1:
                raise InvalidRequest(f"{name} is 1 or more")
        return self


class Waiting(Struct, frozen=True):
    """A record as its body will have it, and who wants to know of it."""

    text: bytes
    receipt: Receipt
    packed: bool = False
    """``text`` is msgpack, not JSON: no batch has both."""


class Buffer:
    """Records in the order in which they were sent, within bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, size: int) -> bool:
        """Whether a record of so many bytes may come in now. An empty buffer takes any."""
        fits = len(self) < self._bounds.waiting_records and self._bytes + size <= self._bounds.waiting_bytes
        return fits or not self._waiting

    def add(self, record: Waiting) -> None:
        """One more, behind all others."""
        self._waiting.append(record)
        self._bytes += len(record.text)

    @property
    def full_batch(self) -> bool:
        """Whether there is no use in waiting for company."""
        return len(self) >= self._bounds.batch_records or self._bytes >= self._bounds.batch_bytes

    def take(self) -> list[Waiting]:
        """The next batch: the first records, at least one."""
        count = size = 0
        for record in islice(self._waiting, self._bounds.batch_records):
            size += len(record.text)
            if count and (size > self._bounds.batch_bytes or record.packed != self._waiting[0].packed):
                break
            count += 1
        taken = [self._waiting.popleft() for _ in range(count)]
        self._bytes -= sum(len(record.text) for record in taken)
        return taken

    def take_all(self) -> list[Waiting]:
        """Everything."""
        taken, self._bytes = list(self._waiting), 0
        self._waiting.clear()
        return taken


def halves(batch: Sequence[Waiting]) -> tuple[Sequence[Waiting], Sequence[Waiting]]:
    """A refused batch as two: somewhere in it is the record that the node does not want."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
