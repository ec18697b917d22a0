"""``POST /v0/topics/:topic``: appending (reference 2.5, 3.1)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .daemon import Api, answered, refused

FIELDS = {"topic", "first_seq", "last_seq", "seqs", "head_seq", "count", "created", "deduped", "performance"}


def test_the_first_append_creates(api: Api, topic: str) -> None:
    """A topic is made by its first append, which says so; seqs begin at 1."""
    response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": "a"}, {"data": "b"}]})
    assert response.status_code == 201
    body = response.json()
    assert set(body) == FIELDS
    assert set(body.pop("performance")) == {"server_total_ms", "wal_append_ms", "fsync_ms"}
    assert body == {
        "topic": topic, "first_seq": 1, "last_seq": 2, "seqs": [1, 2], "head_seq": 2, "count": 2,
        "created": True, "deduped": False,
    }  # fmt: skip


def test_the_next_append_goes_on(api: Api, topic: str) -> None:
    """Seqs go on without holes; ``count`` is of this call, not of the topic."""
    api.append(topic, 1, 2)
    response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": 3}]})
    assert response.status_code == 200
    body = response.json()
    assert (body["seqs"], body["count"], body["head_seq"], body["created"]) == ([3], 1, 3, False)


@pytest.mark.parametrize(("query", "shown"), [("false", False), ("0", False), ("true", True), ("nonsense", True)])
def test_return_seqs(api: Api, topic: str, query: str, shown: bool) -> None:
    """``return_seqs=false`` drops the array and nothing else; what is no flag is the default."""
    body = api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": 1}]}, return_seqs=query)
    assert set(body) == (FIELDS if shown else FIELDS - {"seqs"})
    assert (body["first_seq"], body["last_seq"]) == (1, 1)


def test_batches_keep_their_order(api: Api, topic: str) -> None:
    """The largest batch is one append: consecutive seqs in the order of the array."""
    body = api.append(topic, *range(10_000))
    assert body["seqs"] == list(range(1, 10_001))
    page = api.diff(topic, from_seq=9990)
    assert [(r["$seq"], r["data"]) for r in page["records"]] == [(i + 1, i) for i in range(9990, 10_000)]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"records": []}, {"records": None}, {"records": {}}, {"records": [1]}, {"records": [{}]},
        {"records": [{"tag": "x"}]}, {"records": [{"data": 1}, {}]}, {"records": [{"data": 1, "tag": 5}]},
        {"records": [{"data": 1, "node": ["a"]}]}, {"records": [{"data": 1}], "node": 7},
        {"records": [{"data": 1}], "idempotency_key": 7}, {"records": [{"data": 1}], "create": "yes"},
        {"records": [{"data": 1}], "config": []}, {"records": [{"data": 1}], "config": {"ttl_ms": -1}},
        {"records": [{"data": 1}], "disable_backpressure": 3}, [], 5, "x",
    ],
)  # fmt: skip
def test_bodies_that_are_refused(api: Api, topic: str, body: Any) -> None:
    """A request that cannot be meant is 400, and it creates nothing."""
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


def test_a_batch_is_all_or_nothing(api: Api, topic: str) -> None:
    """One bad record refuses the whole batch."""
    api.append(topic, "first")
    records = [{"data": i} for i in range(5)] + [{"data": 5, "tag": "x" * 257}]
    refused(api.post(f"/v0/topics/{topic}", json={"records": records}), 400, "invalid_request")
    assert api.state(topic)["head_seq"] == 1


def test_unknown_fields_are_ignored(api: Api, topic: str) -> None:
    """Also what looks like a server's key: ``$seq`` and ``$ts`` cannot be set by a writer."""
    record = {"data": 1, "$seq": 77, "$ts": 5, "$node": "liar", "$tag": "liar", "color": "blue"}
    api.told("POST", f"/v0/topics/{topic}", {"records": [record], "extra": {}})
    (read,) = api.diff(topic, include_tags=True)["records"]
    assert (read["$seq"], read["$node"], "$tag" in read) == (1, "solo", False)
    assert read["$ts"] > 1_600_000_000_000


def test_tag_node_and_meta_are_kept(api: Api, topic: str) -> None:
    """A record's own label wins over the batch's; meta may be any JSON; null is as good as absent."""
    records = [
        {"data": 1, "tag": "red", "node": "a", "meta": {"k": [1]}},
        {"data": 2, "meta": "text"},
        {"data": 3, "tag": None, "node": None, "meta": None},
    ]
    api.told("POST", f"/v0/topics/{topic}", {"records": records, "node": "batch"})
    first, second, third = api.diff(topic, include_tags=True)["records"]
    assert (first["$tag"], first["$node"], first["meta"]) == ("red", "a", {"k": [1]})
    assert (second["$node"], second["meta"]) == ("batch", "text")
    assert set(second) == {"$seq", "$ts", "$node", "data", "meta"}
    assert third["$node"] == "batch"
    assert set(third) == {"$seq", "$ts", "$node", "data"}


@pytest.mark.parametrize("text", ["日本語", "🎈", 'a"b\\c', "tab\tline\n", "\x00", "</script>", "\u2028", "é" * 64])
def test_tags_and_labels_are_any_text(api: Api, topic: str, text: str) -> None:
    """Tags and labels are text, not identifiers: what was sent is what is read."""
    record = {"data": 1, "tag": text, "node": text}
    api.told("POST", f"/v0/topics/{topic}", {"records": [record]})
    (read,) = api.diff(topic, include_tags=True)["records"]
    assert (read["$tag"], read["$node"]) == (text, text)
    assert api.diff(topic, node=text)["records"] == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 201),
        ({"create": True}, 201),
        ({"create": None}, 201),
        ({"create": False}, 404),
        ({"config": {"auto_create": False}}, 404),
        ({"config": {"auto_create": False}, "create": True}, 201),
        ({"config": {"auto_create": True}, "create": False}, 404),
    ],
)
def test_whether_an_append_may_create(api: Api, topic: str, fields: dict[str, Any], status: int) -> None:
    """``create`` wins over the inline configuration, which wins over the default."""
    response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": 1}], **fields})
    if status == 404:
        assert refused(response, 404, "topic_not_found") == {"topic": topic}
        refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    else:
        assert (response.status_code, response.json()["created"]) == (201, True)
    api.create(topic)
    assert api.append(topic, 1, **fields)["created"] is False


def test_inline_config_counts_only_when_it_creates(api: Api, topic: str) -> None:
    """An append configures the topic that it makes, never one that is there."""
    api.append(topic, 1, config={"cap_records": 3, "durability": "fsync"})
    assert api.state(topic)["config"]["cap_records"] == 3
    api.append(topic, 2, config={"cap_records": 99})
    config = api.state(topic)["config"]
    assert (config["cap_records"], config["durability"]) == (3, "fsync")


@pytest.mark.parametrize("config", [5, [], {"ttl_ms": -1}, {"type": "stack"}])
def test_a_wrong_inline_config_is_refused_whether_it_counts_or_not(api: Api, topic: str, config: Any) -> None:
    """An append whose body is wrong is wrong the second time, too."""
    body = {"records": [{"data": 1}], "config": config}
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")
    api.create(topic)
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")


def test_an_inline_config_may_make_a_queue(api: Api, topic: str) -> None:
    """The first append of a producer sets a queue up, too."""
    body = {"records": [{"data": 1}], "config": {"type": "queue"}}
    answered(api.post(f"/v0/topics/{topic}", json=body))
    told = answered(api.get(f"/v0/topics/{topic}"))
    assert (told["type"], told["queue"]["ready"]) == ("queue", 1)


@pytest.mark.parametrize(("durability", "synced"), [("fsync", True), ("disk", False), ("memory", False)])
def test_fsync_ms_is_told_for_fsync_only(api: Api, topic: str, durability: str, synced: bool) -> None:
    """``fsync_ms`` is what the full sync cost, and nothing where none was waited for."""
    api.create(topic, durability=durability)
    assert (api.append(topic, 1)["performance"]["fsync_ms"] > 0) is synced


@pytest.mark.parametrize("durability", ["ephemeral", "disk", "fsync"])
def test_an_acknowledged_record_is_visible(api: Api, topic: str, durability: str) -> None:
    """The next read sees what was acknowledged; class ``memory``, acknowledged when queued, is the exception."""
    api.create(topic, durability=durability)
    for i in range(20):
        api.append(topic, i)
        assert [r["data"] for r in api.diff(topic, from_seq=i)["records"]] == [i]


def test_class_memory_is_visible_when_committed(api: Api, topic: str) -> None:
    """An acknowledged record of class ``memory`` is never late for a reader who waits."""
    api.create(topic, durability="memory")
    for i in range(20):
        api.append(topic, i)
        assert [r["data"] for r in api.diff(topic, from_seq=i, wait_ms=20_000)["records"]] == [i]


def test_many_writers_get_their_own_seqs(api: Api, topic: str) -> None:
    """Appends at once never share a seq, leave no hole, and stay whole: each batch lies together."""
    with ThreadPoolExecutor(8) as crowd:
        batches = list(crowd.map(lambda i: api.append(topic, i, i, i)["seqs"], range(40)))
    assert sorted(seq for batch in batches for seq in batch) == list(range(1, 121))
    assert all(last - first == 2 for first, _, last in batches)
    read = {record["$seq"]: record["data"] for record in api.diff(topic)["records"]}
    assert [{read[seq] for seq in batch} for batch in batches] == [{i} for i in range(40)]


def test_timestamps_never_go_back(api: Api, topic: str) -> None:
    """``$ts`` is the node's clock in ms, non-decreasing in seq."""
    for i in range(20):
        api.append(topic, i)
    stamps = [record["$ts"] for record in api.diff(topic)["records"]]
    assert stamps == sorted(stamps)
    assert api.state(topic)["last_write_ts"] == stamps[-1]


def test_fields_that_change_nothing_here(api: Api, topic: str) -> None:
    """``disable_backpressure`` is part of the surface and accepted."""
    assert api.append(topic, 1, disable_backpressure=True)["count"] == 1
