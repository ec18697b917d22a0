"""Reference 2.5, 3.1, 3.7: the append, its limits, its order of checks, its idempotency."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ..daemon import Api, answered, refused

WRONG_RECORDS: list[Any] = [
    None, [], {}, "x", 1, [1], ["x"], [None], [[]], [{}], [{"tag": "x"}], [{"data": 1, "tag": 1}],
    [{"data": 1, "node": []}], [{"data": 1}, {}], [{"data": 1, "tag": {}}],
]  # fmt: skip
PAYLOADS: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, 2**53, 2**64 - 1, -(2**63), "", "x", [], {}, [[[]]], {"": None},
    {"$seq": 9, "a": [{}]},
]  # fmt: skip


def write(api: Api, topic: str, **body: Any) -> Any:
    return api.post(f"/v0/topics/{topic}", json=body)


def one(**fields: Any) -> list[dict[str, Any]]:
    return [{"data": 1, **fields}]


def test_the_answer_of_an_append(api: Api, topic: str) -> None:
    """2.5, 12.25, 12.26: 201 when it made the topic, then 200; contiguous seqs from 1; every field."""
    first = write(api, topic, records=[{"data": n} for n in range(3)])
    told = answered(first)
    assert first.status_code == 201
    assert told["performance"].keys() >= {"server_total_ms", "wal_append_ms", "fsync_ms"}
    assert told["performance"]["fsync_ms"] == 0.0
    assert {k: v for k, v in told.items() if k != "performance"} == {
        "topic": topic, "first_seq": 1, "last_seq": 3, "seqs": [1, 2, 3], "head_seq": 3, "count": 3, "created": True,
        "deduped": False,
    }  # fmt: skip
    second = write(api, topic, records=one())
    assert (second.status_code, second.json()["seqs"], second.json()["created"]) == (200, [4], False)


def test_fsync_ms_is_told_of_fsync_topics(api: Api, topic: str) -> None:
    """2.5, 3.6: fsync_ms is real for the class fsync and 0.0 for every other."""
    api.create(topic, durability="fsync")
    assert api.append(topic, 1)["performance"]["fsync_ms"] > 0
    for durability in ("memory", "disk"):
        api.create(topic, durability=durability)
        assert api.append(topic, 1)["performance"]["fsync_ms"] == 0.0


@pytest.mark.parametrize(("said", "shown"), [("true", True), ("1", True), ("false", False), ("0", False), ("x", True)])
def test_return_seqs(api: Api, topic: str, said: str, shown: bool) -> None:
    """2.5, 12.29: false drops the array and nothing else."""
    told = api.told("POST", f"/v0/topics/{topic}", {"records": one()}, return_seqs=said)
    assert ("seqs" in told, told["first_seq"], told["last_seq"]) == (shown, 1, 1)


@pytest.mark.parametrize("records", WRONG_RECORDS)
def test_wrong_records(api: Api, topic: str, records: Any) -> None:
    """2.5: no records, none in the array, no data, wrong types: 400, and no topic comes of it."""
    refused(write(api, topic, records=records), 400, "invalid_request")
    refused(write(api, topic), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


@pytest.mark.parametrize("data", PAYLOADS)
def test_any_json_is_a_payload(api: Api, topic: str, data: Any) -> None:
    """2.5, 12.27, 1: any JSON, null too, as data and as meta; data is always there on reads."""
    write(api, topic, records=[{"data": data, "meta": data}, {"data": data}])
    both, bare = api.diff(topic)["records"]
    assert both["data"] == bare["data"] == data
    assert both.get("meta") == data
    assert "meta" not in bare


def test_server_keys(api: Api, topic: str) -> None:
    """1, 12.30 with 5.1: $seq and $ts are the server's, whatever is sent; $node falls back to the node."""
    before = int(time.time() * 1000)
    sent = {"data": 1, "$seq": 99, "$ts": 5, "$node": "liar", "$tag": "liar", "seq": 7, "ts": 8}
    write(api, topic, records=[sent, {"data": 2, "node": "n", "tag": "t"}, {"data": 3, "node": "", "tag": ""}])
    first, second, _ = api.diff(topic, include_tags=True)["records"]
    assert (first["$seq"], first["$node"], "$tag" in first) == (1, "solo", False)
    assert before <= first["$ts"] <= int(time.time() * 1000)
    assert (second["$node"], second["$tag"]) == ("n", "t")
    assert first.keys() == {"$seq", "$ts", "$node", "data"}


@pytest.mark.parametrize("field", ["tag", "node"])
def test_limits_of_tag_and_node(api: Api, topic: str, field: str) -> None:
    """2.5, 4, 12.28: 256 and 128 bytes (not letters), over it invalid_request; the batch's node too."""
    most = {"tag": 256, "node": 128}[field]
    answered(write(api, topic, records=one(**{field: "x" * most})))
    answered(write(api, topic, records=one(**{field: "é" * (most // 2)})))
    refused(write(api, topic, records=one(**{field: "x" * (most + 1)})), 400, "invalid_request")
    refused(write(api, topic, records=one(**{field: "é" * (most // 2 + 1)})), 400, "invalid_request")
    refused(write(api, topic, records=one(), node="x" * 129), 400, "invalid_request")
    assert api.state(topic)["count"] == 2


def test_limits_of_meta(api: Api, topic: str) -> None:
    """2.5, 4: meta of 16 KiB and 64 keys; more is invalid_request."""
    answered(write(api, topic, records=one(meta={str(n): n for n in range(64)})))
    refused(write(api, topic, records=one(meta={str(n): n for n in range(65)})), 400, "invalid_request")
    answered(write(api, topic, records=one(meta="x" * (16 * 1024 - 2))))
    refused(write(api, topic, records=one(meta="x" * (16 * 1024 - 1))), 400, "invalid_request")


def test_limits_of_a_record_and_a_batch(api: Api, topic: str) -> None:
    """2.5, 4, 1.1: data and meta together 1 MiB; 10 000 records a write; nothing of a refused batch is kept."""
    answered(write(api, topic, records=[{"data": "x" * ((1 << 20) - 2)}]))
    refused(write(api, topic, records=[*one(), {"data": "x" * ((1 << 20) - 1)}]), 400, "record_too_large")
    refused(write(api, topic, records=[{"data": "x" * ((1 << 20) - 6), "meta": "mmm"}]), 400, "record_too_large")
    answered(write(api, topic, records=[{"data": 0}] * 10_000))
    refused(write(api, topic, records=[{"data": 0}] * 10_001), 400, "batch_too_large")
    assert api.state(topic)["head_seq"] == 10_001


@pytest.mark.parametrize("key", [1, [], {}, True])
def test_wrong_types_beside_records(api: Api, topic: str, key: Any) -> None:
    """2.5, 1.1: idempotency_key, node, create, config of a wrong type are 400."""
    for field in ("idempotency_key", "node"):
        refused(write(api, topic, records=one(), **{field: key}), 400, "invalid_request")
    refused(write(api, topic, records=one(), create="yes"), 400, "invalid_request")
    refused(write(api, topic, records=one(), config=[]), 400, "invalid_request")
    refused(write(api, topic, records=one(), config={"ttl_ms": -1}), 400, "invalid_request")


def test_null_is_absent(api: Api, topic: str) -> None:
    """2.5, 12.15: null for the optional fields is as if they were not there."""
    absent = dict.fromkeys(["node", "idempotency_key", "create", "config"])
    assert answered(write(api, topic, records=one(tag=None, node=None), **absent))["created"] is True
    assert "$tag" not in api.diff(topic, include_tags=True)["records"][0]


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, True), ({"create": True}, True), ({"create": False}, False), ({"config": {"auto_create": False}}, False),
        ({"create": True, "config": {"auto_create": False}}, True),
        ({"create": False, "config": {"auto_create": True}}, False),
        ({"create": None, "config": {"auto_create": False}}, False),
    ],
)  # fmt: skip
def test_create(api: Api, topic: str, fields: dict[str, Any], made: bool) -> None:
    """2.5, 12.15: who decides whether an append makes the topic."""
    got = write(api, topic, records=one(), **fields)
    if made:
        assert (got.status_code, got.json()["created"]) == (201, True)
    else:
        assert refused(got, 404, "topic_not_found") == {"topic": topic}
        refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


def test_inline_config(api: Api, topic: str) -> None:
    """2.5, 12.16: used when this write makes the topic, passed over otherwise."""
    write(api, topic, records=one(), config={"type": "queue", "cap_records": 5, "lease_ms": 1})
    assert api.state(topic)["config"].items() >= {"type": "queue", "cap_records": 5, "lease_ms": 100}.items()
    answered(write(api, topic, records=one(), config={"type": "log", "cap_records": 1}))
    assert (api.state(topic)["config"]["cap_records"], api.state(topic)["count"]) == (5, 2)


def test_key_in_body_and_header(api: Api, topic: str) -> None:
    """2.5, 12.33, 12.34: original seqs and head, deduped, 200; the body's key beats the header's."""
    first = write(api, topic, records=one(), idempotency_key="a").json()
    api.append(topic, 2)
    for again in (
        write(api, topic, records=one(), idempotency_key="a"),
        api.post(f"/v0/topics/{topic}", json={"records": one()}, headers={"Idempotency-Key": "a"}),
        api.post(
            f"/v0/topics/{topic}", json={"records": one(), "idempotency_key": "a"}, headers={"Idempotency-Key": "b"}
        ),
    ):
        told = answered(again)
        assert (again.status_code, told["seqs"], told["head_seq"]) == (200, first["seqs"], first["head_seq"])
        assert (told["deduped"], told["created"]) == (True, False)
    assert api.state(topic)["count"] == 2


def test_a_retry_on_a_full_topic(api: Api, topic: str) -> None:
    """2.5, order of checks: a deduped retry succeeds on a full topic; limits come before the key."""
    api.create(topic, cap_records=1, discard="reject")
    write(api, topic, records=one(), idempotency_key="a")
    assert write(api, topic, records=one(), idempotency_key="a").json()["deduped"] is True
    refused(write(api, topic, records=one()), 422, "topic_full")
    refused(write(api, topic, records=one(tag="x" * 257), idempotency_key="a"), 400, "invalid_request")
