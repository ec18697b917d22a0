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
    """Commits in the event loop, after one checkpoint, so that turns that come together share a commit."""

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
            while not (self._closing and not self._writer.waiting):
                await self._until_due()
                self._settle(self._writer.step())
            with suppress(StorageFailed):
                self._writer.sync()
        finally:
            self._stopped = True
            self._end()

    def take_desk(self, *, sync: bool) -> bool:  # noqa: ARG002 -- as in Journal
        """Never: in a simulation every commit is made by ``run``, where it may be killed."""
        return False

    def _hand_over(self, turn: Turn) -> None:
        self._writer.put(turn)
        self._wake()

    def _wake(self) -> None:
        self._rung.set()

    async def _until_due(self) -> None:
        if not self._writer.waiting and not self._closing:
            wait_s = max(0.0, self._writer.deadline() - self._clock.monotonic())
            with trio.move_on_after(min(wait_s, LONGEST_SLEEP_S)):
                await self._rung.wait()
        self._rung = trio.Event()
        await trio.lowlevel.checkpoint()
