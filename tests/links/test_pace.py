"""How large a frame may be: by the speed of the line, so that a heartbeat never waits long behind one."""

from __future__ import annotations

import pytest

from mirrord.links.feeds.pace import (
    FIRST_FRAME_BYTES,
    FRAME_SECONDS,
    LEAST_FRAME_BYTES,
    LITTLE_BYTES,
    MOST_FRAME_BYTES,
    SHARED_FRAME_BYTES,
    SHARED_S,
    Pace,
)


@pytest.mark.parametrize("bytes_a_second", [3_000, 50_000, 1_000_000, 1_000_000_000])
def test_a_frame_comes_to_take_a_quarter_of_a_second(bytes_a_second: int) -> None:
    """Whatever the line carries, within the bounds of what a frame may have."""
    pace, now = Pace(1 << 30, 0.0), 0.0
    assert pace.room(now) == FIRST_FRAME_BYTES
    for _ in range(30):
        size = pace.room(now)
        now += size / bytes_a_second
        pace.sent(size, size / bytes_a_second, now)
    fits = max(LEAST_FRAME_BYTES, min(MOST_FRAME_BYTES, int(FRAME_SECONDS * bytes_a_second)))
    assert pace.room(now) == pytest.approx(fits, rel=0.01)


def test_a_line_that_takes_everything_at_once_is_given_all_it_may_have() -> None:
    """No time that can be measured says nothing against larger frames."""
    pace = Pace(300_000, 0.0)
    for _ in range(30):
        pace.sent(pace.room(0.0), 0.0, 0.0)
    assert pace.room(0.0) in (299_999, 300_000)


def test_frames_are_shorter_while_others_send_a_little() -> None:
    """They wait for the whole of one that is being sent."""
    pace = Pace(1 << 30, 0.0)
    pace.sent(LITTLE_BYTES - 1, 0.0, 10.0)
    assert pace.room(10.0 + SHARED_S / 2) == SHARED_FRAME_BYTES
    assert pace.room(10.0 + SHARED_S) > SHARED_FRAME_BYTES


def test_a_caller_lives_whose_machine_acknowledges() -> None:
    """Bytes that our own kernel took prove nothing."""
    pace = Pace(1 << 20, 0.0)
    for in_flight, now, moved_at in [(0, 1.0, 1.0), (500, 2.0, 1.0), (900, 3.0, 1.0), (899, 4.0, 4.0), (899, 5.0, 4.0)]:
        pace.acknowledged(in_flight, now)
        assert pace.moved_at == moved_at
