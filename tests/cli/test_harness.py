"""``mirrord up`` as a keeper of processes: here with stand-ins for nodes, in test_up.py with real ones."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from mirrord.cli.cluster import harness as module
from mirrord.cli.cluster.harness import Harness, Settings, make_room
from mirrord.clock import SystemClock
from mirrord.config.load import parse
from mirrord.errors import AddressInUse

STAND_IN = """
import os, pathlib, signal, subprocess, sys, time
words = sys.argv[1:]
folder = pathlib.Path(words[0]).parent
name = words[words.index("--node") + 1]
{life}
(folder / f"{name}.pid").write_text(str(os.getpid()))
print("standing in for", name, flush=True)
time.sleep(60)
"""


def _harness(folder: Path, life: str, nodes: str = "ab", **settings: object) -> Harness:
    stand_in = folder / "stand_in.py"
    stand_in.write_text(STAND_IN.replace("{life}", life))
    tables = (f'[nodes.{n}]\nlisten = "127.0.0.1:0"\ndata_dir = "{folder}/{n}"' for n in nodes)
    config = parse("\n".join(tables))
    make_room(config)
    chosen = Settings(command=(sys.executable, str(stand_in)), **settings)  # type: ignore[arg-type]
    return Harness(config, str(folder / "f.toml"), chosen, SystemClock(), random.Random(1))


async def _until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110 -- what other processes do rings no bell here
            await trio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def _pids(folder: Path) -> list[int]:
    return [int(file.read_text() or "0") for file in sorted(folder.glob("*.pid"))]


async def test_stop_ends_all_and_keeps_their_output(tmp_path: Path) -> None:
    """Each node is its own process, its output goes to mirrord.log in its data_dir, none is left."""
    kept = _harness(tmp_path, "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await _until(lambda: len([pid for pid in _pids(tmp_path) if pid]) == 2)
        await _until(lambda: all("standing" in run.last_words or run.pid for run in kept.runs.values()))
        logs = [tmp_path / name / "mirrord.log" for name in "ab"]
        await _until(lambda: all(log.exists() and b"standing in" in log.read_bytes() for log in logs))
        kept.stop()
    assert [run.state for run in kept.runs.values()] == ["stopped", "stopped"]
    assert not any(map(_alive, _pids(tmp_path)))


async def test_a_node_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    """Also its children, which are in its process group."""
    life = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "stubborn = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)'\n"
        "child = subprocess.Popen([sys.executable, '-c', stubborn])\n"
        "(folder / 'child.pid').write_text(str(child.pid))\n"
    )
    kept = _harness(tmp_path, life, "a", grace_s=0.05)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await _until(lambda: len([pid for pid in _pids(tmp_path) if pid]) == 2)
        kept.stop()
    await _until(lambda: not any(map(_alive, _pids(tmp_path))))


async def test_a_second_stop_does_not_wait(tmp_path: Path) -> None:
    """Ctrl-C twice: the grace is an hour, and is not waited for."""
    kept = _harness(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "a", grace_s=3600.0)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.run)
            await _until(lambda: len([pid for pid in _pids(tmp_path) if pid]) == 1)
            kept.stop()
            kept.stop()
    assert not any(map(_alive, _pids(tmp_path)))


async def test_a_node_that_dies_is_started_again(tmp_path: Path) -> None:
    """Its death is counted, its last words are kept, and it lives again under a new pid."""
    kept = _harness(tmp_path, "", "a", first_wait_s=0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await _until(lambda: any(_pids(tmp_path)))
        first = kept.runs["a"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await _until(lambda: kept.runs["a"].deaths == 1 and kept.runs["a"].pid not in (None, first))
        kept.stop()


async def test_nodes_are_started_by_the_main_thread(tmp_path: Path) -> None:
    """The kernel ends a node with the *thread* that started it: a worker thread would take its node along."""
    starters: list[threading.Thread] = []
    sys.addaudithook(
        lambda event, _: starters.append(threading.current_thread()) if event == "subprocess.Popen" else None
    )
    await _harness(tmp_path, "sys.exit()", restart=False).run()
    assert starters == [threading.main_thread()] * 2


async def test_a_death_by_signal_is_named(tmp_path: Path) -> None:
    """Whatever the node said last is not why it died."""
    kept = _harness(tmp_path, "print('fine', flush=True); os.kill(os.getpid(), signal.SIGKILL)", "a", restart=False)
    await kept.run()
    assert kept.runs["a"].last_words == "killed by SIGKILL"


def test_an_address_that_is_taken_is_found_before_anything_starts(tmp_path: Path) -> None:
    """Somebody else's nodes are not taken for ours; the node and the address are named."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        text = f'[nodes.fra]\nlisten = "127.0.0.1:{port}"\ndata_dir = "{tmp_path}/fra"'
        with pytest.raises(AddressInUse, match=f"fra cannot listen at 127.0.0.1:{port}"):
            make_room(parse(text))


async def test_without_restart_a_dead_node_stays_dead(tmp_path: Path) -> None:
    """The harness ends when all are dead, says how many, and why."""
    kept = _harness(tmp_path, "sys.exit('the port is taken')", restart=False)
    assert await kept.run() == 2
    assert {(run.state, run.last_words) for run in kept.runs.values()} == {("died", "the port is taken")}


async def test_a_log_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A talkative node fills two files at most."""
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 10_000)
    kept = _harness(
        tmp_path, "for i in range(300): print('x' * 1000, flush=True)\nsys.exit('done')", "a", restart=False
    )
    await kept.run()
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["mirrord.log", "mirrord.log.1"]
    assert all(file.stat().st_size < 200_000 for file in files)
    assert kept.runs["a"].last_words == "done"
