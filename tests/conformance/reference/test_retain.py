"""Reference 2.7, 3.4, 3.5, 3.6 and what 8.3 suspects: what goes, what stays, and what a kill -9 leaves."""

from __future__ import annotations

from typing import Any

import pytest

from ..daemon import Api, Daemon, answered, refused, until

WRONG_MATCHES: list[Any] = [
    [], ["tag"], ["tag", "Eq"], ["tag", "Eq", "x", "y"], ["node", "Eq", "x"], ["tag", "eq", "x"],
    ["tag", "In", ["x"]], ["tag", "Glob", "x"], ["tag", "Glob", "*x"], ["tag", "Eq", 1], ["tag", "Glob", None],
    1, {}, True, [["tag", "Eq", "x"]],
]  # fmt: skip


def data(api: Api, topic: str) -> list[Any]:
    return [record["data"] for record in api.diff(topic, limit=1000)["records"]]


def tagged(api: Api, topic: str, *tags: str | None) -> None:
    """Records whose data is their tag."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": tag, "tag": tag} for tag in tags]})


def drop(api: Api, topic: str, **selector: Any) -> dict[str, Any]:
    return api.told("POST", f"/v0/topics/{topic}/delete", selector)


def test_the_answer_of_a_delete(api: Api, topic: str) -> None:
    """2.7, 12.58: before_seq is exclusive; every field."""
    api.append(topic, "a", "b", "c")
    told = drop(api, topic, before_seq=3)
    assert {k: v for k, v in told.items() if k != "performance"} == {
        "topic": topic, "deleted": 2, "earliest_seq": 3, "head_seq": 3, "count": 1, "bytes": 3,
    }  # fmt: skip
    assert drop(api, topic, before_seq=3)["deleted"] == 0
    told = drop(api, topic, before_seq=2**63)
    assert told.items() >= {"deleted": 1, "earliest_seq": 4, "head_seq": 3, "count": 0, "bytes": 0}.items()
    api.append(topic, "d")
    assert data(api, topic) == ["d"]


@pytest.mark.parametrize(
    ("match", "left"),
    [
        (["tag", "Eq", "chat-42:a"], ["chat-420:b", "chat-42:", None]), ("chat-42:a", ["chat-420:b", "chat-42:", None]),
        (["tag", "Glob", "chat-42:*"], ["chat-420:b", None]), ("chat-42:*", ["chat-420:b", None]), ("*", [None]),
        (["tag", "Glob", "*"], [None]), ("CHAT*", ["chat-42:a", "chat-420:b", "chat-42:", None]),
        (["tag", "Eq", "chat-42:*"], ["chat-42:a", "chat-420:b", "chat-42:", None]), ("chat-4", [...]),
    ],
)  # fmt: skip
def test_delete_by_tag(api: Api, topic: str, match: Any, left: list[Any]) -> None:
    """2.7, 3.5, 12.59: Eq, Glob as a literal prefix, the short forms; untagged records never match."""
    every = ["chat-42:a", "chat-420:b", "chat-42:", None]
    tagged(api, topic, *every)
    left = every if left == [...] else left
    assert drop(api, topic, match=match)["deleted"] == 4 - len(left)
    assert data(api, topic) == left


def test_delete_by_both(api: Api, topic: str) -> None:
    """2.7, 12.60: the intersection."""
    tagged(api, topic, "a", "b", "a", "a")
    assert drop(api, topic, before_seq=4, match="a")["deleted"] == 2
    assert data(api, topic) == ["b", "a"]


@pytest.mark.parametrize("match", WRONG_MATCHES)
def test_wrong_matches(api: Api, topic: str, match: Any) -> None:
    """2.7: not three, not the tag, no such op, a Glob without its star."""
    api.create(topic)
    refused(api.post(f"/v0/topics/{topic}/delete", json={"match": match}), 400, "invalid_request")


def test_delete_needs_a_selector_and_a_topic(api: Api, topic: str) -> None:
    """2.7, 1.1: no selector is 400, no topic 404, wrong numbers 400."""
    refused(api.post(f"/v0/topics/{topic}/delete", json={"before_seq": 1}), 404, "topic_not_found")
    api.create(topic)
    for body in (
        {},
        {"before_seq": None},
        {"match": None},
        {"before_seq": -1},
        {"before_seq": 1.5},
        {"before_seq": "1"},
    ):
        refused(api.post(f"/v0/topics/{topic}/delete", json=body), 400, "invalid_request")
    assert drop(api, topic, before_seq=0)["deleted"] == 0


def test_old_evicts_and_never_refuses(api: Api, topic: str) -> None:
    """3.4, 12.67, 12.69: discard old admits everything, also a batch larger than the cap."""
    api.create(topic, cap_records=3)
    assert api.append(topic, *range(10))["count"] == 10
    assert data(api, topic) == [7, 8, 9]
    api.create(topic, cap_records=0, cap_bytes=4)
    api.append(topic, 10, 11)
    assert data(api, topic) == [10, 11]
    assert api.state(topic)["bytes"] == 4


def test_reject_refuses(api: Api, topic: str) -> None:
    """3.4, 12.70, 1.1: 422 with what the topic holds, nothing appended; a batch over the cap itself is 400."""
    api.create(topic, cap_records=3, discard="reject")
    api.append(topic, 1, 2)
    told = refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 3}, {"data": 4}]}), 422, "topic_full")
    assert told == {"topic": topic, "cap_records": 3, "cap_bytes": 0, "head_seq": 2, "earliest_seq": 1}
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 3}] * 4}), 400, "record_too_large")
    assert data(api, topic) == [1, 2]
    drop(api, topic, before_seq=2)
    assert api.append(topic, 3, 4)["last_seq"] == 4


def test_reject_of_bytes(api: Api, topic: str) -> None:
    """3.4, 1.1: the same for bytes of data and meta."""
    api.create(topic, cap_bytes=8, discard="reject")
    api.append(topic, "abc")
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": "def"}]}), 422, "topic_full")
    refused(
        api.post(f"/v0/topics/{topic}", json={"records": [{"data": 1, "meta": "abcdefg"}]}), 400, "record_too_large"
    )
    assert api.append(topic, 123)["count"] == 1


def test_what_a_kill_leaves(mortal: Daemon) -> None:
    """8.3 S3 to S6, 12.36, 3.6, 8.2 C1: all the suspected cases at once."""
    api = mortal.api
    api.create("s3", cap_records=100)
    api.append("s3", *range(100))
    for name in ("s4x", "s4y"):
        api.create(name, durability="fsync")
    api.told("PUT", "/v0/routers/s4", {"source": "s4y", "dest": "s4x"})
    api.append("s4x", "direct 1")
    api.append("s4y", "routed")
    assert api.diff("s4x")["head_seq"] == 2
    api.append("s4x", "direct 3")
    api.create("s5q", type="queue", durability="fsync")
    api.told("PUT", "/v0/routers/s5", {"source": "s5a", "dest": "s5q"})
    api.append("s5a", "job")
    (job,) = until(lambda: api.told("POST", "/v0/topics/s5q/claim", {"node": "w"})["claimed"])
    api.told("POST", "/v0/topics/s5q/ack", {"node": "w", "seqs": [job["$seq"]]})
    api.create("s6", durability="ephemeral")
    api.append("s6", *range(5))
    tagged(api, "gone", "a", "b", "a")
    drop(api, "gone", match="a")
    keyed = {"records": [{"data": 1}], "idempotency_key": "k"}
    api.told("POST", "/v0/topics/keyed", keyed)
    ttl = api.create("kept", ttl_ms=3_600_000, cap_bytes=5000)["config"]
    wid = api.told("POST", "/v0/watch", {"topics": {"kept": {}}})["wid"]
    for name, durable in (("leased", True), ("loose", False)):
        api.create(name, type="queue", leases_durable=durable, durability="fsync")
        api.append(name, "job")
        api.told("POST", f"/v0/topics/{name}/claim", {"node": "w"})
    mortal.kill()
    mortal.start()
    api = mortal.api
    assert api.state("s3")["count"] == 100
    assert data(api, "s3") == list(range(100))
    assert data(api, "s4x") == ["direct 1", "routed", "direct 3"]
    assert api.append("s4x", "after")["first_seq"] == 4
    assert api.told("POST", "/v0/topics/s5q/claim", {"node": "w"})["claimed"] == []
    assert api.append("s6", "new")["first_seq"] > 5
    assert data(api, "gone") == ["b"]
    assert answered(api.post("/v0/topics/keyed", json=keyed))["deduped"] is True
    assert api.state("kept")["config"] == ttl
    refused(api.get(f"/v0/watch/{wid}"), 404, "not_found")
    assert api.told("POST", "/v0/topics/loose/claim", {"node": "x"})["count"] == 1
    assert api.told("POST", "/v0/topics/leased/claim", {"node": "x"})["count"] == 0
    assert api.told("POST", "/v0/topics/leased/ack", {"node": "w", "seqs": [1]})["acked"] == 1
    assert api.append("s3", 100)["first_seq"] > 100
