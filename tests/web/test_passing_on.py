"""Calls for a queue whose home is another node: what of a request goes there."""

from __future__ import annotations

from mirrord.web.message import Request
from mirrord.web.routes.queues import call_of


def work(query: str, **headers: bytes) -> Request:
    """A request for jobs of ``here``."""
    named = {name.encode(): value for name, value in headers.items()}
    return Request(path="/v0/topics/here/work", query=query, headers=named)


def test_a_call_goes_on_under_the_name_that_the_home_knows() -> None:
    """The same arguments, for the topic as it is called there."""
    call = call_of(work("node=w%26x&max=2"), "there")
    assert (call.method, call.target) == ("GET", b"/v0/topics/there/work?node=w%26x&max=2")
    assert call_of(work(""), "there").target == b"/v0/topics/there/work"


def test_no_url_between_nodes_holds_a_key() -> None:
    """``?token=`` becomes a header; of several the first, and a header that was sent wins, as at the gate."""
    for query in ("token=k&node=w", "node=w&%74oken=k", "node=w&token=k&token=z"):
        call = call_of(work(query), "there")
        assert call.target == b"/v0/topics/there/work?node=w"
        assert call.headers[b"authorization"] == b"Bearer k"
    assert call_of(work("token=k", authorization=b"Bearer h"), "there").headers[b"authorization"] == b"Bearer h"
