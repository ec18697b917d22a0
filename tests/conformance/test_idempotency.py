"""Idempotency keys (reference 3.7, design 5.1): a retry is answered as the first time, and writes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .daemon import Api, refused, until


def test_a_retry_gets_the_first_answer(api: Api, topic: str) -> None:
    """Same seqs and head as the first time, 200, nothing written, whatever came in between."""
    first = api.append(topic, "a", "b", idempotency_key="k")
    api.append(topic, "other")
    response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": "a"}, {"data": "b"}], "idempotency_key": "k"})
    assert response.status_code == 200
    again = response.json()
    for body in (first, again):
        del body["performance"]
    assert again == first | {"created": False, "deduped": True}
    assert api.state(topic)["head_seq"] == 3


def test_the_key_may_be_a_header_and_the_body_wins(api: Api, topic: str) -> None:
    """``Idempotency-Key`` counts when the body has none."""

    def append(header: str, **fields: Any) -> bool:
        body = {"records": [{"data": 1}], **fields}
        found = api.post(f"/v0/topics/{topic}", json=body, headers={"Idempotency-Key": header}).json()["deduped"]
        return bool(found)

    assert append("h") is False
    assert append("h") is True
    assert append("h", idempotency_key="b") is False
    assert append("other", idempotency_key="b") is True
    assert append("b") is True


def test_another_payload_is_a_conflict(api: Api, topic: str) -> None:
    """A key that is used again for other records is refused: silently dropping them would lose data."""
    api.append(topic, 1, idempotency_key="k")
    path = f"/v0/topics/{topic}"
    for record in ({"data": 2}, {"data": 1, "tag": "t"}, {"data": 1, "node": "n"}, {"data": 1, "meta": 1}):
        response = api.post(path, json={"records": [record], "idempotency_key": "k"})
        refused(response, 409, "idempotency_conflict")
    more = {"records": [{"data": 1}, {"data": 1}], "idempotency_key": "k"}
    refused(api.post(path, json=more), 409, "idempotency_conflict")
    assert api.state(topic)["head_seq"] == 1
    assert api.append(topic, 1, idempotency_key="k")["deduped"] is True


def test_the_conflict_can_be_switched_off(api: Api, topic: str) -> None:
    """With ``idempotency_check: false`` the payload is not compared."""
    api.create(topic, idempotency_check=False)
    api.append(topic, 1, idempotency_key="k")
    again = api.append(topic, 2, idempotency_key="k")
    assert (again["deduped"], again["seqs"]) == (True, [1])
    assert [record["data"] for record in api.diff(topic)["records"]] == [1]


def test_keys_belong_to_a_topic(api: Api, topic: str) -> None:
    """One key in two topics is two keys; a topic made anew has none."""
    api.append(topic, 1, idempotency_key="k")
    assert api.append(topic + "b", 2, idempotency_key="k")["deduped"] is False
    api.delete(f"/v0/topics/{topic}")
    assert api.append(topic, 3, idempotency_key="k")["deduped"] is False


def test_a_key_is_forgotten_after_its_window(api: Api, topic: str) -> None:
    """``idempotency_window_ms`` counts from the first write."""
    api.create(topic, idempotency_window_ms=50)
    api.append(topic, 1, idempotency_key="k")
    until(lambda: not api.append(topic, 1, idempotency_key="k")["deduped"])
    assert api.state(topic)["head_seq"] == 2


def test_a_refused_append_leaves_its_key_free(api: Api, topic: str) -> None:
    """Only what was written is remembered."""
    body = {"records": [{"data": 1, "tag": "x" * 257}], "idempotency_key": "k"}
    refused(api.post(f"/v0/topics/{topic}", json=body), 400, "invalid_request")
    assert api.append(topic, 2, idempotency_key="k")["deduped"] is False


def test_one_key_at_once_is_written_once(api: Api, topic: str) -> None:
    """Of many retries that run at the same time one writes; all get its seqs."""
    api.create(topic)
    with ThreadPoolExecutor(8) as crowd:
        told = list(crowd.map(lambda _: api.append(topic, "same", idempotency_key="k"), range(16)))
    assert sorted(one["deduped"] for one in told) == [False] + [True] * 15
    assert {tuple(one["seqs"]) for one in told} == {(1,)}
    assert api.state(topic)["head_seq"] == 1


def test_a_retry_after_eviction(api: Api, topic: str) -> None:
    """A retry is a retry even when its records are gone by now."""
    api.create(topic, cap_records=1)
    api.append(topic, 1, idempotency_key="k")
    api.append(topic, 2)
    assert api.append(topic, 1, idempotency_key="k")["seqs"] == [1]
    assert [record["data"] for record in api.diff(topic)["records"]] == [2]
