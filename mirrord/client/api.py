"""Sends calls to one node and hands back answers: ``Api`` blocks, ``AsyncApi`` runs under trio and asyncio.

    with Api("http://127.0.0.1:4001") as fra:
        page = fra.ask(call.diff("orders", call.DiffQuery(from_seq=17))).page()

Both raise the class of ``mirrord.errors`` that the node names, PeerUnreachable when nothing answers within
the deadline, ProtocolViolation when something else than mirrord does.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, cast

import httpx

from ..errors import ConfigError, InvalidRequest, MirrordError, PeerUnreachable
from ..reasons import reason_of
from .answer import Answer, error_in
from .call import Call

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
MOST_CONNECTIONS = 1000  # to one node; whoever follows or works holds one
# After these the node has not seen the request; after every other failure it may have done what was asked.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Api:
    """One node, spoken to from ordinary code. Keeps its connection until closed; one thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._timeout_s = timeout_s
        self._http = httpx.Client(transport=transport, **_settings(self.url, key, trust))

    def ask(self, call: Call) -> Answer:
        """Send the call and wait for its answer: ``timeout_s`` + ``call.wait_ms`` at most without a sign."""
        try:
            reply = self._http.request(**_request(self.url, call, self._timeout_s))
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        return _answer(self.url, reply)

    def pages(self, first: Call) -> Iterator[Answer]:
        """A list, page after page."""
        asked: Call | None = first
        while asked is not None:
            page = self.ask(asked)
            yield page
            cursor = page.object().get("next_cursor")
            asked = first.after(cursor) if cursor else None

    @contextmanager
    def stream(self, call: Call, silence_s: float) -> Iterator[Iterator[bytes]]:
        """An answer without an end, as it comes; ``silence_s`` without a byte is an end, PeerUnreachable."""
        settings = _streaming(self.url, call, self._timeout_s, silence_s)
        try:
            with self._http.stream(**settings) as reply:
                if not reply.is_success:
                    raise error_in(self.url, reply.status_code, reply.read(), reply.headers.get("retry-after"))
                yield reply.iter_raw()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _unreachable(self.url, error) from error

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncApi:
    """One node, spoken to from async code. Tasks may share it."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(transport=transport, **_settings(self.url, key, trust))

    async def ask(self, call: Call) -> Answer:
        """Send the call and wait for its answer: ``timeout_s`` + ``call.wait_ms`` at most without a sign."""
        request = self._http.build_request(**_request(self.url, call, self._timeout_s))
        if call.body is not None:
            request.stream = _Body(call.body)
        try:
            reply = await self._http.send(request)
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        return _answer(self.url, reply)

    @asynccontextmanager
    async def stream(self, call: Call, silence_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer without an end, as it comes; ``silence_s`` without a byte is an end, PeerUnreachable.

        Leave a loop over it by cancelling, not by an exception of your own: httpx would not tidy up under trio.
        """
        settings = _streaming(self.url, call, self._timeout_s, silence_s)
        try:
            async with self._http.stream(**settings) as reply:
                if not reply.is_success:
                    raise error_in(self.url, reply.status_code, await reply.aread(), reply.headers.get("retry-after"))
                async with aclosing(cast("AsyncGenerator[bytes]", reply.aiter_raw())) as pieces:
                    yield pieces
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _unreachable(self.url, error) from error

    async def aclose(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncApi:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Body(httpx.AsyncByteStream):
    """A request's body. httpx has an async generator for it, which trio finds unfinished when a node dies."""

    def __init__(self, data: bytes) -> None:
        self._parts = iter((data,))

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            return part
        raise StopAsyncIteration


def checked_url(url: str) -> str:
    """The URL without its last slash. Raises InvalidRequest unless it is ``http[s]://host[:port]``."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"{url!r} is no URL ({error}); write it as http://HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise InvalidRequest(f"{url!r} is no URL of a node; write it as http://HOST:PORT")
    return url.rstrip("/")


def trust(ca: str | None = None, cert: str | None = None, cert_key: str | None = None) -> ssl.SSLContext:
    """What an https:// node is checked by: the system's authorities, or only those in the PEM file ``ca``.

    ``cert`` and ``cert_key`` are PEM files that say who we are. Raises ConfigError when a file cannot be used.
    """
    try:
        found = ssl.create_default_context(cafile=ca)
        if cert is not None:
            found.load_cert_chain(cert, cert_key)
    except OSError as error:
        raise ConfigError(f"{ca or cert}: cannot be used as a PEM file ({error})") from None
    return found


def _settings(url: str, key: str | None, trust: ssl.SSLContext | None) -> dict[str, Any]:
    """A node is reached as its URL says: proxies and netrc of the environment are for the outside world."""
    # Packing an answer costs a node more than sending it, so httpx's own wish for gzip is not ours.
    headers = {"user-agent": "mirrord", "accept": "application/json", "accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    # Without a context httpx reads all authorities of the world from disk, also for http://.
    verify = trust if trust is not None else url.startswith("https:")
    limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=100)
    return {"headers": headers, "limits": limits, "trust_env": False, "follow_redirects": False, "verify": verify}


def _request(url: str, call: Call, timeout_s: float) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": url + call.path,
        "params": dict(call.query) or None,
        "content": call.body,
        "headers": {"content-type": call.content_type} if call.body is not None else None,
        "timeout": httpx.Timeout(timeout_s + call.wait_ms / 1000, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
    }


def _streaming(url: str, call: Call, timeout_s: float, silence_s: float) -> dict[str, Any]:
    settings = _request(url, call, timeout_s)
    settings["timeout"] = httpx.Timeout(timeout_s, read=silence_s, connect=CONNECT_TIMEOUT_S)
    settings["headers"] = {"accept": "text/event-stream", **(settings["headers"] or {})}
    return settings


def _answer(url: str, reply: httpx.Response) -> Answer:
    if reply.is_success:
        return Answer(url, reply.status_code, reply.content)
    raise error_in(url, reply.status_code, reply.content, reply.headers.get("retry-after"))


def _unreachable(url: str, error: httpx.HTTPError | httpx.StreamError) -> MirrordError:
    why = "no answer in time" if isinstance(error, httpx.TimeoutException) else reason_of(error)
    hint = "check that the node is up and the address is right"
    if "CERTIFICATE_VERIFY_FAILED" in why:
        hint = "name the CA of the node's certificate (--ca, or ca=), and call the node by a host that stands in it"
    return PeerUnreachable(
        f"{url} does not answer ({why}); {hint}",
        {"sent": not isinstance(error, _NEVER_SENT), "why": why},
    )
