"""Which lane of a feed sends next, as a rule without time."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.links.feeds.order import Order, weight_of

weights = st.integers(-1000, 1000).map(weight_of)


def send(order: Order, lanes: dict[str, float], frames: int) -> list[str]:
    """So many frames of lanes that always have more."""
    sent = []
    for _ in range(frames):
        sent.append(name := order.take())
        order.add(name, lanes[name])
    return sent


def test_equals_take_turns() -> None:
    """As before there were priorities: one frame each, in the order in which they came."""
    order = Order()
    for name in "abc":
        order.add(name, 1.0)
    assert send(order, dict.fromkeys("abc", 1.0), 6) == list("abcabc")


def test_a_share_is_by_weight() -> None:
    """500 points are four frames to one."""
    order, lanes = Order(), {"read": weight_of(500), "unread": weight_of(0)}
    for name, weight in lanes.items():
        order.add(name, weight)
    sent = Counter(send(order, lanes, 1000))
    assert sent["read"] == pytest.approx(800, abs=2)


def test_who_stands_in_line_keeps_its_place() -> None:
    """A bell that rings again neither brings a lane forward nor puts it back."""
    order = Order()
    order.add("a", 1.0)
    order.add("b", 1.0)
    order.add("a", 100.0)
    assert [order.take(), order.take()] == ["a", "b"]
    assert not order


@given(st.lists(weights, min_size=1, max_size=8), st.data())
def test_none_waits_for_ever(given_weights: list[float], data: st.DataObject) -> None:
    """Whoever comes, however low, sends after at most as many frames as the weights of the others are to its own."""
    lanes = {str(number): weight for number, weight in enumerate(given_weights)}
    order = Order()
    for name, weight in lanes.items():
        order.add(name, weight)
    send(order, lanes, data.draw(st.integers(0, 50)))
    mine = data.draw(weights)
    lanes["mine"] = mine
    order.add("mine", mine)
    most = sum(ceil(weight / mine) + 1 for weight in given_weights)
    assert "mine" in send(order, lanes, most + 1)


@given(st.lists(st.tuples(st.sampled_from("abcd"), weights, st.booleans()), max_size=60))
def test_every_lane_is_in_the_line_once(steps: list[tuple[str, float, bool]]) -> None:
    """What was added comes out once, and nothing else does."""
    order, waiting = Order(), set[str]()
    for name, weight, take in steps:
        if take and order:
            taken = order.take()
            assert taken in waiting
            waiting.discard(taken)
        else:
            order.add(name, weight)
            waiting.add(name)
        assert all((each in order) == (each in waiting) for each in "abcd")
    assert bool(order) == bool(waiting)
