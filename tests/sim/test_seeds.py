"""Whole clusters under seeded faults keep every promise."""

from __future__ import annotations

import pytest

from mirrord.testing.plan import plan_of
from mirrord.testing.sim import run


def _broken(seeds: range) -> list[str]:
    found: list[str] = []
    for seed in seeds:
        report = run(plan_of(seed))
        for promise, what in report.failures.items():
            found.append(f"{report.plan}: {promise}: {what[0]} (mirrord sim --seed {seed} --trace)")
    return found


@pytest.mark.parametrize("first", range(1, 301, 25))
def test_every_promise_is_kept(first: int) -> None:
    """Graphs times faults: nothing acknowledged is lost, nothing doubled, everything arrives, and what nodes say is so."""
    assert _broken(range(first, first + 25)) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(301, 2301, 100))
def test_every_promise_is_kept_longer(first: int) -> None:
    """The same over two thousand more."""
    assert _broken(range(first, first + 100)) == []
