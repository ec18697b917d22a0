"""The gate: every request is let through for one route as somebody, or refused with 401, 403 or 429."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ...errors import Throttled, Unauthorized
from ..message import Request, Response, Stream
from .keys import KeyLine, KeyRing
from .principal import EVERYBODY, NOBODY, Principal

if TYPE_CHECKING:  # the table knows the handlers, and they know this folder
    from ..routes.table import Endpoint, Socket

BEARER = b"Bearer "
Handle = Callable[[Request], Awaitable[Response | Stream]]


class Gate:
    """What stands in front of every handler. With no keys in the ring everybody may do everything."""

    def __init__(self, lines: Iterable[KeyLine] = (), *, probe_auth: bool = False, most_in_flight: int = 0) -> None:
        self._ring = KeyRing()
        self.probe_auth = probe_auth
        self._most_in_flight = most_in_flight
        self.open = True
        """There is nothing to check."""
        self.renew(lines)

    def renew(self, lines: Iterable[KeyLine]) -> None:
        """From now on these keys; what runs already is not ended by that, what comes next is checked."""
        self._ring.renew(lines)
        self.open = not len(self._ring)

    def known(self, request: Request, *, token: bool = False) -> Principal:
        """Whose key the request carries; with ``token``, also as ``?token=``. Raises Unauthorized."""
        sent = request.headers.get(b"authorization")
        if sent is None and token:
            args = parse_qsl(request.query, keep_blank_values=True)
            return self._found(next((value for name, value in args if name == "token"), "").encode())
        if sent is None or not sent.startswith(BEARER):
            raise Unauthorized()
        return self._found(sent[len(BEARER) :])

    def _found(self, key: bytes) -> Principal:
        principal = self._ring.find(key)
        if principal is None:
            raise Unauthorized()
        return principal

    def admit(self, endpoint: Endpoint | Socket, request: Request, params: Mapping[str, str]) -> Principal:
        """Who may pass, also left in ``request.principal``. Raises Unauthorized, Forbidden."""
        if self.open:
            return EVERYBODY
        if endpoint.without_scope == "all" or (endpoint.without_scope == "probe" and not self.probe_auth):
            request.principal = NOBODY
            return NOBODY
        principal = request.principal = self.known(request, token=endpoint.token)
        for scope in endpoint.scopes:
            principal.require(scope, *(params[name] for name in endpoint.names))
        return principal

    @contextmanager
    def counted(self, principal: Principal) -> Iterator[None]:
        """While a request of it is answered. Raises Throttled beyond [limits] max_in_flight_per_key."""
        most = 0 if principal is EVERYBODY or principal is NOBODY else self._most_in_flight
        if most and principal.in_flight >= most:
            raise Throttled.beyond("max_in_flight_per_key", most)
        principal.in_flight += 1
        try:
            yield
        finally:
            principal.in_flight -= 1

    def counting(self, handle: Handle) -> Handle:
        """The same handler, counted."""

        async def counted(request: Request) -> Response | Stream:
            with self.counted(request.principal):
                return await handle(request)

        return counted
