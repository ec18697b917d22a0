"""The ring of known keys: told as ``key:scopes:prefixes``, kept as digests, found in constant time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from secrets import token_bytes

from msgspec import Struct

from ...errors import ConfigError
from .principal import SCOPES, USER_SCOPES, Principal, Scope

_WORDS: Mapping[str, tuple[Scope, ...]] = {
    **{scope: (scope,) for scope in SCOPES},
    "r": ("read",), "w": ("write",), "rw": ("read", "write"), "d": ("delete",), "del": ("delete",), "a": ("admin",),
}  # fmt: skip
MOST_KEY_BYTES = 1024


class KeyLine(Struct, frozen=True, repr_omit_defaults=True):
    """One key as it was told. Short-lived: the ring keeps no key, only digests."""

    key: str
    scopes: frozenset[Scope] = USER_SCOPES
    prefixes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "KeyLine(...)"


def key_line(text: str) -> KeyLine:
    """``key[:scopes[:prefixes]]``: scopes joined by ``+``, prefixes by ``|``; an empty part means all.

    Raises ConfigError, whose message does not hold the key.
    """
    key, _, rest = text.partition(":")
    scopes, _, prefixes = rest.partition(":")  # a prefix may hold colons itself
    if not key or not key.isascii() or not key.isprintable() or " " in key or len(key) > MOST_KEY_BYTES:
        raise ConfigError(
            f"expected key:scopes:prefixes, the key 1 to {MOST_KEY_BYTES} printable ASCII characters without spaces, "
            "colons and commas"
        )
    return KeyLine(key, _scopes(scopes), tuple(filter(None, prefixes.split("|"))))


def _scopes(text: str) -> frozenset[Scope]:
    if not text:
        return USER_SCOPES
    found: set[Scope] = set()
    for word in text.split("+"):
        if word not in _WORDS:
            raise ConfigError(f"expected scopes of {', '.join(_WORDS)} joined by +; one of them is none")
        found.update(_WORDS[word])
    return frozenset(found)


class KeyRing:
    """Which principal a key stands for.

    Digests are salted with what only this process knows, so that nobody outside can choose one: the dict finds the
    candidate without telling anything by its time, and the comparison of digests takes the same time for each.
    """

    def __init__(self, lines: Iterable[KeyLine] = ()) -> None:
        self._salt = token_bytes(32)
        self._by_digest: dict[bytes, tuple[bytes, Principal]] = {}
        self._nobody = (bytes(32), Principal(()))
        self.renew(lines)

    def __len__(self) -> int:
        return len(self._by_digest)

    def find(self, key: bytes) -> Principal | None:
        """Who sent this key, or None."""
        digest = self._digest(key)
        kept, principal = self._by_digest.get(digest, self._nobody)
        return principal if compare_digest(kept, digest) else None

    def renew(self, lines: Iterable[KeyLine]) -> None:
        """From now on these keys. Whoever stays keeps its Principal; of whoever goes it says ``revoked``."""
        before, self._by_digest = self._by_digest, {}
        for line in lines:
            digest = self._digest(line.key.encode())
            known = before.get(digest) or self._by_digest.get(digest)
            principal = known[1] if known is not None else Principal(())
            principal.renew(line.scopes, line.prefixes)
            self._by_digest[digest] = (digest, principal)
        for digest in before.keys() - self._by_digest.keys():
            before[digest][1].revoke()

    def _digest(self, key: bytes) -> bytes:
        return sha256(self._salt + key).digest()
