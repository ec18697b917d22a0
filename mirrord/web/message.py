"""Requests and answers as plain values, and how an answer's head looks on the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl

from msgspec import Struct, field

from ..clock import Clock
from .auth.principal import EVERYBODY, Principal

JSON = b"application/json"
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
Handler: TypeAlias = Callable[["Request"], Awaitable["Response | Stream"]]

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS = frozenset({204, 304})
PLAIN = frozenset({200, 201})
"""What nearly all answers have; they may have a body."""


class ClientGone(OSError):
    """The client hung up, or takes nothing any more; what was to be sent is dropped. Stop working for it."""


class ServerLimits(Struct, frozen=True, kw_only=True):
    """What one client may take of the node. Copied from the configuration's ``[limits]``."""

    max_body_bytes: int = 8 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    header_timeout_ms: int = 10_000
    """From the first byte of a request to the end of its headers."""
    body_timeout_ms: int = 30_000
    """Within this time 16 KiB (or the rest) of a body must come in, and something of an answer be taken."""
    keep_alive_timeout_ms: int = 75_000
    drain_timeout_ms: int = 10_000
    max_connections: int = 4096


class Tally(Struct):
    """Counts of one server; a connection adds its own when it is closed."""

    accepted: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rejected: dict[str, int] = {}

    def reject(self, code: str) -> None:
        """Count an answer that the server gave by itself, by the error's code."""
        self.rejected[code] = self.rejected.get(code, 0) + 1


class Drain(Protocol):
    """Set once, when the node begins to stop."""

    def is_set(self) -> bool: ...

    async def wait(self) -> object: ...


class Line(Protocol):
    """What a request may ask of the connection it came by."""

    @property
    def peer(self) -> tuple[Any, ...] | None: ...

    @property
    def draining(self) -> Drain: ...

    @property
    def certified(self) -> bool: ...


class Request(Struct, kw_only=True, eq=False):
    """One complete request. Header names are lower-case; repeated values are joined by ``", "``."""

    method: str = "GET"
    path: str = "/"
    """Percent-decoded but for slashes; ``raw_path`` is as it came. Neither has the query."""
    raw_path: bytes = b"/"
    query: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    connection: Line | None = None
    http_1_1: bool = True
    keep_alive: bool = True
    websocket: bool = False
    """The client asks to go on as a WebSocket."""
    principal: Principal = EVERYBODY
    """Whose key it carries; set by the gate."""
    handler: Handler | None = None
    """Who answers it, where that is known by its head alone."""
    _query_args: dict[str, str] | None = None

    def header(self, name: bytes) -> bytes | None:
        """A header's value; ``name`` in lower case."""
        return self.headers.get(name)

    def query_args(self) -> dict[str, str]:
        """The query string's arguments, decoded; the last of equal names counts."""
        if self._query_args is None:
            self._query_args = dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}
        return self._query_args

    @property
    def certified(self) -> bool:
        """Whether the client showed a certificate that [tls] client_ca signed."""
        return self.connection is not None and self.connection.certified

    @property
    def draining(self) -> Drain:
        """Set when the node begins to stop: an answer without an end then comes to one."""
        if self.connection is None:
            raise RuntimeError("this request came by no connection")
        return self.connection.draining


class Response(Struct, frozen=True):
    """A whole answer. ``body`` may be several pieces, sent without joining them."""

    status: int = 200
    body: bytes | list[bytes] = b""
    content_type: bytes = JSON
    headers: Headers = ()


class Writer(Protocol):
    """The client's side of an answer that has no known length."""

    async def send(self, buffers: Sequence[bytes]) -> None:
        """Returns when the kernel took it all, so a slow client slows its writer. Raises ClientGone."""
        ...

    def send_now(self, buffers: Sequence[bytes]) -> bool:
        """Send without waiting. False: the kernel did not take it all, the writer keeps the rest, and nothing else may
        be sent before ``drained`` has returned. Raises ClientGone."""
        ...

    async def drained(self) -> None:
        """Returns when the kernel took what ``send_now`` left. May be cancelled and called again. Raises ClientGone."""
        ...

    def unacknowledged(self) -> int:
        """Bytes sent that the client's machine has not acknowledged yet."""
        ...

    def low_latency(self, unsent_bytes: int) -> None:
        """Let the kernel hold at most about this many bytes unsent, so that a slow line is felt at once."""
        ...


class Stream(Struct, frozen=True):
    """An answer that ends when ``write`` returns, and is cut off, visibly to the client, if it raises."""

    write: Callable[[Writer], Awaitable[None]]
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()


class Dateline:
    """The ``Date`` header's value. ``renew`` it well within each second."""

    __slots__ = ("_clock", "_second", "text")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self.text = b""
        self.renew()

    def renew(self) -> None:
        """Tell the present second."""
        second = self._clock.wall_ms() // 1000
        if second != self._second:
            self._second, self.text = second, formatdate(second, usegmt=True).encode()


def may_have_body(status: int) -> bool:
    """Answers with these statuses end with their head, whatever the method."""
    return status >= 200 and status not in _BODILESS


@lru_cache(maxsize=256)
def _opening(status: int, content_type: bytes, date: bytes) -> bytes:
    reason = _REASONS.get(status, b"Unknown")
    dated = b"date: " + date + b"\r\n" if date else b""
    typed = b"content-type: " + content_type + b"\r\n" if content_type and may_have_body(status) else b""
    return b"HTTP/1.1 %d %b\r\nserver: mirrord\r\n%b%b" % (status, reason, dated, typed)


def plain_answer(status: int, content_type: bytes, date: bytes, body: bytes) -> bytes:
    """A whole answer without further headers, on a connection that goes on: nearly all are such."""
    return b"%bcontent-length: %d\r\n\r\n%b" % (_opening(status, content_type, date), len(body), body)


def response_head(
    status: int, content_type: bytes, headers: Headers, framing: bytes, date: bytes, close: bool
) -> bytes:
    """The bytes before the body. ``framing`` is a whole header line or nothing.

    Raises ValueError when a header would break out of its line.
    """
    head = _opening(status, content_type, date) + framing
    for name, value in headers:
        if b"\r" in value or b"\n" in value or b"\r" in name or b"\n" in name:
            raise ValueError(f"header {name!r} holds a line break")
        head += b"%b: %b\r\n" % (name, value)
    return head + (b"connection: close\r\n\r\n" if close else b"\r\n")
