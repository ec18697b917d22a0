"""Errors (reference 1, 1.1): one shape, the right code, and the connection goes on."""

from __future__ import annotations

import pytest

from .daemon import JSON, Api, Daemon, answered, refused

PATHS = {
    "/v0/topics": "GET, HEAD",
    "/v0/topics/x": "DELETE, GET, HEAD, PATCH, POST, PUT",
    "/v0/topics/x/diff": "POST",
    "/v0/topics/x/digest": "GET, HEAD",
    "/v0/topics/x/delete": "POST",
    "/v0/health": "GET, HEAD",
    "/v0/ready": "GET, HEAD",
    "/v0/metrics": "GET, HEAD",
    "/v0/actors": "GET, HEAD",
    "/v0/links": "GET, HEAD",
    "/v0/links/fra": "GET, HEAD",
    "/v0/links/fra/pause": "POST",
    "/v0/lag": "GET, HEAD",
    "/v0/topology": "GET, HEAD, PUT",
    "/v0/feed": "POST",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_wrong_method_names_the_right_ones(api: Api, path: str) -> None:
    """405 in the one shape, with ``Allow``."""
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - set(PATHS[path].split(", ")):
        response = api.request(method, path)
        refused(response, 405, "method_not_allowed")
        assert response.headers["allow"] == PATHS[path]


@pytest.mark.parametrize("method", ["BREW", "PURGED", "M-SEARCHES"])
def test_a_method_that_nobody_knows(api: Api, method: str) -> None:
    """405 for it too, in the one shape."""
    refused(api.request(method, "/v0/topics"), 405, "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    "path", ["/nope", "/v0", "/v0/", "/v1/topics", "/v0/topics/", "/v0/topics/x/", "/v0/topics/x/nope",
             "/v0/topics/x/diff/y", "/v0/Topics", "/health", "/v0/topicsx"],
)  # fmt: skip
def test_nothing_there(api: Api, method: str, path: str) -> None:
    """404 ``not_found`` in the one shape, whatever the method."""
    refused(api.request(method, path), 404, "not_found")


@pytest.mark.parametrize("path", ["/v0/topics", "/v0/health", "/v0/ready", "/v0/links", "/v0/metrics"])
def test_head_is_get_without_the_body(api: Api, path: str) -> None:
    """HEAD has GET's status and type and no body."""
    response = api.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == api.get(path).headers["content-type"]
    assert int(response.headers["content-length"]) > 0


def test_head_of_a_topic(api: Api, topic: str) -> None:
    """HEAD asks whether a topic is there, and does not make it."""
    assert api.head(f"/v0/topics/{topic}").status_code == 404
    api.append(topic, 1)
    assert api.head(f"/v0/topics/{topic}").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "multipart/form-data", "text/json"])
def test_a_body_must_be_said_to_be_json(api: Api, topic: str, kind: str) -> None:
    """415 before anything of the body is looked at, on every call that takes one."""
    api.create(topic)
    headers = {"content-type": kind} if kind else {}
    for method, path in (("PUT", ""), ("POST", ""), ("POST", "/diff")):
        response = api.request(method, f"/v0/topics/{topic}{path}", content=b"{", headers=headers)
        refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"])
def test_forms_of_json_types(api: Api, topic: str, kind: str) -> None:
    """The type begins with application/json, in any case, with any parameters."""
    body = b'{"records":[{"data":1}]}'
    answered(api.post_raw(f"/v0/topics/{topic}", body, {"content-type": kind}))


def test_where_a_body_may_be_empty(api: Api, topic: str) -> None:
    """PUT and diff take no body, with or without a type; an append must have one."""
    for headers in ({}, JSON):
        answered(api.put(f"/v0/topics/{topic}", content=b"", headers=headers))
        answered(api.post(f"/v0/topics/{topic}/diff", content=b"", headers=headers))
        refused(api.post(f"/v0/topics/{topic}", content=b"", headers=headers), 400, "invalid_request")


def test_a_body_in_chunks(api: Api, topic: str) -> None:
    """A body whose length is not told beforehand is read to its end."""
    pieces = (part for part in (b'{"records":[{"da', b'ta":"in piec', b'es"}]}'))
    answered(api.post(f"/v0/topics/{topic}", content=pieces, headers=JSON))
    assert api.texts(topic) == [(b'"in pieces"', b"")]


def test_a_refusal_leaves_the_connection_alone(solo: Daemon) -> None:
    """Requests that follow a refused one on the same connection are answered, in order."""
    requests = [
        b"POST /v0/topics/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{",
        b"GET /nope HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v0/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ]
    answer = solo.raw(b"".join(requests))
    places = [answer.index(mark) for mark in (b"invalid_request", b"not_found", b'"status":"ok"')]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /v0/health HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"GET /v0/health HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v0/topics/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_and_closed(solo: Daemon, request_bytes: bytes) -> None:
    """400 in the one shape, and the connection ends: nothing after it could be understood."""
    answer = solo.raw(request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":{"code":"invalid_request","message":' in answer


def test_absent_topics(api: Api, topic: str) -> None:
    """Reading never creates: 404 with the topic's name, on every call that reads."""
    for method, path in (("GET", ""), ("POST", "/diff"), ("GET", "/digest")):
        response = api.request(method, f"/v0/topics/{topic}{path}")
        assert refused(response, 404, "topic_not_found") == {"topic": topic}
    assert api.told("GET", "/v0/topics", prefix=topic)["topics"] == []


@pytest.mark.parametrize("path", ["/v0/feed", "/v0/feed/1"])
@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x93\x01\x02\x03", b"{}"])
def test_a_feed_request_that_cannot_be_read_is_the_askers_fault(api: Api, path: str, body: bytes) -> None:
    """400, never a 5xx: nothing is wrong with this node, nor with a peer of it."""
    response = api.request("POST", path, content=body, headers={"content-type": "application/msgpack"})
    refused(response, 400, "invalid_request")
