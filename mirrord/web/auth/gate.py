"""The gate: every request is let through for one route as somebody, or refused with 401, 403 or 429."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ...errors import Forbidden, Throttled, Unauthorized
from ..message import Request
from .keys import KeyLine, KeyRing
from .principal import EVERYBODY, NOBODY, PEER, Principal, Scope

if TYPE_CHECKING:  # the table knows the handlers, and they know this folder
    from ..routes.table import Endpoint, Socket

BEARER = b"Bearer "


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
        principal = request.principal = self._who(endpoint, request)
        scopes: Iterable[Scope] = endpoint.scopes
        if endpoint.by_peers and "peer" in principal.scopes:
            scopes = ("peer",)
        if not principal.prefixes and principal.scopes.issuperset(scopes):
            return principal  # nearly always
        if endpoint.unlimited and principal.prefixes:
            raise Forbidden("this concerns all names, and the key is limited to prefixes")
        for scope in scopes:
            principal.require(scope, *(params[name] for name in endpoint.names))
        return principal

    def _who(self, endpoint: Endpoint | Socket, request: Request) -> Principal:
        if not endpoint.scopes and (
            endpoint.without_scope == "all" or (endpoint.without_scope == "probe" and not self._probe_auth)
        ):
            return NOBODY
        if self._peers_certify and ("peer" in endpoint.scopes or (endpoint.by_peers and _keyless(request))):
            return self._certified(request)
        return self.known(request, token=endpoint.token) if len(self._ring) else EVERYBODY

    def enter(self, principal: Principal) -> None:
        """One more of its requests is answered; ``leave`` must follow. Raises Throttled beyond [limits]
        max_in_flight_per_key."""
        if self._most_in_flight and principal.in_flight >= self._most_in_flight and principal.is_key:
            raise Throttled.beyond("max_in_flight_per_key", self._most_in_flight)
        principal.in_flight += 1

    @staticmethod
    def leave(principal: Principal) -> None:
        """One less."""
        principal.in_flight -= 1


def _keyless(request: Request) -> bool:
    return request.certified and b"authorization" not in request.headers
