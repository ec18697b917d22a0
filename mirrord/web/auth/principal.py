"""Who sends a request: the scopes and name prefixes of the key that it carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from ...actors.bell import Bell
from ...errors import Forbidden

Scope = Literal["read", "write", "delete", "admin", "peer"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
USER_SCOPES: frozenset[Scope] = frozenset(SCOPES) - {"peer"}


class Principal:
    """One key, or everybody where no keys are configured. The same object for as long as the key stays.

    Whoever keeps something for a key (a watch session, a counted connection) compares by identity.
    """

    __slots__ = ("bell", "in_flight", "prefixes", "renewals", "revoked", "scopes", "streams")

    def __init__(self, scopes: Iterable[Scope], prefixes: tuple[str, ...] = ()) -> None:
        self.scopes = frozenset(scopes)
        self.prefixes = prefixes
        """Names that it may speak of begin with one of these; none: all names."""
        self.in_flight = 0
        self.streams = 0
        """Open SSE and WebSocket connections."""
        self.revoked = False
        """The key was taken out of the configuration while something of it still runs."""
        self.renewals = 0
        """How often it came to be allowed something else; ``bell`` rings at that, and when it is revoked."""
        self.bell = Bell()

    def renew(self, scopes: Iterable[Scope], prefixes: tuple[str, ...]) -> None:
        """From now on it may this."""
        before, self.scopes, self.prefixes = (self.scopes, self.prefixes), frozenset(scopes), prefixes
        if before != (self.scopes, self.prefixes):
            self.renewals += 1
            self.bell.ring()

    def revoke(self) -> None:
        """The key is known no more."""
        self.revoked = True
        self.bell.ring()

    @property
    def is_key(self) -> bool:
        """Whether it is one caller of several: bounds per key are for those only."""
        return self not in (EVERYBODY, PEER, NOBODY)

    def may(self, scope: Scope) -> bool:
        """Whether it has the scope."""
        return scope in self.scopes

    def sees(self, name: str) -> bool:
        """Whether a name is within its prefixes: lists show no others."""
        return not self.prefixes or name.startswith(self.prefixes)

    @property
    def sees_some(self) -> Callable[[str], bool] | None:
        """``sees`` if there is anything that it does not see, else None."""
        return self.sees if self.prefixes else None

    def within(self, prefix: str) -> list[str]:
        """The prefixes of all names that begin with ``prefix`` and that it sees."""
        if not self.prefixes:
            return [prefix]
        return [max(own, prefix, key=len) for own in self.prefixes if own.startswith(prefix) or prefix.startswith(own)]

    def covers(self, pattern: str) -> bool:
        """The same for a name or a prefix pattern such as ``chat:*``: all that it can mean is within."""
        return self.sees(pattern.removesuffix("*"))

    def require(self, scope: Scope, *names: str) -> None:
        """Raises Forbidden unless it has the scope, and every name or pattern is within its prefixes."""
        if scope not in self.scopes:
            raise Forbidden(f"the key lacks the scope {scope!r}", {"scope": scope})
        for name in names:
            if not self.covers(name):
                raise Forbidden(f"{name[:80]!r} is outside the name prefixes of the key", {"name": name[:255]})


EVERYBODY = Principal(SCOPES)
"""Where no keys are configured."""
PEER = Principal(("peer",))
"""Who showed a certificate of ours and no key."""
NOBODY = Principal(())
"""Who was let in without a key, where keys are configured: to a probe."""
