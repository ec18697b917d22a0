"""A data directory that is not as it should be: taken, newer, torn, flipped. Named, and never wrong data."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from mirrord.errors import StoreCorrupt
from mirrord.testing.cluster.daemon import ROOT
from mirrord.testing.cluster.graph import graph
from mirrord.testing.cluster.ledger import Ledger, payload
from mirrord.testing.cluster.local import LocalCluster, local_cluster
from mirrord.testing.cluster.writers import verdicts, write

ORDERS = {"orders": "fsync"}
WITHIN_S = 30.0


def _run(file: Path, node: str) -> tuple[int, str]:
    """Run a node that is to fail: its exit code, and the last line that it says."""
    command = [sys.executable, "-m", "mirrord", "run", str(file), "--node", node]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=ROOT)
    return done.returncode, done.stderr.strip().splitlines()[-1]


async def test_a_second_daemon_on_one_directory(tmp_path: Path) -> None:
    """It ends with exit code 1 and names the first one's process; the first one does not notice."""
    async with local_cluster(tmp_path, graph("pair", 1), ORDERS) as cluster:
        await cluster.start()
        other = tmp_path / "other.toml"
        other.write_text(cluster.file.read_text().replace(f":{cluster.ports['ada']}", ":0"))
        code, words = _run(other, "ada")
        assert code == 1
        assert f"is used by another daemon (process {cluster.daemons['ada'].pid})" in words
        await cluster.append("ada", "orders", "1")


async def test_a_port_in_use(tmp_path: Path) -> None:
    """Exit code 1, and the address by name."""
    async with local_cluster(tmp_path, graph("pair", 1), ORDERS) as cluster:
        await cluster.start()
        other = tmp_path / "other.toml"
        other.write_text(cluster.file.read_text().replace("data/ada", "data/elsewhere"))
        code, words = _run(other, "ada")
        assert code == 1
        assert f"127.0.0.1:{cluster.ports['ada']}" in words


async def _stopped_store(cluster: LocalCluster, node: str) -> sqlite3.Connection:
    """The database of a node that was stopped, all of it in one file."""
    assert await cluster.daemons[node].stop() == 0
    database = sqlite3.connect(cluster.data_dir(node) / "mirrord.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return database


async def test_a_newer_store(tmp_path: Path) -> None:
    """A store that a newer mirrord wrote is refused, and left as it is."""
    async with local_cluster(tmp_path, graph("pair", 1), ORDERS) as cluster:
        await cluster.start()
        database = await _stopped_store(cluster, "ada")
        database.execute("UPDATE meta SET value = CAST('99' AS BLOB) WHERE key = 'format'")
        database.commit()
        database.close()
        code, words = _run(cluster.file, "ada")
        assert code == 1
        assert "the store has format 99" in words


@pytest.mark.parametrize("damage", ["truncated", "no database"])
async def test_a_torn_store(tmp_path: Path, damage: str) -> None:
    """What is no whole database is refused by name with exit code 1; nothing is made anew over it."""
    async with local_cluster(tmp_path, graph("pair", 1), ORDERS) as cluster:
        await cluster.start()
        await write(cluster, Ledger(), "ada", "orders", 100)
        (await _stopped_store(cluster, "ada")).close()
        path = cluster.data_dir("ada") / "mirrord.db"
        whole = path.read_bytes()
        torn = whole[: len(whole) // 2] if damage == "truncated" else b"\xff" * len(whole)
        path.write_bytes(torn)
        code, words = _run(cluster.file, "ada")
        assert code == 1
        assert "mirrord.db" in words
        assert path.read_bytes()[:4096] == torn[:4096]


async def _with_flipped_record(cluster: LocalCluster, ledger: Ledger) -> None:
    """Three packs in ada's store, one bit of a record in the middle one flipped in the file."""
    for _ in range(3):
        await write(cluster, ledger, "ada", "orders", 100)
        await write(cluster, ledger, "ada", "events", 5)
    (await _stopped_store(cluster, "ada")).close()
    path = cluster.data_dir("ada") / "mirrord.db"
    content = bytearray(path.read_bytes())
    marks = [mark for mark in ledger.acknowledged("orders") if mark.number == 50]
    wanted = bytes(payload(sorted(marks, key=lambda mark: int(mark.writer.partition("-")[2]))[1]))
    at = content.index(wanted)
    content[at + len(wanted) // 2] ^= 1
    path.write_bytes(content)


async def test_a_flipped_bit_is_never_served(tmp_path: Path) -> None:
    """A read answers a named error; other topics go on, here and at a peer, which never gets the damaged record."""
    ledger = Ledger()
    topics = {"orders": "fsync", "events": "disk"}
    async with local_cluster(tmp_path, graph("pair", 2), topics) as cluster:
        await cluster.start("ada")
        await _with_flipped_record(cluster, ledger)
        await cluster.start()
        with pytest.raises(StoreCorrupt):
            await cluster.dump("ada", "orders")
        assert ledger.judge("events", await cluster.dump("ada", "events")).right
        await write(cluster, ledger, "ada", "events", 20)
        await write(cluster, ledger, "bob", "events", 20)
        await write(cluster, ledger, "bob", "orders", 20)
        for node in cluster.nodes:
            await cluster.link_state(
                node, "bob" if node == "ada" else "ada", "caught-up", "catching-up", "halted", "stalled"
            )
        got = await cluster.dump("bob", "orders")
        judged = ledger.judge("orders", got)
        assert (judged.foreign, judged.doubled, judged.disordered) == (0, 0, 0)
        assert await _until_right(cluster, ledger, "events")


async def _until_right(cluster: LocalCluster, ledger: Ledger, topic: str) -> bool:
    with trio.fail_after(20):
        while True:
            found = {node: ledger.judge(topic, await cluster.dump(node, topic)) for node in cluster.nodes}
            if all(verdict.right for verdict in found.values()):
                return True
            await trio.sleep(0.05)


async def test_a_flipped_bit_does_not_reach_a_holder(tmp_path: Path) -> None:
    """The peer that already has the records keeps serving them: damage here takes nothing from there."""
    ledger = Ledger()
    topics = {"orders": "fsync", "events": "disk"}
    async with local_cluster(tmp_path, graph("pair", 2), topics) as cluster:
        await cluster.start()
        await write(cluster, ledger, "bob", "orders", 10)
        await cluster.converged()
        await _with_flipped_record(cluster, ledger)
        await cluster.start()
        assert ledger.judge("orders", await cluster.dump("bob", "orders")).right
        await write(cluster, ledger, "ada", "events", 10)
        assert await _until_right(cluster, ledger, "events")
        assert not (await verdicts(cluster, ledger, ("bob",)))
