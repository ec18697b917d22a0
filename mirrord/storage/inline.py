"""The journal without a thread: the same decisions, made on the event loop, so that a simulation repeats."""

from __future__ import annotations

from contextlib import suppress

import trio

from ..clock import Clock
from ..errors import StorageFailed
from .journal import LONGEST_SLEEP_S, Journal
from .turns import Turn
from .writer import JournalSettings, WritableStore


class InlineJournal(Journal):
    """Commits in the event loop: turns that come together after one checkpoint, so that they share a commit; those
    that come alone where they were submitted."""

    def __init__(
        self,
        store: WritableStore,
        clock: Clock,
        settings: JournalSettings = JournalSettings(),  # noqa: B008 -- frozen
    ) -> None:
        super().__init__(store, clock, settings)
        self._rung = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit turns until ``aclose``. When cancelled (a crash), what waits is refused, unsynced."""
        self._running = True
        task_status.started()
        try:
            with self.rounds.counted():
                while not (self._closing and not self._writer.waiting):
                    await self._until_due()
                    if self._fault is not None:
                        raise self._fault
                    self._settle(self._writer.step())
            with suppress(StorageFailed):
                self._writer.sync()
        finally:
            self._stopped = True
            self._end()

    def _hand_over(self, turn: Turn) -> None:
        self._writer.put(turn)
        self._wake()

    def _wake(self) -> None:
        self._rung.set()

    async def _until_due(self) -> None:
        if not self._writer.waiting and not self._closing:
            now = self._clock.monotonic()
            wait_s = min(max(0.0, self._writer.deadline() - now), LONGEST_SLEEP_S)
            self._wakes_at = now + wait_s
            with trio.move_on_after(wait_s):
                await self._rung.wait()
        self._rung = trio.Event()
        await trio.lowlevel.checkpoint()
