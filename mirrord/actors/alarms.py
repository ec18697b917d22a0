"""Deadlines of those who sleep: one task for all of them.

A scope around each wait costs more than most waits are for. Here a deadline is a number in a heap, and whoever wakes
before it leaves its number there: one who sleeps to the same deadline again and again, as a feed does between two
heartbeats, sets its alarm once.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

import trio

SPARE = 64  # alarms that nobody waits for any more may lie here beside as many as are waited for


class Sleeper(Protocol):
    """Whoever is called at a time."""

    alarm_at: float  # the earliest alarm that lies here for it, seconds of trio's clock; infinite: none

    def alarm(self, now: float) -> None:
        """The time has come. It sets another alarm if it sleeps for longer by now."""
        ...


class Alarms:
    """Who is to be called when. Of a whole run, as trio's clock is."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._numbers = count()  # who set its alarm first is called first
        self._idle = 0  # how many of them are not waited for
        self._sooner = trio.Event()
        self._until = -inf  # when the task looks again by itself

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, sleeper: Sleeper) -> None:
        """Call the sleeper then, and not at the later time that it may have set before."""
        self._idle += sleeper.alarm_at < inf
        sleeper.alarm_at = at
        heappush(self._heap, (at, next(self._numbers), sleeper))
        if at < self._until:
            self._sooner.set()

    def forget(self, sleeper: Sleeper) -> None:
        """It waits for nothing any more."""
        sleeper.alarm_at = inf
        self._idle += 1
        if self._idle > SPARE and 2 * self._idle > len(self._heap):
            self._heap = list({alarm[2]: alarm for alarm in self._heap if alarm[0] == alarm[2].alarm_at}.values())
            heapify(self._heap)
            self._idle = 0

    async def live(self) -> None:
        """Call everybody in time, for ever."""
        while True:
            self._call(trio.current_time())
            self._sooner = trio.Event()
            self._until = self._heap[0][0] if self._heap else inf
            with trio.CancelScope(deadline=self._until):
                await self._sooner.wait()

    def _call(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            at, _, sleeper = heappop(self._heap)
            if sleeper.alarm_at == at:
                sleeper.alarm_at = inf
                sleeper.alarm(now)
            else:
                self._idle = max(0, self._idle - 1)


_of_run: trio.lowlevel.RunVar[Alarms] = trio.lowlevel.RunVar("alarms")


def alarms() -> Alarms:
    """Those of this run; their task begins with the first call and ends with the run."""
    try:
        return _of_run.get()
    except LookupError:
        made = Alarms()
        _of_run.set(made)
        trio.lowlevel.spawn_system_task(made.live, name="alarms")
        return made
