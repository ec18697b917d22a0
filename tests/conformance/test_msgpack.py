"""``application/msgpack`` both ways on every endpoint, and payloads that are bytes (design 5.1)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx
import msgpack
import pytest

from .conftest import Pair
from .daemon import JSON, Api, refused, until

MSGPACK = "application/msgpack"
RAW = bytes(range(256)) * 3


def packed(api: Api, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
    """A call in msgpack, answered in msgpack."""
    sent = {} if body is None else {"content": msgpack.packb(body)}
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    return api.request(method, f"/v0/{path}", headers=headers, params=query, **sent)


def told(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code in (200, 201), response.content
    assert response.headers["content-type"] == MSGPACK
    body: dict[str, Any] = msgpack.unpackb(response.content, strict_map_key=False)
    assert body["performance"]["server_total_ms"] >= 0
    return body


def append(api: Api, topic: str, *data: Any, **fields: Any) -> dict[str, Any]:
    return told(packed(api, "POST", f"topics/{topic}", {"records": [{"data": one} for one in data], **fields}))


def read(api: Api, topic: str, **fields: Any) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = told(packed(api, "POST", f"topics/{topic}/diff", fields))["records"]
    return records


def test_the_surface_of_topics_in_msgpack(api: Api, topic: str) -> None:
    """Create, change, append, read, look, list, prove, delete: each takes msgpack and answers it."""
    assert told(packed(api, "PUT", f"topics/{topic}", {"cap_records": 5}))["config"]["cap_records"] == 5
    assert told(packed(api, "PATCH", f"topics/{topic}", {"ttl_ms": 60_000}))["config"]["ttl_ms"] == 60_000
    assert append(api, topic, {"n": 1}, node="till")["first_seq"] == 1
    assert [r["data"] for r in read(api, topic)] == [{"n": 1}]
    for path in (f"topics/{topic}", "topics", f"topics/{topic}/digest", "links", "lag", "health", "ready", "metrics"):
        response = packed(api, "GET", path)
        if path == "metrics":
            assert response.headers["content-type"].startswith("text/plain")
        else:
            told(response)
    assert told(packed(api, "DELETE", f"topics/{topic}"))["deleted"] is True


def test_bytes_stay_bytes(api: Api, topic: str) -> None:
    """What was sent as ``bin`` is read as ``bin``, to the byte, beside records that are values."""
    append(api, topic, RAW, {"a": 1}, b"", b"x" * 70_000)
    assert [r["data"] for r in read(api, topic)] == [RAW, {"a": 1}, b"", b"x" * 70_000]


def test_bytes_show_in_json(api: Api, topic: str) -> None:
    """Readers of JSON see base64 under ``$bin``, and what it counts is the bytes themselves."""
    append(api, topic, RAW)
    assert [r["data"] for r in api.diff(topic)["records"]] == [{"$bin": b64encode(RAW).decode()}]
    assert api.state(topic)["bytes"] == len(RAW)


def test_labels_of_packed_records(api: Api, topic: str) -> None:
    """Tag, node and meta come with bytes as with values."""
    records = [{"data": b"\x00", "tag": "t", "node": "n", "meta": {"k": [1, None]}}, {"data": 1, "meta": None}]
    told(packed(api, "POST", f"topics/{topic}", {"records": records}))
    first, second = read(api, topic, include_tags=True)
    assert (first["$tag"], first["$node"], first["meta"]) == ("t", "n", {"k": [1, None]})
    assert "meta" not in second


def test_values_become_their_json(api: Api, topic: str) -> None:
    """A value of msgpack is a value of JSON: readers of both see the same."""
    values: list[Any] = [None, True, -1, 2**64 - 1, 1.5, "é", [1, [b"in"]], {"m": {}}]
    append(api, topic, *values)
    shown = [r["data"] for r in api.diff(topic)["records"]]
    assert shown == [None, True, -1, 2**64 - 1, 1.5, "é", [1, [{"$bin": "aW4="}]], {"m": {}}]
    assert [r["data"] for r in read(api, topic)] == shown


def test_numbers_that_only_json_knows(api: Api, topic: str) -> None:
    """A record that no msgpack can hold to the digit is told as the nearest double, and does not hide its page."""
    api.post_raw(f"/v0/topics/{topic}", '{"records":[{"data":' + "9" * 40 + '},{"data":1e999},{"data":7}]}')
    assert [r["data"] for r in read(api, topic)] == [1e40, float("inf"), 7]


def test_bytes_and_their_key(api: Api, topic: str) -> None:
    """Idempotency tells bytes from the text that shows them, and the same bytes are the same."""
    first = append(api, topic, b"1", idempotency_key="k")
    assert append(api, topic, b"1", idempotency_key="k")["seqs"] == first["seqs"]
    response = packed(api, "POST", f"topics/{topic}", {"records": [{"data": 1}], "idempotency_key": "k"})
    assert response.status_code == 409
    assert msgpack.unpackb(response.content)["error"]["code"] == "idempotency_conflict"


def test_an_inline_configuration(api: Api, topic: str) -> None:
    """``config`` of an append is read in both forms, and refused by name."""
    assert append(api, topic, 1, config={"cap_records": 3})["created"] is True
    assert api.state(topic)["config"]["cap_records"] == 3
    for body in ({"records": [{"data": 1}], "config": [1]}, {"records": [{"data": 1}], "config": {"ttl_ms": "x"}}):
        response = packed(api, "POST", f"topics/{topic}-2", body)
        assert response.status_code == 400
        refused(api.post(f"/v0/topics/{topic}-2", json=body), 400, "invalid_request")


def test_either_side_may_be_json(api: Api, topic: str) -> None:
    """What is sent and what is answered are told apart by their own headers."""
    headers = {"content-type": MSGPACK}
    sent = api.post(f"/v0/topics/{topic}", content=msgpack.packb({"records": [{"data": b"a"}]}), headers=headers)
    assert sent.json()["first_seq"] == 1
    answer = api.post(f"/v0/topics/{topic}/diff", json={}, headers={"accept": MSGPACK})
    assert msgpack.unpackb(answer.content)["records"][0]["data"] == b"a"


def test_errors_come_as_asked(api: Api) -> None:
    """The one shape of errors, in msgpack too, on hot routes and on others, and for paths that are none."""
    for method, path in (("POST", "topics/none/diff"), ("GET", "topics/none"), ("GET", "nowhere"), ("PUT", "topics")):
        response = packed(api, method, path, {} if method != "GET" else None)
        assert response.headers["content-type"] == MSGPACK
        error = msgpack.unpackb(response.content)["error"]
        assert error["code"] in ("topic_not_found", "not_found", "method_not_allowed")
        assert error["message"]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81", b"\x80" * 3, b"\x91" * 5000, b"{}", b"\x81\xa7records\x01"])
def test_what_is_no_msgpack_is_refused(api: Api, topic: str, body: bytes) -> None:
    """Broken bodies are the client's fault, told by name."""
    for path in ("", "/diff"):
        if path and body in (b"",):
            continue
        response = api.post(f"/v0/topics/{topic}{path}", content=body, headers={"content-type": MSGPACK})
        if response.status_code != 404:
            refused(response, 400, "invalid_request")


@pytest.mark.parametrize("kind", ["text/plain", "application/cbor", "", "application/msgpackx", "multipart/form-data"])
def test_other_types_are_refused(api: Api, topic: str, kind: str) -> None:
    """Neither JSON nor msgpack: 415, and what may be sent is named."""
    response = api.post(f"/v0/topics/{topic}", content=b"{}", headers={"content-type": kind})
    refused(response, 415, "unsupported_media_type")
    assert "application/msgpack" in response.json()["error"]["message"]


def test_an_accept_that_nobody_speaks_is_answered_in_json(api: Api, topic: str) -> None:
    """As the reference does: only event streams are refused for their ``Accept``."""
    api.append(topic, 1)
    response = api.post(f"/v0/topics/{topic}/diff", json={}, headers={"accept": "application/cbor"})
    assert response.headers["content-type"] == "application/json"


def test_large_bytes_are_refused(narrow: Any) -> None:
    """The limit of a record holds for bytes."""
    response = packed(narrow.api, "POST", "topics/fixed", {"records": [{"data": bytes(3000)}]})
    assert response.status_code == 400
    assert msgpack.unpackb(response.content)["error"]["code"] == "record_too_large"
    response = packed(narrow.api, "POST", "topics/fixed", {"records": [{"data": 1}] * 11})
    assert msgpack.unpackb(response.content)["error"]["code"] == "batch_too_large"


def test_a_large_body_that_is_no_append_is_refused(api: Api, topic: str) -> None:
    """Only appends are long; anything else of a megabyte would cost seventy as objects."""
    api.create(topic)
    for path in ("", "/diff"):
        body = b'{"x":[' + b"[]," * 400_000 + b"1]}"
        response = api.request("POST" if path else "PUT", f"/v0/topics/{topic}{path}", content=body, headers=JSON)
        assert refused(response, 413, "payload_too_large") == {"max": 1 << 20}


def test_bytes_are_mirrored_as_they_are(pair: Pair, mirrored: str) -> None:
    """A peer holds the same chunk, so it answers the same bytes."""
    append(pair.fra, mirrored, RAW, {"a": 1})
    until(lambda: pair.iad.get(f"/v0/topics/{mirrored}").status_code == 200 and pair.iad.state(mirrored)["count"] == 2)
    assert [r["data"] for r in read(pair.iad, mirrored)] == [RAW, {"a": 1}]
    digests = [api.told("GET", f"/v0/topics/{mirrored}/digest")["strands"][0]["hash"] for api in pair]
    assert digests[0] == digests[1]
