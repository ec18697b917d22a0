"""One node of a file as its own process: started, killed, frozen. It never outlives its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

ROOT = Path(__file__).parents[3]  # nodes run the mirrord that this module is of
LAST_WORDS_BYTES = 2000


class Daemon:
    """At most one process at a time. What it says goes to ``log``, all its lives one after the other."""

    def __init__(self, file: Path, node: str, log: Path, environment: Mapping[str, str]) -> None:
        self.node, self.log = node, log
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._file, self._environment = file, {**os.environ, "PYTHONPATH": path, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, under: Sequence[str] = ()) -> None:
        """Start it, if need be ``under`` another command that leaves it our child, such as ``strace -D``.

        Call this in the main thread: the kernel ends the node when the *thread* that started it ends.
        """
        if self.running:
            raise RuntimeError(f"{self.node} runs already")
        command = [*under, sys.executable, "-m", "mirrord", "run", str(self._file), "--node", self.node]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended; a stopped one counts."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the present process, or of the last one. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError(f"{self.node} was never started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Of the last process, negative for a signal; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def kill(self) -> None:
        """kill -9, and wait until it is gone: a few milliseconds."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to the node and to whatever it started; one that is gone is fine."""
        if self.running:  # the number of a process that is gone may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, grace_s: float = 15.0) -> int:
        """SIGTERM, after ``grace_s`` SIGKILL; its exit code."""
        self.signal(signal.SIGTERM)
        with trio.move_on_after(grace_s):
            await self.ended()
        self.kill()
        return self.exit_code or 0

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        if self.running:
            handle = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(handle)
            finally:
                os.close(handle)
            if self._process is not None:
                self._process.wait()
        return self.exit_code or 0

    @property
    def last_words(self) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LAST_WORDS_BYTES))
            return log.read().decode(errors="replace").strip()

    def rss_bytes(self) -> int:
        """Memory that it takes now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0
