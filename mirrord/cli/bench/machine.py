"""The machine: what it is, and how fast it happens to be now, since its processors are shared with others."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import apsw
from xxhash import xxh3_128_digest

from ... import __version__
from .figure import Conditions, percentile
from .report import Machine

_ROUNDS, _PIECES, _ECHOES = 25, 4000, 1000


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
    """How it is now: takes about a tenth of a second."""
    loop_us = median(_loop_us() for _ in range(_ROUNDS))
    return Conditions(os.getloadavg()[0], loop_us, percentile(_echoes_ms(), 0.99))


def _loop_us() -> float:
    """A fixed piece of what nodes do: a little Python and a hash."""
    began_s = time.perf_counter()
    digest = b""
    for number in range(_PIECES):
        digest = xxh3_128_digest(digest + b'{"n":%d}' % number)
    return (time.perf_counter() - began_s) * 1e6


def _echoes_ms() -> list[float]:
    """A byte to another process and back, each time: what others cost whoever has to be woken up."""
    took_ms = []
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None
        for _ in range(_ECHOES):
            began_s = time.perf_counter()
            echo.stdin.write(b"x")
            echo.stdout.read(1)
            took_ms.append((time.perf_counter() - began_s) * 1e3)
    return took_ms
