"""The OpenAPI document tells of every endpoint, and everything in it leads somewhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from mirrord.config.topic import TopicConfig
from mirrord.errors import every_error
from mirrord.records.draft import Draft
from mirrord.web.openapi import shapes
from mirrord.web.openapi.document import OPERATIONS, document
from mirrord.web.openapi.records import Append
from mirrord.web.routes.bodies import AppendBody
from mirrord.web.routes.table import ENDPOINTS, SOCKETS, Endpoint, Socket

ROWS: list[Endpoint | Socket] = [*ENDPOINTS, *SOCKETS]


@cache
def told() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document(ROWS))
    return found


def every(value: Any) -> Iterator[Any]:
    """Everything inside."""
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every(item)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in told()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@pytest.mark.parametrize(("method", "path"), [(row.method, row.path) for row in ROWS])
def test_every_endpoint_is_described(method: str, path: str) -> None:
    """A row of the table without a description would be an endpoint that clients are not told of."""
    assert (method, path) in OPERATIONS
    assert method.lower() in told()["paths"][path]


def test_nothing_is_described_that_is_not_there() -> None:
    """A description outlives no endpoint."""
    assert {(row.method, row.path) for row in ROWS} == set(OPERATIONS)


def test_references_lead_somewhere() -> None:
    """Every ``$ref`` names something in the document."""
    refs = {item["$ref"] for item in every(told()) if isinstance(item, dict) and "$ref" in item}
    assert refs
    for ref in refs:
        at: Any = told()
        for part in ref.removeprefix("#/").split("/"):
            at = at[part]


def test_operations_have_names_of_their_own() -> None:
    """Generated clients name their functions by them."""
    counts = Counter(operation["operationId"] for _, _, operation in operations())
    assert max(counts.values()) == 1
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)?", name) for name in counts)


def test_parameters_of_paths_are_those_of_the_paths() -> None:
    """Each once, required, with a schema."""
    for _, path, operation in operations():
        named = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
        assert named == re.findall(r"{(\w+)}", path)
        assert all("schema" in one and one["description"] for one in operation["parameters"])


def test_codes_are_real() -> None:
    """Every code that an answer may have is a class of errors, under its own status."""
    known = every_error()
    for name, response in told()["components"]["responses"].items():
        schema = response["content"]["application/json"]["schema"]
        codes = schema["properties"]["error"]["properties"]["code"]["enum"]
        assert {known[code].status for code in codes} == {int(name.partition("-")[0])}


def test_answers_say_how_long_they_took() -> None:
    """What is an object and a success has ``performance``; only texts, streams and this document have not."""
    for method, path, operation in operations():
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            for each in schema.get("anyOf", [schema]):
                if status.startswith("2") and "$ref" in each:
                    properties = told()["components"]["schemas"][each["$ref"].rpartition("/")[2]]["properties"]
                    assert "performance" in properties, f"{method} {path}"


def test_scopes_are_those_of_the_table() -> None:
    """What a key needs is told where the call is told."""
    for row in ROWS:
        operation = told()["paths"][row.path][row.method.lower()]
        wanted = [{"key": list(row.scopes)}, {}] if row.without_scope == "key" or row.scopes else None
        assert operation.get("security") == wanted


def names(kind: Any) -> set[str]:
    return {info.encode_name for info in msgspec.structs.fields(kind)}


def test_described_bodies_have_the_fields_that_are_read() -> None:
    """Where payloads are kept as they came, the type that is described is not the one that is decoded: both agree."""
    assert names(Append) == names(AppendBody)
    assert names(shapes.SentRecord) == names(Draft)
    assert names(shapes.TopicFields) == names(shapes.TopicChanges) == names(TopicConfig)
