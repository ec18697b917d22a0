"""The one writer of a node: what waits, of all topics, shares one transaction and at most one sync.

Turns go to a thread of its own by a queue and come back by an eventfd. That hop costs several times what SQLite needs
for a small commit without a sync, so while nothing else is open and nothing is due such a turn is committed at once, on
the event loop (decision 0022): a lone writer pays no hop, and many still share commits.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue

import trio
from msgspec import Struct

from ..actors.rounds import Crowd, Rounds
from ..clock import Clock
from ..errors import ActorDied, MirrordError, ShuttingDown, StorageFailed, Throttled
from .store import Change
from .turns import FIRST, LAST, Turn
from .writer import JournalSettings, Outcome, WritableStore, Writer

LONGEST_SLEEP_S = 60.0
SETTLED_AT_ONCE = 16  # turns whose waiters and readers are woken together; the next ones follow them, by priority
AT_ONCE_BYTES = 48 << 10  # what may be written on the event loop: some 100 us
QUICK_SYNC_MS = 0.5  # a disk whose syncs take less is waited for on the event loop too
SLOW_MS = 5.0  # a commit that took longer on the event loop: the disk is busy, so the thread waits for it instead
SLOW_SHARE = 20  # so the event loop stands still for at most about a twentieth of the time


class JournalStatistics(Struct, frozen=True):
    """Numbers for metrics and status."""

    state: str  # ok, full (only deletes are let in) or failed (nothing is)
    waiting: int  # turns that are not yet settled
    waiting_bytes: int
    commits: int
    syncs: int
    turns: int
    bytes: int
    failures: int
    last_commit_ms: float
    mean_commit_ms: float
    fsync_ms: float  # of commits with a sync, smoothed
    fsync_s: float  # in all of them
    waiting_peak: int  # most turns that ever waited at once
    throttled: int  # turns refused because too many bytes waited
    wal_bytes: int


class Journal:
    """Give it turns; ``run`` must be running, once, for them to be committed."""

    def __init__(
        self,
        store: WritableStore,
        clock: Clock,
        settings: JournalSettings = JournalSettings(),  # noqa: B008 -- frozen
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._writer = Writer(store, clock, settings)
        self._open: dict[Turn, None] = {}
        self._open_bytes = 0
        self._waiting_peak = self._throttled = 0
        self._closing = False  # nothing new is taken
        self._running = False
        self._over = trio.Event()
        self._inbox: SimpleQueue[Turn | None] = SimpleQueue()
        self._outbox: deque[list[Outcome]] = deque()
        self._stopped = False  # the thread leaves at once
        self._desk = threading.Lock()  # whoever holds it is the writer: the thread, or for one commit the event loop
        self._wakes_at = 0.0  # monotonic seconds: when the thread looks by itself whether something is due
        self._at_once_from = 0.0
        self._at_desk = False
        self._fault: BaseException | None = None  # what a commit on the event loop died of
        self._bell = -1
        self.rounds = Rounds()  # of the event loop, counted while ``run`` runs
        self._crowd = Crowd(self.rounds)

    def submit(self, turn: Turn) -> None:
        """Put a turn in line; it is committed whether or not anybody waits for it.

        Raises ShuttingDown, or Throttled when too many bytes wait.
        """
        if self._closing:
            raise ShuttingDown("the journal is closed")
        if turn.size and self._open and self._open_bytes + turn.size > self._settings.waiting_bytes:
            self._throttled += 1
            raise Throttled("the disk cannot keep up; try again", retry_after_s=1.0)
        turn.came_s = self._clock.monotonic()
        # Turns of many topics in one round share a transaction, on the thread: better than one after the other here.
        if self._at_desk:
            self._commit_here(turn)
        elif self._crowd.lone() and turn.size <= AT_ONCE_BYTES and self.take_desk(sync=turn.sync):
            try:
                self._commit_here(turn)
            finally:
                self.leave_desk()
        else:
            self._open[turn] = None
            self._open_bytes += turn.size
            self._waiting_peak = max(self._waiting_peak, len(self._open))
            self._hand_over(turn)

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
        """Submit a turn and wait until it is committed; cancelling the wait does not take it back. No checkpoint when
        it was committed at once.

        ``then`` is called the moment it is. Raises as ``submit`` and ``Turn.wait`` do.
        """
        turn = Turn(changes, sync=sync, urgent=urgent, size=size, then=then, priority=priority)
        self.submit(turn)
        await turn.wait()

    def take_desk(self, *, sync: bool) -> bool:
        """Be the writer for one small turn that is decided and submitted before anything else runs, if the writer has
        nothing to do: then ``submit`` commits it at once, and ``leave_desk`` must follow. ``sync``: it asks for one."""
        writer, now = self._writer, self._clock.monotonic()
        if self._open or now < self._at_once_from or not self._running or self._stopped:
            return False
        if sync and not 0.0 < writer.tally.fsync_ms < QUICK_SYNC_MS:
            return False
        if not self._desk.acquire(blocking=False):
            return False
        if self._store.failed or self._store.log_work_due or writer.deadline() <= now:
            self._desk.release()
            return False
        self._at_desk = True
        return True

    def leave_desk(self) -> None:
        """Somebody else may write."""
        self._at_desk = False
        self._desk.release()
        if self._writer.deadline() < self._wakes_at:
            self._wake()  # the thread sleeps longer than what is due now may wait

    async def flush(self) -> None:
        """Everything submitted so far is committed and survives power loss. Raises StorageFailed."""
        await self.commit((), sync=True, urgent=False, size=0, priority=LAST)

    async def aclose(self) -> None:
        """Take nothing new, commit what waits, sync, and end ``run``."""
        self._closing = True
        if self._running:
            self._wake()
            await self._over.wait()

    def statistics(self) -> JournalStatistics:
        """What it has done, and what waits."""
        tally = self._writer.tally
        return JournalStatistics(
            state=self._store.state,
            waiting=len(self._open),
            waiting_bytes=self._open_bytes,
            commits=tally.commits,
            syncs=tally.syncs,
            turns=tally.turns,
            bytes=tally.bytes,
            failures=tally.failures,
            last_commit_ms=tally.last_commit_ms,
            mean_commit_ms=1e3 * tally.commit_s / max(tally.commits, 1),
            fsync_ms=tally.fsync_ms,
            fsync_s=tally.fsync_s,
            waiting_peak=self._waiting_peak,
            throttled=self._throttled,
            wal_bytes=self._store.wal_bytes,
        )

    @property
    def fsync_ms(self) -> float:
        """How long a commit with a sync takes, smoothed."""
        return self._writer.tally.fsync_ms

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit turns until ``aclose``. When cancelled, the group in hand is the last one."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._running = True
        try:
            with self.rounds.counted():
                await self._run(task_status)
        finally:
            self._end()
            os.close(self._bell)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._thread)
            task_status.started()
            try:
                await self._answer()
            finally:
                self._stopped = True
                self._wake()

    def _hand_over(self, turn: Turn) -> None:
        self._inbox.put(turn)

    def _commit_here(self, turn: Turn) -> None:
        """On the event loop, with the desk taken. A fault of our own ends the journal here as it does on the thread."""
        over = False
        try:
            error = self._writer.alone(turn)
            over = True
        finally:
            if not over:
                self._fault, self._stopped = sys.exc_info()[1], True
                self._wake()
                turn.settle(ActorDied())
        turn.settle(error)
        if (took_ms := self._writer.tally.last_commit_ms) > SLOW_MS:
            self._at_once_from = turn.came_s + SLOW_SHARE * took_ms / 1e3

    def _wake(self) -> None:
        self._inbox.put(None)

    def _settle(self, outcomes: list[Outcome]) -> None:
        for turn, error in outcomes:
            del self._open[turn]
            self._open_bytes -= turn.size
            turn.settle(error)

    def _end(self) -> None:
        """Nobody may wait for an ended journal."""
        while self._outbox:
            self._settle(self._outbox.popleft())
        error: MirrordError = ShuttingDown() if self._closing or self._stopped else ActorDied()
        self._closing = True
        self._running = False
        self._settle([(turn, error) for turn in self._open])
        self._over.set()

    async def _answer(self) -> None:
        """Settle what the thread has done, until it has ended."""
        while self._running:
            await trio.lowlevel.wait_readable(self._bell)
            os.eventfd_read(self._bell)
            while self._outbox:
                outcomes = self._outbox.popleft()
                if len(outcomes) > SETTLED_AT_ONCE:
                    self._outbox.appendleft(outcomes[SETTLED_AT_ONCE:])
                self._settle(outcomes[:SETTLED_AT_ONCE])
                if self._outbox:
                    await trio.lowlevel.checkpoint()  # whom the first ones wake goes before the last ones are told

    async def _thread(self) -> None:
        """What the thread raises comes out of ``run``, which it never outlives: it cannot be abandoned."""
        limiter = trio.CapacityLimiter(1)
        await trio.to_thread.run_sync(self._work, thread_name="mirrord journal", limiter=limiter)
        self._running = False
        os.eventfd_write(self._bell, 1)
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        while not self._stopped:
            closing = self._closing  # what was submitted before is seen by the next line
            self._gather(patient=not closing)
            if closing and not self._writer.waiting:
                with suppress(StorageFailed):  # then what was not synced stays so, as after kill -9
                    self._writer.sync()
                return
            with self._desk:
                outcomes = self._writer.step()
            if outcomes:
                self._outbox.append(outcomes)
                os.eventfd_write(self._bell, 1)

    def _gather(self, *, patient: bool) -> None:
        """Sleep, if ``patient``, until a turn comes or something is due; then take in all that has come."""
        wait_s = 0.0
        if patient and not self._writer.waiting:
            self._wakes_at = inf  # until it is known: what is committed on the event loop meanwhile wakes it
            now = self._clock.monotonic()
            wait_s = min(max(0.0, self._writer.deadline() - now), LONGEST_SLEEP_S)
            self._wakes_at = now + wait_s
        with suppress(Empty):
            turn = self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait()
            while True:
                if turn is not None:
                    self._writer.put(turn)
                turn = self._inbox.get_nowait()
