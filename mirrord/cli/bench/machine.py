"""The machine: what it is, how fast it happens to be now, since its processors are shared, and whether they sleep."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import apsw
from xxhash import xxh3_128_digest

from ... import __version__
from .figure import Conditions
from .report import Machine

_ROUNDS, _PIECES = 25, 4000
_FORKED = multiprocessing.get_context("fork")


def machine(awake: bool) -> Machine:
    """What a run takes place on, with processors that are kept ``awake`` or not."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return Machine(
        started=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        processor=found[1] if found else platform.machine(),
        processors=os.cpu_count() or 0,
        awake=awake,
        kernel=platform.release(),
        python=platform.python_version(),
        sqlite=apsw.sqlitelibversion(),
        version=__version__,
    )


class Surroundings:
    """How fast the machine is at its making, and what others take of it until ``conditions`` is asked for.

    All daemons and loops must have been waited for by then: what children used is known when they have ended.
    """

    def __init__(self) -> None:
        self._loop_us = median(_loop_us() for _ in range(_ROUNDS))
        self._began_s = time.perf_counter()
        self._others_s = _busy_s() - _own_s()

    def conditions(self) -> Conditions:
        """For a row that was measured meanwhile."""
        others_s = _busy_s() - _own_s() - self._others_s
        return Conditions(self._loop_us, max(0.0, others_s / (time.perf_counter() - self._began_s)))


def _busy_s() -> float:
    """Seconds that all processors together have worked since the machine started (proc(5): /proc/stat)."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """What this process and its ended children have used of that."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _loop_us() -> float:
    """A fixed piece of what nodes do: a little Python and a hash."""
    began_s = time.perf_counter()
    digest = b""
    for number in range(_PIECES):
        digest = xxh3_128_digest(digest + b'{"n":%d}' % number)
    return (time.perf_counter() - began_s) * 1e6


@contextmanager
def aside(work: Callable[[], None]) -> Iterator[None]:
    """In a process of its own, forked so that sockets are inherited, until the block is left."""
    process = _FORKED.Process(target=work, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


@contextmanager
def awake() -> Iterator[None]:
    """Until the block is left no processor sleeps: each has a loop that gives way to everything else.

    A virtual processor that sleeps is woken by its host when that has time; such delays are not the nodes'.
    """
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            stack.enter_context(aside(_turn_for_ever))
        yield


def _turn_for_ever() -> None:
    with contextlib.suppress(OSError):  # a system without that class: then the lowest there is
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.nice(19)
    while True:
        pass
