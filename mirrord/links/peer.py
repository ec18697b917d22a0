"""A peer as a link sees it: somewhere to open a feed and to change it. Over HTTP here, in memory in the simulator."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol, cast

import httpx
import msgspec
import trio

from ..errors import FeedNotFound, PeerRefused, PeerUnreachable
from ..reasons import reason_of
from .pull import Pull, round_trip_s
from .wire import UNREADABLE

CHANGE_WITHIN_S = 60.0  # a large change on a slow line takes its time
MOST_ANSWER_BYTES = 64 << 10  # of what is no feed
MSGPACK = {"content-type": "application/msgpack"}


class Peer(Protocol):
    """``tests/contract/test_peer.py`` holds for every one of them."""

    round_trip_s: float
    """Over the line of the feed that was opened last; 0.0 where that is not known."""

    def feed(self, request: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a feed; its bytes, as they come, cut anywhere. Raises PeerUnreachable, PeerRefused."""
        ...

    async def change(self, feed_no: int, change: bytes) -> None:
        """Change the running feed of that number. Raises FeedNotFound, PeerUnreachable, PeerRefused."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class HttpPeer:
    """A peer behind a URL."""

    def __init__(
        self,
        url: str,
        connect_timeout_s: float,
        key: Callable[[], str] = str,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """``key`` is asked at each request, for it may be renewed; an empty one is not sent. ``trust`` says whose
        certificates are believed, and which one is shown; None: the system's, and none."""
        self._url = url.rstrip("/")
        self._connect_timeout_s, self._key, self._trust = connect_timeout_s, key, trust
        self.round_trip_s = 0.0
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(connect_timeout_s, read=10.0),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
            trust_env=False,
            auth=_bearer(key),
            verify=trust if trust is not None else True,
        )

    @asynccontextmanager
    async def feed(self, request: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        # Silence on a feed is judged by the link's watchdog, which knows the heartbeat; here only connecting and
        # sending have deadlines.
        pull = Pull(f"{self._url}/v0/feed", self._connect_timeout_s, self._trust)
        found = self._key()
        headers = MSGPACK | ({"authorization": f"Bearer {found}"} if found else {})
        stream = await pull.open(request, headers)
        try:
            async with aclosing(pull.body(stream)) as body:
                status = await pull.status(stream)
                if status != 200:
                    raise refusal(status, await _beginning(body))
                self.round_trip_s = round_trip_s(stream)
                yield body
        finally:
            await trio.aclose_forcefully(stream)

    async def change(self, feed_no: int, change: bytes) -> None:
        with trio.move_on_after(CHANGE_WITHIN_S):
            try:
                async with (
                    self._client.stream(
                        "POST", f"{self._url}/v0/feed/{feed_no}", content=change, headers=MSGPACK
                    ) as response,
                    aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as stream,
                ):
                    body = await _beginning(stream)
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise PeerUnreachable(f"{self._url}: {reason_of(error)}") from error
            if response.status_code != 200:
                raise refusal(response.status_code, body)
            return
        raise PeerUnreachable(f"{self._url}: no answer to a change of the feed within {CHANGE_WITHIN_S:.0f} s")

    async def aclose(self) -> None:
        await self._client.aclose()


def _bearer(key: Callable[[], str]) -> Callable[[httpx.Request], httpx.Request]:
    def with_key(request: httpx.Request) -> httpx.Request:
        if found := key():
            request.headers["authorization"] = f"Bearer {found}"
        return request

    return with_key


async def _beginning(stream: AsyncIterator[bytes]) -> bytes:
    """As much of an answer as can be a word of a node's; whoever answers there may send for ever."""
    found = b""
    async for data in stream:
        found += data
        if len(found) > MOST_ANSWER_BYTES:
            break
    return found


def refusal(status: int, body: bytes) -> PeerRefused | FeedNotFound | PeerUnreachable:
    """An answer that is no feed, as the error that it means."""
    try:
        error = msgspec.json.decode(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (*UNREADABLE, KeyError, TypeError):
        return PeerUnreachable(f"what answers there is no mirrord node: HTTP {status}")
    if code == FeedNotFound.code:
        return FeedNotFound(message)
    if status == 503:
        return PeerUnreachable(f"{code}: {message}")
    return PeerRefused(code, message)
