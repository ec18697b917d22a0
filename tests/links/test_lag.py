"""Who lacks how much of whose records (GUARANTEES section 4)."""

from __future__ import annotations

from typing import Any

from mirrord.config.load import parse
from mirrord.config.topology import Flow
from mirrord.links.board.lag import Lag

NOW = 1_000_000_000
NODES = "".join(f"[nodes.{name}]\nlisten = '127.0.0.1:{port}'\n" for port, name in enumerate("abc", 4001))
MESH = "[[links]]\nbetween = ['a', 'b', 'c']\ntopics = ['orders', 'chat:*']\n"
RENAMED = "[[links]]\npull = 'b'\nfrom = 'a'\ntopics = [{from = 'clicks', as = 'clicks-a'}]\n"


def lag(links: str = MESH) -> Lag:
    return Lag(Flow(parse(NODES + links)), "cab", NOW)


def told(records: int | None, seconds: float | None = 0.0) -> dict[str, Any]:
    return {"records": records, "seconds": seconds}


UNKNOWN = told(None, None)


def test_a_holder_that_is_heard_of_lacks_what_links_bring_to_it() -> None:
    """``GET /v0/lag`` counts what is missing of the most that any node holds; of a node that was never heard nothing is
    known."""
    places = {("a", "orders", 1): (10, NOW - 7_000), ("b", "orders", 1): (9, NOW - 9_000)}
    assert lag().by_topic(places, {1: "a"}) == {"orders": {"a": {"a": told(0), "b": told(1, 7.0), "c": UNKNOWN}}}
    places["c", "chat:x", 2] = (3, NOW)
    assert lag().by_topic(places, {1: "a"})["orders"]["a"]["c"] == told(10, 7.0)


def test_a_topic_that_no_link_brings_is_lacked_by_nobody() -> None:
    """A local topic (a router's destination, a queue's dead letters) is no lag."""
    places = {("a", "audit", 1): (4, NOW), ("b", "orders", 2): (1, NOW)}
    topics = lag().by_topic(places, {1: "a", 2: "b"})
    assert topics["audit"] == {"a": {"a": told(0), "b": UNKNOWN, "c": UNKNOWN}}
    assert lag().over_topics(topics)["a"] == {"a": told(0), "b": UNKNOWN, "c": UNKNOWN}


def test_a_topic_with_another_name_there_is_the_same_topic() -> None:
    """A rename on a link makes no lag of its own, and hides none."""
    places = {("a", "clicks", 1): (5, NOW - 1_000), ("b", "clicks-a", 1): (5, NOW - 1_000)}
    topics = lag(RENAMED).by_topic(places, {1: "a"})
    assert topics["clicks"]["a"] == {"a": told(0), "b": UNKNOWN, "c": UNKNOWN}
    assert topics["clicks-a"]["a"] == {"a": UNKNOWN, "b": told(0), "c": UNKNOWN}
    places["b", "clicks-a", 1] = (4, NOW - 60_000)
    assert lag(RENAMED).by_topic(places, {1: "a"})["clicks-a"]["a"]["b"] == told(1, 1.0)


def test_lag_in_seconds_is_the_age_of_what_is_missing() -> None:
    """Not the time between two records: a record that was written just now after a quiet hour is no lag of an hour, and
    one that a silent node lacks grows older while nothing else is written."""
    hour = 3_600_000
    places = {("a", "orders", 1): (10, NOW - 100), ("b", "orders", 1): (9, NOW - hour)}
    assert lag().by_topic(places, {1: "a"})["orders"]["a"]["b"] == told(1, 0.1)
    places = {("a", "orders", 1): (10, NOW - hour), ("b", "orders", 1): (9, NOW - hour - 100)}
    assert lag().by_topic(places, {1: "a"})["orders"]["a"]["b"] == told(1, 3600.0)
    places = {("a", "orders", 1): (110, NOW), ("b", "orders", 1): (10, NOW - 10_000)}
    assert lag().by_topic(places, {1: "a"})["orders"]["a"]["b"] == told(100, 9.9)


def test_several_strands_and_topics_are_summed() -> None:
    """What an origin wrote in several lives and topics is one number, and the oldest of it counts."""
    places = {
        ("a", "orders", 1): (10, NOW - 9_000),
        ("b", "orders", 1): (9, NOW - 9_500),
        ("a", "orders", 2): (5, NOW - 2_000),
        ("b", "orders", 2): (2, NOW - 2_000),
        ("a", "chat:x", 3): (1, NOW - 500),
        ("b", "chat:y", 4): (1, NOW),
    }
    topics = lag().by_topic(places, {1: "a", 2: "a", 3: "a"})
    assert list(topics) == ["chat:x", "chat:y", "orders"]
    assert topics["orders"]["a"]["b"] == told(4, 9.0)
    assert topics["chat:y"] == {"?": {"a": told(1), "b": told(0), "c": UNKNOWN}}
    assert lag().over_topics(topics)["a"]["b"] == told(5, 9.0)
