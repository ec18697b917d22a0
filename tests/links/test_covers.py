"""When a cover may be applied (design §3.3, "A cover is applied late")."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.links.board.covers import Judgement, Offer, Witness, could_get, judge, needs_no_waiting
from mirrord.records.gap import REASONS, Cover

COVER = Cover(5, 3, 10, "evicted", b"p" * 16, b"h" * 16)
OFFER, AFTER = Offer(COVER, since=100.0), 2


def other(link: str = "b", **facts: Any) -> Witness:
    told: dict[str, Any] = {
        "up": True, "told": 20, "covered": 0, "stripped": 0, "halted": False, "pending": None,
        "patience_s": 60.0, "down_since": 0.0,
    }  # fmt: skip
    return Witness(link, **(told | facts))


def through(*others: Witness, now: float = 101.0, moved_at: float = 0.0, worth: bool = True) -> int | None:
    return judge(AFTER, OFFER, others, lambda _: worth, now, moved_at).through


def test_without_other_links_it_is_applied() -> None:
    """Nobody else could bring the range."""
    assert through() == 10


def test_a_link_that_is_ahead_and_has_not_covered_may_still_bring_it() -> None:
    """What any reachable holder still has arrives: it is waited for without a deadline, as it answers by itself."""
    assert through(other(), now=1e9) is None


def test_every_link_ahead_has_covered() -> None:
    """Then the range is gone, as far as all of them have covered it."""
    assert through(other(covered=10), other("c", covered=15)) == 10
    assert through(other(covered=10), other("c", covered=7)) == 7
    assert through(other(covered=10), other("c", covered=2)) is None


def test_halted_and_paused_links_are_not_waited_for() -> None:
    """They will not bring it."""
    assert through(other(halted=True), other("c", halted=True, up=False)) == 10


@pytest.mark.parametrize("facts", [{"up": False, "told": None, "down_since": 100.0}, {"told": 1}, {"told": None}])
def test_links_down_or_behind_are_waited_for_with_patience(facts: dict[str, Any]) -> None:
    """For as long as ``gap_patience`` says, and not for ever."""
    assert through(other(**facts), now=159.9) is None
    assert through(other(**facts), now=160.0) == 10


def test_patience_counts_from_the_last_move_and_from_going_down() -> None:
    """As long as somebody who is behind still moves, it may bring the range."""
    assert through(other(told=1), now=170.0, moved_at=150.0) is None
    assert through(other(told=1), now=210.0, moved_at=150.0) == 10
    assert through(other(up=False, told=None, down_since=140.0), now=170.0) is None
    assert through(other(up=False, told=None, down_since=140.0), now=200.0) == 10


def test_a_peer_that_could_only_get_it_through_us_is_not_waited_for() -> None:
    """Otherwise a leaf would wait for its own leaf."""
    assert through(other(told=1), worth=False) == 10


def test_a_lower_node_that_holds_back_a_cover_goes_first() -> None:
    """Two nodes that wait for each other would wait for ever: the lower one goes first, whatever the patience."""
    assert through(other(told=1, pending=(2, 9)), now=1e9) is None


def test_a_waited_cover_ends_where_the_pending_range_of_a_peer_ends() -> None:
    """What lies behind it may be answered otherwise there."""
    assert through(other(told=2, pending=(3, 6)), now=1e9) == 6
    assert through(other(told=2, pending=(3, 60)), now=1e9) == 10


def test_what_is_waited_for_is_named() -> None:
    """People see whom a link waits for."""
    assert judge(AFTER, OFFER, [other("x", told=1)], lambda _: True, 101.0, 0.0) == Judgement(None, ("x",))


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_only_deletions_and_our_own_ttl_are_applied_at_once(reason: str) -> None:
    """All others may be held elsewhere."""
    cover = Cover(5, 3, 10, reason, None, None)
    assert needs_no_waiting(cover, own_ttl_expired=False) is (reason == "erased")
    assert needs_no_waiting(cover, own_ttl_expired=True) is (reason in {"erased", "expired"})


witnesses = st.lists(
    st.builds(
        other,
        link=st.sampled_from("bcde"),
        up=st.booleans(),
        told=st.none() | st.integers(0, 20),
        covered=st.integers(0, 15),
        halted=st.booleans(),
        pending=st.none() | st.tuples(st.integers(1, 5), st.integers(5, 12)),
        down_since=st.sampled_from([0.0, 90.0, 130.0]),
    ),
    max_size=4,
)


@given(witnesses, st.sampled_from([101.0, 150.0, 165.0, 200.0, 1e6]), st.sampled_from([0.0, 120.0]))
def test_the_rule_as_the_design_states_it(others: list[Witness], now: float, moved_at: float) -> None:
    """Said once more, record by record: an oseq is given up only if no link in sight could still bring it."""
    found = through(*others, now=now, moved_at=moved_at)
    given_up = range(AFTER + 1, (found or AFTER) + 1)
    for oseq in given_up:
        for link in others:
            if link.halted:
                continue
            if link.up and link.told is not None and link.told > AFTER:
                assert link.covered >= oseq
            else:
                assert now - max(OFFER.since, moved_at, link.down_since) >= link.patience_s
    if found is None and not any(not w.halted and (not w.up or w.told is None or w.told <= AFTER) for w in others):
        assert any(w.up and not w.halted and w.covered <= AFTER for w in others)


def test_who_could_get_a_range_without_us() -> None:
    """Along the links of the topology, leaving ourselves out."""
    chain = [("a", "b"), ("b", "c"), ("c", "d")]
    assert could_get("c", "d", {"a"}, chain)
    assert not could_get("c", "b", {"a"}, chain)
    assert could_get("c", "b", {"a"}, [*chain, ("a", "c")])
    assert not could_get("c", "b", set(), chain)
    assert not could_get("c", "b", {"b"}, chain)


def test_what_is_left_is_taken_when_nobody_has_more() -> None:
    """A stripped chunk is a cover of what it lacks: a link that may have it whole comes first; one that lacks something
    there too has answered. For a cover it has not: it brings at least what is left."""
    left = Offer(Cover(5, 3, 10, "deleted", None, None), since=100.0, stripped=True)

    def taken(*others: Witness) -> int | None:
        return judge(AFTER, left, others, lambda _: True, 101.0, 0.0).through

    assert taken() == 10
    assert taken(other()) is None
    assert taken(other(stripped=10)) == taken(other(covered=10)) == 10
    assert taken(other(stripped=6), other("c", covered=12)) == 6
    assert through(other(stripped=10)) is None
