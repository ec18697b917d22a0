"""Waiting for a node that is away, with words for who watches: said once when it goes and once when it is back."""

from __future__ import annotations

from .doors import Doors
from .main import complain

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


class Patience:
    """Pauses grow while the node stays away. ``what`` is what is waited for."""

    def __init__(self, doors: Doors, what: str) -> None:
        self._doors, self._what = doors, what
        self._pause_s = FIRST_PAUSE_S
        self.away = False

    def wait(self, why: str, retry_after_s: float | None = None) -> None:
        """It did not answer: sleep before the next try."""
        if not self.away:
            complain(f"{why}; waiting for it")
        self.away = True
        self._doors.pause(max(self._pause_s, min(retry_after_s or 0.0, LONGEST_PAUSE_S)))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def answered(self) -> None:
        """It did."""
        if self.away:
            complain(f"{self._what} is there again")
        self.away, self._pause_s = False, FIRST_PAUSE_S
