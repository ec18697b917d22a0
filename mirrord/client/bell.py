"""A bell for tasks of one event loop, trio's or asyncio's: it says that something changed, and nothing more."""

from __future__ import annotations

import anyio


class Bell:
    """Take an ``ear``, look, and only then wait on it: no ring in between is lost."""

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    def ring(self) -> None:
        """Wake everybody who took an ear before this."""
        if self._next is not None:
            self._next.set()
            self._next = None

    def ear(self) -> anyio.Event:
        """What the next ring sets."""
        if self._next is None:
            self._next = anyio.Event()
        return self._next
