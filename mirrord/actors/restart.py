"""When a dead actor may live again: arithmetic over deaths. Five deaths a minute are too many."""

from __future__ import annotations

from random import Random

from msgspec import Struct, field


class RestartPolicy(Struct):
    """Waits grow from ``first_wait_s`` to ``longest_wait_s``, doubled at each death within ``within_s``."""

    most: int = 5
    within_s: float = 60.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 10.0
    deaths: list[float] = field(default_factory=list)

    def died(self, now: float, rng: Random) -> float:
        """Take note of a death at ``now`` (monotonic seconds); how many seconds to wait before the next life."""
        self.deaths = [t for t in self.deaths if now - t < self.within_s] + [now]
        wait = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(len(self.deaths) - 1, 20))
        return wait * rng.uniform(0.5, 1.0)

    def too_often(self, now: float) -> bool:
        """Whether the node must say that it is not ready because of this actor."""
        return sum(now - t < self.within_s for t in self.deaths) >= self.most
