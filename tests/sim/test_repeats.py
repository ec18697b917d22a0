"""A seed repeats a run exactly: without that no failure can be looked at twice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mirrord.testing.plan import MENUS, plan_of
from mirrord.testing.sim import run

_TELL = "import sys; from mirrord.testing.plan import plan_of; from mirrord.testing.sim import run\n"
_TELL += "print(run(plan_of(int(sys.argv[1]), sys.argv[2])).trace_hash)"


@pytest.mark.parametrize("menu", ["line", "crash", "power", "mixed"])
def test_two_runs_of_a_seed_are_the_same(menu: str) -> None:
    """Down to the last event, in one process."""
    assert run(plan_of(7, menu)).trace_hash == run(plan_of(7, menu)).trace_hash


def test_another_seed_is_another_run() -> None:
    """The trace hash tells runs apart, so that the equality above means something."""
    assert run(plan_of(7, "line")).trace_hash != run(plan_of(8, "line")).trace_hash


def test_another_process_with_another_hash_seed_runs_the_same() -> None:
    """Nothing hangs on the order of sets of strings, on addresses, or on what else the process did before."""
    here = run(plan_of(11, "mixed")).trace_hash
    for hash_seed in ("1", "977"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", _TELL, "11", "mixed"]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert told.stdout.strip() == here


def test_a_plan_is_made_of_its_seed_alone() -> None:
    """Every menu: the same list of writes and faults, each time."""
    for menu in MENUS:
        assert plan_of(3, menu) == plan_of(3, menu)
