"""Every operation of ``GET /v0/openapi.json`` with input that fits its schema and input that does not: no 500, no
answer that the document does not tell, no answer of another shape (issue 3, item 9)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx
import msgpack
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mirrord.testing.cluster.local import free_ports
from mirrord.web.openapi.document import document
from mirrord.web.routes.table import ENDPOINTS, SOCKETS

from .daemon import Api, daemons
from .schema import Book, texts

CONFIG = """
[cluster]
name = "fuzzed"
[nodes.here]
listen = "127.0.0.1:{0}"
data_dir = "data"
[nodes.there]
listen = "127.0.0.1:9"
[[links]]
between = ["here", "there"]
topics = ["m:*"]
[topics.fixed]
cap_records = 5
[routers."declared"]
source = "one"
dest = "two"
[limits]
max_topics = 200
"""
KINDS = {"application/json": json.dumps, "application/msgpack": msgpack.packb}
STREAMS = ("text/event-stream", "application/msgpack")
NAMES = ["one", "two", "queue", "fixed", "m:far", "none", "one*", "*"]
PARAMETERS = {"group": ["g", "h"], "peer": ["there", "nobody"], "feed_no": ["1", "x"], "name": NAMES}
MOST_WAIT_MS = 5
_fuzz = settings(
    max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip


@cache
def book() -> Book:
    return Book(json.loads(document([*ENDPOINTS, *SOCKETS])))


OPERATIONS = [
    pytest.param(path, method, id=f"{method.upper()} {path}")
    for path, methods in book().document["paths"].items()
    for method in methods
]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A node with a link to nobody, a declared topic and router, records, a queue and a group."""
    with daemons(tmp_path_factory.mktemp("fuzzed"), CONFIG.format(*free_ports(1)), "here") as (daemon,):
        api = daemon.api
        api.append("one", 1, {"a": [None]}, "x", node="n")
        api.append("m:far", 1)
        api.create("queue", type="queue")
        api.append("queue", *range(50))
        api.told("POST", "/v0/topics/one/groups/g/read", {"consumer": "c", "limit": 2})
        yield api


def _is_one_part(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name


class Sent:
    """One request, drawn for one operation."""

    def __init__(self, data: st.DataObject, path: str, method: str) -> None:
        self.operation = book().document["paths"][path][method]
        self.method = method.upper()
        told = self.operation.get("parameters", ())
        self.path = path
        for one in told:
            if one["in"] == "path":
                drawn = data.draw(self._named(one), label=one["name"])
                self.path = self.path.replace(f"{{{one['name']}}}", quote(drawn, safe=""))
        self.query = {
            one["name"]: data.draw(self._argument(one))
            for one in told
            if one["in"] == "query" and (one["required"] or data.draw(st.booleans()))
        }
        self.headers = {"accept": data.draw(st.sampled_from([*KINDS, "*/*", "text/event-stream"]), label="accept")}
        self.body = self._body(data)

    @staticmethod
    def _named(one: dict[str, Any]) -> st.SearchStrategy[str]:
        known = st.sampled_from(PARAMETERS.get(one["name"], ["x"]))
        return st.one_of(known, known, known, book().values(one["schema"]).map(str), texts).filter(_is_one_part)

    @staticmethod
    def _argument(one: dict[str, Any]) -> st.SearchStrategy[str]:
        return book().values(one["schema"]).map(lambda v: str(v).lower() if isinstance(v, bool) else str(v)) | texts

    def _body(self, data: st.DataObject) -> bytes | None:
        told = self.operation.get("requestBody")
        if told is None:
            return None
        kind = data.draw(st.sampled_from(sorted(told["content"])), label="content-type")
        self.headers["content-type"] = kind
        schema = told["content"][kind]["schema"]
        how = data.draw(st.sampled_from(["fits", "fits", "fits", "broken", "bytes"]))
        if how == "bytes":
            return data.draw(st.binary(max_size=20))
        value = data.draw(book().values(schema) if how == "fits" else book().broken(schema), label=how)
        if isinstance(value, dict) and "wait_ms" in value:
            value["wait_ms"] = MOST_WAIT_MS
        try:
            packed = KINDS[kind](value)
        except OverflowError:
            packed = KINDS[kind](None)
        return packed if isinstance(packed, bytes) else packed.encode()

    def to(self, api: Api) -> httpx.Response:
        """Sent. Of an answer without an end only the head is taken."""
        request = api.build_request(
            self.method, f"http://{api.address}{self.path}", params=self.query, content=self.body, headers=self.headers
        )
        response = api.send(request, stream=True)
        if response.status_code != 200 or not self.endless:
            response.read()
        response.close()
        return response

    @property
    def endless(self) -> bool:
        """Whether a success may go on for ever."""
        success = self.operation["responses"].get("200", {})
        return set(success.get("content", ())) <= {*STREAMS}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@_fuzz
@given(data=st.data())
def test_every_answer_is_told(fuzzed: Api, path: str, method: str, data: st.DataObject) -> None:
    """Status, content type and shape are those of the document, whatever was sent."""
    sent = Sent(data, path, method)
    response = sent.to(fuzzed)
    assert response.status_code != 500, response.text
    told = sent.operation["responses"].get(str(response.status_code))
    assert told is not None, f"{response.status_code} is not told: {response.text}"
    told = book().resolved(told)
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in told["content"], f"{kind} is not told"
    if response.is_stream_consumed and kind in KINDS:
        value = (
            response.json() if kind == "application/json" else msgpack.unpackb(response.content, strict_map_key=False)
        )
        assert book().faults(told["content"][kind]["schema"], value) == []


def test_the_node_is_well_after_all(fuzzed: Api) -> None:
    """No actor died of it, and the document that it gives is the one that was held against it."""
    assert fuzzed.told("GET", "/v0/ready")["status"] == "ready"
    assert all(actor["deaths"] == 0 for actor in fuzzed.told("GET", "/v0/actors")["actors"])
    assert fuzzed.get("/v0/openapi.json").json() == book().document


def test_the_judge_sees_faults() -> None:
    """The driver is worth something: a field of another type, one too many and one too few are told."""
    page = book().document["paths"]["/v0/topics"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    good: dict[str, Any] = {"topics": [], "performance": {"server_total_ms": 0.1}}
    assert book().faults(page, good) == []
    assert book().faults(page, good | {"topics": 1})
    assert book().faults(page, good | {"extra": 1})
    assert book().faults(page, {"topics": []})
    assert book().faults(page, good | {"performance": {"server_total_ms": -1}})


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_is_made_to_fit_fits(data: st.DataObject) -> None:
    """The maker and the judge read the schemas alike."""
    schemas = book().document["components"]["schemas"]
    schema = schemas[data.draw(st.sampled_from(sorted(schemas)))]
    assert book().faults(schema, data.draw(book().values(schema))) == []
