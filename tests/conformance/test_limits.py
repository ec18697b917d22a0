"""Limits (reference 4): the last size that fits, the first that does not, and in which order they are looked at."""

from __future__ import annotations

import pytest

from .daemon import JSON, Api, Daemon, refused

MIB = 1 << 20


def test_ten_thousand_records_fit(api: Api, topic: str) -> None:
    """One more is refused whole and creates nothing."""
    records = [{"data": 0}] * 10_001
    refused(api.post(f"/v0/topics/{topic}", json={"records": records}), 400, "batch_too_large")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    assert api.told("POST", f"/v0/topics/{topic}", {"records": records[1:]}, return_seqs="0")["count"] == 10_000


def test_a_record_may_be_one_mebibyte(api: Api, topic: str) -> None:
    """Data and meta together, as sent; the refusal is typed and tells which record."""
    fits = {"data": "x" * (MIB - 2)}
    api.told("POST", f"/v0/topics/{topic}", {"records": [fits]})
    assert api.state(topic)["bytes"] == MIB
    for bad in ({"data": "x" * (MIB - 1)}, fits | {"meta": 1}):
        response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": 1}, bad]})
        assert refused(response, 400, "record_too_large")["index"] == 1
    assert api.state(topic)["count"] == 1


@pytest.mark.parametrize(
    ("field", "fits"), [("tag", "x" * 256), ("tag", "é" * 128), ("node", "x" * 128), ("node", "🎈" * 32)]
)
def test_tags_and_labels(api: Api, topic: str, field: str, fits: str) -> None:
    """Limits of text count bytes of UTF-8, not characters."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": 1, field: fits}]})
    body = {"records": [{"data": 1, field: fits + "x"}]}
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")


def test_the_batch_label(api: Api, topic: str) -> None:
    """The batch's label has the limit of a record's."""
    api.append(topic, 1, node="x" * 128)
    body = {"records": [{"data": 1}], "node": "x" * 129}
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")


@pytest.mark.parametrize("key", ["x" * 256, "é" * 128])
def test_idempotency_keys(api: Api, topic: str, key: str) -> None:
    """256 bytes in the body; as a header the same."""
    api.append(topic, 1, idempotency_key=key)
    body = {"records": [{"data": 1}], "idempotency_key": key + "x"}
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")
    headers = {"idempotency-key": "x" * 257}
    response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": 1}]}, headers=headers)
    refused(response, 400, "invalid_request")


def test_meta(api: Api, topic: str) -> None:
    """16 KiB of JSON text, and 64 keys when it is an object; over is ``invalid_request``."""
    fits = [{"data": 1, "meta": "x" * 16_382}, {"data": 1, "meta": {str(i): i for i in range(64)}}]
    api.told("POST", f"/v0/topics/{topic}", {"records": fits})
    for meta in ("x" * 16_383, {str(i): i for i in range(65)}):
        body = {"records": [{"data": 1, "meta": meta}]}
        refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")
    assert api.state(topic)["count"] == 2


def test_a_body_is_refused_before_it_is_sent(solo: Daemon) -> None:
    """Over 64 MiB is 413 from the header alone: nobody has to send it to learn that."""
    head = ["POST /v0/topics/big HTTP/1.1", "host: x", "content-type: application/json"]
    answer = solo.raw("\r\n".join([*head, f"content-length: {64 * MIB + 1}", "", ""]).encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"payload_too_large"' in answer


def test_a_body_in_chunks_has_the_same_limit(narrow: Daemon) -> None:
    """A body without a told length is cut off where it passes the limit."""
    sent = (b" " * 1024 for _ in range(65))
    refused(narrow.api.post("/v0/topics/fixed", content=sent, headers=JSON), 413, "payload_too_large")


def test_limits_of_the_file(narrow: Daemon) -> None:
    """What ``[limits]`` says is what is refused."""
    path = "/v0/topics/fixed"
    refused(narrow.api.post(path, json={"records": [{"data": 1}] * 11}), 400, "batch_too_large")
    refused(narrow.api.post(path, json={"records": [{"data": "x" * 2047}]}), 400, "record_too_large")
    refused(narrow.api.post(path, json={"records": [{"data": 1, "meta": "x" * 1023}]}), 400, "invalid_request")
    refused(narrow.api.post(path, content=b" " * 65_537, headers=JSON), 413, "payload_too_large")


def test_size_then_type_then_json_then_limits_then_topic(narrow: Daemon) -> None:
    """The order of checks: what is cheaper to know is told first, and nothing is created by what is refused."""
    path = "/v0/topics/order"
    text = {"content-type": "text/plain"}
    refused(narrow.api.post(path, content=b"{" * 65_537, headers=text), 413, "payload_too_large")
    refused(narrow.api.post(path, content=b"{", headers=text), 415, "unsupported_media_type")
    refused(narrow.api.post(path, content=b"{", headers=JSON), 400, "invalid_request")
    many = {"records": [{"data": 1}] * 11, "create": False}
    refused(narrow.api.post(path, json=many), 400, "batch_too_large")
    refused(narrow.api.post(path, json={"records": [{"data": 1}], "create": False}), 404, "topic_not_found")
    refused(narrow.api.get(path), 404, "topic_not_found")


def test_the_number_of_topics(narrow: Daemon) -> None:
    """A full node takes no new topic, says how many there may be and when to come again; what is there goes on."""
    api = narrow.api
    made: list[str] = []
    while (response := api.put(f"/v0/topics/n{len(made)}")).status_code == 201:
        made.append(f"n{len(made)}")
        assert len(made) <= 6
    assert refused(response, 429, "throttled") == {"limit": "max_topics", "max": 6}
    assert response.headers["retry-after"] == "1"
    refused(api.post("/v0/topics/one-more", json={"records": [{"data": 1}]}), 429, "throttled")
    api.create(made[0], cap_records=1)
    api.append(made[0], 1)
    for name in made:
        api.told("DELETE", f"/v0/topics/{name}")
    assert api.create("n0")["created"] is True
    api.told("DELETE", "/v0/topics/n0")
