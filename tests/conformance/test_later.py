"""What the specification has and this version has not: ``501 not_yet``, never something half right (issue 2)."""

from __future__ import annotations

import pytest

from .daemon import Api, Daemon, refused

CALLS = [
    ("GET", "/v0/topics/x/explain"),
    ("PUT", "/v0/jobs/j"), ("GET", "/v0/jobs"), ("POST", "/v0/jobs/j/runs"), ("GET", "/v0/jobs/j/runs/1"),
    ("POST", "/v0/jobs/j/claim"), ("DELETE", "/v0/jobs/j"), ("PUT", "/v0/schedules/s"), ("GET", "/v0/schedules"),
    ("POST", "/v0/schedules/s/trigger"), ("POST", "/v0/locks/l/acquire"), ("GET", "/v0/locks/l"),
    ("PUT", "/v0/limits/l"), ("POST", "/v0/limits/l/check"), ("PUT", "/v0/presence/s/k"),
    ("GET", "/v0/presence/s"), ("POST", "/v0/topology/plan"), ("PUT", "/v0/topology"),
    ("GET", "/"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_calls_of_later_versions(api: Api, method: str, path: str) -> None:
    """The call is known, refused by name, and says which."""
    response = api.request(method, path, json={} if method in ("POST", "PUT", "PATCH") else None)
    refused(response, 501, "not_yet")
    assert f"{method} {path}" in response.json()["error"]["message"]


def test_who_opens_the_node_is_told_where_to_look(api: Api) -> None:
    """There is no page yet; the refusal names what there is."""
    told = api.get("/").json()["error"]["message"]
    assert "GET /v0/openapi.json" in told
    assert "`mirrord status`" in told


@pytest.mark.parametrize("path", ["/v0/jobsx", "/v0/watching", "/v0/locksmith", "/v0/routersx", "/v0/limitsx"])
def test_what_only_begins_like_one(api: Api, path: str) -> None:
    """A name that is nowhere specified is not promised for later."""
    refused(api.get(path), 404, "not_found")


@pytest.mark.parametrize(("path", "status", "code"), [("/v0/nope", 404, b"not_found")])
def test_websockets(solo: Daemon, path: str, status: int, code: bytes) -> None:
    """A handshake is refused as any request is: by name, in the one shape."""
    head = [
        f"GET {path} HTTP/1.1", "host: x", "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    answer = solo.raw("\r\n".join(head).encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'\r\n\r\n{"error":{"code":"' + code + b'","message":' in answer
