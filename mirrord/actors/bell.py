"""A bell says "there is more" and carries no data; whoever hears it reads from its own cursor.

Attach the ear before reading: what is rung meanwhile is then never missed. One ear may hang on many bells (a feed
serves a thousand topics): it remembers which of them rang, in the order in which they first did.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf

import trio

from .alarms import alarms
from .waking import wake


class Ear:
    """One listener's side, for one task. ``rang`` holds the tokens of the bells that rang since the last ``wait``.

    ``heeds`` is asked at each ring whether it is worth waking for; an ear without it wakes for all.
    """

    __slots__ = ("_bells", "_deadline", "_heeds", "_task", "alarm_at", "rang")

    def __init__(self, heeds: Callable[[Hashable], bool] | None = None) -> None:
        self._heeds = heeds
        self._bells: dict[tuple[Bell, Hashable], None] = {}
        self._task: trio.lowlevel.Task | None = None
        self._deadline = self.alarm_at = inf
        self.rang: dict[Hashable, None] = {}

    def hear(self, token: Hashable) -> None:
        """A bell rang (or somebody wants this listener to look)."""
        if self._heeds is None or self._heeds(token):
            self.rang[token] = None
            self._wake()

    async def wait(self) -> list[Hashable]:
        """Sleep until something rang; the tokens, each once. Has no deadline of its own: callers bring one."""
        return await self.wait_until(inf)

    async def wait_until(self, deadline: float) -> list[Hashable]:
        """The same, and nothing once trio's clock shows ``deadline``."""
        if self.rang:
            await trio.lowlevel.checkpoint()
        else:
            self._deadline = deadline
            if deadline < self.alarm_at:
                alarms().set(deadline, self)
            await self._sleep()
        return self.take()

    async def _sleep(self) -> None:
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self) -> None:
        if self._task is not None:
            wake(self._task)
            self._task = None

    def alarm(self, now: float) -> None:
        """Called by the alarms: wake, or sleep on if the deadline is another by now."""
        if self._task is None:
            return
        if self._deadline <= now:
            self._wake()
        elif self._deadline < inf:
            alarms().set(self._deadline, self)

    def take(self) -> list[Hashable]:
        """The tokens that rang since the last call, without waiting."""
        if not self.rang:
            return []
        rang, self.rang = list(self.rang), {}
        return rang

    def close(self) -> None:
        """Leave all bells, and forget the alarm."""
        for bell, token in self._bells:
            bell.forget(self, token)
        self._bells.clear()
        if self.alarm_at < inf:
            alarms().forget(self)

    def joined(self, bell: Bell, token: Hashable) -> None:
        """Remember a bell, so that ``close`` can leave it."""
        self._bells[bell, token] = None

    def left(self, bell: Bell, token: Hashable) -> None:
        """Forget a bell: an ear that outlives many bells must not keep them all."""
        self._bells.pop((bell, token), None)


class Bell:
    """Rung by its one owner, heard by any number of ears."""

    __slots__ = ("_ears",)

    def __init__(self) -> None:
        self._ears: dict[tuple[Ear, Hashable], None] = {}

    def attach(self, ear: Ear, token: Hashable = None) -> Ear:
        """From now on every ring is heard by this ear, under this token."""
        self._ears[ear, token] = None
        ear.joined(self, token)
        return ear

    def detach(self, ear: Ear, token: Hashable = None) -> None:
        """Stop hearing."""
        self.forget(ear, token)
        ear.left(self, token)

    def forget(self, ear: Ear, token: Hashable) -> None:
        """Called by an ear that leaves all its bells."""
        self._ears.pop((ear, token), None)

    def ring(self) -> None:
        """Wake every ear."""
        for ear, token in self._ears:
            ear.hear(token)

    @property
    def ears(self) -> int:
        """How many listen."""
        return len(self._ears)
