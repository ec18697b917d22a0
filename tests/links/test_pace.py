"""How large a frame may be: by the speed of the line, so that a heartbeat never waits long behind one."""

from __future__ import annotations

import pytest

from mirrord.links.feeds.pace import (
    FIRST_FRAME_BYTES,
    FRAME_SECONDS,
    LEAST_FRAME_BYTES,
    LEAST_UNSENT_BYTES,
    LITTLE_BYTES,
    MOST_FRAME_BYTES,
    MOST_UNSENT_BYTES,
    SHARED_FRAME_BYTES,
    SHARED_S,
    Pace,
)


class Buffered:
    """A line behind a buffer that takes bytes at once, and acknowledges so many at a time when they leave it for the
    line; with 0, all that it takes."""

    def __init__(
        self, bytes_a_second: float, buffer_bytes: int, round_trip_s: float = 0.0, *, acknowledges: int = 1
    ) -> None:
        self._rate, self._buffer_bytes, self._round_trip_s = bytes_a_second, buffer_bytes, round_trip_s
        self._acknowledges, self._sent, self._acknowledged = acknowledges, 0, 0
        self.now = self._free_at = 0.0
        self.pace = Pace(1 << 30, 0.0)

    def send(self, size: int) -> None:
        """One frame."""
        began = self.now
        self._free_at = max(self._free_at, began) + size / self._rate
        self.now = max(began, self._free_at + self._round_trip_s - self._buffer_bytes / self._rate)
        left_s = max(0.0, self._free_at + self._round_trip_s - self.now)
        self._sent += size
        carried = self._sent - int(left_s * self._rate) if self._acknowledges else self._sent
        self._acknowledged = max(self._acknowledged, carried - carried % max(1, self._acknowledges))
        if self.pace.sent(size, self.now - began, self.now):
            self.pace.measure(size, self.now - began, self._sent - self._acknowledged, self.now)


SPEEDS = [3_000, 50_000, 1_000_000, 100_000_000]


@pytest.mark.parametrize("bytes_a_second", SPEEDS)
@pytest.mark.parametrize("buffer_bytes", [0, 8_000, 100_000])
def test_a_frame_comes_to_take_a_quarter_of_a_second(bytes_a_second: int, buffer_bytes: int) -> None:
    """Whatever the line carries, within the bounds of what a frame may have, and whatever lies between it and us takes
    at once."""
    line = Buffered(bytes_a_second, buffer_bytes)
    for _ in range(1000):
        line.send(line.pace.room(line.now))
    fits = max(LEAST_FRAME_BYTES, min(MOST_FRAME_BYTES, int(FRAME_SECONDS * bytes_a_second)))
    assert line.pace.room(line.now) == pytest.approx(fits, rel=0.1)


def test_a_long_way_is_no_slow_line() -> None:
    """Frames are as large as the line carries in a quarter of a second, however late that is acknowledged."""
    line = Buffered(1_000_000, 300_000, round_trip_s=0.2)
    for _ in range(1000):
        line.send(line.pace.room(line.now))
    assert line.pace.room(line.now) == pytest.approx(FRAME_SECONDS * 1_000_000, rel=0.1)


@pytest.mark.parametrize("size", [1_500, 4_000, 16_000])
@pytest.mark.parametrize("acknowledges", [0, 1])
def test_what_a_buffer_takes_now_and_then_proves_little(size: int, acknowledges: int) -> None:
    """A frame of which nothing is to be seen of the line is no reason for one that takes half a minute."""
    line = Buffered(10_000, 20_000, acknowledges=acknowledges)
    for _ in range(100):
        line.send(size)
        line.now += 10.0
    assert line.pace.budget_bytes <= max(2 * size, FIRST_FRAME_BYTES)


def test_acknowledgements_in_bursts_are_no_fast_line() -> None:
    """Some things on the way take much at a time, and then nothing for a while."""
    line, found = Buffered(10_000, 20_000, acknowledges=8_000), []
    for _ in range(300):
        line.send(line.pace.room(line.now))
        found.append(line.pace.room(line.now))
    assert max(found[50:]) < 2 * FRAME_SECONDS * 10_000


def test_a_line_that_becomes_slow_is_known_after_one_frame() -> None:
    """Of half a megabyte, over what carried a hundred a second before: the next takes its quarter of a second."""
    pace, now = Pace(1 << 30, 0.0), 0.0
    for _ in range(30):
        now += 0.0001
        if pace.sent(pace.room(now), 0.0001, now):
            pace.measure(pace.room(now), 0.0001, 0, now)
    assert pace.room(now) == MOST_FRAME_BYTES
    pace.sent(MOST_FRAME_BYTES, 50.0, now + 50.0)
    pace.measure(MOST_FRAME_BYTES, 50.0, 0, now + 50.0)
    assert pace.seconds(pace.room(now + 50.0)) == FRAME_SECONDS
    assert pace.room(now + 50.0) < 6_000


def test_a_line_that_takes_everything_at_once_is_given_all_it_may_have() -> None:
    """No time that can be measured says nothing against larger frames; a catch-up has them with the first megabyte."""
    pace, sent = Pace(300_000, 0.0), 0
    while pace.room(0.0) < 300_000 and sent < 1 << 20:
        sent += (size := pace.room(0.0))
        if pace.sent(size, 0.0, 0.0):
            pace.measure(size, 0.0, 0, 0.0)
    assert sent < 1 << 20


def test_our_kernel_keeps_half_a_frame() -> None:
    """What lies there goes before each heartbeat, as the frame itself does."""
    pace = Pace(1 << 30, 0.0)
    for _ in range(30):
        assert pace.unsent_bytes <= max(LEAST_UNSENT_BYTES, pace.room(0.0) // 2)
        if pace.sent(size := pace.room(0.0), 0.0, 0.0):
            pace.measure(size, 0.0, 0, 0.0)
    assert pace.unsent_bytes == MOST_UNSENT_BYTES


def test_frames_are_shorter_while_others_send_a_little() -> None:
    """They wait for the whole of one that is being sent."""
    pace = Pace(1 << 30, 0.0)
    pace.sent(1 << 20, 0.0, 0.0)
    pace.measure(1 << 20, 0.0, 0, 0.0)
    pace.sent(LITTLE_BYTES - 1, 0.0, 10.0)
    assert pace.room(10.0 + SHARED_S / 2) == SHARED_FRAME_BYTES
    assert pace.room(10.0 + SHARED_S) > SHARED_FRAME_BYTES


def test_a_caller_lives_whose_machine_acknowledges() -> None:
    """Bytes that our own kernel took prove nothing."""
    pace = Pace(1 << 20, 0.0)
    for in_flight, now, moved_at in [(0, 1.0, 1.0), (500, 2.0, 1.0), (900, 3.0, 1.0), (899, 4.0, 4.0), (899, 5.0, 4.0)]:
        pace.acknowledged(in_flight, now)
        assert pace.moved_at == moved_at
