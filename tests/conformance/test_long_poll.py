"""Long polls (reference 3.2, design 5.1): answered by the append, never late, never for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from .daemon import Api, Daemon, refused

LONG_MS = 25_000  # longer than any case here takes: an answer before it is an answer to something


@pytest.fixture
def reader(api: Api) -> Iterator[Callable[..., Future[Any]]]:
    """Starts a poll in the background."""
    with ThreadPoolExecutor(8) as crowd:

        def read(topic: str, **fields: Any) -> Future[Any]:
            return crowd.submit(lambda: api.post(f"/v0/topics/{topic}/diff", json={"wait_ms": LONG_MS, **fields}))

        yield read


def test_what_is_there_is_answered_at_once(api: Api, topic: str) -> None:
    """Who has something to read does not wait."""
    api.append(topic, 1)
    assert len(api.diff(topic, wait_ms=LONG_MS)["records"]) == 1


def test_a_tombstone_is_answered_at_once(api: Api, topic: str) -> None:
    """A loss is something to tell."""
    api.create(topic, cap_records=1)
    api.append(topic, 1)
    api.append(topic, 2)
    assert api.diff(topic, from_seq=0, wait_ms=LONG_MS)["tombstone"] is not None
    assert api.diff(topic, from_seq=99, wait_ms=LONG_MS)["tombstone"]["reason"] == "recreated"


def test_nothing_comes(api: Api, topic: str) -> None:
    """After ``wait_ms`` the answer is an empty page."""
    api.append(topic, 1)
    page = api.diff(topic, from_seq=1, wait_ms=30)
    assert (page["records"], page["caught_up"], page["next_from_seq"]) == ([], True, 1)


def test_an_append_ends_every_wait(api: Api, topic: str, reader: Callable[..., Future[Any]]) -> None:
    """All who wait at the head get the record, whether they came before it or at the same time."""
    api.create(topic)
    waiting = [reader(topic) for _ in range(6)]
    api.append(topic, "news")
    for one in waiting:
        assert [record["data"] for record in one.result().json()["records"]] == ["news"]


@pytest.mark.parametrize("durability", ["ephemeral", "memory", "disk", "fsync"])
def test_no_append_is_missed(api: Api, topic: str, durability: str, reader: Callable[..., Future[Any]]) -> None:
    """A reader that polls on and on gets every record once, in order, while others write."""
    api.create(topic, durability=durability)
    got: list[int] = []
    writes = ThreadPoolExecutor(1).submit(lambda: [api.append(topic, i) for i in range(60)])
    while len(got) < 60:
        page = reader(topic, from_seq=len(got)).result().json()
        assert page["records"], "a poll ended without a record"
        got += [record["data"] for record in page["records"]]
    writes.result()
    assert got == list(range(60))


def test_own_records_do_not_answer(api: Api, topic: str, reader: Callable[..., Future[Any]]) -> None:
    """A record that the filter drops moves the cursor; one that it lets through is the answer."""
    api.create(topic)
    waiting = reader(topic, node="me")
    api.append(topic, "mine", node="me")
    api.append(topic, "yours", node="you")
    page = waiting.result().json()
    while not page["records"]:
        page = reader(topic, node="me", from_seq=page["next_from_seq"]).result().json()
    assert [record["data"] for record in page["records"]] == ["yours"]
    assert page["next_from_seq"] == 2


def test_a_wait_that_is_too_long_is_cut(api: Api, topic: str, reader: Callable[..., Future[Any]]) -> None:
    """More than 30 s is 30 s, not a refusal."""
    api.create(topic)
    waiting = reader(topic, wait_ms=10**12)
    api.append(topic, 1)
    assert len(waiting.result().json()["records"]) == 1


def test_a_deleted_topic_ends_the_wait(api: Api, topic: str, reader: Callable[..., Future[Any]]) -> None:
    """Who waits for a topic that goes away is told so, not left to the deadline."""
    api.append(topic, 1)
    waiting = reader(topic, from_seq=1)
    api.diff(topic, from_seq=1, wait_ms=50)
    api.delete(f"/v0/topics/{topic}")
    refused(waiting.result(), 404, "topic_not_found")


def test_a_stopping_node_answers_who_waits(mortal: Daemon, topic: str) -> None:
    """SIGTERM ends a long poll with an answer, then the process with exit code 0; all is there at the next start."""
    mortal.api.append(topic, 1)
    with ThreadPoolExecutor(1) as crowd:
        waiting = crowd.submit(lambda: mortal.api.diff(topic, from_seq=1, wait_ms=LONG_MS))
        mortal.api.diff(topic, from_seq=1, wait_ms=50)
        assert mortal.stop() == 0
        assert waiting.result()["records"] == []
    mortal.start()
    assert mortal.api.texts(topic) == [(b"1", b"")]
