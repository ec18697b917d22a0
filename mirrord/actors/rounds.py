"""Rounds of the event loop, counted: what happens in one round came at the same time, as far as anybody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Rounds(trio.abc.Instrument):
    """``no`` goes up whenever the loop has looked for news; it stands still while nobody counts."""

    def __init__(self) -> None:
        self.no = 0

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 -- trio names it
        """Called by trio. ``timeout``: how long the loop was ready to sleep, seconds."""
        self.no += 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count for as long as this is entered."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)


class Crowd:
    """Whether messages come one at a time or many in a round, told by the rounds before."""

    __slots__ = ("_here", "_last", "_round", "_rounds")

    def __init__(self, rounds: Rounds) -> None:
        self._rounds, self._round = rounds, -1
        self._here = self._last = 0

    def lone(self) -> bool:
        """Count a message; whether none came before it in this round, nor others beside it in the last that had any."""
        if self._round == self._rounds.no:
            self._here += 1
            return False
        self._round, self._last, self._here = self._rounds.no, self._here, 1
        return self._last <= 1
