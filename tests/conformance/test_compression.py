"""gzip and zstd, both ways (design 5.1): bounded on the way in, worth it on the way out."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backports import zstd

from .daemon import Api, Daemon, answered, refused

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
UNPACK = {b"gzip": gzip.decompress, b"zstd": zstd.decompress}
every_coding = pytest.mark.parametrize("coding", PACK)


def post(api: Api, path: str, body: bytes, coding: str) -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": coding}
    return api.post(path, content=body, headers=headers)


def plain(daemon: Daemon, request: str, body: bytes = b"") -> tuple[dict[bytes, bytes], bytes]:
    """An answer as it came over the line: headers and body, nothing unpacked."""
    lines = [*request.splitlines(), "host: x", "connection: close", f"content-length: {len(body)}", "", ""]
    head, _, rest = daemon.raw("\r\n".join(lines).encode() + body).partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    assert int(headers[b"content-length"]) == len(rest)
    return headers, rest


@every_coding
def test_compressed_requests(api: Api, topic: str, coding: str) -> None:
    """Hot routes and others inflate a body before they read it."""
    put = api.put(
        f"/v0/topics/{topic}", content=PACK[coding](b'{"cap_records":9}'),
        headers={"content-type": "application/json", "content-encoding": coding.upper()},
    )  # fmt: skip
    assert answered(put)["config"]["cap_records"] == 9
    body = json.dumps({"records": [{"data": "x" * 1000}] * 500}).encode()
    assert answered(post(api, f"/v0/topics/{topic}", PACK[coding](body), coding))["count"] == 500
    assert answered(post(api, f"/v0/topics/{topic}/diff", PACK[coding](b'{"limit":1}'), coding))["next_from_seq"]


@every_coding
def test_a_compressed_page(solo: Daemon, topic: str, coding: str) -> None:
    """A page goes out smaller, says so, and is the same page."""
    solo.api.append(topic, *({"text": "lorem ipsum", "n": n} for n in range(100)))
    request = f"POST /v0/topics/{topic}/diff HTTP/1.1\r\naccept-encoding: {coding}"
    headers, body = plain(solo, request)
    assert headers[b"content-encoding"] == coding.encode()
    assert headers[b"vary"] == b"accept, accept-encoding"
    shown = json.loads(UNPACK[headers[b"content-encoding"]](body))
    assert shown["records"] == solo.api.diff(topic)["records"]
    assert len(body) < 3000


def test_small_answers_leave_plain(solo: Daemon, topic: str) -> None:
    """What fits a packet anyway is not worth the work."""
    solo.api.append(topic, 1)
    headers, body = plain(solo, f"POST /v0/topics/{topic}/diff HTTP/1.1\r\naccept-encoding: gzip, zstd")
    assert b"content-encoding" not in headers
    assert json.loads(body)["records"]


@pytest.mark.parametrize("accept", ["identity", "br", "gzip;q=0", ""])
def test_who_takes_no_compression_gets_none(solo: Daemon, topic: str, accept: str) -> None:
    """A coding is used only for those that take it."""
    solo.api.append(topic, "x" * 5000)
    headers, _ = plain(solo, f"POST /v0/topics/{topic}/diff HTTP/1.1\r\naccept-encoding: {accept}")
    assert b"content-encoding" not in headers


def test_what_does_not_shrink_leaves_plain(solo: Daemon, topic: str) -> None:
    """Compression that makes an answer longer is dropped."""
    raw = random.Random(1).randbytes(4000)
    text = "".join(chr(0x4E00 + byte * 79) for byte in raw)
    solo.api.append(topic, text)
    headers, body = plain(solo, f"POST /v0/topics/{topic}/diff HTTP/1.1\r\naccept-encoding: zstd")
    shown = zstd.decompress(body) if b"content-encoding" in headers else body
    assert json.loads(shown)["records"][0]["data"] == text


def test_head_tells_what_get_sends(solo: Daemon) -> None:
    """The same headers without the body."""
    for n in range(30):
        solo.api.create(f"head-{n}-{'x' * 40}")
    get, body = plain(solo, "GET /v0/topics?prefix=head- HTTP/1.1\r\naccept-encoding: gzip")
    assert get[b"content-encoding"] == b"gzip"
    assert json.loads(gzip.decompress(body))["topics"]
    lines = "HEAD /v0/topics?prefix=head- HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept-encoding: gzip\r\n\r\n"
    head = solo.raw(lines.encode()).lower()
    assert b"content-encoding: gzip\r\n" in head
    assert head.endswith(b"\r\n\r\n")


def test_caches_are_told_what_an_answer_hangs_on(api: Api) -> None:
    """``Vary`` stands on every GET, compressed or not: a cache must not hand gzip to who cannot read it."""
    assert api.get("/v0/topics", headers={"accept-encoding": "identity"}).headers["vary"] == "accept, accept-encoding"


@every_coding
def test_a_bomb_is_refused(api: Api, topic: str, coding: str) -> None:
    """A kilobyte that would become a hundred megabytes is 413, and the node is well after it."""
    bomb = PACK[coding](b" " * (100 << 20))
    assert refused(post(api, f"/v0/topics/{topic}", bomb, coding), 413, "payload_too_large") == {"max": 64 << 20}
    assert api.told("GET", "/v0/health")["status"] == "ok"


@every_coding
def test_broken_compression_is_refused(api: Api, topic: str, coding: str) -> None:
    """Cut off, or not of that coding at all."""
    whole = PACK[coding](b'{"records":[{"data":1}]}')
    for body in (whole[:-1], whole[:5], b"{}", whole + b"x"):
        refused(post(api, f"/v0/topics/{topic}", body, coding), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


@pytest.mark.parametrize("coding", ["br", "deflate", "compress", "gzip, gzip", "aws-chunked"])
def test_other_codings_are_refused(api: Api, topic: str, coding: str) -> None:
    """415, and what is read instead."""
    response = post(api, f"/v0/topics/{topic}", zlib.compress(b"{}"), coding)
    refused(response, 415, "unsupported_media_type")
    assert "gzip" in response.json()["error"]["message"]


@pytest.mark.parametrize("coding", ["identity", ""])
def test_no_coding_at_all(api: Api, topic: str, coding: str) -> None:
    """``identity`` is plain."""
    answered(post(api, f"/v0/topics/{topic}", b'{"records":[{"data":1}]}', coding))


def test_a_compressed_body_is_no_other_payload(api: Api, topic: str) -> None:
    """Idempotency looks at records, not at how they travelled."""
    body: dict[str, Any] = {"records": [{"data": 1}], "idempotency_key": "k"}
    answered(api.post(f"/v0/topics/{topic}", json=body))
    again = post(api, f"/v0/topics/{topic}", gzip.compress(json.dumps(body).encode()), "gzip")
    assert answered(again)["deduped"] is True
