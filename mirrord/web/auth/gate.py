"""The gate: every request is let through for one route as somebody, or refused with 401, 403 or 429."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ...errors import Forbidden, Throttled, Unauthorized
from ..message import Request, Response, Stream
from .keys import KeyLine, KeyRing
from .principal import EVERYBODY, NOBODY, PEER, Principal

if TYPE_CHECKING:  # the table knows the handlers, and they know this folder
    from ..routes.table import Endpoint, Socket

BEARER = b"Bearer "
Handle = Callable[[Request], Awaitable[Response | Stream]]


class Gate:
    """What stands in front of every handler. With no keys in the ring everybody may do everything."""

    def __init__(self, *, most_in_flight: int = 0) -> None:
        self._ring = KeyRing()
        self._probe_auth = self._peers_certify = False
        self._most_in_flight = most_in_flight
        self.open = True
        """There is nothing to check."""

    def renew(self, lines: Iterable[KeyLine], *, probe_auth: bool = False, peers_certify: bool = False) -> None:
        """From now on these keys; what runs already is not ended by that, what comes next is checked.

        With ``peers_certify`` a client certificate opens feeds, and nothing else does.
        """
        self._ring.renew(lines)
        self._probe_auth, self._peers_certify = probe_auth, peers_certify
        self.open = not (len(self._ring) or peers_certify)

    @property
    def keys(self) -> int:
        """How many keys are known."""
        return len(self._ring)

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

    def _certified(self, request: Request) -> Principal:
        """A peer by its certificate; a key that it sends too must be known, and narrows what it may."""
        if not request.certified:
            raise Unauthorized("a feed needs a client certificate of [tls] client_ca here")
        return self.known(request) if len(self._ring) and b"authorization" in request.headers else PEER

    def admit(self, endpoint: Endpoint | Socket, request: Request, params: Mapping[str, str]) -> Principal:
        """Who may pass, also left in ``request.principal``. Raises Unauthorized, Forbidden."""
        if self.open:
            return EVERYBODY
        if endpoint.without_scope == "all" or (endpoint.without_scope == "probe" and not self._probe_auth):
            request.principal = NOBODY
            return NOBODY
        if self._peers_certify and ("peer" in endpoint.scopes or (endpoint.by_peers and _keyless(request))):
            principal = self._certified(request)
        else:
            principal = self.known(request, token=endpoint.token) if len(self._ring) else EVERYBODY
        request.principal = principal
        if endpoint.unlimited and principal.prefixes:
            raise Forbidden("this concerns all names, and the key is limited to prefixes")
        for scope in ("peer",) if endpoint.by_peers and principal.may("peer") else endpoint.scopes:
            principal.require(scope, *(params[name] for name in endpoint.names))
        return principal

    @contextmanager
    def counted(self, principal: Principal) -> Iterator[None]:
        """While a request of it is answered. Raises Throttled beyond [limits] max_in_flight_per_key."""
        most = self._most_in_flight if principal.is_key else 0
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


def _keyless(request: Request) -> bool:
    return request.certified and b"authorization" not in request.headers
