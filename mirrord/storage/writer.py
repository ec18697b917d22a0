"""The one writer's decisions: which turns share a transaction, when to sync, what a failure means for whom.

It holds no thread and no loop: ``journal.py`` drives it from a thread, ``inline.py`` from the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol

from msgspec import Struct

from ..clock import Clock
from ..errors import DiskFull, MirrordError, StorageFailed, StoreCorrupt
from .store import Store
from .turns import Turn, TurnQueue


class WritableStore(Store, Protocol):
    """What a store offers to its one writer, besides the promise."""

    @property
    def failed(self) -> bool:
        """Whether commits are refused until ``heal`` succeeds."""
        ...

    @property
    def state(self) -> str:
        """``ok``, ``full`` or ``failed``."""
        ...

    @property
    def wal_bytes(self) -> int:
        """How much of the write-ahead log is in use."""
        ...

    def heal(self) -> None:
        """Try to leave the state ``failed``. Raises StorageFailed."""
        ...

    @property
    def log_work_due(self) -> bool:
        """Whether the next commit may have to wait for the disk, to begin the write-ahead log anew."""
        ...

    def tidy(self, *, idle: bool = True) -> bool:
        """A small step of idle work; what only helps the next start is left for when the store is really ``idle``.
        Whether more may wait."""
        ...


class JournalSettings(Struct, frozen=True):
    """How the journal groups and syncs. Seconds are those of the clock that it is given."""

    transaction_bytes: int = 4 << 20  # one transaction writes at most this, or one turn
    disk_sync_ms: int = 1_000  # at the latest so long after a commit without sync, one with sync follows
    ageing_ms: int = 20  # a link's turn lets writers' turns pass that came up to so much later
    waiting_bytes: int = 64 << 20  # what may wait; more is refused
    tidy_ms: int = 100  # under load a step of idle work is made so often; ten times as long without a turn is idle
    first_wait_ms: int = 50  # before the first attempt to heal a failed store; doubled at each failure
    longest_wait_ms: int = 5_000


class Tally(Struct):
    """What the writer has done so far."""

    commits: int = 0
    syncs: int = 0
    turns: int = 0
    bytes: int = 0
    failures: int = 0
    commit_s: float = 0.0  # time in all commits
    last_commit_ms: float = 0.0
    fsync_s: float = 0.0  # time in all commits with a sync
    fsync_ms: float = 0.0  # of commits with a sync, smoothed over about ten


Outcome = tuple[Turn, MirrordError | None]


class Writer:
    """All methods belong to one thread, except that ``tally`` may be read from anywhere."""

    def __init__(self, store: WritableStore, clock: Clock, settings: JournalSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._sync_s, self._pause_s = settings.disk_sync_ms / 1e3, settings.tidy_ms / 1e3
        self._queue = TurnQueue(settings.ageing_ms / 1e3)
        self._sync_at = inf  # when what was committed without a sync must have one
        self._heal_at: float | None = None
        self._trouble = StorageFailed  # or DiskFull: what healing failed of
        self._heal_wait_s = settings.first_wait_ms / 1e3
        self._tidy_at = inf
        self._last_turn_at = -inf
        self.tally = Tally()

    def put(self, turn: Turn) -> None:
        """A turn has come."""
        self._queue.put(turn)

    @property
    def waiting(self) -> int:
        """Turns that were put and not yet taken."""
        return len(self._queue)

    def deadline(self) -> float:
        """When ``step`` must be called even if no turn comes (monotonic seconds, perhaps infinite)."""
        if self._store.failed:
            return self._heal_at or 0.0  # nothing else is possible before
        sync_at, tidy_at = self._sync_at, self._tidy_at
        return sync_at if sync_at < tidy_at else tidy_at

    def alone(self, turn: Turn) -> MirrordError | None:
        """Commit a turn that came while nothing waits and nothing is due; what it is refused with, if it is."""
        error = self._attempt((turn,), turn.sync)
        self._last_turn_at = came_s = turn.came_s
        if self._tidy_at > came_s + self._pause_s:
            self._tidy_at = came_s + self._pause_s
        return error

    def step(self) -> list[Outcome]:
        """Commit one group if turns wait; else what is due: healing, the sync, or idle work."""
        now = self._clock.monotonic()
        if self._store.failed and not self._heal(now):
            return [(turn, self._refusal(now)) for turn in self._queue.take(self._settings.waiting_bytes)]
        sync_due = self._sync_at <= now
        group = self._queue.take(self._settings.transaction_bytes)
        outcomes = self._commit(group, sync_due) if group or sync_due else []
        if sync_due and self._sync_at <= now:
            self._sync_at = now + self._sync_s  # it failed: again when as much time has passed
        self._tidy_if_due(now, busy=bool(group))
        return outcomes

    def sync(self) -> None:
        """Make everything committed so far survive power loss. Raises StorageFailed."""
        self._store.heal()
        if self._sync_at < inf:
            self._attempt([], sync=True)

    def _heal(self, now: float) -> bool:
        """Try if it is time; waits grow while it fails. Whether the store works."""
        if self._heal_at is None:
            self._heal_at, self._trouble = now + self._heal_wait_s, StorageFailed
        if now < self._heal_at:
            return False
        try:
            self._store.heal()
        except StorageFailed as error:
            self._trouble = type(error)
            self._heal_wait_s = min(2 * self._heal_wait_s, self._settings.longest_wait_ms / 1e3)
            self._heal_at = now + self._heal_wait_s
            return False
        self._heal_at = None
        self._heal_wait_s = self._settings.first_wait_ms / 1e3
        return True

    def _refusal(self, now: float) -> StorageFailed:
        wait_s = max(0.0, (self._heal_at or now) - now)
        return self._trouble("the disk refused a commit and has not recovered yet", retry_after_s=wait_s)

    def _commit(self, group: list[Turn], sync_due: bool) -> list[Outcome]:
        """The whole group at once; singly if one alone may be at fault, or may pass on a full disk."""
        sync = sync_due or any(turn.sync for turn in group)
        error = self._attempt(group, sync)
        if len(group) > 1 and isinstance(error, StoreCorrupt | DiskFull):
            return [(turn, self._attempt([turn], sync)) for turn in group]
        return [(turn, error) for turn in group]

    def _attempt(self, group: Sequence[Turn], sync: bool) -> MirrordError | None:
        begin = self._clock.monotonic()
        try:
            alone = len(group) == 1
            changes = group[0].changes if alone else [change for turn in group for change in turn.changes]
            self._store.commit(changes, sync=sync)
        except (StorageFailed, StoreCorrupt) as error:
            self.tally.failures += 1
            return error
        self._count(group, sync, begin, self._clock.monotonic())
        return None

    def _count(self, group: Sequence[Turn], sync: bool, begin: float, end: float) -> None:
        tally, took_s = self.tally, end - begin
        tally.commits += 1
        tally.turns += len(group)
        for turn in group:
            tally.bytes += turn.size
        tally.commit_s += took_s
        tally.last_commit_ms = took_s * 1e3
        if sync:
            tally.syncs += 1
            tally.fsync_s += took_s
            tally.fsync_ms += (tally.last_commit_ms - tally.fsync_ms) / min(tally.syncs, 10)
            self._sync_at = inf
        elif self._sync_at == inf:
            self._sync_at = end + self._sync_s

    def _tidy_if_due(self, now: float, *, busy: bool) -> None:
        """Under load a step now and then; when the store is idle step by step, until nothing is left."""
        pause_s = self._pause_s
        if busy:
            self._last_turn_at = now
            if self._tidy_at > now + pause_s:
                self._tidy_at = now + pause_s
        if now < self._tidy_at:
            return
        idle_at = self._last_turn_at + 10 * pause_s
        if self._store.tidy(idle=now >= idle_at):
            self._tidy_at = now if now >= idle_at else now + pause_s
        else:
            self._tidy_at = inf if now >= idle_at else idle_at
