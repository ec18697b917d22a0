"""Heads that the parser has let through, by their bytes: a client sends the same few again and again.

Only the strict parser decides what a head means; what it once made of a head is remembered here, with who answers such
a request, so that neither is found out again for the same bytes. A head with a secret in it, or with anything that
concerns the framing beyond a content-length, is never remembered; nor is one that comes only once.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from .message import Handler, Line, Request

MOST_HEADS = 1024
LONGEST_HEAD_BYTES = 2048
END = b"\r\n\r\n"
NEVER = frozenset({
    b"authorization", b"cookie", b"proxy-authorization",
    b"transfer-encoding", b"content-encoding", b"expect", b"upgrade",
    b"idempotency-key", b"traceparent", b"x-request-id",
})  # fmt: skip


class KnownHeads:
    """Shared by all connections of a server. Full, it begins anew. ``handler``: who answers requests with such a head,
    now and ever after; None: that is to be asked each time."""

    __slots__ = ("_handler", "_heads")

    def __init__(self, handler: Callable[[Request], Handler | None]) -> None:
        self._handler = handler
        self._heads: dict[bytes, tuple[int, Request]] = {}

    def recall(self, data: bytes, line: Line) -> Request | None:
        """The request that ``data`` is, if it is just one whole request with a known head."""
        end = data.find(END, 0, LONGEST_HEAD_BYTES) + 4
        known = self._heads.get(data[:end])
        if known is None or len(data) != known[0]:
            return None
        return replace(known[1], body=data[end:], connection=line)

    def learn(self, data: bytes, request: Request) -> None:
        """``data`` was just this request, whole, and it was let through."""
        if not NEVER.isdisjoint(request.headers) or not (request.http_1_1 and request.keep_alive):
            return
        end = data.find(END, 0, LONGEST_HEAD_BYTES) + 4
        if end < len(END) or len(data) != end + len(request.body) or "token" in (args := request.query_args()):
            return
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[data[:end]] = len(data), Request(
            method=request.method, path=request.path, raw_path=request.raw_path, query=request.query,
            headers=request.headers, handler=self._handler(request), _query_args=args,
        )  # fmt: skip
