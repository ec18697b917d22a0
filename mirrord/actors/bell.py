"""A bell says "there is more" and carries no data; whoever hears it reads from its own cursor.

Attach the ear before reading: what is rung meanwhile is then never missed. One ear may hang on many bells (a feed
serves a thousand topics): it remembers which of them rang, in the order in which they first did.
"""

from __future__ import annotations

from collections.abc import Hashable

import trio


class Ear:
    """One listener's side. ``rang`` holds the tokens of the bells that rang since the last ``wait``."""

    __slots__ = ("_bells", "_event", "rang")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._bells: dict[tuple[Bell, Hashable], None] = {}
        self.rang: dict[Hashable, None] = {}

    def hear(self, token: Hashable) -> None:
        """A bell rang (or somebody wants this listener to look)."""
        self.rang[token] = None
        self._event.set()

    async def wait(self) -> list[Hashable]:
        """Sleep until something rang; the tokens, each once. Has no deadline of its own: callers bring one."""
        await self._event.wait()
        return self.take()

    def take(self) -> list[Hashable]:
        """The tokens that rang since the last call, without waiting."""
        self._event = trio.Event()
        rang, self.rang = list(self.rang), {}
        return rang

    def close(self) -> None:
        """Leave all bells."""
        for bell, token in list(self._bells):
            bell.detach(self, token)

    def joined(self, bell: Bell, token: Hashable) -> None:
        """Remember a bell, so that ``close`` can leave it."""
        self._bells[bell, token] = None

    def left(self, bell: Bell, token: Hashable) -> None:
        """Forget a bell: an ear that outlives many bells must not keep them all."""
        self._bells.pop((bell, token), None)


class Bell:
    """Rung by its one owner, heard by any number of ears."""

    __slots__ = ("_ears",)

    def __init__(self) -> None:
        self._ears: dict[tuple[Ear, Hashable], None] = {}

    def attach(self, ear: Ear, token: Hashable = None) -> Ear:
        """From now on every ring is heard by this ear, under this token."""
        self._ears[ear, token] = None
        ear.joined(self, token)
        return ear

    def detach(self, ear: Ear, token: Hashable = None) -> None:
        """Stop hearing."""
        self._ears.pop((ear, token), None)
        ear.left(self, token)

    def ring(self) -> None:
        """Wake every ear."""
        for ear, token in self._ears:
            ear.hear(token)

    @property
    def ears(self) -> int:
        """How many listen."""
        return len(self._ears)
