"""What a link is doing, computed from progress, and when it tries again. "Running" means moving."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec import Struct

STATES = ("connecting", "catching-up", "caught-up", "stalled", "unreachable", "refused", "halted", "paused")
STALL_S = 5.0


class Backoff(Struct):
    """Decorrelated jitter between ``least_s`` and ``most_s`` (Brooker, "Exponential Backoff and Jitter", 2015);
    any contact resets it."""

    least_s: float
    most_s: float
    last_s: float = 0.0

    def wait_s(self, rng: Random) -> float:
        """How long to wait before the next try."""
        self.last_s = min(self.most_s, rng.uniform(self.least_s, max(self.least_s, self.last_s * 3)))
        return self.last_s

    def reset(self) -> None:
        """The peer answered."""
        self.last_s = 0.0


class Facts(Struct):
    """What a link knows of itself; all else is computed. Times are monotonic seconds."""

    paused: bool = False
    refused: str | None = None
    error: str | None = None  # of the last failed try, while there is no feed
    waiting_for: str | None = None  # what an apply waits for: storage, a quota
    has_feed: bool = False
    hello: bool = False
    since: float = 0.0  # of the present condition
    progress_at: float = 0.0  # when records were last applied, or some bytes of a frame of them came
    behind_since: float = 0.0  # since when there is something to bring
    byte_at: float = 0.0
    halted: int = 0
    lag_records: int = 0
    rate: float = 0.0  # records per second, smoothed


class LinkState(Struct, frozen=True):
    """A word of STATES and what belongs to it."""

    word: str
    reason: str | None = None
    eta_s: float | None = None


def compute(facts: Facts, now: float) -> LinkState:
    """The state, from facts: never stored, so never stale."""
    if facts.paused:
        return LinkState("paused")
    if facts.refused is not None:
        return LinkState("refused", facts.refused)
    if facts.waiting_for is not None:
        return LinkState("stalled", f"waiting for {facts.waiting_for}")
    if not facts.has_feed:
        return LinkState("unreachable", facts.error) if facts.error else LinkState("connecting")
    if not facts.hello:
        return LinkState("connecting")
    if facts.lag_records <= 0:
        return LinkState("halted", f"{facts.halted} strands") if facts.halted else LinkState("caught-up")
    if now - max(facts.progress_at, facts.behind_since) > STALL_S:
        if facts.halted:
            return LinkState("halted", f"{facts.halted} strands")
        return LinkState("stalled", "waiting for the peer to send")
    return LinkState("catching-up", None, facts.lag_records / facts.rate if facts.rate > 0 else None)


class Meter(Struct):
    """Records applied, and their rate, smoothed over about two seconds."""

    records: int = 0
    bytes: int = 0
    rate: float = 0.0
    at: float = 0.0
    since_records: int = 0

    def add(self, records: int) -> None:
        """Applied just now."""
        self.records += records

    def tick(self, now: float) -> float:
        """Bring the rate up to date."""
        passed = now - self.at
        if passed >= 0.2:
            fresh = (self.records - self.since_records) / passed
            weight = min(1.0, passed / 2.0) if self.rate else 1.0
            self.rate += (fresh - self.rate) * weight
            self.at, self.since_records = now, self.records
        return self.rate


def state_json(state: LinkState) -> dict[str, Any]:
    """As ``GET /v0/links`` tells it."""
    told: dict[str, Any] = {"state": state.word}
    if state.reason:
        told["reason"] = state.reason
    if state.eta_s is not None:
        told["eta_s"] = round(state.eta_s, 1)
    return told
