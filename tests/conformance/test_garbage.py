"""Whatever comes in, the answer is an answer: never a 5xx but 501, never another shape, never a node that is gone."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .daemon import JSON, Api, refused

_quick = settings(max_examples=40, deadline=None)

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc$é", max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_append_fields = ["records", "node", "idempotency_key", "create", "config", "disable_backpressure"]
_record_fields = ["data", "tag", "node", "meta"]
_diff_fields = [
    "from_seq", "limit", "node", "include_tags", "include_meta", "include_origin", "max_batch_bytes", "log_id",
]  # fmt: skip
_text = st.characters(exclude_categories=["Cs"])
_header_characters = [chr(code) for code in (*range(0x21, 0x7F), *range(0x80, 0x100))]
_config_fields = ["type", "ttl_ms", "cap_records", "cap_bytes", "durability", "durable", "dedupe_node", "lease_ms"]


def _some(fields: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(fields), values, max_size=4)


def _is_an_answer(response: httpx.Response) -> None:
    if response.status_code >= 400:
        assert response.status_code < 500 or response.status_code == 501, response.text
        refused(response, response.status_code, response.json()["error"]["code"])
    else:
        assert response.json()["performance"]["server_total_ms"] >= 0


@_quick
@given(body=st.binary(max_size=60))
@example(body=b'{"records":[{"data":1}' + b" " * 1000)
@example(body=b"\x00" * 100)
@example(body=b'{"records":[' * 5000)
def test_any_bytes(api: Api, body: bytes) -> None:
    """Bodies that are no JSON at all."""
    for method, path in (("POST", "garbage"), ("POST", "garbage/diff"), ("PUT", "garbage")):
        _is_an_answer(api.request(method, f"/v0/topics/{path}", content=body, headers=JSON))


@_quick
@given(body=_some(_append_fields, _values | st.lists(_some(_record_fields, _values), max_size=3)))
def test_any_append(api: Api, body: dict[str, Any]) -> None:
    """Appends whose fields hold anything."""
    _is_an_answer(api.post("/v0/topics/garbage", json=body))


@_quick
@given(body=_some(_diff_fields, _values | st.integers(0, 2**65)))
def test_any_diff(api: Api, body: dict[str, Any]) -> None:
    """Reads whose fields hold anything."""
    api.append("garbage", 1)
    _is_an_answer(api.post("/v0/topics/garbage/diff", json=body))


@_quick
@given(body=_some(_config_fields, _values))
def test_any_configuration(api: Api, body: dict[str, Any]) -> None:
    """Configurations whose fields hold anything."""
    _is_an_answer(api.put("/v0/topics/garbage", json=body))


@_quick
@given(
    path=st.lists(st.sampled_from(["v0", "topics", "links", "garbage", "diff", "digest"]) | st.text(max_size=5)),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
)
def test_any_path(api: Api, path: list[str], method: str) -> None:
    """Paths of anything."""
    encoded = "/" + "/".join(quote(part.encode("utf-8", "surrogatepass"), safe="") for part in path)
    _is_an_answer(api.request(method, f"http://{api.address}{encoded}"))


@_quick
@given(query=st.dictionaries(st.sampled_from(["prefix", "page_size", "cursor", "touch", "at", "deep"]), st.text(_text)))
@example(query={"page_size": "٣"})
def test_any_query(api: Api, query: dict[str, str]) -> None:
    """Query arguments of anything."""
    api.append("garbage", 1)
    for path in ("/v0/topics", "/v0/topics/garbage", "/v0/topics/garbage/digest"):
        _is_an_answer(api.get(path, params=query))


@_quick
@given(value=st.text(st.sampled_from(_header_characters), max_size=40))
def test_any_header(api: Api, value: str) -> None:
    """Header values of anything, in the headers that are read."""
    for name in (b"idempotency-key", b"content-type", b"content-encoding", b"accept"):
        headers = {b"content-type": b"application/json", name: value.encode("latin-1")}
        response = api.post("/v0/topics/garbage", content=b'{"records":[{"data":1}]}', headers=headers)
        _is_an_answer(response)


def test_the_node_is_well_after_all(api: Api) -> None:
    """No actor died of what came in."""
    assert api.told("GET", "/v0/ready")["status"] == "ready"
    assert all(actor["deaths"] == 0 for actor in api.told("GET", "/v0/actors")["actors"])
