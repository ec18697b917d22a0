"""State, list and DELETE of topics, and how readers learn of a topic made anew (reference 2.2 - 2.4, 3.3)."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .daemon import Api, Daemon, refused

STATE = {
    "topic", "type", "head_seq", "earliest_seq", "next_seq", "count", "bytes", "config", "effective_priority",
    "last_write_ts", "last_read_ts", "log_id", "performance",
}  # fmt: skip
LISTED = {"topic", "head_seq", "earliest_seq", "count", "bytes", "durable", "effective_priority"}


def test_state_of_a_fresh_topic(api: Api, topic: str) -> None:
    """Head 0, nothing live, never written, never read."""
    api.create(topic)
    state = api.state(topic, touch="false")
    assert set(state) == STATE
    shown = {key: state[key] for key in STATE - {"config", "performance", "log_id"}}
    assert shown == {
        "topic": topic, "type": "log", "head_seq": 0, "earliest_seq": 1, "next_seq": 1, "count": 0, "bytes": 0,
        "effective_priority": 0, "last_write_ts": None, "last_read_ts": None,
    }  # fmt: skip


def test_state_counts(api: Api, topic: str) -> None:
    """Counts and bytes are exact: the JSON text of data and meta."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": "é", "meta": [1]}, {"data": None, "tag": "t"}]})
    state = api.state(topic)
    assert (state["head_seq"], state["next_seq"], state["count"], state["earliest_seq"]) == (2, 3, 2, 1)
    assert state["bytes"] == len('"é"'.encode()) + len("[1]") + len("null")


def test_touch(api: Api, topic: str) -> None:
    """Looking at the state counts as reading unless ``touch=false``; listing does not; a diff does."""
    api.append(topic, 1)
    for query in ({"touch": "false"}, {"touch": "0"}):
        assert api.state(topic, **query)["last_read_ts"] is None
    api.told("GET", "/v0/topics", prefix=topic)
    assert api.state(topic, touch="false")["last_read_ts"] is None
    touched = api.state(topic, touch="nonsense")
    assert touched["effective_priority"] == 500
    assert touched["last_read_ts"] >= touched["last_write_ts"]
    api.append(topic + "d", 1)
    api.diff(topic + "d")
    assert api.state(topic + "d", touch="false")["last_read_ts"] is not None


def test_list(api: Api, topic: str) -> None:
    """Sorted by name, filtered by prefix, every field."""
    for name in ("b", "a", "B", "a:1"):
        api.append(f"{topic}.{name}", 1, 2)
    api.create(topic + ".b", durability="fsync")
    body = api.told("GET", "/v0/topics", prefix=topic + ".")
    assert [one["topic"] for one in body["topics"]] == [f"{topic}.{name}" for name in ("B", "a", "a:1", "b")]
    assert all(set(one) >= LISTED for one in body["topics"])
    last = body["topics"][-1]
    assert [last[key] for key in ("head_seq", "earliest_seq", "count", "bytes", "durable")] == [2, 1, 2, 2, True]
    assert "next_cursor" not in body


def test_pages_of_the_list(api: Api, topic: str) -> None:
    """Every topic comes once; the last page has no ``next_cursor``."""
    for i in range(7):
        api.create(f"{topic}.{i}")
    names: list[str] = []
    query: dict[str, Any] = {"prefix": topic + ".", "page_size": 3}
    sizes = []
    while True:
        body = api.told("GET", "/v0/topics", **query)
        names += [one["topic"] for one in body["topics"]]
        sizes.append(len(body["topics"]))
        if "next_cursor" not in body:
            break
        query["cursor"] = body["next_cursor"]
    assert (names, sizes) == ([f"{topic}.{i}" for i in range(7)], [3, 3, 1])


@pytest.fixture(scope="module")
def many(api: Api) -> str:
    """The prefix of 120 topics."""
    for i in range(120):
        api.create(f"many.{i:03}")
    return "many."


@pytest.mark.parametrize(
    ("size", "given"),
    [("0", 1), ("7", 7), ("x", 100), ("", 100), ("1e2", 100), ("9999", 120), ("9" * 18, 120), ("9" * 40, 100)],
)
def test_page_size_is_clamped(api: Api, many: str, size: str, given: int) -> None:
    """1 to 1000; what is no number is 100."""
    assert len(api.told("GET", "/v0/topics", prefix=many, page_size=size)["topics"]) == given


@pytest.mark.parametrize(
    "cursor", ["x", "é", "%", "e30=", "bnVsbA==", base64.b64encode(b'{"after":5}').decode(), "A" * 5000]
)
def test_a_cursor_that_nobody_gave_out(api: Api, cursor: str) -> None:
    """A broken cursor is refused, not read as the beginning."""
    refused(api.get("/v0/topics", params={"cursor": cursor}), 400, "invalid_request")


def test_delete(api: Api, topic: str) -> None:
    """Deleting is idempotent and says whether there was something; then the topic is absent."""
    api.append(topic, 1)
    for deleted in (True, False):
        body = api.told("DELETE", f"/v0/topics/{topic}")
        assert {k: body[k] for k in set(body) - {"performance"}} == {
            "topic": topic, "deleted": deleted, "routers_removed": [],
        }  # fmt: skip
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    assert api.told("GET", "/v0/topics", prefix=topic)["topics"] == []


def test_an_append_beside_a_delete_is_taken(api: Api, topic: str) -> None:
    """Whichever is first, and also where the topic decides both at once: nobody is told that there is no topic."""
    api.append(topic, 1)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(50):
            appends = [threads.submit(api.append, topic, 2) for _ in range(3)]
            api.told("DELETE", f"/v0/topics/{topic}")
            assert {append.result()["count"] for append in appends} == {1}


def test_delete_if_empty(api: Api, topic: str) -> None:
    """With ``if_empty`` a topic with live records stays, and the refusal tells how many."""
    api.append(topic, 1, 2)
    response = api.delete(f"/v0/topics/{topic}", params={"if_empty": "true"})
    assert refused(response, 409, "topic_not_empty") == {"topic": topic, "count": 2}
    assert api.state(topic)["count"] == 2
    api.create(topic + "e")
    assert api.told("DELETE", f"/v0/topics/{topic}e", if_empty="1")["deleted"] is True
    assert api.told("DELETE", f"/v0/topics/{topic}n", if_empty="1")["deleted"] is False


def test_delete_with_forget(api: Api, topic: str) -> None:
    """``forget`` of a topic that no link names is a delete."""
    api.append(topic, 1)
    assert api.told("DELETE", f"/v0/topics/{topic}", forget="true")["deleted"] is True


def test_a_topic_made_anew_begins_at_one(api: Api, topic: str) -> None:
    """A new life of a topic: seqs from 1, another log id, default configuration."""
    api.create(topic, cap_records=7)
    api.append(topic, "old")
    old = api.state(topic)["log_id"]
    api.delete(f"/v0/topics/{topic}")
    assert api.append(topic, "new")["seqs"] == [1]
    state = api.state(topic)
    assert (state["count"], state["config"]["cap_records"]) == (1, 0)
    assert state["log_id"] != old
    assert [record["data"] for record in api.diff(topic)["records"]] == ["new"]


def _recreated(page: dict[str, Any], head: int) -> None:
    lost = page["tombstone"]
    assert (lost["reason"], lost["gap_from"], lost["gap_to"], lost["head_seq"]) == ("recreated", 1, head, head)


def test_the_log_id_tells_exactly(api: Api, topic: str) -> None:
    """With ``log_id`` a reader learns that the topic is another one, even when it has grown beyond the cursor."""
    api.append(topic, "old", "old")
    page = api.diff(topic)
    cursor = {"from_seq": page["next_from_seq"], "log_id": page["log_id"]}
    assert api.diff(topic, **cursor)["tombstone"] is None
    api.delete(f"/v0/topics/{topic}")
    api.append(topic, "new", "new", "new")
    page = api.diff(topic, **cursor)
    _recreated(page, 3)
    assert [record["data"] for record in page["records"]] == ["new", "new", "new"]
    assert api.diff(topic, from_seq=page["next_from_seq"], log_id=page["log_id"])["tombstone"] is None


def test_without_a_log_id_the_head_tells(api: Api, topic: str) -> None:
    """A cursor above the head is of another log; one at the head cannot be told from this one's."""
    api.append(topic, "old", "old", "old")
    api.delete(f"/v0/topics/{topic}")
    api.append(topic, "new", "new")
    page = api.diff(topic, from_seq=3)
    _recreated(page, 2)
    assert [record["data"] for record in page["records"]] == ["new", "new"]
    assert api.diff(topic, from_seq=2)["tombstone"] is None


def test_declared_topics_can_be_deleted(narrow: Daemon) -> None:
    """A topic of the file that is deleted comes back as the file says."""
    narrow.api.append("fixed", 1)
    narrow.api.told("DELETE", "/v0/topics/fixed")
    narrow.api.append("fixed", 2)
    assert narrow.api.state("fixed")["config"]["cap_records"] == 5
