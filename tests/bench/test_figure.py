"""Numbers and verdicts: what a published figure stands on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.cli.bench.figure import Bound, Conditions, Figure, Result, beside_the_best, percentile

some_values = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)


@given(some_values, st.floats(0.001, 1))
def test_a_percentile_is_the_least_value_that_covers_its_share(values: list[float], share: float) -> None:
    """By the definition: so many are at or below it, and no smaller value of the sample would do."""
    found = percentile(values, share)
    needed = share * len(values)
    assert found in values
    assert sum(value <= found for value in values) >= needed - 1e-6
    assert sum(value < found for value in values) < needed


def test_the_percentiles_that_are_published() -> None:
    """A hundred values: the 99th is p99, and p99.9 is the worst of all, never an invented one between."""
    values = list(range(100, 0, -1))
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [50, 99, 100, 100]


def test_a_thousand_repeats_are_not_lost_to_rounding() -> None:
    """0.999 x 1000 is 999.0000000001 for a float; the 999th value is meant."""
    assert percentile(range(1, 1001), 0.999) in (999, 1000)


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        (Bound(16_000, 30_000, more=True), 15_999, "missed"),
        (Bound(16_000, 30_000, more=True), 16_000, "ok"),
        (Bound(16_000, 30_000, more=True), 30_000, "goal"),
        (Bound(1.0, 0.5), 1.01, "missed"),
        (Bound(1.0, 0.5), 1.0, "ok"),
        (Bound(1.0, 0.5), 0.5, "goal"),
        (Bound(25), 0.0, "ok"),
    ],
)
def test_a_bound_is_reached_from_its_own_side(bound: Bound, value: float, verdict: str) -> None:
    """More records are better and more milliseconds are worse; the bound itself is reached."""
    assert bound.verdict(value) == verdict


def test_a_figure_stands_for_its_repeats_by_the_median() -> None:
    """One bad repeat of a shared machine does not decide."""
    figure = Figure("records", "/s", (10.0, 900.0, 1000.0), Bound(800, more=True))
    assert (figure.value, figure.verdict) == (900.0, "ok")
    assert Figure("bytes", "B", (3.0,)).verdict == ""


def test_slow_down_is_told_against_the_best_moment_of_the_run() -> None:
    """Rows that were measured while the machine was busy can be told from those that were not."""
    rows = [Result(str(us), "", (), Conditions(us, 0.2)) for us in (1500.0, 1000.0, 3000.0)]
    assert [row.conditions.slowdown for row in beside_the_best(rows)] == [1.5, 1.0, 3.0]
