"""Known heads: what is remembered of a request, and what never is. fuzz/test_http.py: they read as the parser does."""

from __future__ import annotations

from typing import Any

import pytest

from mirrord.web.heads import MOST_HEADS, NEVER, KnownHeads
from mirrord.web.message import Request, Response, ServerLimits
from mirrord.web.parser import RequestParser


class Line:
    """A connection that is asked nothing."""

    peer = None
    draining: Any = None
    certified = False


async def handle(_: Request) -> Response:
    return Response()


def bytes_of(path: bytes = b"/a?b=c", extra: bytes = b"", body: bytes = b"hi") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, extra, len(body), body)


@pytest.fixture(name="heads")
def _heads() -> KnownHeads:
    return KnownHeads(lambda request: handle if request.path != "/unknown" else None)


def teach(heads: KnownHeads, data: bytes) -> None:
    """As a connection does: what the parser has let through is learned."""
    parser = RequestParser(ServerLimits())
    parser.feed(data)
    heads.learn(data, *parser.requests)


def test_a_known_head_comes_with_its_handler_and_another_body(heads: KnownHeads) -> None:
    """And on the connection by which it comes now."""
    teach(heads, bytes_of())
    line = Line()
    found = heads.recall(bytes_of(body=b"ho"), line)
    assert found is not None
    assert (found.path, found.query_args(), found.body, found.handler) == ("/a", {"b": "c"}, b"ho", handle)
    assert found.connection is line
    again = heads.recall(bytes_of(), Line())
    assert (again is not None and again.body, found.body) == (b"hi", b"ho")


@pytest.mark.parametrize(
    "data",
    [bytes_of() + b"G", bytes_of()[:-1], bytes_of(body=b"three"), bytes_of(b"/b"), bytes_of()[:20], b""],
    ids=["more", "less", "another length", "another path", "half a head", "nothing"],
)
def test_what_is_not_just_one_whole_request_is_parsed(heads: KnownHeads, data: bytes) -> None:
    """Only the parser knows what to make of the rest."""
    teach(heads, bytes_of())
    assert heads.recall(data, Line()) is None


@pytest.mark.parametrize("name", sorted(NEVER - {b"transfer-encoding", b"expect", b"upgrade"}))
def test_secrets_and_what_comes_once_are_not_remembered(heads: KnownHeads, name: bytes) -> None:
    """Neither a key of a client nor a number of its request fills the place of heads that come again."""
    for data in (bytes_of(extra=b"%b: z\r\n" % name), bytes_of(b"/a?token=z")):
        teach(heads, data)
        assert heads.recall(data, Line()) is None


def test_they_are_bounded(heads: KnownHeads) -> None:
    """A client that never asks twice for the same takes no more memory than that."""
    for number in range(MOST_HEADS + 1):
        teach(heads, bytes_of(b"/%d" % number))
    assert heads.recall(bytes_of(b"/0"), Line()) is None
    assert heads.recall(bytes_of(b"/%d" % MOST_HEADS), Line()) is not None
