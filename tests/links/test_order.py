"""Which lane of a feed sends next, as a rule without time."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.links.feeds.order import Order, weight_of

weights = st.integers(-1000, 1000).map(weight_of)


def order_of(lanes: dict[str, float]) -> Order:
    """All of these have something to send."""
    order = Order(lanes.__getitem__)
    for name in lanes:
        order.add(name)
    return order


def send(order: Order, frames: int) -> list[str]:
    """So many frames of lanes that always have more."""
    sent = []
    for _ in range(frames):
        sent.append(name := order.take())
        order.add(name)
    return sent


def test_equals_take_turns() -> None:
    """As before there were priorities: one frame each, in the order in which they came."""
    assert send(order_of(dict.fromkeys("abc", 1.0)), 6) == list("abcabc")


def test_a_share_is_by_weight() -> None:
    """500 points are four frames to one."""
    sent = Counter(send(order_of({"read": weight_of(500), "unread": weight_of(0)}), 1000))
    assert sent["read"] == pytest.approx(800, abs=2)


def test_who_stands_in_line_keeps_its_place() -> None:
    """A bell that rings again neither brings a lane forward nor puts it back."""
    order = order_of({"a": 1.0, "b": 1.0})
    order.add("a")
    assert [order.take(), order.take()] == ["a", "b"]
    assert not order


@given(st.lists(weights, min_size=1, max_size=8), st.data())
def test_none_waits_for_ever(given_weights: list[float], data: st.DataObject) -> None:
    """Whoever comes, however low, sends after at most as many frames as the weights of the others are to its own."""
    lanes = {str(number): weight for number, weight in enumerate(given_weights)}
    order = order_of(lanes)
    send(order, data.draw(st.integers(0, 50)))
    lanes["mine"] = mine = data.draw(weights)
    order.add("mine")
    most = sum(ceil(weight / mine) + 1 for weight in given_weights)
    assert "mine" in send(order, most + 1)


def test_who_comes_alone_is_not_weighed() -> None:
    """A record that comes alone pays for no priorities: there is nobody beside it."""
    order = Order(dict[str, float]().__getitem__)
    for _ in range(2):
        order.add("a")
        order.add("a")
        assert order.take() == "a"
        assert not order


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_every_lane_is_in_the_line_once(steps: list[tuple[str, bool]]) -> None:
    """What was added comes out once, and nothing else does."""
    order, waiting = Order({"a": 1.0, "b": 4.0, "c": 0.1, "d": 16.0}.__getitem__), set[str]()
    for name, take in steps:
        if take and order:
            taken = order.take()
            assert taken in waiting
            waiting.discard(taken)
        else:
            order.add(name)
            waiting.add(name)
        assert bool(order) == bool(waiting)
    assert sorted(order.take() for _ in range(len(waiting))) == sorted(waiting)
    assert not order
