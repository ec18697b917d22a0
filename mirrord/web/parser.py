"""Bytes in, requests out, in their order: HTTP/1.1 request parsing with every limit, without a socket.

httptools (llhttp, strict) knows the grammar and refuses most of what smuggling needs: two lengths, a length
beside chunks, folded headers, bare line feeds, odd chunk sizes. What it lets through is refused here.
"""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools

from ..errors import HeadersTooLarge, InvalidRequest, MethodNotAllowed, MirrordError, PayloadTooLarge
from .message import Line, Request, ServerLimits

IDLE, HEAD, BODY = 0, 1, 2
MOST_HEADERS = 256
PROGRESS_BYTES = 16 * 1024


class RequestParser:
    """One connection's requests. Take from ``requests`` first; then ``fault``, behind which nothing is read."""

    def __init__(
        self, limits: ServerLimits, line: Line | None = None, peer: tuple[Any, ...] | None = None
    ) -> None:
        self._limits, self._line, self._peer = limits, line, peer
        self._http = httptools.HttpRequestParser(self)
        self.requests: deque[Request] = deque()
        self.fault: MirrordError | None = None
        self.upgraded: bytes | None = None
        """What came after a request to go on as a WebSocket; it is not HTTP."""
        self.stage = IDLE
        self.expects_continue = False
        self.started = 0
        self._fresh()

    def _fresh(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = 0
        self._head_bytes = 0
        self._dry_bytes = 0
        self._body: bytes | bytearray = b""
        self._request: Request | None = None
        self.expects_continue = False

    @property
    def progress(self) -> tuple[int, int, int]:
        """Changes when the client has earned new patience: a new request, its headers, enough of its body."""
        return self.started, self.stage, len(self._body) // PROGRESS_BYTES

    def feed(self, data: bytes) -> None:
        """Parse what came. Never raises: what is wrong is in ``fault``, behind the requests before it."""
        if self.upgraded is not None:
            self.upgraded += data
            return
        before = self.started, self.stage, len(self._body)
        try:
            self._http.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self.fault = _own_fault(error)
        except httptools.HttpParserError as error:
            self.fault = InvalidRequest(f"this is not a valid HTTP/1.1 request: {error}")
        if self.stage != IDLE:
            self._count_dry(len(data), before == (self.started, self.stage, len(self._body)))

    def _count_dry(self, length: int, dry: bool) -> None:
        """Bounds what httptools may hold of a header, a chunk extension or a trailer that never ends."""
        self._dry_bytes = self._dry_bytes + length if dry else 0
        if self._dry_bytes > self._limits.max_header_bytes and self.fault is None:
            self.fault = HeadersTooLarge()

    def _after_upgrade(self, rest: bytes) -> None:
        if self.requests and self.requests[-1].websocket:
            self.upgraded = rest
            return
        # Another protocol was offered (h2c): it is ignored, and HTTP/1.1 goes on.
        self._http = httptools.HttpRequestParser(self)
        if rest:
            self.feed(rest)

    # Called by httptools.

    def on_message_begin(self) -> None:
        self.stage = HEAD
        self.started += 1

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._count_head(len(name) + len(value) + 4)
        if self.stage == BODY:
            return  # a trailer: counted, and otherwise without meaning here
        name = name.lower()
        if name in self._headers:
            if name == b"host":
                raise InvalidRequest("there are two Host headers; send one")
            value = self._headers[name] + b", " + value
        self._headers[name] = value

    def _count_head(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > self._limits.max_header_bytes or self._header_count > MOST_HEADERS:
            raise HeadersTooLarge()

    def on_headers_complete(self) -> None:
        headers, http = self._headers, self._http
        version = http.get_http_version()
        self._check_framing(version)
        method = http.get_method().decode("ascii")
        raw_path, query = _split_target(self._url, method)
        upgrade = http.should_upgrade() and headers.get(b"upgrade", b"").lower() == b"websocket"
        self._request = Request(
            method=method,
            path=_decode_path(raw_path),
            raw_path=raw_path,
            query=query,
            headers=headers,
            peer=self._peer,
            connection=self._line,
            http_1_1=version == "1.1",
            keep_alive=http.should_keep_alive(),
            websocket=upgrade and method == "GET" and version == "1.1",
        )
        self.expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        self.stage = BODY

    def _check_framing(self, version: str) -> None:
        headers = self._headers
        if version not in ("1.1", "1.0"):
            raise InvalidRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1")
        if b"host" not in headers and version == "1.1":
            raise InvalidRequest("the Host header is missing")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
            raise InvalidRequest("the only Transfer-Encoding is chunked, over HTTP/1.1")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limits.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> PayloadTooLarge:
        most = self._limits.max_body_bytes
        what = f"the body is larger than [limits] max_body_bytes ({most}); send less at once"
        return PayloadTooLarge(what, {"max": most})

    def on_body(self, data: bytes) -> None:
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            # Joined as it comes: a list of pieces would cost a client's one-byte chunks forty bytes each.
            self._body = bytearray(self._body) + data
        if len(self._body) > self._limits.max_body_bytes:
            raise self._too_large()

    def on_message_complete(self) -> None:
        request = self._request
        if request is None:
            return
        body = self._body
        request.body = body if isinstance(body, bytes) else bytes(body)
        self.requests.append(request)
        self.stage = IDLE
        self._fresh()


def _own_fault(error: httptools.HttpParserCallbackError) -> MirrordError:
    """What one of the callbacks above raised; httptools passes it on as the context of its own error."""
    if isinstance(error.__context__, MirrordError):
        return error.__context__
    raise error


def _split_target(target: bytes, method: str) -> tuple[bytes, str]:
    """Path and query of a request target. Raises MethodNotAllowed for CONNECT, InvalidRequest for a bad one."""
    if method == "CONNECT":
        raise MethodNotAllowed("CONNECT is for proxies; this is none")
    if not target.startswith(b"/") and target != b"*":
        scheme, mark, rest = target.partition(b"://")
        if not mark or scheme.lower() not in (b"http", b"https"):
            raise InvalidRequest("the request target must begin with /")
        target = b"/" + rest.partition(b"/")[2]
    raw_path, _, query = target.partition(b"?")
    return raw_path, query.decode("ascii")


def _decode_path(raw_path: bytes) -> str:
    try:
        return (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the path is not UTF-8 when its %-codes are read") from None
