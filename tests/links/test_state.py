"""What a link says of itself: computed from progress, never stored."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from mirrord.links.state import STATES, Backoff, Facts, Meter, compute

NOW = 1000.0
FLOWING: dict[str, Any] = {"has_feed": True, "hello": True}
TABLE: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "connecting", None),
    ({"has_feed": True}, "connecting", None),
    ({"error": "connection refused"}, "unreachable", "connection refused"),
    ({"refused": "wrong-cluster", "error": "no"}, "refused", "wrong-cluster"),
    ({"paused": True, "refused": "x", "error": "y"}, "paused", None),
    ({"waiting_for": "disk_full", "error": "the disk is full"}, "stalled", "waiting for disk_full"),
    ({**FLOWING, "waiting_for": "disk_full"}, "stalled", "waiting for disk_full"),
    ({**FLOWING}, "caught-up", None),
    ({**FLOWING, "halted": 2}, "halted", "2 strands"),
    ({**FLOWING, "lag_records": 9, "progress_at": NOW - 1}, "catching-up", None),
    ({**FLOWING, "lag_records": 9, "behind_since": NOW - 1}, "catching-up", None),
    ({**FLOWING, "lag_records": 9, "halted": 1, "progress_at": NOW - 1}, "catching-up", None),
    (
        {**FLOWING, "lag_records": 9, "progress_at": NOW - 9, "behind_since": NOW - 9},
        "stalled",
        "waiting for the peer to send",
    ),
    ({**FLOWING, "lag_records": 9, "halted": 1, "progress_at": NOW - 9}, "halted", "1 strands"),
]


@pytest.mark.parametrize(("facts", "word", "reason"), TABLE, ids=[f"{w}-{i}" for i, (_, w, _) in enumerate(TABLE)])
def test_the_state_follows_from_the_facts(facts: dict[str, Any], word: str, reason: str | None) -> None:
    """ "Running" means moving."""
    state = compute(Facts(**facts), NOW)
    assert (state.word, state.reason) == (word, reason)


def test_every_state_is_reached() -> None:
    """No word without a way to it."""
    assert {word for _, word, _ in TABLE} == set(STATES)


def test_an_eta_is_told_while_catching_up() -> None:
    """Lag over rate, and nothing while the rate is not known."""
    facts = Facts(**FLOWING, lag_records=1000, progress_at=NOW, rate=50.0)
    assert compute(facts, NOW).eta_s == 20.0
    facts.rate = 0.0
    assert compute(facts, NOW).eta_s is None


def test_waits_grow_with_jitter_between_their_bounds() -> None:
    """Decorrelated jitter; any contact begins anew."""
    backoff, rng = Backoff(0.1, 30.0), Random(1)
    waits = [backoff.wait_s(rng) for _ in range(200)]
    assert all(0.1 <= w <= 30.0 for w in waits)
    assert max(waits[50:]) > 10.0
    assert len(set(waits)) > 100
    backoff.reset()
    assert backoff.wait_s(rng) == 0.1


def test_the_rate_follows_what_is_applied() -> None:
    """Records a second, smoothed, and falling to nothing when nothing comes."""
    meter = Meter()
    for second in range(1, 60):
        meter.add(100)
        meter.tick(float(second))
    assert 95 <= meter.rate <= 105
    for second in range(60, 120):
        meter.tick(float(second))
    assert meter.rate < 1
