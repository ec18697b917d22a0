"""The line between daemons that tests can break: what it may do to bytes, and what no line does."""

from __future__ import annotations

from mirrord.testing.cluster.proxy import Way


def test_what_is_cut_off_ends_its_connection() -> None:
    """A connection may break anywhere, and then it is over: bytes that are lost out of its middle would be a fault that
    no network has."""
    way = Way(breaks_in=5)
    assert way.cut(b"abc") == (b"abc", False)
    assert way.cut(b"defg") == (b"de", True)
    assert way.cut(b"of another connection, meanwhile") == (b"of another connection, meanwhile", False)
