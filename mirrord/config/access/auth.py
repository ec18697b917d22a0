"""``[auth]``: where the keys come from. What is wrong with it is told without telling what stands there."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Struct

from ..lines import Faults, Path
from ..option import Option, options_of

REFERENCES = ("env:", "file:")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\0]+")
EXPECTED_REFERENCE = 'expected where the key is, "env:NAME" or "file:PATH", and not the key itself'


class AuthConfig(Struct, frozen=True):
    """``[auth]``: without keys everybody who reaches the node may do everything."""

    keys: Annotated[
        tuple[str, ...],
        Option(
            "list",
            '"env:NAME", "file:PATH", or a key itself: key:scopes:prefixes; none: everybody may do everything',
            example='["env:MIRRORD_KEYS"]',
        ),
    ] = ()
    peer_key: Annotated[
        str,
        Option(
            "text",
            "the key that the cluster's nodes show each other, for feeds only: env:NAME or file:PATH",
            example='"env:MIRRORD_PEER_KEY"',
        ),
    ] = ""
    probe_auth: Annotated[bool, Option("flag", "health and readiness need a key, too")] = False
    allow_insecure: Annotated[bool, Option("flag", "serve without keys where other machines can connect")] = False

    def __repr__(self) -> str:
        return f"AuthConfig(keys={len(self.keys)} not shown, probe_auth={self.probe_auth})"


def is_reference(text: str) -> bool:
    """Whether this says where a secret is, rather than being one."""
    return text.startswith(REFERENCES)


def read_auth(faults: Faults, found: object) -> AuthConfig:
    """The section; what is wrong in it is added to the faults."""
    values = faults.table(("auth",), found, options_of(AuthConfig), secret=True)
    auth = AuthConfig(
        keys=_sources(faults, values.pop("keys", [])),
        peer_key=read_reference(faults, ("auth", "peer_key"), values.pop("peer_key", "")),
        **values,
    )
    if auth.peer_key and isinstance(found, dict) and "keys" not in found:
        faults.add(("auth", "peer_key"), "expected beside keys: with it alone nobody but peers could do anything")
    return auth


def _sources(faults: Faults, found: object) -> tuple[str, ...]:
    sources: list[str] = []
    for place, text in enumerate(found if isinstance(found, list) else []):
        fits = isinstance(text, str) and text and (not is_reference(text) or _REFERENCE.fullmatch(text))
        if fits:
            sources.append(text)
        else:
            faults.add(("auth", "keys", place), 'expected "env:NAME", "file:PATH" or "key:scopes:prefixes"')
    return tuple(sources)


def read_reference(faults: Faults, path: Path, found: object) -> str:
    """Where one secret is, or nothing."""
    if found == "":
        return ""
    if isinstance(found, str) and _REFERENCE.fullmatch(found):
        return found
    faults.add(path, EXPECTED_REFERENCE)
    return ""
