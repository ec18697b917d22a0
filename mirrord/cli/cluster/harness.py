"""Runs all nodes of a file on this machine, each as its own process and group, and leaves nothing behind.

A node that dies is started again with back-off. However the harness itself ends, its nodes end too: told to
stop they get SIGTERM and after a grace SIGKILL; when the harness is killed, the kernel kills them
(``mirrord run --parent``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import trio
from msgspec import Struct, structs

from ...actors.restart import RestartPolicy
from ...clock import Clock
from ...config.model import Config, NodeConfig
from ...errors import AddressInUse
from .board import Run

GRACE_S = 10.0
LOG_NAME = "mirrord.log"
MAX_LOG_BYTES = 16 << 20  # then it becomes mirrord.log.1


class Settings(Struct, frozen=True):
    """How the harness treats its nodes."""

    restart: bool = True
    grace_s: float = GRACE_S
    first_wait_s: float = 0.2  # until a node that died starts again; longer with each further death
    command: tuple[str, ...] = (sys.executable, "-m", "mirrord", "run")


class Harness:
    """The processes of one configuration file. ``runs`` tells how they are."""

    def __init__(self, config: Config, file: str, settings: Settings, clock: Clock, rng: Random) -> None:
        self._config, self._file, self._settings = config, os.path.abspath(file), settings
        self._clock, self._rng = clock, rng
        self._stopping, self._hurry = trio.Event(), trio.Event()
        self.runs: dict[str, Run] = {name: Run("starting") for name in config.nodes}

    def stop(self) -> None:
        """Have all nodes end; a second call does not wait for them to do so by themselves."""
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def run(self) -> int:
        """Keep the nodes until ``stop``, or until all have died for good. How many of them died for good."""
        async with trio.open_nursery() as nursery:
            for node in self._config.nodes.values():
                nursery.start_soon(self._keep, node)
        return sum(run.state == "died" for run in self.runs.values())

    async def _keep(self, node: NodeConfig) -> None:
        policy = RestartPolicy(first_wait_s=self._settings.first_wait_s)
        while not self._stopping.is_set():
            log = _Log(Path(node.data_dir) / LOG_NAME)
            code = await self._live(node, log)
            if self._stopping.is_set():
                break
            words = f"killed by {signal.Signals(-code).name}" if code < 0 else log.last_line
            deaths = self.runs[node.name].deaths + 1
            self._note(node, state="died", pid=None, deaths=deaths, last_words=words or f"exit code {code}")
            if not self._settings.restart:
                return
            with trio.move_on_after(policy.died(self._clock.monotonic(), self._rng)):
                await self._stopping.wait()
        self._note(node, state="stopped", pid=None)

    async def _live(self, node: NodeConfig, log: _Log) -> int:
        """One life of a node's process; its exit code, negative for a signal."""
        reading, writing = os.pipe()
        async with trio.lowlevel.FdStream(reading) as output:
            process = self._start(node, writing)
            try:
                self._note(node, state="up", pid=process.pid)
                await self._attend(node, process.pid, output, log)
            finally:
                _signal_group(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode

    def _start(self, node: NodeConfig, output_fd: int) -> subprocess.Popen[bytes]:
        """Blocks for some milliseconds, in the main thread, with reason.

        The kernel ends a node (``--parent``) when the *thread* that started it ends, and a worker would soon.
        """
        try:
            return subprocess.Popen(
                self._command(node),
                stdin=subprocess.DEVNULL,
                stdout=output_fd,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(output_fd)

    async def _attend(self, node: NodeConfig, pid: int, output: trio.abc.ReceiveStream, log: _Log) -> None:
        """Until the process has ended: keep its output, and have it end when told to."""
        async with trio.open_nursery() as pumping:
            pumping.start_soon(log.pump, output)
            async with trio.open_nursery() as ending:
                ending.start_soon(self._end_when_told, node, pid)
                await _ended(pid)
                ending.cancel_scope.cancel()
            pumping.cancel_scope.deadline = trio.current_time() + 0.2  # for its last words

    async def _end_when_told(self, node: NodeConfig, pid: int) -> None:
        await self._stopping.wait()
        self._note(node, state="stopping")
        _signal_group(pid, signal.SIGTERM)
        with trio.move_on_after(self._settings.grace_s):
            await self._hurry.wait()
        _signal_group(pid, signal.SIGKILL)

    def _command(self, node: NodeConfig) -> list[str]:
        return [*self._settings.command, self._file, "--node", node.name, "--parent", str(os.getpid())]

    def _note(self, node: NodeConfig, **facts: object) -> None:
        self.runs[node.name] = structs.replace(self.runs[node.name], **facts)


class _Log:
    """Where a node's output goes: appended to a file that stays bounded, its last line remembered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_line = ""

    async def pump(self, output: trio.abc.ReceiveStream) -> None:
        """Copy until the output ends. Raises OSError when the file cannot be written."""
        async for block in output:
            self._write(block)

    def _write(self, block: bytes | bytearray) -> None:
        if self.path.exists() and self.path.stat().st_size > MAX_LOG_BYTES:
            os.replace(self.path, f"{self.path}.1")
        with open(self.path, "ab") as file:
            file.write(block)
        lines = [line for line in block[-2000:].decode(errors="replace").splitlines() if line.strip()]
        self.last_line = lines[-1] if lines else self.last_line


def make_room(config: Config) -> None:
    """Directories for stores and logs, and free addresses. Raises OSError and AddressInUse.

    Without a look at the addresses the nodes of somebody else, who took them first, would be shown as ours.
    """
    for node in config.nodes.values():
        os.makedirs(node.data_dir, exist_ok=True)
        _try_address(node)


def _try_address(node: NodeConfig) -> None:
    host, _, port = node.listen.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    family, kind, number, _, address = found[0]
    with socket.socket(family, kind, number) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise AddressInUse(f"{node.name} cannot listen at {node.listen}: {error.strerror}") from None


async def _ended(pid: int) -> None:
    """Until the process has ended; it is not reaped."""
    handle = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


def _signal_group(pid: int, number: int) -> None:
    """To the node and to whatever it started; a group that is gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


Stopper = Callable[[], None]


async def stop_on_signal(stop: Stopper) -> None:
    """Call ``stop`` at each SIGINT, SIGTERM and SIGHUP; runs until cancelled."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as arriving:
        async for _ in arriving:
            stop()
