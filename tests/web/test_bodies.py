"""Bodies of appends: records that are text alone are read on a way of their own, and nobody can tell."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.config.model import Limits
from mirrord.errors import InvalidRequest, RecordTooLarge
from mirrord.records.batch import batches_of
from mirrord.records.draft import Draft
from mirrord.web.message import Request
from mirrord.web.routes.bodies import batches, decode_append

values = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3), st.lists, max_leaves=3)
labels = st.fixed_dictionaries({}, optional={
    "tag": st.none() | st.text(max_size=3), "node": st.none() | st.text(max_size=3),
    "meta": st.none() | st.dictionaries(st.text(max_size=2), values, max_size=2), "later": values,
})  # fmt: skip
records = st.builds(lambda data, label: {"data": data, **label}, values, st.just({}) | labels)


def asked(body: object) -> Request:
    text = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Request(method="POST", headers={b"content-type": b"application/json"}, body=text)


@settings(deadline=None)
@given(st.lists(records, min_size=1, max_size=5), st.none() | st.just("writer"))
def test_whatever_way_records_are_read_the_same_is_stored(sent: list[dict[str, Any]], node: str | None) -> None:
    """Retries with one key must match byte by byte, whatever else is in the body."""
    body = {"records": sent} | ({"node": node} if node else {})
    known = [{key: value for key, value in record.items() if key != "later"} for record in sent]
    drafts = msgspec.json.decode(json.dumps(known, ensure_ascii=False), type=list[Draft])
    for draft in drafts:
        draft.node = draft.node if draft.node is not None else node
        draft.meta = msgspec.Raw(b"") if bytes(draft.meta) == b"null" else draft.meta
    found = batches(decode_append(asked(body), Limits()), Limits())
    assert found == batches_of(drafts)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"records":[{"data":1},{"tag":"x"}]}', r"missing required field `data` - at `\$\.records\[1\]`"),
        (b'{"records":[{"data":1,"tag":7}]}', r"Expected `str \| null`, got `int` - at `\$\.records\[0\]\.tag`"),
        (b'{"records":[{"data":1},{"data":]}', r"JSON is malformed: invalid character \(byte 31\)"),
        (b'{"records":[{"data":"\xff"}]}', "not UTF-8 at byte 21"),
        (b'{"records":[{"data":' + b"[" * 100_000, "nested too deeply"),
        (b'{"records":{}}', r"Expected `array`, got `object` - at `\$\.records`"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, told: str) -> None:
    """With its place, on either way."""
    with pytest.raises(InvalidRequest, match=told):
        decode_append(asked(body), Limits())


def test_a_record_that_is_too_large_is_named() -> None:
    """Also among those that are text alone."""
    limits = Limits(max_record_bytes=10)
    with pytest.raises(RecordTooLarge, match=r"records\[1\] has 12 bytes"):
        batches(decode_append(asked({"records": [{"data": 1}, {"data": "x" * 10}]}), limits), limits)
