"""The machine: what it is, and how fast it happens to be now, since its processors are shared with others."""

from __future__ import annotations

import os
import platform
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import apsw
from xxhash import xxh3_128_digest

from ... import __version__
from .figure import Conditions
from .report import Machine

_ROUNDS, _PIECES = 25, 4000


def machine() -> Machine:
    """What a run takes place on."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return Machine(
        started=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        processor=found[1] if found else platform.machine(),
        processors=os.cpu_count() or 0,
        kernel=platform.release(),
        python=platform.python_version(),
        sqlite=apsw.sqlitelibversion(),
        version=__version__,
    )


def conditions() -> Conditions:
    """How it is now: takes about a tenth of a second of one processor."""
    return Conditions(load=os.getloadavg()[0], loop_us=median(_loop_us() for _ in range(_ROUNDS)))


def _loop_us() -> float:
    """A fixed piece of what nodes do: a little Python and a hash."""
    began_s = time.perf_counter()
    digest = b""
    for number in range(_PIECES):
        digest = xxh3_128_digest(digest + b'{"n":%d}' % number)
    return (time.perf_counter() - began_s) * 1e6
