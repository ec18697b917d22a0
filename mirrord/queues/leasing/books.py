"""What the foreman and the settler of a queue share: records, leases, streams, the time, and what is to be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from ...config.topic import DEFAULT, TopicConfig
from ...errors import MirrordError
from ...storage.store import Change
from .crew import Crew
from .leases import Lease, Leases
from .marks import Marks
from .stock import Stock


class Moment(Struct, frozen=True):
    """Now: on the clock that never steps (leases go by it), and as people count (answers and marks tell it)."""

    ms: int
    wall_ms: int

    def wall(self, ms: int) -> int:
        """A moment of the steady clock, as people count now."""
        return self.wall_ms + ms - self.ms


class Pending(Struct, frozen=True):
    """What must be committed before somebody is answered: seqs to be erased, and marks with them."""

    seqs: tuple[int, ...]
    changes: tuple[Change, ...]
    then: Callable[[frozenset[int]], None]  # the commit stands; which of the seqs were live until then
    refused: Callable[[MirrordError], None]


class Books:
    """Of one queue and log. ``live`` tells how many records the topic holds; ``removed`` is how many that had gone from
    it are accounted for."""

    def __init__(
        self, stock: Stock, marks: Marks, leases: Leases, live: Callable[[], int], most_jitter_ms: int,
        log_id: str, removed: int,
    ) -> None:  # fmt: skip
        self.stock, self.marks, self.leases, self._live = stock, marks, leases, live
        self._most_jitter_ms = most_jitter_ms
        self.log_id, self.removed = log_id, removed
        self.crew = Crew()
        self.now = Moment(0, 0)
        self.config: TopicConfig = DEFAULT
        self.dead_lettered = 0
        self.pending: list[Pending] = []

    @property
    def ready(self) -> int:
        """Records that may be claimed now."""
        return self.leases.ready(self._live())

    @property
    def in_flight(self) -> int:
        """Records that somebody holds."""
        return len(self.leases.held) + sum(bool(lease.number) for lease in self.leases.leaving.values())

    @property
    def jitter_ms(self) -> int:
        """For how long claims gather."""
        return min(self.config.claim_jitter_ms, self._most_jitter_ms)

    def elapse(self) -> None:
        """End leases and delays whose time is over."""
        self.crew.ended(self.leases.elapse(self.now.ms))

    def purge(self) -> None:
        """Records went from the topic otherwise than by this queue."""
        ended, forgotten = self.leases.purge(self.stock)
        self.crew.ended(ended)
        seqs = [*(lease.seq for lease in ended), *forgotten]
        self.keep(self.marks.no_leases(seqs), nobody_waits, nobody_waits)

    def keep(
        self, changes: Iterable[Change], tell: Callable[[object], None], refused: Callable[[MirrordError], None]
    ) -> None:
        """Have marks of durable leases committed before anybody is told; without such marks tell at once."""
        kept = tuple(changes) if self.config.leases_durable else ()
        if kept:
            self.pending.append(Pending((), kept, tell, refused))
        else:
            tell(None)

    def mark_of_ended(self, lease: Lease, due_ms: int = 0) -> Change:
        """What outlives a restart of a lease that ended: how often the record was delivered, and its delay."""
        left = Lease(lease.seq, "", 0, 0, lease.deliveries)
        return self.marks.lease(left, self.now.wall(due_ms) if due_ms else 0)


def nobody_waits(_: object) -> None:
    """Nobody asked for it, so nobody is answered; what it leaves behind ends by itself in time."""
