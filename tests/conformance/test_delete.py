"""``POST /v0/topics/:t/delete`` (reference 2.7, 3.3, 3.5): permanent, silent, at once, point in time."""

from __future__ import annotations

from typing import Any

import pytest

from .daemon import Api, Daemon, refused

TAGS = ["chat-42:a", "chat-42:b", None, "chat-420:a", "chat-42:a", "x"]


def _fill(api: Api, topic: str) -> None:
    records = [{"data": i, **({"tag": tag} if tag else {})} for i, tag in enumerate(TAGS, 1)]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})


def _delete(api: Api, topic: str, **body: Any) -> dict[str, Any]:
    return api.told("POST", f"/v0/topics/{topic}/delete", body)


def _left(api: Api, topic: str, **fields: Any) -> list[int]:
    page = api.diff(topic, **fields)
    assert page["tombstone"] is None
    assert page["caught_up"]
    return [record["$seq"] for record in page["records"]]


@pytest.mark.parametrize(
    ("body", "gone"),
    [
        ({"match": ["tag", "Eq", "chat-42:a"]}, {1, 5}),
        ({"match": "chat-42:a"}, {1, 5}),
        ({"match": ["tag", "Glob", "chat-42:*"]}, {1, 2, 5}),
        ({"match": "chat-42*"}, {1, 2, 4, 5}),
        ({"match": "*"}, {1, 2, 4, 5, 6}),
        ({"match": ["tag", "Eq", "nobody"]}, set()),
        ({"match": ["tag", "Eq", "chat-42:*"]}, set()),
        ({"before_seq": 4}, {1, 2, 3}),
        ({"before_seq": 0}, set()),
        ({"before_seq": 1}, set()),
        ({"before_seq": 7}, {1, 2, 3, 4, 5, 6}),
        ({"before_seq": 1 << 50}, {1, 2, 3, 4, 5, 6}),
        ({"before_seq": 5, "match": "chat-42:*"}, {1, 2}),
        ({"before_seq": None, "match": "x"}, {6}),
    ],
)
def test_what_a_selector_takes(api: Api, topic: str, body: dict[str, Any], gone: set[int]) -> None:
    """By place, by tag, or both; the answer counts what went and tells how the topic stands."""
    _fill(api, topic)
    told = _delete(api, topic, **body)
    left = [seq for seq in range(1, 7) if seq not in gone]
    assert set(told) == {"topic", "deleted", "earliest_seq", "head_seq", "count", "bytes", "performance"}
    assert (told["topic"], told["deleted"], told["head_seq"], told["count"]) == (topic, len(gone), 6, len(left))
    assert (told["earliest_seq"], told["bytes"]) == (min(left, default=7), len(left))
    assert _left(api, topic) == left
    assert _delete(api, topic, **body)["deleted"] == 0
    state = api.state(topic)
    assert {name: state[name] for name in ("earliest_seq", "head_seq", "count", "bytes")} == {
        name: told[name] for name in ("earliest_seq", "head_seq", "count", "bytes")
    }


def test_a_delete_is_of_its_moment(api: Api, topic: str) -> None:
    """What comes later stays, whatever its tag."""
    _fill(api, topic)
    assert _delete(api, topic, match="*")["deleted"] == 5
    _fill(api, topic)
    assert _left(api, topic) == [3, *range(7, 13)]


def test_readers_pass_in_silence(api: Api, topic: str) -> None:
    """A voluntary removal is no loss: no tombstone for any cursor, and the cursor moves past it."""
    _fill(api, topic)
    _delete(api, topic, before_seq=3)
    _delete(api, topic, match="chat-42*")
    for after in range(7):
        page = api.diff(topic, from_seq=after)
        assert (page["tombstone"], page["next_from_seq"], page["lag"]) == (None, 6, 0)
        assert [record["$seq"] for record in page["records"]] == [seq for seq in (3, 6) if seq > after]
    page = api.diff(topic, from_seq=3, limit=1)
    assert (page["next_from_seq"], page["caught_up"]) == (6, True)
    assert api.diff(topic, from_seq=0, limit=1)["next_from_seq"] < 6
    _delete(api, topic, match="x")
    assert api.diff(topic, from_seq=3)["next_from_seq"] == 6


@pytest.mark.parametrize(
    "body",
    [
        {}, {"before_seq": None}, {"before_seq": -1}, {"before_seq": 1.5}, {"before_seq": "3"}, {"match": 1},
        {"match": []}, {"match": ["tag", "Eq"]}, {"match": ["tag", "Eq", "a", "b"]}, {"match": ["node", "Eq", "a"]},
        {"match": ["tag", "Ne", "a"]}, {"match": ["tag", "Glob", "a"]}, {"match": ["tag", "Eq", 1]}, {"match": {}},
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(api: Api, topic: str, body: dict[str, Any]) -> None:
    """Nothing goes on a request that does not say what."""
    _fill(api, topic)
    refused(api.post(f"/v0/topics/{topic}/delete", json=body), 400, "invalid_request")
    assert len(_left(api, topic)) == 6


def test_the_path(api: Api, topic: str) -> None:
    """Only POST, only topics that are there, and none is made by it."""
    _fill(api, topic)
    for method in ("GET", "DELETE", "PUT", "PATCH"):
        refused(api.request(method, f"/v0/topics/{topic}/delete"), 405, "method_not_allowed")
    refused(api.post("/v0/topics/nobody/delete", json={"before_seq": 1}), 404, "topic_not_found")
    refused(api.get("/v0/topics/nobody"), 404, "topic_not_found")
    refused(api.post(f"/v0/topics/{topic}/delete"), 400, "invalid_request")


def test_deletes_outlive_kill_9(mortal: Daemon) -> None:
    """What was acknowledged as deleted is never readable again, and the counts are the same after as before."""
    api = mortal.api
    for name in ("deleted-d", "deleted-f"):
        api.create(name, durability="fsync" if name.endswith("f") else "disk")
        _fill(api, name)
        _delete(api, name, match="chat-42:a")
        _delete(api, name, before_seq=3)
    before = {name: api.state(name) for name in ("deleted-d", "deleted-f")}
    mortal.kill()
    mortal.start()
    for name in before:
        assert _left(mortal.api, name) == [3, 4, 6]
        state = mortal.api.state(name)
        for field in ("head_seq", "earliest_seq", "count", "bytes"):
            assert state[field] == before[name][field], field


# ---- with caps (reference 8.3, S1 to S3)


def test_a_topic_that_rejects_evicts_nobody(api: Api, topic: str) -> None:
    """S1: room is counted in live records, and nothing live is evicted to make it."""
    api.create(topic, cap_records=10, discard="reject")
    api.append(topic, *range(1, 11))
    detail = refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 0}]}), 422, "topic_full")
    assert detail == {"topic": topic, "cap_records": 10, "cap_bytes": 0, "head_seq": 10, "earliest_seq": 1}
    _delete(api, topic, before_seq=3)
    records = [{"data": i, "tag": "t"} for i in (11, 12)]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 0}]}), 422, "topic_full")
    _delete(api, topic, match="t")
    assert api.append(topic, 13, 14)["last_seq"] == 14
    assert _left(api, topic) == [*range(3, 11), 13, 14]
    assert api.state(topic)["count"] == 10


def test_a_batch_that_never_fits(api: Api, topic: str) -> None:
    """Larger than the whole topic may be: no waiting helps. A retry of what was taken is answered as before."""
    api.create(topic, cap_records=3, cap_bytes=20, discard="reject")
    records = {"records": [{"data": 1}] * 4}
    refused(api.post(f"/v0/topics/{topic}", json=records), 400, "record_too_large")
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": "x" * 20}]}), 400, "record_too_large")
    api.append(topic, 1, 2, 3, idempotency_key="k")
    assert api.append(topic, 1, 2, 3, idempotency_key="k")["deduped"] is True
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 4}]}), 422, "topic_full")
    assert api.state(topic)["head_seq"] == 3


def test_a_full_topic_in_bytes(api: Api, topic: str) -> None:
    """Bytes of JSON text, of what is live."""
    api.create(topic, cap_bytes=10, discard="reject")
    api.append(topic, 1234567, 89)
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 12}]}), 422, "topic_full")
    assert api.append(topic, 1)["last_seq"] == 3
    _delete(api, topic, before_seq=2)
    assert api.append(topic, 1234567)["last_seq"] == 4


def test_tightened_caps_of_a_topic_that_rejects(api: Api, topic: str) -> None:
    """A PUT never takes a live record from it; it is just full."""
    api.create(topic, discard="reject")
    api.append(topic, 1, 2, 3)
    api.create(topic, discard="reject", cap_records=2)
    assert _left(api, topic) == [1, 2, 3]
    refused(api.post(f"/v0/topics/{topic}", json={"records": [{"data": 4}]}), 422, "topic_full")
    api.create(topic, cap_records=2)
    page = api.diff(topic)
    assert ([r["$seq"] for r in page["records"]], page["tombstone"]["reason"]) == ([2, 3], "cap")


def test_ttl_makes_room(api: Api, topic: str) -> None:
    """A topic that rejects still lets expired records go, and says so to readers."""
    api.create(topic, cap_records=2, discard="reject", ttl_ms=1)
    api.append(topic, 1, 2)
    api.diff(topic, from_seq=2, wait_ms=20)
    assert api.append(topic, 3, 4)["last_seq"] == 4
    page = api.diff(topic)
    assert page["tombstone"]["reason"] == "ttl"


def test_deletes_make_no_false_tombstone(api: Api, topic: str) -> None:
    """S2: a cap counts what is live, so nothing was evicted here and nobody is told of a loss."""
    api.create(topic, cap_records=4)
    api.append(topic, 1, 2, 3, 4)
    _delete(api, topic, before_seq=3)
    api.append(topic, 5, 6)
    assert (_left(api, topic), api.state(topic)["count"]) == ([3, 4, 5, 6], 4)
    api.append(topic, 7)
    page = api.diff(topic)
    told = page["tombstone"]
    assert (told["gap_from"], told["gap_to"], told["reason"]) == (1, 3, "cap")
    assert [record["$seq"] for record in page["records"]] == [4, 5, 6, 7]


def test_gap_to_ends_where_the_evicted_end(api: Api, topic: str) -> None:
    """Deletes above the evicted range belong to no tombstone (design 5.1): the two earliest_seq differ."""
    api.create(topic, cap_records=3)
    api.append(topic, 1, 2, 3, 4)
    _delete(api, topic, before_seq=4)
    page = api.diff(topic)
    told = page["tombstone"]
    assert (told["gap_from"], told["gap_to"], told["earliest_seq"], page["earliest_seq"]) == (1, 1, 2, 4)
    assert [record["$seq"] for record in page["records"]] == [4]
    assert api.diff(topic, from_seq=1)["tombstone"] is None


def test_a_capped_topic_keeps_its_records_over_kill_9(mortal: Daemon) -> None:
    """S3: seqs may jump after a crash; caps count records, so nothing goes for it."""
    api = mortal.api
    api.create("capped-s3", cap_records=100)
    api.append("capped-s3", *range(100))
    mortal.kill()
    mortal.start()
    assert mortal.api.state("capped-s3")["count"] == 100
    assert len(mortal.api.diff("capped-s3", limit=1000)["records"]) == 100
