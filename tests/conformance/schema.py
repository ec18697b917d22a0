"""Values that fit a JSON schema, values that do not, and the judge: as much of JSON Schema 2020-12 as the document of
``GET /v0/openapi.json`` uses. Unknown keywords fail, so that nothing in the document goes unread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]
READ = frozenset({
    "$ref", "allOf", "anyOf", "oneOf", "additionalProperties", "const", "enum", "items", "maxItems", "maxLength",
    "maximum", "minItems", "minLength", "minimum", "pattern", "prefixItems", "properties", "required", "type",
})  # fmt: skip
WORDS = frozenset({"default", "description", "title", "format", "contentEncoding", "discriminator"})
KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


class Book:
    """The schemas of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def resolved(self, schema: Schema) -> Schema:
        """What a reference refers to."""
        while "$ref" in schema:
            found: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    # ---- the judge -------------------------------------------------------------------------------

    def faults(self, schema: Schema, value: Any, at: str = "$") -> list[str]:
        """Why the value does not fit, field by field; empty when it does."""
        schema = self.resolved(schema)
        unread = schema.keys() - READ - WORDS
        if unread:
            return [f"{at}: the schema says {sorted(unread)}, which nobody reads"]
        return [*self._of_parts(schema, value, at), *_of_plain(schema, value, at), *self._of_inside(schema, value, at)]

    def _of_parts(self, schema: Schema, value: Any, at: str) -> list[str]:
        told = [fault for part in schema.get("allOf", ()) for fault in self.faults(part, value, at)]
        for word in ("anyOf", "oneOf"):
            choices = [self.faults(part, value, at) for part in schema.get(word, ())]
            if choices and all(choices):
                told.append(f"{at}: fits none of {len(choices)}: {min(choices, key=len)}")
        return told

    def _of_inside(self, schema: Schema, value: Any, at: str) -> list[str]:
        told: list[str] = []
        if isinstance(value, dict):
            told += [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
            known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
            for name, item in value.items():
                if name in known:
                    told += self.faults(known[name], item, f"{at}.{name}")
                elif isinstance(rest, Mapping):
                    told += self.faults(rest, item, f"{at}.{name}")
                elif known and "allOf" not in schema:
                    told.append(f"{at}.{name} is nowhere described")
        if isinstance(value, list):
            first = schema.get("prefixItems", ())
            pairs = [
                *zip(first, value, strict=False),
                *((schema.get("items", {}), item) for item in value[len(first) :]),
            ]
            told += [fault for i, (each, item) in enumerate(pairs) for fault in self.faults(each, item, f"{at}[{i}]")]
        return told

    # ---- the maker -------------------------------------------------------------------------------

    def values(self, schema: Schema) -> st.SearchStrategy[Any]:
        """Values that fit."""
        schema = self.resolved(schema)
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return st.one_of([self.values(part) for part in schema[word]])
        match schema.get("type"):
            case "object":
                return self._objects(schema)
            case "array":
                return self._arrays(schema)
            case "string":
                return _strings(schema)
            case "integer":
                return _integers(schema)
            case "number":
                return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
            case "boolean":
                return st.booleans()
            case "null":
                return st.none()
        return anything

    def _objects(self, schema: Schema) -> st.SearchStrategy[Any]:
        known, needed = schema.get("properties", {}), set(schema.get("required", ()))
        made = {name: self.values(part) for name, part in known.items()}
        if not known:
            rest = schema.get("additionalProperties", True)
            inside = self.values(rest) if isinstance(rest, Mapping) else anything
            return st.dictionaries(texts, inside, max_size=3)
        return st.fixed_dictionaries(
            {name: each for name, each in made.items() if name in needed},
            optional={name: each for name, each in made.items() if name not in needed},
        )

    def _arrays(self, schema: Schema) -> st.SearchStrategy[Any]:
        if "prefixItems" in schema:
            return st.tuples(*map(self.values, schema["prefixItems"])).map(list)
        least = schema.get("minItems", 0)
        return st.lists(self.values(schema.get("items", {})), min_size=least, max_size=max(least, 4))

    def broken(self, schema: Schema) -> st.SearchStrategy[Any]:
        """Values of nearly the right shape: one field, or one element, or the whole is something else."""
        schema = self.resolved(schema)
        choices = [anything]
        known = schema.get("properties", {})
        if known:
            choices += [st.tuples(self.values(schema), st.sampled_from(sorted(known)), anything).map(_with_field)]
            choices += [st.tuples(self.values(schema), st.sampled_from(sorted(known))).map(_without_field)]
        return st.one_of(choices)


def _with_field(drawn: tuple[Any, str, Any]) -> Any:
    value, name, other = drawn
    return {**value, name: other} if isinstance(value, dict) else value


def _without_field(drawn: tuple[Any, str]) -> Any:
    value, name = drawn
    return {k: v for k, v in value.items() if k != name} if isinstance(value, dict) else value


def _of_plain(schema: Schema, value: Any, at: str) -> list[str]:
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return [f"{at}: {value!r:.60} is not of type {kinds}"]
    told = []
    if "const" in schema and value != schema["const"]:
        told.append(f"{at}: {value!r:.60} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        told.append(f"{at}: {value!r:.60} is not one of {schema['enum']}")
    if _is(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        told.append(f"{at}: {value} is out of bounds")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        told.append(f"{at}: {value!r} does not match {schema['pattern']}")
    for kind, least, most in ((str, "minLength", "maxLength"), (list, "minItems", "maxItems")):
        if isinstance(value, kind) and not schema.get(least, 0) <= len(value) <= schema.get(most, 1 << 30):
            told.append(f"{at}: {len(value)} long")
    return told


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    if "pattern" in schema:
        return st.from_regex(str(schema["pattern"]), fullmatch=True)
    least = schema.get("minLength", 0)
    return st.text(
        st.characters(exclude_categories=["Cs"]), min_size=least, max_size=min(least + 8, schema.get("maxLength", 99))
    )


def _integers(schema: Schema) -> st.SearchStrategy[int]:
    least, most = schema.get("minimum", -(2**63)), schema.get("maximum", 2**64 - 1)
    return st.integers(least, min(most, least + 20)) | st.integers(least, most)
