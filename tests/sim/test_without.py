"""A checker that does not notice a missing safeguard is no checker."""

from __future__ import annotations

import pytest

from mirrord.testing.plan import plan_of
from mirrord.testing.sim import run
from mirrord.testing.without import SAFEGUARDS, without

WITHIN = 150  # seeds


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_a_missing_safeguard_is_noticed(name: str) -> None:
    """Each within a few seeds of the menu that shows it (all of them within a thousand)."""
    with without(name):
        assert any(not run(plan_of(seed, SAFEGUARDS[name].menu)).ok for seed in range(1, WITHIN))


def test_what_was_taken_out_is_put_back() -> None:
    """Nothing of a safeguard's absence outlives its block."""
    before = [getattr(where, name) for guard in SAFEGUARDS.values() for where, name, _ in guard.swaps]
    for name in SAFEGUARDS:
        with without(name):
            pass
    assert before == [getattr(where, name) for guard in SAFEGUARDS.values() for where, name, _ in guard.swaps]
