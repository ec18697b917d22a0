"""Reference 1, the wire: what a request and an answer may look like, to the byte (and to the odd client)."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

import pytest

from ..daemon import JSON, WITHIN_S, Api, Daemon, answered, refused

OTHER_TYPES = ["text/plain", "application/x-www-form-urlencoded", "text/json", "json", ""]
NOT_JSON = ["", " ", "{", "{]", '{"a":1,}', "{'records':[]}", '{"records":[{"data":NaN}]}', "undefined"]
NO_OBJECT = ["[]", '["a"]', '"text"', "1", "null", "true"]
PATHS = ["", "/", "/v0", "/v0/", "/v1/topics", "/topics", "/V0/topics", "/v0/Topics", "/v0/topics/", "/v0//topics"]


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


def post(path: str, body: bytes, *lines: str) -> bytes:
    return head("POST", path, "content-type: application/json", f"content-length: {len(body)}", *lines) + body


@pytest.mark.parametrize("kind", OTHER_TYPES)
@pytest.mark.parametrize("path", ["", "/diff", "/delete", "/claim"])
def test_other_content_types_are_415(api: Api, topic: str, path: str, kind: str) -> None:
    """1, 1.1, 12.7: a body of another type is 415 before it is parsed, and nothing happens."""
    refused(api.post_raw(f"/v0/topics/{topic}{path}", "{", {"content-type": kind}), 415, "unsupported_media_type")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


def test_a_body_without_content_type_is_415(api: Api, topic: str) -> None:
    """1, request type: it is needed with every body."""
    refused(api.post_raw(f"/v0/topics/{topic}", '{"records":[{"data":1}]}', {}), 415, "unsupported_media_type")
    refused(api.put(f"/v0/topics/{topic}", content="{}"), 415, "unsupported_media_type")


def test_who_takes_an_empty_body(api: Api, topic: str) -> None:
    """1, request type: PUT topic and diff take no body as all defaults, without a content type; a claim does not."""
    assert answered(api.put(f"/v0/topics/{topic}"))["created"] is True
    assert answered(api.post(f"/v0/topics/{topic}/diff"))["records"] == []
    for path in ("", "/delete", "/claim", "/ack", "/nack", "/extend"):
        refused(api.post_raw(f"/v0/topics/{topic}{path}", ""), 400, "invalid_request")
    refused(api.post_raw("/v0/watch", ""), 400, "invalid_request")
    refused(api.put("/v0/routers/none", content="", headers=JSON), 400, "invalid_request")


@pytest.mark.parametrize("body", NOT_JSON + NO_OBJECT)
def test_what_is_no_json_object_is_400(api: Api, topic: str, body: str) -> None:
    """1.1: bad JSON, or JSON of a wrong type, is invalid_request."""
    refused(api.post_raw(f"/v0/topics/{topic}", body), 400, "invalid_request")
    refused(api.put("/v0/routers/none", content=body, headers=JSON), 400, "invalid_request")
    refused(api.post_raw("/v0/watch", body), 400, "invalid_request")


@pytest.mark.parametrize("path", PATHS[2:])
def test_unknown_paths_are_404(api: Api, path: str) -> None:
    """1, unknown path: 404 not_found, with the envelope, whatever the method; a path is what it is to the letter."""
    for method in ("GET", "POST", "PUT", "DELETE"):
        refused(api.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/diff"), ("PUT", "/diff"), ("GET", "/delete"), ("DELETE", "/delete"), ("GET", "/claim"),
        ("GET", "/nack"), ("DELETE", "/extend"), ("POST", "/work"), ("PUT", "/ack"),
    ],
)  # fmt: skip
def test_wrong_methods_are_405(api: Api, topic: str, method: str, path: str) -> None:
    """1, 1.1, 2.7: a known path with another method is 405 with the envelope, and says which it takes."""
    got = api.request(method, f"/v0/topics/{topic}{path}")
    refused(got, 405, "method_not_allowed")
    assert got.headers["allow"]


def test_wrong_methods_of_the_others_are_405(api: Api) -> None:
    """1.1: every path has its methods."""
    for method, path in [("POST", "/v0/topics"), ("GET", "/v0/watch"), ("POST", "/v0/ws"), ("POST", "/v0/health"),
                         ("DELETE", "/v0/metrics"), ("POST", "/v0/routers"), ("POST", "/v0/watch/wid_x")]:  # fmt: skip
        refused(api.request(method, path), 405, "method_not_allowed")


def test_head_is_get_without_a_body(api: Api, topic: str) -> None:
    """1: HEAD answers what GET would, with its length and no body."""
    api.create(topic)
    got = api.head(f"/v0/topics/{topic}")
    assert (got.status_code, got.content) == (200, b"")
    assert int(got.headers["content-length"]) > 0
    assert api.head("/v0/topics/absent-for-head").status_code == 404


def test_a_bad_name_beats_a_missing_topic(api: Api) -> None:
    """1.1: a bad name in the path is 400, not 404."""
    refused(api.get("/v0/topics/-x"), 400, "invalid_request")


def test_percent_encoding_is_undone(api: Api, topic: str) -> None:
    """1.2: a name is its characters, however the client encoded them; a slash is never one of them."""
    api.append(topic + ":a.b", 1)
    assert api.told("GET", f"/v0/topics/{topic}%3Aa%2Eb")["topic"] == topic + ":a.b"
    assert api.get(f"/v0/topics/{topic}%2Fdiff").status_code in (400, 404, 405)
    refused(api.get(f"/v0/topics/{topic}%zz"), 400, "invalid_request")
    refused(api.get("/v0/topics/%C3%A4"), 400, "invalid_request")
    refused(api.get("/v0/topics/%00"), 400, "invalid_request")
    refused(api.get("/v0/topics/%ff"), 400, "invalid_request")


def test_duplicate_keys_do_no_harm(api: Api, topic: str) -> None:
    """1: a key given twice is one value or a 400, never a 500, and what is answered is JSON that others read."""
    got = api.post_raw(f"/v0/topics/{topic}", '{"records":[{"data":1}],"records":[{"data":2},{"data":{"a":1,"a":2}}]}')
    assert got.status_code in (201, 400)
    if got.status_code == 201:
        assert got.json()["count"] == len(api.diff(topic)["records"])


def test_headers_in_any_case(solo: Daemon, topic: str) -> None:
    """1: the names of headers have no case."""
    body = b'{"records":[{"data":1}]}'
    raw = (
        f"POST /v0/topics/{topic} HTTP/1.1\r\nHOST: x\r\nCONTENT-TYPE: application/json\r\n"
        f"cOnTeNt-LeNgTh: {len(body)}\r\nIDEMPOTENCY-KEY: k\r\nConnection: CLOSE\r\n\r\n"
    ).encode()
    assert solo.raw(raw + body).startswith(b"HTTP/1.1 201")
    assert solo.api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": 1}], "idempotency_key": "k"})["deduped"]


def test_keep_alive_and_pipelining(solo: Daemon, topic: str) -> None:
    """1, transport: one connection carries many requests; pipelined ones are answered each and in order."""
    bodies = [json.dumps({"records": [{"data": n}]}).encode() for n in range(8)]
    asked = b"".join(post(f"/v0/topics/{topic}", body) for body in bodies)
    asked += head("GET", f"/v0/topics/{topic}") + head("GET", "/v0/nowhere", "connection: close")
    answers = solo.raw(asked)
    assert answers.count(b"HTTP/1.1 ") == 10
    assert [answers.count(b'"last_seq":%d,' % n) for n in range(1, 9)] == [1] * 8
    assert answers.index(b'"last_seq":1,') < answers.index(b'"last_seq":8,') < answers.index(b"not_found")


def test_expect_continue(solo: Daemon, topic: str) -> None:
    """1, transport: a client that waits for 100 Continue gets it (curl with a large body does)."""
    host, port = solo.api.address.split(":")
    body = b'{"records":[{"data":1}]}'
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as door:
        door.sendall(post(f"/v0/topics/{topic}", body, "expect: 100-continue", "connection: close")[: -len(body)])
        assert door.recv(1 << 16).startswith(b"HTTP/1.1 100")
        door.sendall(body)
        assert door.recv(1 << 16).startswith(b"HTTP/1.1 201")


def test_http_1_0(solo: Daemon) -> None:
    """1, transport: a client of HTTP/1.0 gets an answer and the end of the connection."""
    answer = solo.raw(b"GET /v0/health HTTP/1.0\r\n\r\n")
    assert answer.split(b" ")[1] == b"200"


def test_gzip_both_ways(api: Api, topic: str) -> None:
    """1 with 5.1: compression, which the reference only promised, is real in both directions."""
    body = gzip.compress(b'{"records":[{"data":"' + b"y" * 4000 + b'"}]}')
    answered(api.post_raw(f"/v0/topics/{topic}", body, {**JSON, "content-encoding": "gzip"}))
    got = api.post(f"/v0/topics/{topic}/diff", json={}, headers={"accept-encoding": "gzip"})
    assert got.headers["content-encoding"] == "gzip"
    assert got.json()["records"][0]["data"] == "y" * 4000
    plain = api.post(f"/v0/topics/{topic}/diff", json={}, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/json", "text/html, */*;q=0.1", ""])
def test_accept_of_json_clients(api: Api, accept: str) -> None:
    """1, response type: JSON for whoever takes it."""
    assert answered(api.get("/v0/topics", headers={"accept": accept}))["topics"] is not None


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "image/png"])
def test_accept_is_not_judged_outside_streams(api: Api, accept: str) -> None:
    """1.1, 406: only the event streams refuse by Accept; elsewhere the answer is JSON."""
    assert answered(api.get("/v0/topics", headers={"accept": accept}))["topics"] is not None


def test_wrong_numbers_are_400(api: Api, topic: str) -> None:
    """1, numbers: negative, fractional, huge and mistyped values of integer fields are 400."""
    wrong: list[Any] = [-1, 1.5, -(2**63), "1", [], {}, True, 1e300]
    for value in [*wrong, 2**64]:
        refused(api.put(f"/v0/topics/{topic}", json={"ttl_ms": value}), 400, "invalid_request")
        refused(api.put(f"/v0/topics/{topic}", json={"cap_records": value}), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    api.create(topic)
    for field in ("from_seq", "limit", "wait_ms", "max_batch_bytes"):
        for value in [*wrong, None]:
            refused(api.post(f"/v0/topics/{topic}/diff", json={field: value}), 400, "invalid_request")
    for field in ("from_seq", "limit", "max_batch_bytes"):
        for huge in (2**32, 2**63, 2**64 - 1, 2**64, 10**40):
            assert api.post(f"/v0/topics/{topic}/diff", json={field: huge}).status_code in (200, 400)


def test_performance_is_on_answers_only(api: Api, topic: str) -> None:
    """1, success and error body: performance on each success, never on an error."""
    assert isinstance(api.create(topic)["performance"]["server_total_ms"], int | float)
    assert "performance" not in api.get("/v0/topics/absent-here").json()


def test_a_json_answer_is_utf8(api: Api, topic: str) -> None:
    """1: unicode comes back as it went in, in data, tag, node and meta, with and without escapes."""
    text = 'grüße 🦊 \u2028 \\ " \x7f'
    api.told(
        "POST", f"/v0/topics/{topic}", {"records": [{"data": text, "tag": text, "node": text, "meta": {text: text}}]}
    )
    api.post_raw(f"/v0/topics/{topic}", json.dumps({"records": [{"data": text}]}).encode("ascii"))
    one, two = api.diff(topic, include_tags=True)["records"]
    assert (one["data"], one["$tag"], one["$node"], one["meta"]) == (text, text, text, {text: text})
    assert two["data"] == text
