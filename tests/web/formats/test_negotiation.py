"""What a client takes is read as RFC 9110 says, and what is not understood is JSON, uncompressed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.web.formats.envelope import is_plain
from mirrord.web.formats.negotiation import coding_for, is_msgpack, wants_msgpack
from mirrord.web.message import Request

_fuzz = settings(max_examples=100, deadline=None)
header_values = st.text(st.sampled_from("applicationmsgkjz*/+;q=.,0159 \t\xff"), max_size=60).map(
    lambda text: text.encode("latin-1")
)


@pytest.mark.parametrize(
    ("accept", "packed"),
    [
        (None, False),
        (b"*/*", False),
        (b"application/json", False),
        (b"application/msgpack", True),
        (b"Application/MsgPack", True),
        (b"application/x-msgpack", True),
        (b"application/msgpack, application/json", True),
        (b"application/json, application/msgpack;q=0.9", False),
        (b"application/msgpack;q=0.9, application/json;q=0.1", True),
        (b"application/msgpack;q=0", False),
        (b"application/msgpack;q=0.5, */*;q=0.1", True),
        (b"text/event-stream, application/msgpack", True),
        (b"application/msgpackx", False),
    ],
)
def test_msgpack_is_for_who_asks(accept: bytes | None, packed: bool) -> None:
    """It is sent when it is named and nothing says that JSON is liked better; ``*/*`` names nothing."""
    assert wants_msgpack(accept) is packed


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        (b"", None),
        (b"identity", None),
        (b"br", None),
        (b"gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"gzip, deflate, br", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"zstd;q=0.5, gzip;q=0.8", b"gzip"),
        (b"gzip;q=0", None),
        (b"*", b"gzip"),
        (b"*;q=0", None),
        (b"zstd;q=0, *;q=0.5", b"gzip"),
        (b"gzip;q=0.5, identity", None),
        (b"gzip;q=much", None),
    ],
)
def test_the_coding_that_is_liked_best(accept: bytes | None, coding: bytes | None) -> None:
    """Of equals the one that is read fastest; never one that was refused with ``q=0``."""
    assert coding_for(accept) == coding


@pytest.mark.parametrize(
    ("kind", "packed"),
    [
        (b"application/msgpack", True),
        (b"application/msgpack; charset=binary", True),
        (b"APPLICATION/X-MSGPACK", True),
        (b"application/msgpackish", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_what_says_that_it_is_msgpack(kind: bytes, packed: bool) -> None:
    """Its three names, with parameters or without."""
    assert is_msgpack(kind) is packed


@_fuzz
@given(value=header_values)
def test_any_header_is_read(value: bytes) -> None:
    """Nothing that a header can hold breaks the reading of it."""
    assert wants_msgpack(value) in (True, False)
    assert coding_for(value) in (None, b"gzip", b"zstd")


@pytest.mark.parametrize(
    ("headers", "plain"),
    [
        ({}, True),
        ({b"accept": b"*/*", b"accept-encoding": b"identity"}, True),
        ({b"accept": b"application/json", b"accept-encoding": b"gzip;q=0"}, True),
        ({b"accept-encoding": b"gzip, deflate"}, False),
        ({b"accept": b"application/msgpack"}, False),
        ({b"content-encoding": b"gzip"}, False),
    ],
)
def test_a_head_tells_whether_anything_may_be_packed(headers: dict[bytes, bytes], plain: bool) -> None:
    """Only where it is sure that nothing will be are packing and unpacking passed by."""
    assert is_plain(Request(method="POST", headers=headers)) == plain
    assert not is_plain(Request(method="GET", headers=headers))  # such answers say what they vary by
