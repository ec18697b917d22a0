"""How much one frame of a feed may hold, by the speed of its line and by what else waits for it.

A frame takes about a quarter of a second: a heartbeat waits behind one at most. Whatever a kernel takes at once tells
nothing of the line behind it: speed is what the caller's machine acknowledged while a send had to wait.
"""

from __future__ import annotations

FRAME_SECONDS = 0.25  # what one frame may take at the measured line speed
LEAST_FRAME_BYTES, MOST_FRAME_BYTES = 1 << 10, 512 << 10  # larger ones bring no speed, and others wait behind them
FIRST_FRAME_BYTES = 4 << 10  # before anything is known of the line; a fast one has its largest seven frames later
LEAST_UNSENT_BYTES, MOST_UNSENT_BYTES = 2 << 10, 128 << 10  # that lie in our kernel before a send waits
SHARED_FRAME_BYTES = 128 << 10  # while others send a little now and then: they wait for the whole of a frame
LITTLE_BYTES, SHARED_S = 16 << 10, 1.0  # what a frame has that comes by itself; how long the line stays shared after it
WAITED_S = 0.001  # a send that took longer waited for the line


class Pace:
    """Of one line. Times are monotonic seconds."""

    def __init__(self, most_bytes: int, now: float) -> None:
        self._most_bytes = min(most_bytes, MOST_FRAME_BYTES)
        self.budget_bytes = min(FIRST_FRAME_BYTES, self._most_bytes)
        self._shared_until = now
        self.moved_at = now  # when the caller's machine last acknowledged bytes
        self._looked_at, self._in_flight, self._since_bytes = now, 0, 0  # the last look, and what was sent after it
        self._waited_s, self._carried_bytes = 0.0, 0  # in sends that waited, since the budget last followed them

    def room(self, now: float) -> int:
        """Bytes of the next frame. Large ones cost the caller less, as long as nothing else waits for them to end."""
        shared = self.budget_bytes > SHARED_FRAME_BYTES and now < self._shared_until
        return SHARED_FRAME_BYTES if shared else self.budget_bytes

    @property
    def unsent_bytes(self) -> int:
        """What may lie in our kernel before a send waits: about half a frame, so that the line never lacks work."""
        half = 1 << (self.budget_bytes // 2).bit_length() - 1
        return max(LEAST_UNSENT_BYTES, min(MOST_UNSENT_BYTES, half))

    def seconds(self, size: int) -> float:
        """How long the line will take for so many bytes."""
        return size * FRAME_SECONDS / self.budget_bytes

    def sent(self, size: int, took_s: float, now: float) -> bool:
        """A frame with a body of so many bytes went out; whether that says anything about the line."""
        self._since_bytes += size
        if 0 < size < min(LITTLE_BYTES, self.budget_bytes // 2):
            self._shared_until = now + SHARED_S
        return size >= LEAST_FRAME_BYTES or took_s > FRAME_SECONDS

    def measure(self, size: int, took_s: float, in_flight: int, now: float) -> None:
        """So many bytes are not acknowledged after that frame."""
        elapsed_s, carried = now - self._looked_at, self.acknowledged(in_flight, now)
        if took_s > WAITED_S:
            self._waited_s += took_s
            self._carried_bytes += carried
            if self._waited_s >= FRAME_SECONDS:  # not before: acknowledgements come in bursts
                self._follow()
        elif carried * FRAME_SECONDS > self.budget_bytes * elapsed_s:  # it is at least so fast, unless a buffer is
            self.budget_bytes = max(self.budget_bytes, min(2 * size, self._most_bytes))

    def _follow(self) -> None:
        """The longer the line was waited for, the less counts what was thought before."""
        waited_s, fits = self._waited_s, self._carried_bytes * FRAME_SECONDS / self._waited_s
        aim = self.budget_bytes + (fits - self.budget_bytes) * waited_s / (waited_s + FRAME_SECONDS)
        self.budget_bytes = max(LEAST_FRAME_BYTES, min(self._most_bytes, int(aim)))
        self._waited_s, self._carried_bytes = 0.0, 0

    def acknowledged(self, in_flight: int, now: float) -> int:
        """So many bytes are not acknowledged; how many were since the last look. The caller lives if its machine
        acknowledges some: that our own kernel takes them proves nothing."""
        carried = max(0, self._in_flight + self._since_bytes - in_flight)
        if in_flight == 0 or in_flight < self._in_flight:
            self.moved_at = now
        self._looked_at, self._in_flight, self._since_bytes = now, in_flight, 0
        return carried
