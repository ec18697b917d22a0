"""How much one frame of a feed may hold, by the speed of its line and by what else waits for it.

A frame takes about a quarter of a second: a heartbeat waits behind one at most.
"""

from __future__ import annotations

FRAME_SECONDS = 0.25  # what one frame may take at the measured line speed
LEAST_FRAME_BYTES, MOST_FRAME_BYTES = 1 << 10, 512 << 10  # larger ones bring no speed, and others wait behind them
FIRST_FRAME_BYTES = 256 << 10  # before anything is known of the line
SHARED_FRAME_BYTES = 128 << 10  # while others send a little now and then: they wait for the whole of a frame
LITTLE_BYTES, SHARED_S = 16 << 10, 1.0  # what a frame has that comes by itself; how long the line stays shared after it


class Pace:
    """Of one line. Times are monotonic seconds."""

    def __init__(self, most_bytes: int, now: float) -> None:
        self._most_bytes = min(most_bytes, MOST_FRAME_BYTES)
        self.budget_bytes = min(FIRST_FRAME_BYTES, self._most_bytes)
        self._shared_until = now
        self.moved_at = now  # when the caller's machine last acknowledged bytes
        self._in_flight = 0

    def room(self, now: float) -> int:
        """Bytes of the next frame. Large ones cost the caller less, as long as nothing else waits for them to end."""
        shared = self.budget_bytes > SHARED_FRAME_BYTES and now < self._shared_until
        return SHARED_FRAME_BYTES if shared else self.budget_bytes

    def sent(self, size: int, took_s: float, now: float) -> bool:
        """A frame with a body of so many bytes went out; whether that says anything about the line."""
        if 0 < size < LITTLE_BYTES:
            self._shared_until = now + SHARED_S
        tells = size >= LEAST_FRAME_BYTES or took_s > FRAME_SECONDS
        if tells:
            fits = int(size * FRAME_SECONDS / took_s) if took_s > 0 else self._most_bytes
            aim = (self.budget_bytes + max(LEAST_FRAME_BYTES, fits)) // 2
            self.budget_bytes = max(LEAST_FRAME_BYTES, min(self._most_bytes, aim))
        return tells

    def acknowledged(self, in_flight: int, now: float) -> None:
        """So many bytes are not acknowledged. A send only proves that our kernel took the bytes; the caller lives if
        its machine acknowledged some."""
        if in_flight == 0 or in_flight < self._in_flight:
            self.moved_at = now
        self._in_flight = in_flight
