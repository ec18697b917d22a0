"""Walks a page as a first-time user does: in an empty folder, its files written and its commands run as they stand.

A block of the page that says so in a comment above it:

    <!-- file: NAME -->            is written to NAME
    <!-- runs -->                  is run to its end, and must succeed
    <!-- runs until the end -->    is started, and left running once it has shown what it shows
    # → words                      in a block of commands: its output must have them; "words (3 times)": so often
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 30.0
BLOCK_WITHIN_S = 60.0
PORTS = 3
_MARKED = re.compile(r"<!-- (runs|runs until the end|file: \S+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
_FENCED = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


class Block(Struct, frozen=True):
    """A block of a page that is used: commands, or a file's content."""

    kind: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is."""
        return self.kind.removeprefix("file: ") if self.kind.startswith("file: ") else None

    @property
    def stays(self) -> bool:
        """Whether it is left running."""
        return self.kind == "runs until the end"

    @property
    def shows(self) -> list[str]:
        """What its output must have."""
        found: list[str] = []
        for line in self.text.splitlines():
            if line.startswith("# → "):
                words, _, times = line[4:].strip().partition(" (")
                found += [words] * (int(times.removesuffix(" times)")) if times.endswith(" times)") else 1)
        return found


def blocks(page: str) -> list[Block]:
    """Those of the page that are used, in its order."""
    return [Block(kind, text) for kind, _, text in _MARKED.findall(page)]


def unmarked(page: str) -> list[tuple[str, str]]:
    """(language, text) of every other block."""
    marked = {text for _, _, text in _MARKED.findall(page)}
    return [(language, text) for language, text in _FENCED.findall(page) if text not in marked]


def free_ports() -> int:
    """The first of some ports in a row on which nobody listens."""
    for base in range(21_000 + os.getpid() % 5000 * PORTS, 60_000, PORTS):
        if all(_is_free(base + i) for i in range(PORTS)):
            return base
    raise AssertionError("no free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Walk:
    """A folder, ``mirrord`` and ``python`` on the path, and what was left running. Pages say 4001 to 4003."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder / "shop"
        self.folder.mkdir()
        self._port = port
        commands = folder / "bin"
        commands.mkdir()
        for name, what in (("mirrord", "-m mirrord"), ("python", "")):
            command = commands / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {what} "$@"\n')
            command.chmod(0o755)
        self._env = os.environ | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "MIRRORD_URL": f"http://127.0.0.1:{port}",
            "COLUMNS": "100",
        }
        self._left: list[subprocess.Popen[bytes]] = []

    def take(self, block: Block) -> None:
        """One step of the page. Fails when a command does, or does not show what it should."""
        text = block.text
        for i in range(PORTS):
            text = text.replace(f"400{i + 1}", str(self._port + i))
        if block.file is not None:
            (self.folder / block.file).write_text(text)
        elif block.stays:
            self._leave_running(text, block.shows)
        else:
            said = self._run(text)
            for words in block.shows:
                assert words in said, f"{text}\nshould show {words!r}, showed:\n{said}"

    def end(self) -> None:
        """Ctrl-C to all that still runs; harder if that does not help."""
        for process in reversed(self._left):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for lock in self.folder.rglob("lock"):  # of daemons that a step of the page started by itself
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(lock.read_text()), signal.SIGKILL)

    def _run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=self._env, text=True,
            capture_output=True, timeout=BLOCK_WITHIN_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _leave_running(self, script: str, shows: list[str]) -> None:
        command = "exec " + next(line for line in script.splitlines() if not line.startswith("#"))
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.folder, env=self._env, stdout=subprocess.PIPE, start_new_session=True
        )
        self._left.append(process)
        _await_words(process, shows)


def _await_words(process: subprocess.Popen[bytes], wanted: list[str]) -> None:
    """Until each has been shown, as often as it is wanted."""
    assert process.stdout is not None
    deadline, seen = time.monotonic() + READY_WITHIN_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while any(seen.count(words.encode()) < wanted.count(words) for words in wanted):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"not shown in time: {wanted}, but:\n{seen.decode()}"
            if selector.select(left_s):
                data = os.read(process.stdout.fileno(), 65536)
                assert data, f"it ended: {seen.decode()}"
                seen += data
