"""The README's commands, as a first-time user types them, against real daemons on free ports."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
READY_WITHIN_S = 30.0
BLOCK_WITHIN_S = 60.0
_BLOCK = re.compile(r"<!-- (runs|runs until the end) -->\n```sh\n(.*?)```", re.DOTALL)


class Block(Struct, frozen=True):
    """Commands of the README, and words that their output must have (``# →``)."""

    script: str
    stays: bool
    shows: tuple[str, ...]


def blocks(base_port: int) -> list[Block]:
    """The README's blocks that say that they run, on other ports."""
    found = []
    for kind, script in _BLOCK.findall(README):
        for i in range(3):
            script = script.replace(f"400{i + 1}", str(base_port + i))
        shows = tuple(line[4:].strip() for line in script.splitlines() if line.startswith("# → "))
        found.append(Block(script, kind != "runs", shows))
    return found


def three_free_ports() -> int:
    """The first of three ports in a row on which nobody listens."""
    for base in range(21_000 + os.getpid() % 5000 * 3, 60_000, 3):
        if all(_is_free(base + i) for i in range(3)):
            return base
    raise AssertionError("no three free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Shell:
    """A folder, a ``mirrord`` on the path, and what was left running in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        bin_dir = folder / "bin"
        bin_dir.mkdir()
        command = bin_dir / "mirrord"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mirrord "$@"\n')
        command.chmod(0o755)
        self._env = os.environ | {
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MIRRORD_URL": f"http://127.0.0.1:{port}",
            "COLUMNS": "100",
        }
        self._left: list[subprocess.Popen[str]] = []

    def run(self, block: Block) -> str:
        """Run to the end; what it said. Fails when a command does."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.script], cwd=self.folder, env=self._env, text=True,
            capture_output=True, timeout=BLOCK_WITHIN_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def leave_running(self, block: Block) -> None:
        """Start, and come back when all three nodes say that they are ready."""
        command = "exec " + next(line for line in block.script.splitlines() if not line.startswith("#"))
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.folder, env=self._env, text=True, stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._left.append(process)
        _await_lines(process, "ready at", 3)

    def end(self) -> None:
        """Ctrl-C; harder if that does not help."""
        for process in self._left:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _await_lines(process: subprocess.Popen[str], words: str, times: int) -> None:
    assert process.stdout is not None
    deadline, seen = time.monotonic() + READY_WITHIN_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while seen.count(words.encode()) < times:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"the nodes were not ready in time: {seen.decode()}"
            if selector.select(left_s):
                data = os.read(process.stdout.fileno(), 65536)
                assert data, f"it ended: {seen.decode()}"
                seen += data


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[tuple[Shell, list[Block]]]:
    port = three_free_ports()
    made = Shell(tmp_path, port)
    yield made, blocks(port)
    made.end()


def test_the_first_two_minutes(shell: tuple[Shell, list[Block]]) -> None:
    """From nothing to three mirrored nodes, a kill -9 and the proof, word for word as the README tells it."""
    here, found = shell
    assert len(found) >= 5
    for block in found:
        if block.stays:
            here.leave_running(block)
            continue
        said = here.run(block)
        for words in block.shows:
            assert words in said, f"{block.script}\nshould show {words!r}, showed:\n{said}"


def test_every_other_block_is_a_script_of_ours() -> None:
    """What is shown and not run is one of the scripts, which have tests of their own."""
    ran = {script for _, script in _BLOCK.findall(README)}
    for script in re.findall(r"```sh\n(.*?)```", README, re.DOTALL):
        if script not in ran:
            for line in script.splitlines():
                assert (ROOT / line.split()[0]).is_file(), line
