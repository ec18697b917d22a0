"""What goes on for long is looked at again when keys are read anew, and ends when its key may do it no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...actors.bell import Ear
from ...errors import Forbidden, MirrordError, Unauthorized
from .principal import Principal, Scope


class Permit:
    """What somebody was let through for: ``scopes`` on ``names``, which may change while it lasts (none: nothing)."""

    def __init__(self, principal: Principal, scopes: tuple[Scope, ...], names: Callable[[], Iterable[str]]) -> None:
        self._principal, self._scopes, self._names = principal, scopes, names
        self._renewals = principal.renewals

    def attach(self, ear: Ear) -> Ear:
        """Let the ear hear when ``fault`` may have something to tell."""
        return self._principal.bell.attach(ear)

    def fault(self) -> MirrordError | None:
        """Why it must end now; None: it may go on."""
        principal = self._principal
        if principal.revoked:
            return Unauthorized("the key was taken back")
        if principal.renewals == self._renewals:
            return None
        try:
            if names := tuple(self._names()):
                for scope in self._scopes:
                    principal.require(scope, *names)
        except Forbidden as error:
            return error
        self._renewals = principal.renewals
        return None
