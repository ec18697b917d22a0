"""Lives: what a start finds, and what it makes of it."""

from __future__ import annotations

from random import Random

import pytest

from mirrord.storage.life import LifeRecord, Surroundings, next_record, why_new

RECORD = LifeRecord(b"l" * 16, 3, 2, "boot a", 1, 7, b"s" * 16, 5_000, 4)
SAME = Surroundings("boot a", 1, 7, b"s" * 16)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (SAME, None),
        (Surroundings("boot b", 1, 7, None), "reboot"),
        (Surroundings("boot a", 1, 8, b"s" * 16), "the database is another file"),
        (Surroundings("boot b", 2, 7, None), "the database is another file"),
        (Surroundings("boot a", 1, 7, None), "the start mark is gone"),
        (Surroundings("boot a", 1, 7, b"t" * 16), "the database was put back"),
    ],
)
def test_a_life_goes_on_only_when_everything_is_as_recorded(found: Surroundings, why: str | None) -> None:
    """kill -9 keeps it; a reboot, a copy or a restore begins a new one."""
    assert why_new(RECORD, found) == why


def test_a_reboot_keeps_log_ids_and_birth() -> None:
    """Readers of a node that was only rebooted go on reading."""
    fresh = next_record(RECORD, "reboot", SAME, Random(1), 9_000)
    assert (fresh.number, fresh.log_ids_since, fresh.born_ms, fresh.starts) == (4, 2, 5_000, 5)


@pytest.mark.parametrize("now_ms", [9_000, 5_000, 10])
def test_who_was_put_back_was_born_later_whatever_the_clock_says(now_ms: int) -> None:
    """Else peers would believe what it said before it was restored more than what it says now."""
    fresh = next_record(RECORD, "the database was put back", SAME, Random(1), now_ms)
    assert fresh.born_ms > RECORD.born_ms
    assert (fresh.number, fresh.log_ids_since, fresh.starts) == (4, 4, 1)
