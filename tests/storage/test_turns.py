"""Who goes next, as a rule without time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mirrord.storage.turns import FIRST, LAST, PASSES_S, Turn, TurnQueue


def turn(came_s: float, *, urgent: bool, size: int = 1, priority: int = 0) -> Turn:
    made = Turn((), sync=False, urgent=urgent, size=size, priority=priority)
    made.came_s = came_s
    return made


def queue_of(turns: list[Turn], ageing_s: float = 1.0) -> TurnQueue:
    queue = TurnQueue(ageing_s)
    for one in turns:
        queue.put(one)
    return queue


def test_writers_go_before_links() -> None:
    """A link's turn lets a writer's pass that came a little later."""
    link, writer = turn(0.0, urgent=False), turn(0.9, urgent=True)
    assert queue_of([link, writer]).take(10) == [writer, link]


def test_no_link_waits_for_ever() -> None:
    """A link's turn that has waited long enough goes before newer writers."""
    link, writer = turn(0.0, urgent=False), turn(1.1, urgent=True)
    assert queue_of([link, writer]).take(10) == [link, writer]


def test_a_group_fits_or_is_alone() -> None:
    """A transaction is bounded, but a turn above the bound still goes."""
    turns = [turn(0.0, urgent=True, size=size) for size in (9, 4, 4, 3, 1)]
    queue = queue_of(turns)
    assert queue.take(8) == turns[:1]
    assert queue.take(8) == turns[1:3]
    assert queue.take(8) == turns[3:]
    assert queue.take(8) == []


@given(told=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=30), most=st.integers(1, 20))
def test_nothing_is_lost_and_each_line_keeps_its_order(told: list[tuple[bool, int]], most: int) -> None:
    """Every turn comes out once; writers among themselves, and links, in the order in which they came."""
    turns = [turn(float(at), urgent=urgent, size=size) for at, (urgent, size) in enumerate(told)]
    queue = queue_of(turns, ageing_s=3.0)
    out: list[Turn] = []
    while group := queue.take(most):
        assert len(group) == 1 or sum(one.size for one in group) <= most
        out += group
    assert len(queue) == 0
    for urgent in (True, False):
        assert [one for one in out if one.urgent is urgent] == [one for one in turns if one.urgent is urgent]


def test_priority_goes_first_and_ages() -> None:
    """A point passes a millisecond of waiting, not more."""
    low, high = turn(0.0, urgent=True), turn(0.4, urgent=True, priority=500)
    assert queue_of([low, high]).take(10) == [high, low]
    late = turn(0.6, urgent=True, priority=500)
    assert queue_of([low, late]).take(10) == [low, late]


def test_what_is_no_topics_goes_before_all() -> None:
    """A node's own rows wait for nobody's records."""
    records, own = turn(0.0, urgent=True, priority=999), Turn((), sync=True, urgent=True, size=1)
    assert own.priority == FIRST
    assert queue_of([records, own]).take(10) == [own, records]


turns_told = st.lists(st.tuples(st.floats(0, 0.5), st.booleans(), st.integers(LAST, FIRST)), min_size=1, max_size=30)


@given(told=turns_told)
def test_nobody_is_passed_by_who_came_much_later(told: list[tuple[float, bool, int]]) -> None:
    """However low its priority: the bound is the whole range of priorities, and what links wait."""
    at, turns = 0.0, []
    for later_s, urgent, priority in told:
        at += later_s
        turns.append(turn(at, urgent=urgent, priority=priority))
    out = queue_of(turns, ageing_s=0.02).take(1 << 30)
    bound_s = (FIRST - LAST) * PASSES_S + 0.02
    for place, first in enumerate(out):
        assert all(first.came_s <= other.came_s + bound_s + 1e-9 for other in out[place + 1 :])
    for one, other in pairwise(out):
        if (one.came_s, one.urgent) == (other.came_s, other.urgent):
            assert one.priority >= other.priority


@given(told=turns_told)
def test_the_last_in_line_is_behind_all_that_came_before(told: list[tuple[float, bool, int]]) -> None:
    """What waits for everything (a flush, a forgetting) is taken after everything."""
    turns = [turn(came_s, urgent=urgent, priority=priority) for came_s, urgent, priority in told]
    last = turn(0.5, urgent=False, priority=LAST)
    assert queue_of([*turns, last], ageing_s=0.02).take(1 << 30)[-1] is last
