"""The OpenAPI document: the table of routes, and what is told of each, as one JSON text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from ... import __version__
from ...errors import MirrordError
from . import groups, node, queues, records, routers, streams, topics
from .operation import ANY, BOTH, Operation, Operations, Query

OPERATIONS: Operations = {
    **records.OPERATIONS, **topics.OPERATIONS, **groups.OPERATIONS, **routers.OPERATIONS, **streams.OPERATIONS,
    **queues.OPERATIONS, **node.OPERATIONS,
}  # fmt: skip
REF = "#/components/schemas/{name}"
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$"
NAMES_PATTERN = r"^([A-Za-z0-9][A-Za-z0-9._:-]{0,254}|([A-Za-z0-9][A-Za-z0-9._:-]{0,254})?\*)$"
ROUTER_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._:>-]{0,254}$"
PARAMETERS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "pattern": NAME_PATTERN, "description": "a topic"},
    "names": {"type": "string", "pattern": NAMES_PATTERN, "description": "a topic, or a prefix and *"},
    "group": {"type": "string", "pattern": NAME_PATTERN, "description": "a reader group"},
    "router": {"type": "string", "pattern": ROUTER_PATTERN, "description": "a router"},
    "wid": {"type": "string", "description": "a watch session"},
    "peer": {"type": "string", "description": "a node of the configuration"},
    "feed_no": {"type": "integer", "description": "of the feed's hello"},
}

_PLACES = {"/v0/routers/{name}": "router", "/v0/topics/{name}/diff": "names"}


class Routed(Protocol):
    """A row of the table of routes."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def scopes(self) -> tuple[str, ...]: ...

    @property
    def without_scope(self) -> str: ...


def document(endpoints: Iterable[Routed], operations: Mapping[tuple[str, str], Operation] = OPERATIONS) -> bytes:
    """JSON. An endpoint that nobody describes is left out."""
    rows = [(row, operations[row.method, row.path]) for row in endpoints if (row.method, row.path) in operations]
    schemas, components = _schemas([operation for _, operation in rows])
    paths: dict[str, dict[str, Any]] = {}
    for row, operation in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, operation, schemas)
    return msgspec.json.encode({
        "openapi": "3.1.0",
        "info": {
            "title": "mirrord", "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Append-only topics that can be written on every node. Prose: docs/HTTP.md.",
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": {_refusal_name(errors): _refusal(errors) for _, one in rows for errors in _by_status(one)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "a key of [auth]"}},
        },
    })  # fmt: skip


def _schemas(operations: list[Operation]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The schema of every type that is named, and what they refer to."""
    kinds: list[Any] = []
    for one in operations:
        kinds += [one.body, *(query.kind for query in one.query)]
        for _, kind in one.answers:
            kinds += kind if isinstance(kind, tuple) else [kind]
    wanted = [kind for kind in dict.fromkeys(kinds) if kind is not None]
    found, components = msgspec.json.schema_components(wanted, ref_template=REF)
    return dict(zip(wanted, found, strict=True)), components


def _operation(row: Routed, operation: Operation, schemas: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    path = [_parameter(name, row.path) for name in re.findall(r"{(\w+)}", row.path)]
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [_tag(row.path)],
        "parameters": [*path, *(_argument(query, schemas) for query in operation.query)],
        "responses": _answers(operation, schemas) | _refusals(operation),
    }
    if operation.body is not None:
        content = {kind: {"schema": schemas[operation.body]} for kind in operation.takes}
        told["requestBody"] = {"required": not operation.body_optional, "content": content}
    if row.without_scope == "key" or row.scopes:
        told["security"] = [{"key": list(row.scopes)}, {}]
    return told


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    nested = parts[3:4] if parts[3:4] and parts[3] in ("groups",) else parts[1:2] or parts[:1]
    return nested[0]


def _parameter(name: str, path: str) -> dict[str, Any]:
    schema = dict(PARAMETERS[_PLACES.get(path, name)])
    return {"name": name, "in": "path", "required": True, "description": schema.pop("description"), "schema": schema}


def _argument(query: Query, schemas: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": query.name, "in": query.place, "required": query.required, "description": query.meaning,
        "schema": schemas[query.kind],
    }  # fmt: skip


def _answers(operation: Operation, schemas: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    told = {}
    for status, kind in operation.answers:
        choices = kind if isinstance(kind, tuple) else (kind,)
        schema = schemas.get(kind, {}) if len(choices) == 1 else {"anyOf": [schemas[each] for each in choices]}
        content = {each: {"schema": schema if each.startswith("application/") else {}} for each in operation.kinds}
        told[str(status)] = {"description": _first_line(kind), "content": content}
    return told


def _refusals(operation: Operation) -> dict[str, Any]:
    return {
        str(errors[0].status): {"$ref": f"#/components/responses/{_refusal_name(errors)}"}
        for errors in _by_status(operation)
    }


def _by_status(operation: Operation) -> list[list[type[MirrordError]]]:
    by_status: dict[int, list[type[MirrordError]]] = {}
    for error in sorted({*ANY, *operation.errors}, key=lambda error: (error.status, error.code)):
        by_status.setdefault(error.status, []).append(error)
    return list(by_status.values())


def _refusal_name(errors: list[type[MirrordError]]) -> str:
    return f"{errors[0].status}-{'-'.join(error.code for error in errors)}"


def _refusal(errors: list[type[MirrordError]]) -> dict[str, Any]:
    code = {"enum": [error.code for error in errors], "description": "stable; match on it"}
    message = {"type": "string", "description": "what to do, for people"}
    fields = {"code": code, "message": message, "detail": {"type": "object"}}
    error = {"type": "object", "required": ["code", "message"], "properties": fields}
    schema = {"type": "object", "required": ["error"], "properties": {"error": error}}
    content = {kind: {"schema": schema} for kind in BOTH}
    return {"description": " ".join(f"{error.code}: {_first_line(error)}" for error in errors), "content": content}


def _first_line(kind: Any) -> str:
    if kind is MirrordError:
        return "A fault of the node that nobody named."
    text = getattr(kind, "__doc__", None) if isinstance(kind, type) else None
    return text.strip().splitlines()[0] if text else "what it says"
