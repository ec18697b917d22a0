"""Who goes next, as a rule without time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrord.storage.turns import Turn, TurnQueue


def turn(came_s: float, *, urgent: bool, size: int = 1) -> Turn:
    made = Turn((), sync=False, urgent=urgent, size=size)
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
