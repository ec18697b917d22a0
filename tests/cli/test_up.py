"""Real daemons under ``mirrord up``: they mirror, and however it ends nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirrord.cli.target import places_of
from mirrord.testing.cluster.local import free_ports

pytestmark = pytest.mark.slow

WITHIN_S = 30.0
NAMES = ("fra", "iad", "sin")
VIEWS = (
    ("links", "--topics"), ("lag",), ("lag", "--topic", "events"), ("actors",), ("topics",),
    ("topics", "events"),    ("diff", "events", "--tags", "--origin"), ("status",),
)  # fmt: skip


def _mirrord(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mirrord", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * WITHIN_S, check=False)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def _pids_of(file: Path) -> set[int]:
    """Processes that run with this file on their command line."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(str(file)) in words and b"run" in words.split(b"\0"):
                found.add(int(folder.name))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The first file of a first-time user, on free ports."""
    _mirrord("init", str(tmp_path))
    path = tmp_path / "mirrord.toml"
    text = path.read_text()
    for port, free in zip(("4001", "4002", "4003"), free_ports(3), strict=True):
        text = re.sub(rf":{port}\b", f":{free}", text)
    path.write_text(text)
    return path


@pytest.fixture
def up(file: Path) -> Iterator[subprocess.Popen[str]]:
    """`mirrord up` with all three nodes ready."""
    command = [sys.executable, "-m", "mirrord", "up", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            _until(lambda: _mirrord("status", "--file", str(file)).returncode == 0)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(file: Path, up: subprocess.Popen[str], number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM: exit code 0, no process left, all ports free."""
    assert len(_pids_of(file)) == 3
    up.send_signal(number)
    assert up.wait(WITHIN_S) == 0
    assert _pids_of(file) == set()


def test_kill_9_of_up_leaves_nothing_behind(file: Path, up: subprocess.Popen[str]) -> None:
    """The kernel ends the nodes with their parent."""
    up.kill()
    up.wait(WITHIN_S)
    _until(lambda: _pids_of(file) == set())


@pytest.mark.usefixtures("up")
def test_a_first_time_user_gets_a_cluster_that_mirrors(file: Path) -> None:
    """init, up, append here, tail there, verify: also across a kill -9 of one node, which comes back."""
    text = str(file)
    assert _mirrord("append", "events", '{"n": 1.10}', "--file", text, "--node", "fra").returncode == 0
    for other in NAMES[1:]:
        assert _mirrord("verify", "fra", other, "--file", text, "--wait", "20").returncode == 0
    shown = _mirrord("tail", "events", "--no-follow", "--json", "--file", text, "--node", "sin").stdout
    assert '{"n": 1.10}' in shown
    assert json.loads(shown)["$node"] == "fra"

    before = _pids_of(file)
    os.kill(min(before), signal.SIGKILL)
    _until(lambda: len(_pids_of(file) - before) == 1)
    _until(lambda: _mirrord("status", "--file", text).returncode == 0)
    for name in NAMES:
        assert _mirrord("append", "events", '"again"', "--file", text, "--node", name).returncode == 0
    for other in NAMES[1:]:
        done = _mirrord("verify", "fra", other, "--file", text, "--wait", "20")
        assert (done.returncode, "4 records" in done.stdout) == (0, True), done.stderr


@pytest.mark.usefixtures("up")
def test_every_view_speaks_the_nodes_language(file: Path) -> None:
    """links, lag, actors, topics, diff against real nodes: as tables, and as JSON unchanged."""
    text = str(file)
    _mirrord("append", "events", "1", "--file", text, "--node", "fra")
    one = ("--file", text, "--node", "iad")
    assert _mirrord("verify", "fra", "iad", "--file", text, "--wait", "20").returncode == 0
    for words in VIEWS:
        shown = _mirrord(*words, *one)
        assert (shown.returncode, shown.stderr.replace("next: --from 1 (caught up)\n", "")) == (0, ""), words
        assert json.loads(_mirrord(*words, *one, "--json").stdout), words


@pytest.mark.usefixtures("up")
def test_two_daemons_on_one_directory_are_told_apart(file: Path) -> None:
    """The second one names what is wrong, with exit code 1, and the first one goes on."""
    second = _mirrord("run", str(file), "--node", "fra")
    assert second.returncode == 1
    assert second.stderr.startswith("mirrord: ")
    assert _mirrord("status", "--file", str(file)).returncode == 0


def test_places_of_a_file(file: Path) -> None:
    """Names and URLs as the other tests use them."""
    assert [place.name for place in places_of(str(file))] == list(NAMES)
