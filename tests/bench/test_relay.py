"""What the machine adds to a delay is measured with real processes that end with the measurement."""

from __future__ import annotations

import multiprocessing
import os

from mirrord.cli.bench.machine import awake
from mirrord.cli.bench.rows.relay import bare_delays_ms


def test_a_byte_comes_back_as_often_as_it_was_sent() -> None:
    """Each has a delay of its own, and the processes on its way are gone afterwards."""
    delays = bare_delays_ms(20, per_s=2000)
    assert len(delays) == 20
    assert all(delay > 0 for delay in delays)
    assert multiprocessing.active_children() == []


def test_loops_that_keep_processors_awake_give_way_and_end() -> None:
    """One for each processor, of the class that gives way to everything else, none after the block."""
    with awake():
        loops = multiprocessing.active_children()
        assert len(loops) == (os.cpu_count() or 1)
    assert multiprocessing.active_children() == []
