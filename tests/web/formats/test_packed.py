"""msgpack as the JSON that it stands for, there and back."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.config.model import Limits
from mirrord.errors import BatchTooLarge, InvalidRequest, NotAcceptable, RecordTooLarge
from mirrord.web.formats.packed import PackedDraft, drafts, from_json, to_json

_fuzz = settings(max_examples=100, deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
LIMITS = Limits()


def draft(data: Any, limits: Limits = LIMITS, **fields: Any) -> Any:
    return drafts([PackedDraft(Raw(msgpack.packb(data)), **fields)], limits)[0].data


@_fuzz
@given(value=values)
def test_values_of_json_go_through_both_ways(value: Any) -> None:
    """What JSON can say, msgpack says the same."""
    assert json.loads(to_json(msgpack.packb(value))) == value
    assert msgpack.unpackb(from_json(json.dumps(value).encode())) == value


@_fuzz
@given(value=values, raw=st.binary(max_size=20))
def test_bytes_inside_a_value_are_spelled_out(value: Any, raw: bytes) -> None:
    """Bytes that are not the whole of ``data`` have a place in JSON too, and do not disturb what is beside them."""
    text = to_json(msgpack.packb([value, {"k": raw}]))
    assert json.loads(text) == [value, {"k": {"$bin": json.loads(msgspec.json.encode(raw))}}]


@_fuzz
@given(raw=st.binary(max_size=300), more=st.integers(0, 70_000))
def test_data_of_bytes_stays_bytes(raw: bytes, more: int) -> None:
    """Opaque payloads are kept as they came, with no base64 and no JSON."""
    raw += bytes(more)
    assert draft(raw) == raw
    assert type(draft(raw)) is bytes


@pytest.mark.parametrize(
    "odd",
    [math.nan, math.inf, -math.inf, {"a": [math.nan]}, msgpack.ExtType(5, b"x"), {b"k": 1}, [msgpack.ExtType(0, b"")]],
)
def test_what_json_cannot_say_is_refused(odd: Any) -> None:
    """A value that would come back as another one is not taken."""
    with pytest.raises(InvalidRequest):
        to_json(msgpack.packb(odd))
    with pytest.raises(InvalidRequest):
        draft(odd)


def test_floats_of_four_bytes_are_told_from_numbers_that_are_none() -> None:
    """The look for odd bytes covers both widths of floats."""
    with pytest.raises(InvalidRequest):
        to_json(b"\xca\x7f\xc0\x00\x00")
    assert to_json(b"\xca\x3f\x80\x00\x00") == b"1.0"


def test_times_are_texts() -> None:
    """msgpack's own timestamps are written as RFC 3339 says."""
    assert to_json(msgpack.packb(msgpack.Timestamp(0, 0))) == b'"1970-01-01T00:00:00Z"'


def test_keys_that_are_numbers_become_texts() -> None:
    """JSON has no other keys."""
    assert to_json(msgpack.packb({1: 2})) == b'{"1":2}'


@pytest.mark.parametrize("count", [LIMITS.max_batch_records + 1])
def test_too_many_records(count: int) -> None:
    """The limit of a batch holds for msgpack."""
    with pytest.raises(BatchTooLarge):
        drafts([PackedDraft(Raw(b"\x01"))] * count, LIMITS)


def test_a_large_record_is_refused_before_it_is_unpacked() -> None:
    """A megabyte of empty lists is seventy as objects; its size is looked at first."""
    narrow = msgspec.structs.replace(LIMITS, max_record_bytes=2000)
    with pytest.raises(RecordTooLarge) as refused:
        draft([[]] * 2000, narrow)
    assert refused.value.detail == {"index": 0, "max": 2000}
    with pytest.raises(RecordTooLarge):
        draft(bytes(2001), narrow)
    assert draft(bytes(1990), narrow) == bytes(1990)


def test_deep_nesting_is_refused() -> None:
    """Neither the stack nor the node breaks."""
    with pytest.raises(InvalidRequest):
        to_json(b"\x91" * 100_000 + b"\x01")


@_fuzz
@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """What is no msgpack is a named error; what is becomes JSON."""
    with suppress(InvalidRequest):
        json.loads(to_json(body))


@pytest.mark.parametrize(
    ("text", "value"),
    [("9" * 30, 1e30), ("-" + "9" * 19, -1e19), ("1e400", math.inf), (str(2**64 - 1), 2**64 - 1), ("1.50", 1.5)],
)
def test_numbers_beyond_msgpack_become_the_nearest_double(text: str, value: float) -> None:
    """JSON numbers have no end and msgpack's have; a reader gets the record all the same."""
    assert msgpack.unpackb(from_json(f'{{"records":[{{"data":{text}}}]}}'.encode()))["records"][0]["data"] == value


@pytest.mark.parametrize("inside", ["1", "9" * 40])
def test_what_is_nested_too_deeply_for_msgpack_is_told(inside: str) -> None:
    """A page that cannot be told in msgpack is refused by name, and JSON still has it."""
    with pytest.raises(NotAcceptable, match="JSON"):
        from_json(("[" * 5000 + inside + "]" * 5000).encode())


@pytest.mark.parametrize("name", ["records", "claimed"])
def test_bytes_of_records_are_bytes_again(name: str) -> None:
    """``{"$bin": ...}`` as the whole of a record's data is bytes to a reader of msgpack; anywhere else it is a map."""
    told = {name: [{"data": {"$bin": "aGk="}, "meta": {"$bin": "aGk="}}, {"data": [{"$bin": "aGk="}]}]}
    found = msgpack.unpackb(from_json(json.dumps(told).encode()))[name]
    assert found[0] == {"data": b"hi", "meta": {"$bin": "aGk="}}
    assert found[1] == {"data": [{"$bin": "aGk="}]}


@pytest.mark.parametrize("data", [{"$bin": "!"}, {"$bin": 1}, {"$bin": "aGk=", "x": 1}, {"$bin": "aGk"}, "$bin"])
def test_what_only_looks_like_bytes_stays_what_it_is(data: Any) -> None:
    """A writer of JSON may send what it likes."""
    told = {"records": [{"data": data}]}
    assert msgpack.unpackb(from_json(json.dumps(told).encode())) == told
