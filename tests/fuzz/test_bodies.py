"""Bodies of requests, as JSON and as msgpack, for every endpoint that takes one."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.config.model import Limits
from mirrord.errors import MirrordError
from mirrord.records.batch import encode
from mirrord.records.chunk import header_at
from mirrord.records.record import records
from mirrord.web.message import Request
from mirrord.web.openapi.document import OPERATIONS
from mirrord.web.openapi.records import Append
from mirrord.web.routes.bodies import batches, decode, decode_append, decoder

from .mutation import mutated

KINDS = {b"application/json": msgspec.json.encode, b"application/msgpack": msgpack.packb}
LIMITS = Limits(max_batch_records=5, max_record_bytes=1024)
APPEND: dict[str, Any] = {
    "records": [{"data": {"a": [1.5, None]}, "tag": "t", "meta": {"k": "é"}}, {"data": "x", "node": "n"}],
    "node": "n", "idempotency_key": "k", "create": True, "config": {"ttl_ms": 5},
}  # fmt: skip
BODIES: dict[type, Any] = {}
for operation in OPERATIONS.values():
    if isinstance(operation.body, type) and operation.body is not Append and "application/json" in operation.takes:
        BODIES.setdefault(operation.body, operation)
nested = st.integers(1, 5000).map(lambda n: b"[" * n) | st.integers(1, 5000).map(lambda n: b"\x91" * n)
_fuzz = settings(max_examples=50, deadline=None)


def request(kind: bytes, body: bytes) -> Request:
    return Request(method="POST", headers={b"content-type": kind}, body=body)


def named(read: Any, *args: Any) -> Any:
    """What it reads, or None when it refuses by name; anything else fails the test."""
    try:
        return read(*args)
    except MirrordError as error:
        return None if 400 <= error.status < 500 else pytest.fail(str(error))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
@_fuzz
@given(data=st.data())
def test_any_body(body: type, data: st.DataObject) -> None:
    """Random bytes, deep nesting, and good fields with something wrong in them."""
    values = st.integers(-1, 3) | st.text(max_size=3) | st.none() | st.lists(st.integers(-1, 3))
    names = [info.encode_name for info in msgspec.structs.fields(body)]
    fields = data.draw(st.dictionaries(st.sampled_from(names), values))
    for kind, pack in KINDS.items():
        sent = data.draw(st.binary(max_size=30) | nested | st.just(pack(fields)) | mutated(pack(fields)))
        found = named(decode, request(kind, sent), decoder(body))
        assert found is None or isinstance(found, body)


@pytest.mark.parametrize("kind", KINDS)
@_fuzz
@given(data=st.data())
def test_any_append(kind: bytes, data: st.DataObject) -> None:
    """What is let in is JSON text or bytes, within the limits: nothing that a reader could stumble over."""
    sent = data.draw(st.binary(max_size=60) | nested | mutated(KINDS[kind](APPEND)))
    found = named(decode_append, request(kind, sent), LIMITS)
    if found is None:
        return
    packed = named(batches, found, LIMITS)
    if packed is None:
        return
    chunk, _, _ = encode(1, 1, bytes(16), 0, packed)
    for record in records(chunk, 0, header_at(chunk, 0)):
        for text in (record.data, record.meta):
            if isinstance(text, str):
                msgspec.json.decode(text)


@_fuzz
@given(body=st.binary(max_size=60) | mutated(msgpack.packb(APPEND)))
def test_both_forms_agree(body: bytes) -> None:
    """A msgpack append means what its JSON means: whatever the one takes, the other takes and reads alike."""
    packed = named(decode_append, request(b"application/msgpack", body), LIMITS)
    if packed is None or any(isinstance(draft.data, bytes) for draft in packed.records):
        return
    try:
        text = msgspec.json.encode(msgpack.unpackb(body, strict_map_key=False))
    except (ValueError, TypeError, msgpack.UnpackException):
        return
    found = named(decode_append, request(b"application/json", text), LIMITS)
    if found is not None:
        assert [(bytes(d.data), d.tag, d.node) for d in found.records] == [
            (bytes(d.data), d.tag, d.node) for d in packed.records
        ]
