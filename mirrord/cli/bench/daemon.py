"""A node as its own process: started, killed, and what it uses of the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from ...errors import PeerError, PeerUnreachable
from .connection import Connection
from .wire import request, topics

WITHIN_S = 60.0
_LOOK_EVERY_S = 0.005
_QUIET_SHARE = 0.03  # of one processor: below it nothing goes on but heartbeats
_BALLAST = "ballast"


class Daemon:
    """One node of a file. The kernel ends it when this process ends, however that ends."""

    def __init__(self, file: Path, name: str, port: int) -> None:
        self.name, self.port = name, port
        self.data_dir = file.parent / "data" / name
        self._log = file.parent / f"{name}.log"
        self._command = [
            sys.executable, "-m", "mirrord", "run", str(file), "--node", name, "--parent", str(os.getpid()),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Returns when ``/v0/ready`` says so; the seconds that took. Raises PeerUnreachable with its last words."""
        began_s = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._is_ready, f"{self.name} to be ready")
        return time.perf_counter() - began_s

    def _is_ready(self) -> bool:
        code = self._process.poll() if self._process else None
        if code is not None:
            lines = self._log.read_text(errors="replace").splitlines()
            raise PeerUnreachable(f"{self.name} ended with {code}: {lines[-1] if lines else 'no word'}")
        with contextlib.suppress(PeerError), self.connection() as connection:
            connection.send(request("GET", "/v0/ready"))
            return connection.receive().status == 200
        return False

    def kill(self) -> None:
        """kill -9; nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WITHIN_S)
            self._process = None

    @property
    def pid(self) -> int:
        """Of the running process. Raises PeerUnreachable when it does not run."""
        if self._process is None:
            raise PeerUnreachable(f"{self.name} does not run")
        return self._process.pid

    def connection(self) -> contextlib.closing[Connection]:
        """A new connection, closed at the end of its block."""
        return contextlib.closing(Connection(self.port))

    def records(self, prefix: str) -> int:
        """How many it holds, in all topics that begin so."""
        return sum(topic["count"] for topic in self.topics(prefix))

    def topics(self, prefix: str) -> list[dict[str, Any]]:
        """The topics that begin so, a thousand at most."""
        with self.connection() as connection:
            found: list[dict[str, Any]] = connection.ask(topics(prefix)).object()["topics"]
            return found

    def cpu_s(self) -> float:
        """Processor seconds that its process has used, all threads, exact to the scheduler's nanoseconds."""
        return time.clock_gettime((~self.pid << 3) | 2)  # linux: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)

    def rss_bytes(self) -> int:
        """Memory that it occupies."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stored_bytes(self) -> int:
        """What its data directory occupies, without the ballast that is kept for a full disk."""
        files = [path for path in self.data_dir.iterdir() if path.is_file() and _BALLAST not in path.name]
        return sum(path.stat().st_size for path in files)


class Spent(Struct, frozen=True):
    """What a stretch of time has cost."""

    wall_s: float
    cpu_s: float  # of all daemons looked at, together


class Stretch:
    """Measures from its making on."""

    def __init__(self, *daemons: Daemon) -> None:
        self._daemons = daemons
        self._cpu_s = self._used_s()
        self._began_s = time.perf_counter()

    def spent(self) -> Spent:
        """Since it was made."""
        return Spent(time.perf_counter() - self._began_s, self._used_s() - self._cpu_s)

    def _used_s(self) -> float:
        return sum(daemon.cpu_s() for daemon in self._daemons)


def until(holds: Callable[[], bool], what: str, within_s: float = WITHIN_S, every_s: float = _LOOK_EVERY_S) -> None:
    """Wait. Raises PeerUnreachable when it does not come about in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise PeerUnreachable(f"waited {within_s:.0f} s for {what}")
        time.sleep(every_s)


def rest(seconds: float) -> None:
    """Let time pass: the thing measured is what happens meanwhile."""
    time.sleep(seconds)


def settle(*daemons: Daemon, within_s: float = 600.0) -> None:
    """Until the daemons do nothing any more: background packing is done, links are caught up."""

    def quiet() -> bool:
        stretch = Stretch(*daemons)
        rest(1.0)
        spent = stretch.spent()
        return spent.cpu_s < _QUIET_SHARE * spent.wall_s * len(daemons)

    until(quiet, f"{', '.join(d.name for d in daemons)} to come to rest", within_s)
