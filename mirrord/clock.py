"""Time and randomness as things that are handed in, so that a simulator can hand in its own."""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for waits and rates."""

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, as people count them. May step."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never steps. Agrees with ``trio.current_time`` in its rate."""
        ...


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)  # itself: it is asked for several times in each request

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


def system_random() -> random.Random:
    """A source of randomness that nobody seeded."""
    return random.SystemRandom()
