"""The disk fails a real daemon: killed at the n-th write or sync, EIO, ENOSPC. What was acknowledged stays, what was
refused never shows, not even after kill -9."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from mirrord.client import call
from mirrord.errors import DiskFull, MirrordError, StorageFailed
from mirrord.testing.cluster.graph import graph
from mirrord.testing.cluster.ledger import Ledger
from mirrord.testing.cluster.local import LocalCluster, local_cluster
from mirrord.testing.cluster.writers import verdicts, write, write_everywhere, write_once

from .trap import needs_strace, trap, under_trap

pytestmark = [needs_strace, pytest.mark.slow]

ORDERS = {"orders": "fsync"}
BOTH = {"orders": "fsync", "events": "disk"}
TABLES = {
    "mirroring": {"backoff_max_ms": 500, "settle_ms": 100},
    "store": {"ballast_bytes": 0, "wal_restart_bytes": 1 << 20, "disk_sync_ms": 50},
}
SWEEP = (*range(1, 7), 9, 13, 34, 89, 144)


async def _write_until_it_dies(cluster: LocalCluster, ledger: Ledger, node: str) -> None:
    """Four writers at once, each record on its own."""

    async def write_on(topic: str) -> None:
        while cluster.daemons[node].running:
            await write_once(cluster, ledger, node, topic)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for topic in cluster.topics:
                for _ in range(2):
                    nursery.start_soon(write_on, topic)


async def _right(cluster: LocalCluster, ledger: Ledger) -> None:
    await cluster.converged()
    assert await verdicts(cluster, ledger, unsure=True) == {}


@pytest.mark.parametrize("system_call", ["fdatasync", "pwrite64"])
async def test_killed_at_the_nth_call(tmp_path: Path, system_call: str) -> None:
    """Wherever the kill falls, in a commit, between commits or in a checkpoint: after the restart every acknowledged
    record is on both nodes, once and in order."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("pair", 2), BOTH, tables=TABLES) as cluster:
        await cluster.start()
        for number in SWEEP:
            daemon = cluster.daemons["ada"]
            async with trap(daemon.pid, system_call, f"signal=SIGKILL:when={number}"):
                await _write_until_it_dies(cluster, ledger, "ada")
            assert daemon.exit_code == -9
            await cluster.start("ada")
            await write(cluster, ledger, "ada", "orders", 1)
            await _right(cluster, ledger)
        assert len({record.origin.strand for record in (await cluster.dump("ada", "orders")).records}) == 1


@pytest.mark.parametrize("system_call", ["fdatasync", "pwrite64", "openat"])
async def test_killed_while_it_starts(tmp_path: Path, system_call: str) -> None:
    """A node that dies while it makes its store, or while it opens one, starts the next time as if nothing had been."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("pair", 1), ORDERS, tables=TABLES) as cluster:
        for number in (1, 2, 3, 5, 8, 13):
            daemon = cluster.daemons["ada"]
            files = 0 if system_call != "openat" else 800  # the interpreter's own come first
            daemon.start(under_trap(system_call, f"signal=SIGKILL:when={files + number}"))
            with trio.move_on_after(3):
                await daemon.ended()
            cluster.kill("ada")
            await cluster.start("ada")
            await write(cluster, ledger, "ada", "orders", 5)
            assert await verdicts(cluster, ledger) == {}
            cluster.kill("ada")
            if number % 2:
                cluster.wipe("ada")
                ledger = Ledger()


async def _refused(cluster: LocalCluster, ledger: Ledger) -> set[str]:
    """The codes with which several appends at once are refused; none is let in."""
    told: list[MirrordError | None] = []

    async def one() -> None:
        told.append(await write_once(cluster, ledger, "ada", "orders"))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(one)
    assert all(isinstance(refusal, StorageFailed) for refusal in told), told
    return {refusal.code for refusal in told if refusal is not None}


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed meanwhile"])
@pytest.mark.parametrize("fault", ["fdatasync EIO", "pwrite64 EIO", "pwrite64 ENOSPC", "fdatasync,ftruncate EIO"])
async def test_a_disk_that_refuses(tmp_path: Path, fault: str, killed: bool) -> None:
    """Waiters get the error, reads go on, nothing refused shows here or at the peer; when the disk works, writes do."""
    ledger = Ledger()
    calls, error = fault.split()
    async with local_cluster(tmp_path, graph("pair", 2), BOTH, tables=TABLES) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 20)
        await _right(cluster, ledger)
        async with trap(cluster.daemons["ada"].pid, calls, f"error={error}"):
            codes = await _refused(cluster, ledger)
            codes |= await _refused(cluster, ledger)
            assert codes <= {"storage_failed", "disk_full"}
            assert ("disk_full" in codes) == (error == "ENOSPC")
            assert await verdicts(cluster, ledger) == {}
            if killed:
                cluster.kill("ada")
        if killed:
            await cluster.start("ada")
        await cluster.ready("ada", within_s=20)
        await write_everywhere(cluster, ledger, 20)
        await cluster.converged()
        assert await verdicts(cluster, ledger) == {}


@pytest.mark.parametrize("number", [1, 2, 3, 5])
async def test_a_disk_that_refuses_once(tmp_path: Path, number: int) -> None:
    """One EIO costs no more than the records that it met; the next append works without anybody's help."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("pair", 2), ORDERS, tables=TABLES) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 10)
        async with trap(cluster.daemons["ada"].pid, "fdatasync", f"error=EIO:when={number}") as met:
            for _ in range(10):  # refused or not: one that comes alone is tried once more
                await write_once(cluster, ledger, "ada", "orders")
            assert met()
            with trio.fail_after(10):
                while await write_once(cluster, ledger, "ada", "orders"):
                    pass
        await cluster.converged()
        assert await verdicts(cluster, ledger) == {}
        cluster.kill("ada")
        await cluster.start("ada")
        await cluster.converged()
        assert await verdicts(cluster, ledger) == {}


@contextlib.contextmanager
def _small_disk(path: Path, size_mib: int) -> Iterator[None]:
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "mirrord-test", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system of our own cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


async def _fill(cluster: LocalCluster) -> None:
    """Append junk until the node says that the disk is full; at first it may say that it tries to recover."""
    with trio.fail_after(30):
        while True:
            try:
                await cluster.append("ada", "junk", '"' + "x" * 500_000 + '"')
            except DiskFull:
                return
            except StorageFailed:
                await trio.sleep(0.02)


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """503 disk_full, reads go on, also after kill -9; a delete still works, and makes room for writes again."""
    ledger = Ledger()
    tables: dict[str, Any] = {**TABLES, "store": {"ballast_bytes": "4MiB", "wal_restart_bytes": 1 << 20}}
    with _small_disk(tmp_path / "data" / "ada", 24):
        async with local_cluster(
            tmp_path, graph("pair", 1), {"orders": "fsync", "junk": "disk"}, tables=tables
        ) as cluster:
            await cluster.start()
            await write(cluster, ledger, "ada", "orders", 50)
            await _fill(cluster)
            while (refusal := await write_once(cluster, ledger, "ada", "orders")) is None:
                pass
            assert isinstance(refusal, DiskFull)
            judged = ledger.judge("orders", await cluster.dump("ada", "orders"))
            assert judged.right, judged
            cluster.kill("ada")
            cluster.daemons["ada"].start()
            await cluster.alive("ada")
            assert ledger.judge("orders", await cluster.dump("ada", "orders")).right
            await cluster.api("ada").ask(call.delete_topic("junk"))
            await write(cluster, ledger, "ada", "orders", 50, 30.0)
            assert ledger.judge("orders", await cluster.dump("ada", "orders")).right
