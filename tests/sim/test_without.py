"""A checker that does not notice a missing safeguard is no checker."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from mirrord.links.feeds import lane
from mirrord.links.inlet import hearing
from mirrord.testing.plan import plan_of
from mirrord.testing.sim import run
from mirrord.testing.without import SAFEGUARDS, without

WITHIN = 150  # seeds


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_a_missing_safeguard_is_noticed(name: str) -> None:
    """Each within a few seeds of the menu that shows it (all of them within a thousand)."""
    guard = SAFEGUARDS[name]
    with without(name):
        assert any(guard.is_missed(run(plan_of(seed, guard.menu)).failures) for seed in range(1, WITHIN))


def test_what_was_taken_out_is_put_back() -> None:
    """Nothing of a safeguard's absence outlives its block."""
    before = [getattr(where, name) for guard in SAFEGUARDS.values() for where, name, _ in guard.swaps]
    for name in SAFEGUARDS:
        with without(name):
            pass
    assert before == [getattr(where, name) for guard in SAFEGUARDS.values() for where, name, _ in guard.swaps]


def test_the_chain_is_kept_by_the_chain_check_alone() -> None:
    """With the comparison of positions out at both ends, what keeps a log's chain whole is the check at apply."""
    with patch.object(lane, "contradicts", lambda *_: False), patch.object(hearing, "contradicts", lambda *_: False):
        found = [promise for seed in range(1, 11) for promise in run(plan_of(seed, "memory")).failures]
    assert "always_chained" not in found
