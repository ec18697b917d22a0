"""Bytes in, requests out, in their order: HTTP/1.1 request parsing with every limit, without a socket.

httptools (llhttp, strict) knows the grammar and refuses most of what smuggling needs: two lengths, a length
beside chunks, folded headers, bare line feeds, odd chunk sizes. What it lets through is refused here.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import httptools

from ..errors import HeadersTooLarge, InvalidRequest, MethodNotAllowed, MirrordError, PayloadTooLarge
from .message import Line, Request, ServerLimits

IDLE, HEAD, BODY = 0, 1, 2
MOST_HEADERS = 256
SHORT_TARGET_BYTES = 256
PROGRESS_BYTES = 16 * 1024
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) [/*][\x21-\x7e]* HTTP/1\.1\r?\n")


class RequestParser:
    """Take from ``requests`` first, then ``fault``, behind which nothing is read."""

    def __init__(self, limits: ServerLimits, line: Line | None = None) -> None:
        self._limits, self._line = limits, line
        self._http = httptools.HttpRequestParser(self)
        self.requests: deque[Request] = deque()
        self.fault: MirrordError | None = None
        self.upgraded: bytes | None = None
        """What came after a request to go on as a WebSocket; it is not HTTP."""
        self.stage = IDLE
        self.expects_continue = False
        self.started = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeats = 0
        self._fed_bytes = self._piece_bytes = 0
        """Of this message, too many by what came before it in the same piece; and of this piece."""
        self._dry_bytes = 0
        self._progress = (0, IDLE, 0)
        self._body: bytes | bytearray = b""
        self._request: Request | None = None

    @property
    def body_progress(self) -> int:
        """Changes when enough of a body has come that the client has earned new patience."""
        return len(self._body) // PROGRESS_BYTES

    def feed(self, data: bytes) -> None:
        """Parse what came. What is wrong with it is in ``fault``, behind the requests before it."""
        if self.upgraded is not None:
            self.upgraded += data
            return
        self._piece_bytes = len(data)
        self._fed_bytes += len(data)
        before = self.started
        try:
            self._http.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self.fault = _own_fault(error)
        except httptools.HttpParserInvalidMethodError as error:
            told = _unknown_method(data) if self.started <= before + 1 else None
            self.fault = told or InvalidRequest(f"this is not a valid HTTP/1.1 request: {error}")
        except httptools.HttpParserError as error:
            self.fault = InvalidRequest(f"this is not a valid HTTP/1.1 request: {error}")
        if self.stage != IDLE:
            self._count_dry(len(data))

    def _count_dry(self, length: int) -> None:
        """Bounds what httptools may hold of a header, a chunk extension or a trailer that never ends."""
        progress = self.started, self.stage, len(self._body)
        self._dry_bytes = self._dry_bytes + length if progress == self._progress else 0
        self._progress = progress
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

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip(b" \t")  # httptools takes away only what stands before it
        headers = self._headers
        if name in headers:
            value = self._join(name, value)
        headers[name] = value

    def _join(self, name: bytes, value: bytes) -> bytes:
        self._repeats += 1
        if self._repeats > MOST_HEADERS:
            raise HeadersTooLarge()
        if name == b"host":
            raise InvalidRequest("there are two Host headers; send one")
        return self._headers[name] + b", " + value

    def on_headers_complete(self) -> None:
        headers, http = self._headers, self._http
        version = http.get_http_version()
        self._check_framing(version)
        method = http.get_method().decode()
        if method == "CONNECT":
            raise MethodNotAllowed("CONNECT is for proxies; this is none")
        raw_path, path, query = parse_target(self._url)
        self._request = Request(
            method=method,
            path=path,
            raw_path=raw_path,
            query=query,
            headers=headers,
            connection=self._line,
            http_1_1=version == "1.1",
            keep_alive=version == "1.1" and http.should_keep_alive(),
            websocket=b"upgrade" in headers and self._wants_websocket(method, version),
        )
        self.expects_continue = b"expect" in headers and headers[b"expect"].lower() == b"100-continue"
        self._headers = {}  # trailers land here, and mean nothing
        self.stage = BODY

    def _wants_websocket(self, method: str, version: str) -> bool:
        named = self._headers[b"upgrade"].lower() == b"websocket"
        return named and method == "GET" and version == "1.1" and self._http.should_upgrade()

    def _check_framing(self, version: str) -> None:
        headers = self._headers
        if self._fed_bytes > self._limits.max_header_bytes or len(headers) > MOST_HEADERS:
            self._check_size()
        if version != "1.1" and version != "1.0":
            raise InvalidRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1")
        if b"host" not in headers and version == "1.1":
            raise InvalidRequest("the Host header is missing")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
            raise InvalidRequest("the only Transfer-Encoding is chunked, over HTTP/1.1")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limits.max_body_bytes:
            raise self._too_large()

    def _check_size(self) -> None:
        size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())
        if size > self._limits.max_header_bytes or len(self._headers) > MOST_HEADERS:
            raise HeadersTooLarge()

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
            self._body = bytearray(self._body)
            self._body += data
        if len(self._body) > self._limits.max_body_bytes:
            raise self._too_large()

    def on_message_complete(self) -> None:
        request, body = self._request, self._body
        if request is None:
            return
        if body:
            request.body = body if isinstance(body, bytes) else bytes(body)
            self._body = b""
        self.requests.append(request)
        self._request = None
        self._url = b""
        self._fed_bytes = self._piece_bytes
        self._repeats = 0
        self.stage = IDLE
        self.expects_continue = False


def _own_fault(error: httptools.HttpParserCallbackError) -> MirrordError:
    """What one of the callbacks above raised; httptools passes it on as the context of its own error."""
    if isinstance(error.__context__, MirrordError):
        return error.__context__
    raise error


def _unknown_method(data: bytes) -> MirrordError | None:
    """The refusal of a request that is one, but for a method that httptools has never heard of."""
    line = _REQUEST_LINE.match(data)
    return line and MethodNotAllowed(f"{line[1].decode()} is no method of HTTP that is known here")


class Target(NamedTuple):
    """What a request is aimed at."""

    raw_path: bytes
    path: str
    query: str


def parse_target(target: bytes) -> Target:
    """Split and decode a request target. Raises InvalidRequest."""
    return _parse_short_target(target) if len(target) <= SHORT_TARGET_BYTES else _parse_target(target)


def _parse_target(target: bytes) -> Target:
    if target[:1] != b"/" and target != b"*":
        scheme, mark, rest = target.partition(b"://")
        if not mark or scheme.lower() not in (b"http", b"https"):
            raise InvalidRequest("the request target must begin with /")
        target = b"/" + rest.partition(b"/")[2]
    raw_path, _, query = target.partition(b"?")
    try:
        path = (_unquoted(raw_path) if b"%" in raw_path else raw_path).decode()
        return Target(raw_path, path, query.decode())
    except UnicodeDecodeError:
        raise InvalidRequest("the path or query is not UTF-8 when its %-codes are read") from None


def _unquoted(raw_path: bytes) -> bytes:
    """A slash that is encoded parts nothing: it stays as it is, in a name that then is none."""
    return unquote_to_bytes(raw_path.replace(b"%2F", b"%252F").replace(b"%2f", b"%252f"))


# The same few paths are asked for again and again.
_parse_short_target = lru_cache(maxsize=1024)(_parse_target)
