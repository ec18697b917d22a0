"""Whole clusters under seeded faults keep every promise."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from mirrord.testing.plan import plan_of
from mirrord.testing.sim import run

FOUND = ((382, None), (14, "wipe"))  # seeds and menus of longer runs: each once broke a promise
PROCESSES = 2  # a run is one process; the machine has two cores


def broken(seed: int, menu: str | None = None) -> list[str]:
    """What a run did not keep, with the line that repeats it."""
    report = run(plan_of(seed, menu))
    again = f"mirrord sim --seed {seed} {f'--menu {menu} ' if menu else ''}--trace"
    return [f"{report.plan}: {promise}: {what[0]} ({again})" for promise, what in report.failures.items()]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("first", range(1, 301, 50))
def test_every_promise_is_kept(first: int, pool: ProcessPoolExecutor) -> None:
    """Graphs times faults: nothing acknowledged is lost or doubled, all arrives, and what nodes say is so."""
    assert [what for found in pool.map(broken, range(first, first + 50), chunksize=5) for what in found] == []


@pytest.mark.parametrize(("seed", "menu"), FOUND)
def test_what_was_broken_once_is_kept(seed: int, menu: str | None) -> None:
    """382: only a node behind a peer that had just started held copies that were lost here. 14: a relay was wiped, and
    forgot what a caller said of a topic that it did not have yet."""
    assert broken(seed, menu) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(301, 2301, 100))
def test_every_promise_is_kept_longer(first: int, pool: ProcessPoolExecutor) -> None:
    """The same over two thousand more."""
    assert [what for found in pool.map(broken, range(first, first + 100), chunksize=5) for what in found] == []
