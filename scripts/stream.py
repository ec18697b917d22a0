"""Real events found on this machine: this repository's git log, lines of the package manager's logs, and, on
a machine that has neither, Python's own files with their times."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

LOGS = (
    "dpkg.log",
    "apt/history.log",
    "alternatives.log",
    "dnf.log",
    "pacman.log",
    "apk.log",
    "bootstrap.log",
)
ENOUGH = 6000  # events; what is found beyond that is left where it is
FEW = 600  # with fewer the story is over before anything can happen in it


class Event(Struct, frozen=True):
    """One line: where it was found, its number there, and what it says."""

    source: str
    line: int
    text: str


def events(repository: Path) -> list[Event]:
    """Up to ENOUGH events, by source in their order."""
    found: list[Event] = []
    for source, lines in _sources(repository):
        found += [Event(source, number, text) for number, text in enumerate(lines, 1) if text.strip()]
        if len(found) >= ENOUGH:
            break
    if len(found) < FEW:
        found += [Event("files", number, text) for number, text in enumerate(_files(), 1)]
    return found[:ENOUGH]


def _sources(repository: Path) -> Iterator[tuple[str, list[str]]]:
    yield "git log", _git_log(repository)
    for name in LOGS:
        try:
            yield name, Path("/var/log", name).read_text(errors="replace").splitlines()
        except OSError:  # not on this machine, or not for us
            continue


def _git_log(repository: Path) -> list[str]:
    command = [
        "git",
        "-C",
        str(repository),
        "log",
        "--reverse",
        "--date=iso",
        "--pretty=%ad %an: %s",
        "--name-status",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []


def _files() -> list[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    return [f"{path.stat().st_mtime_ns} {path.relative_to(library)}" for path in sorted(library.glob("*/*.py"))]
