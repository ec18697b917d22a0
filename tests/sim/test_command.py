"""``mirrord sim``: what it prints, and what its exit code says."""

from __future__ import annotations

import re

import pytest

from mirrord.cli.main import FAILED, OK, USAGE, answer
from mirrord.testing.faults import Fault
from mirrord.testing.plan import Plan, Write
from mirrord.testing.shrink import shrunk


def test_runs_that_keep_every_promise_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for people, exit code 0 for scripts."""
    assert answer(["sim", "--seeds", "1..2", "--menu", "calm"]) == OK
    assert capsys.readouterr().out == "2 runs, 0 of them broke a promise\n"


def test_a_missing_safeguard_is_told_with_seed_command_and_shrunk_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is needed to look at the run again; noticing it is success."""
    assert answer(["sim", "--seeds", "11..11", "--without", "seq-ceiling"]) == OK
    out = capsys.readouterr().out
    assert "always_seq_never_reused" in out
    assert "mirrord sim --seed 11 --menu power --without seq-ceiling --trace" in out
    assert re.search(r"shrunk to [12] faults", out)


def test_a_safeguard_that_is_not_missed_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A menu that cannot show it does not notice it, and says so."""
    assert answer(["sim", "--seeds", "1..1", "--menu", "calm", "--without", "seq-ceiling"]) == FAILED
    assert "0 of them" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["--menu", "none"], ["--without", "none"], ["--seeds", "9..1"], ["--seeds", "x"]])
def test_what_there_is_not_is_refused_by_name(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Menus, safeguards, ranges."""
    assert answer(["sim", *args]) == USAGE
    assert args[1] in capsys.readouterr().err


def test_a_plan_is_shrunk_to_what_makes_it_fail() -> None:
    """Faults and writes that do not matter are left out; the one that does stays."""
    faults = tuple(Fault(float(i), i + 1.0, "cut", "ada", "bob", i) for i in range(8))
    writes = tuple(Write(float(i), i, "ada", "orders", 1) for i in range(40))
    plan = Plan(
        1, "line", "pair", ("ada", "bob"), (("ada", "bob"),), (("orders", "disk"),), (), (), writes, faults, 9.0
    )
    least = shrunk(plan, lambda p: faults[3] in p.faults and writes[17] in p.writes, most_runs=100)
    assert least.faults == (faults[3],)
    assert writes[17] in least.writes
    assert len(least.writes) < 4
