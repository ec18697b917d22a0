"""The way to another node that grants a queue's leases: calls are passed on as they came, marked, one hop only."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol, cast

import httpx
from msgspec import Struct

from ..errors import HomeUnreachable
from ..reasons import reason_of

PASSED_ON = b"mirrord-passed-on"
"""The header that marks a call which another node passed on: it is never passed on again."""
MOST_CONNECTIONS = 256
ANSWER_WITHIN_S = 20.0  # gathering claims takes up to five seconds


class Call(Struct, frozen=True):
    """A request as it came, its body inflated. ``headers`` by lower-case name."""

    method: str
    target: bytes  # path and query, still percent-encoded
    headers: Mapping[bytes, bytes]
    body: bytes = b""


class Reply(Struct, frozen=True):
    """The home's answer, or its beginning."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Of the others, what concerns whoever asked: when to come again."""
    more: AsyncGenerator[bytes] | None = None


class Home(Protocol):
    """A node that can be asked. All raise HomeUnreachable."""

    async def call(self, call: Call) -> Reply:
        """Its whole answer."""
        ...

    def stream(self, call: Call) -> AbstractAsyncContextManager[Reply]:
        """An answer without an end, as ``more``, which raises it too; whole if it is a refusal."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


def no_way(name: str, _url: str) -> Home:
    """Where nodes cannot call each other."""
    raise HomeUnreachable(f"{name}, which grants the leases, cannot be called from here", {"home": name})


class HttpHome:
    """A home behind a URL. ``key`` is asked at each call, for it may be renewed."""

    def __init__(
        self, name: str, here: str, url: str, connect_timeout_s: float, key: Callable[[], str],
        trust: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        self._name, self._here, self._url, self._key = name, here, url.rstrip("/"), key
        self._endless = httpx.Timeout(connect_timeout_s, read=None)  # the stream's heartbeats are its reader's business
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(connect_timeout_s, read=ANSWER_WITHIN_S),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=8),
            trust_env=False,
            verify=trust if trust is not None else True,
        )

    async def call(self, call: Call) -> Reply:
        try:
            response = await self._client.send(self._request(call))
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._unreachable(error) from error
        return _reply(response, response.content)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[Reply]:
        request = self._request(call)
        request.extensions["timeout"] = self._endless.as_dict()
        try:
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code == 200:
                    yield _reply(response, b"", self._pieces(response))
                else:
                    yield _reply(response, await response.aread())
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._unreachable(error) from error

    async def _pieces(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as pieces:
                async for piece in pieces:
                    yield piece
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._unreachable(error) from error

    async def aclose(self) -> None:
        await self._client.aclose()

    def _request(self, call: Call) -> httpx.Request:
        headers = [(PASSED_ON, self._here.encode()), (b"accept-encoding", b"identity")]
        headers += _authorization(self._key(), call)
        if call.body:
            headers.append((b"content-type", call.headers.get(b"content-type", b"")))
        url = self._url + call.target.decode("latin-1")
        return self._client.build_request(call.method, url, headers=headers, content=call.body or None)

    def _unreachable(self, error: Exception) -> HomeUnreachable:
        told = f"{self._name}, which grants the leases, does not answer at {self._url} ({reason_of(error)})"
        return HomeUnreachable(f"{told}; try again, or use it directly", {"home": self._name}, 1.0)


def _authorization(key: str, call: Call) -> Generator[tuple[bytes, bytes]]:
    """Our own key as a peer; without one the caller's, for the home may know it."""
    if key:
        yield b"authorization", b"Bearer " + key.encode()
    elif b"authorization" in call.headers:
        yield b"authorization", call.headers[b"authorization"]


def _reply(response: httpx.Response, body: bytes, more: AsyncGenerator[bytes] | None = None) -> Reply:
    content_type = response.headers.get("content-type", "").encode()
    again = tuple((b"retry-after", value.encode()) for value in response.headers.get_list("retry-after"))
    return Reply(response.status_code, content_type, body, again, more)
