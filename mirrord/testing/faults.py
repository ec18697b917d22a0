"""How a line between two nodes behaves: one fault model for the simulated network and for the proxy between real nodes.

Conditions are of one direction. Several faults at once are laid over each other with ``worst``.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from msgspec import Struct


class Conditions(Struct, frozen=True):
    """What bytes from one node to another meet."""

    delay_s: float = 0.0  # one way, besides what the line takes anyhow
    rate_bytes_s: float = 0.0  # 0: as fast as it can
    silent: bool = False  # bytes wait, and nobody is told
    cut: bool = False  # connections break, new ones are refused
    doubled: float = 0.0  # chance that a request arrives twice
    unanswered: float = 0.0  # chance that a request is carried out and its answer is lost


FAIR = Conditions()


def worst(conditions: Iterable[Conditions]) -> Conditions:
    """All of them at once."""
    found = FAIR
    for one in conditions:
        found = Conditions(
            delay_s=found.delay_s + one.delay_s,
            rate_bytes_s=min(filter(None, (found.rate_bytes_s, one.rate_bytes_s)), default=0.0),
            silent=found.silent or one.silent,
            cut=found.cut or one.cut,
            doubled=max(found.doubled, one.doubled),
            unanswered=max(found.unanswered, one.unanswered),
        )
    return found


class Pace(Struct):
    """When pieces that follow each other on one line arrive. Order is kept whatever the delay does."""

    latency_s: float
    jitter_s: float
    free_at: float = 0.0  # when the line has sent what was given to it
    last_due: float = 0.0

    def due(self, now: float, size: int, conditions: Conditions, rng: Random) -> float:
        """The moment at which ``size`` bytes, given to the line now, arrive."""
        self.free_at = max(now, self.free_at)
        if conditions.rate_bytes_s:
            self.free_at += size / conditions.rate_bytes_s
        wait_s = self.latency_s + conditions.delay_s + rng.expovariate(1.0) * self.jitter_s
        self.last_due = max(self.last_due, self.free_at + wait_s)
        return self.last_due


class Fault(Struct, frozen=True):
    """Something bad, from ``at`` to ``until`` (s). ``peer`` is a line's other end, ``amount`` as the kind has it."""

    at: float
    until: float
    kind: str
    node: str
    peer: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        who = f"{self.node}-{self.peer}" if self.peer else self.node
        return f"{self.kind} {who} {self.at:.2f}..{self.until:.2f} s ({self.amount:.3f})"
