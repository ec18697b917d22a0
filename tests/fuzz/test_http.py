"""The HTTP parser under anything: requests, a named fault, or patience within bounds."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrord.errors import MirrordError
from mirrord.web.heads import KnownHeads
from mirrord.web.message import Drain, Request, ServerLimits
from mirrord.web.parser import RequestParser, parse_target

from .mutation import mutated, pieces

LIMITS = ServerLimits(max_body_bytes=200, max_header_bytes=1000)
REQUESTS = [
    b"POST /v0/topics/a HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nX: 9\r\n\r\n",
    b"GET /v0/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET http://x/%41?a=%42&b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\n\r\n",
]
streams = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(REQUESTS).flatmap(mutated),
    st.lists(st.sampled_from(REQUESTS), max_size=3).map(b"".join).flatmap(mutated),
)
_fuzz = settings(max_examples=150, deadline=None)


def parsed(parts: list[bytes]) -> RequestParser:
    parser = RequestParser(LIMITS)
    for part in parts:
        if parser.fault is None:
            parser.feed(part)
    return parser


def told(request: Request) -> tuple[object, ...]:
    return request.method, request.path, request.query, request.headers, request.body, request.keep_alive


@_fuzz
@given(data=st.data())
def test_any_bytes(data: st.DataObject) -> None:
    """What comes out is whole requests within the limits, then perhaps one named fault; never another exception."""
    stream = data.draw(streams)
    parser = parsed(data.draw(pieces(stream)))
    assert parser.fault is None or isinstance(parser.fault, MirrordError)
    for request in parser.requests:
        assert len(request.body) <= LIMITS.max_body_bytes
        assert sum(len(k) + len(v) for k, v in request.headers.items()) <= LIMITS.max_header_bytes
        assert request.path[:1] in ("/", "*")
        request.query_args()


@_fuzz
@given(data=st.data())
def test_cuts_do_not_change_what_is_read(data: st.DataObject) -> None:
    """However the network cuts garbage, the requests before its fault are the same: nobody can smuggle by timing."""
    stream = data.draw(streams)
    whole, cut = parsed([stream]), parsed(data.draw(pieces(stream)))
    assert [told(r) for r in cut.requests] == [told(r) for r in whole.requests]
    assert (cut.fault is None) == (whole.fault is None)


@_fuzz
@given(data=st.data())
def test_a_known_head_reads_as_a_new_one(data: st.DataObject) -> None:
    """What is remembered of a head never makes another request of bytes than the parser would."""
    first, second = data.draw(streams), data.draw(streams)
    heads = KnownHeads(lambda _: None)
    for stream in (first, second, first):
        parser = parsed([stream])
        parser.started = 0
        recalled = heads.recall(stream, _Line())
        if recalled is not None:
            assert [told(r) for r in parser.requests] == [told(recalled)]
        if parser.fault is None and len(parser.requests) == 1 and parser.stage == 0 and parser.upgraded is None:
            heads.learn(stream, parser.requests[0])


class _Line:
    """A connection that nobody drains."""

    peer = None

    @property
    def draining(self) -> Drain:
        raise AssertionError("nobody asks")

    @property
    def certified(self) -> bool:
        return False


@pytest.mark.parametrize(
    "forever",
    [
        b"X: 1\r\n", b"a", b"\r\n", b"X: " + b"y" * 50, b" folded", b"GET / HTTP/1.1\r\n", b"1\r\na\r\n",
        b"1;" + b"x" * 60, b"0\r\nX: 1\r\n", b"%41", b"\x00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("begin", [b"", *(request[:-6] for request in REQUESTS[:2]), b"GET /", REQUESTS[3][:-2]])
def test_what_never_ends_costs_nothing(begin: bytes, forever: bytes) -> None:
    """A megabyte of anything that is no request ends in a fault, or leaves no more behind than the limits allow."""
    parser = RequestParser(LIMITS)
    parser.feed(begin)
    tracemalloc.start()
    piece = forever * (4096 // len(forever))
    for _ in range(256):
        if parser.fault is not None:
            break
        parser.feed(piece)
        parser.requests.clear()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 64 * 1024


@_fuzz
@given(target=st.binary(max_size=60) | st.sampled_from([b"/a%20b?x=1", b"http://h/%ff", b"/%"]).flatmap(mutated))
@example(target=b"/\xc3\x28")
@example(target=b"/?\xff")
def test_any_target(target: bytes) -> None:
    """A path and a query of text, or a named refusal."""
    with suppress(MirrordError):
        assert parse_target(target).path.startswith(("/", "*"))
