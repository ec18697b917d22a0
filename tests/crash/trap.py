"""Faults of the disk, put between a running node and its kernel by strace: no line of the node is changed for them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
import trio

from mirrord.testing.cluster.writers import until

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
ATTACH_WITHIN_S = 10.0


def _strace(call: str, fault: str, log: str = "/dev/null") -> list[str]:
    return ["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]


def under_trap(call: str, fault: str) -> list[str]:
    """What to start a node under, so that the fault meets it from its first system call on."""
    return [*_strace(call, fault), "-D"]


@asynccontextmanager
async def trap(pid: int, call: str, fault: str) -> AsyncIterator[Callable[[], bool]]:
    """The fault meets the node while the block runs: ``error=EIO``, ``signal=SIGKILL:when=3`` (a thread's third). What
    it yields tells whether it did."""
    with NamedTemporaryFile() as log:
        process = await trio.lowlevel.open_process([*_strace(call, fault, log.name), "-p", str(pid)])
        try:
            await until(lambda: _is_traced(pid), ATTACH_WITHIN_S)
            yield lambda: "INJECTED" in Path(log.name).read_text()
        finally:
            with trio.CancelScope(shield=True):
                process.send_signal(signal.SIGINT)  # it lets go of the node, which runs on
                await process.wait()


def _is_traced(pid: int) -> bool:
    """All its threads are, or it met its end already."""
    status = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in told or "State:\tZ" in told for told in status)
