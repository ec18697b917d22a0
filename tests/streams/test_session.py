"""Sessions: where a stream begins, and how long and how many there are."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mirrord.errors import NotFound, Throttled
from mirrord.streams.cursor import EventId
from mirrord.streams.place import Place
from mirrord.streams.session import Session, Sessions, Start
from mirrord.topics.read.face import View
from mirrord.topics.topic import Topic

VIEW = View(10, 1000)


def session(**starts: int) -> Session:
    return Sessions(Random(1), 10, 0).open(
        0, owner=None, view=VIEW, heartbeat_ms=1000, strong=False, named=frozenset(starts),
        starts={name: Start(seq, "log") for name, seq in starts.items()},
    )  # fmt: skip


def place(name: str, seq: int, log_id: str = "log") -> Place:
    return Place(cast(Topic, SimpleNamespace(topic=name)), VIEW, seq, log_id)


def seqs(found: dict[str, Start]) -> dict[str, int]:
    return {name: start.seq for name, start in found.items()}


def test_an_id_takes_back_and_never_forward() -> None:
    """The session is the authority: a forged or foreign id cannot skip records."""
    one = session(a=5, b=3)
    assert seqs(one.begin(EventId({"a": 2, "b": 9}))) == {"a": 2, "b": 3}
    assert seqs(one.begin(EventId({}))) == {"a": 5, "b": 3}
    assert seqs(one.begin(EventId({"z": 1}))) == {"a": 5, "b": 3}


def test_a_new_stream_begins_where_the_furthest_one_is() -> None:
    """As long as it runs, and when it has ended."""
    one = session(a=0)
    places = {"a": place("a", 4)}
    one.opened(places)
    assert seqs(one.begin(None)) == {"a": 4}
    one.closed(places, 1.0)
    assert seqs(one.begin(None)) == {"a": 4}
    assert one.streams == []


def test_an_id_from_before_a_new_log_begins_that_at_its_front() -> None:
    """Its seq is one of a log that is gone; an id given out since then counts."""
    one = session(a=9)
    one.log_changed("a", "other")
    one.log_changed("a", "other")
    assert one.changes == 1
    one.opened({"a": place("a", 7, "other")})
    assert one.begin(EventId({"a": 9}))["a"] == Start(0, "other")
    assert one.begin(EventId({"a": 6}, 1))["a"] == Start(6, "other")


def test_a_stream_that_did_not_hear_of_a_new_log_takes_nobody_back_to_the_old_one() -> None:
    """Of two streams of a session one has met the new log; the other ends where it stood in the one that is gone."""
    one = session(a=0)
    behind = {"a": place("a", 50)}
    one.opened(behind)
    one.log_changed("a", "other")
    assert one.begin(None)["a"] == Start(0, "other")
    one.closed(behind, 1.0)
    assert one.begin(None)["a"] == Start(0, "other")


def test_a_topic_that_came_by_a_prefix_begins_at_its_front() -> None:
    """An id from before its creation does not know it: all of it is new to that reader."""
    one = session(a=1)
    one.opened({"p:1": place("p:1", 8)})
    assert seqs(one.begin(EventId({"a": 1}))) == {"a": 1, "p:1": 0}


def opened(sessions: Sessions, now_s: float) -> Session:
    fields: dict[str, Any] = {"owner": None, "view": VIEW, "heartbeat_ms": 1, "strong": False, "starts": {}}
    return sessions.open(now_s, named=frozenset(), **fields)


def test_an_idle_session_ends_at_its_deadline() -> None:
    """Not before, not later, and never while a stream of it is open."""
    sessions = Sessions(Random(1), 10, 0)
    one, two = opened(sessions, 0), opened(sessions, 5)
    assert one.wid != two.wid
    streams: dict[str, Place] = {}
    sessions.began(two, streams)
    assert sessions.find(one.wid, 9.9) is one
    with pytest.raises(NotFound):
        sessions.find(one.wid, 10)
    assert sessions.find(two.wid, 1000) is two
    sessions.ended(two, streams, 1000)
    assert sessions.find(two.wid, 1009) is two
    assert sessions.count(1010) == 0


def test_there_are_so_many_sessions_only() -> None:
    """Sessions that are over make room."""
    sessions = Sessions(Random(1), 10, 2)
    opened(sessions, 0)
    opened(sessions, 1)
    with pytest.raises(Throttled) as refused:
        opened(sessions, 2)
    assert refused.value.detail == {"limit": "max_watch_sessions", "max": 2}
    opened(sessions, 10.5)
