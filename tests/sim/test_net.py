"""The simulator's network tells what a real one tells: of a process that is gone at once, of a machine never."""

from __future__ import annotations

import pytest

from mirrord.links.link import SILENCE_S
from mirrord.testing.faults import Fault
from mirrord.testing.plan import Plan, Write
from mirrord.testing.sim import run

LINKS = (("ada", "bob"), ("bob", "ada"))


def arrives_s(kind: str) -> float:
    """How long after ``bob`` died at 1 s, and wrote again at 2 s, ``ada`` has all of it."""
    fault = Fault(1.0, 1.2, kind, "bob", amount=1.0)
    writes = tuple(Write(at, number, "bob", "orders", 1) for number, at in enumerate((0.5, 1.1, 2.0)))
    plan = Plan(1, "crash", "pair", ("ada", "bob"), LINKS, (("orders", "disk"),), (), (), writes, (fault,), 2.0)
    report = run(plan)
    assert report.ok, report.failures
    return report.counts["converged_ms"] / 1000


@pytest.mark.parametrize("kind", ["kill", "kill-after"])
def test_a_connection_to_a_killed_process_is_reset(kind: str) -> None:
    """Links come back at once, as after a real kill -9: else every crash of a plan would be a silence of seconds, and
    whatever goes wrong in a quick return would never be seen."""
    assert arrives_s(kind) < SILENCE_S / 2


def test_a_machine_without_power_says_nothing() -> None:
    """Only the watchdog finds out."""
    assert arrives_s("power") > SILENCE_S / 2
