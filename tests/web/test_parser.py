"""The request parser alone: what is understood, what is refused, and that pieces do not matter."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.errors import HeadersTooLarge, InvalidRequest, MethodNotAllowed, PayloadTooLarge
from mirrord.web.message import Request, ServerLimits
from mirrord.web.parser import MOST_HEADERS, RequestParser

LIMITS = ServerLimits(max_body_bytes=100, max_header_bytes=1000)
CONVERSATION = (
    b"POST /v0/topics/a%20b?x=1&y=%32 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\n"
    b"Content-Length: 5\r\n\r\nhello\r\nPOST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nX-One: 9\r\n\r\n"
    b"GET http://elsewhere/last HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    b"OPTIONS * HTTP/1.0\r\n\r\n"
)


def parse(*pieces: bytes, limits: ServerLimits = LIMITS) -> RequestParser:
    parser = RequestParser(limits)
    for piece in pieces:
        if parser.fault is None:
            parser.feed(piece)
    return parser


def told(requests: list[Request]) -> list[tuple[object, ...]]:
    return [(r.method, r.path, r.query, r.headers, r.body, r.keep_alive) for r in requests]


def test_a_conversation_is_understood() -> None:
    """Decoded paths, joined headers, both kinds of body, absolute targets, ignored h2c, unused trailers."""
    parser = parse(CONVERSATION)
    first, second, third, fourth = parser.requests
    assert parser.fault is None
    assert (first.method, first.path, first.body) == ("POST", "/v0/topics/a b", b"hello")
    assert (first.raw_path, first.query_args()) == (b"/v0/topics/a%20b", {"x": "1", "y": "2"})
    assert first.header(b"x-one") == b"1, 2"
    assert (second.body, second.header(b"x-one")) == (b"abcde", None)
    assert (third.path, third.websocket) == ("/last", False)
    assert (fourth.path, fourth.keep_alive) == ("*", False)


@given(cuts=st.lists(st.integers(0, len(CONVERSATION)), max_size=12).map(sorted))
@settings(max_examples=150, deadline=None)
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    """However the network cuts the bytes, the same requests come out."""
    edges = [0, *cuts, len(CONVERSATION)]
    pieces = [CONVERSATION[a:b] for a, b in pairwise(edges) if a < b]
    assert told(list(parse(*pieces).requests)) == told(list(parse(CONVERSATION).requests))


def test_every_single_cut_and_byte_by_byte() -> None:
    """The boundaries that a random cut may miss."""
    whole = told(list(parse(CONVERSATION).requests))
    for cut in range(1, len(CONVERSATION)):
        assert told(list(parse(CONVERSATION[:cut], CONVERSATION[cut:]).requests)) == whole, cut
    assert told(list(parse(*(bytes([byte]) for byte in CONVERSATION)).requests)) == whole


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    """A key or a coding is the same, however a client or a proxy sets it off (RFC 9112, 5)."""
    (request,) = parse(b"GET / HTTP/1.1\r\nHost:a \r\nX: \t b \t\r\nY: \r\nExpect:  100-continue \r\n\r\n").requests
    assert request.headers == {b"host": b"a", b"x": b"b", b"y": b"", b"expect": b"100-continue"}
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \r\n\r\n1\r\nx\r\n0\r\n\r\n"
    assert [request.body for request in parse(chunked).requests] == [b"x"]


SMUGGLING = {
    "length beside chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks beside length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "list of lengths": b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": b"Content-Length: +3\r\n\r\nabc",
    "huge length": b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "coding before chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "other coding": b"Transfer-Encoding: identity\r\n\r\nabc",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"X: a\r\n b\r\n\r\n",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "bare line feed": b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare return": b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "null in a value": b"X: a\0b\r\n\r\n",
    "two hosts": b"Host: b\r\n\r\n",
    **{
        f"chunk size {size!r}": b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n"
        for size in (b"0x5", b"+5", b"-5", b" 5", b"5 ", b"", b"g", b"5;a\nb", b"fffffffffffffffff")
    },
}


@pytest.mark.parametrize("rest", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_parsers_could_read_differently_is_refused(rest: bytes) -> None:
    """No request hides behind another (request smuggling)."""
    parser = parse(b"POST / HTTP/1.1\r\nHost: a\r\n" + rest)
    assert isinstance(parser.fault, InvalidRequest)
    assert not parser.requests


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", InvalidRequest),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", InvalidRequest),
        (b"GET / HTTP/0.9\r\n\r\n", InvalidRequest),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", InvalidRequest),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", InvalidRequest),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", MethodNotAllowed),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", MethodNotAllowed),
        (b"BREW coffee\r\n\r\n", InvalidRequest),
        (b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", InvalidRequest),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", InvalidRequest),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", MethodNotAllowed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", PayloadTooLarge),
    ],
)
def test_what_is_not_spoken_here_is_refused_by_name(data: bytes, fault: type[Exception]) -> None:
    """Every refusal is a named error."""
    assert isinstance(parse(data).fault, fault)


def test_a_fault_stands_behind_the_requests_before_it() -> None:
    """Garbage in the pipeline does not take the requests before it with it."""
    parser = parse(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\ngarbage\r\n\r\n")
    assert [request.path for request in parser.requests] == ["/1"]
    assert isinstance(parser.fault, InvalidRequest)


def test_chunks_are_counted_together() -> None:
    """A chunked body is bounded although nobody says its length."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"32\r\n" + b"x" * 50 + b"\r\n"
    assert parse(head, chunk, chunk, b"0\r\n\r\n").fault is None
    assert isinstance(parse(head, chunk, chunk, chunk).fault, PayloadTooLarge)


@pytest.mark.parametrize("first", [b"", b"GET /before HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_headers_are_bounded_in_one_piece(first: bytes) -> None:
    """By size, exactly, wherever the request stands; and by number, repeated or not."""
    start = first + b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    fixed = len(b"/") + len(b"host") + len(b"a") + 4 + len(b"x") + 4
    assert parse(start + b"y" * (1000 - fixed) + b"\r\n\r\n").fault is None
    assert isinstance(parse(start + b"y" * (1001 - fixed) + b"\r\n\r\n").fault, HeadersTooLarge)
    roomy = ServerLimits(max_header_bytes=100_000)
    same = start + b"\r\nX:" * MOST_HEADERS
    assert parse(same + b"\r\n\r\n", limits=roomy).fault is None
    assert isinstance(parse(same + b"\r\nX:\r\n\r\n", limits=roomy).fault, HeadersTooLarge)
    one_by_one = parse(*[start + b"\r\nX:" * 9 + b"\r\n\r\n"] * MOST_HEADERS, limits=roomy)
    assert one_by_one.fault is None
    others = start + b"".join(b"\r\nX%d: 1" % number for number in range(MOST_HEADERS))
    assert isinstance(parse(others + b"\r\n\r\n", limits=roomy).fault, HeadersTooLarge)


ENDLESS = {
    "target": b"GET /",
    "header": b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    "chunk extension": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;",
    "trailer": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ",
}


@pytest.mark.parametrize("start", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_ends_is_cut(start: bytes) -> None:
    """Nothing that the parser must hold grows without a bound, not even in small pieces."""
    assert isinstance(parse(start, *[b"y" * 10] * 150).fault, HeadersTooLarge)
    assert parse(start, *[b"y" * 10] * 50).fault is None


def test_a_body_in_tiny_chunks_is_no_endless_thing() -> None:
    """Framing that brings body is not what the bound above is for."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [piece for _ in range(100) for piece in (b"1;" + b"e" * 40, b"\r\na\r\n")]
    assert parse(head, *pieces, b"0\r\n\r\n").requests[0].body == b"a" * 100


def test_expect_is_told_until_the_body_is_there() -> None:
    """Only a client that still waits is told to go on."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    assert parse(head).expects_continue
    assert not parse(head, b"hi").expects_continue


def test_bytes_after_a_websocket_handshake_are_kept_apart() -> None:
    """The first frame may come with the handshake; it is not HTTP."""
    start = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    parser = parse(start + b"\x81\x80", b"abc")
    assert parser.requests[0].websocket
    assert parser.upgraded == b"\x81\x80abc"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_is_a_fault_or_waits_for_more(data: bytes) -> None:
    """No bytes make the parser raise."""
    parse(data)
    parse(b"POST / HTTP/1.1\r\nHost: a\r\n" + data)
