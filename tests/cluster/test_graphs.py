"""Real daemons on any graph: kill -9 in the middle, and in the end every node has every record exactly once."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest
import trio

from mirrord.testing.cluster.graph import Graph, graph
from mirrord.testing.cluster.ledger import Ledger
from mirrord.testing.cluster.local import LocalCluster, local_cluster
from mirrord.testing.cluster.writers import until, verdicts, write_everywhere

TOPICS = {"orders": "fsync", "events": "disk"}
GRAPHS = {
    "mesh of 4": graph("mesh", 4),
    "mesh of 5": graph("mesh", 5),
    "two-way ring of 4": graph("two-way ring", 4),
    "one-way ring of 3": graph("one-way ring", 3),
    "chain of 4": graph("chain", 4),
    "star of 4": graph("star", 4),
    "two meshes of 3 and a bridge": graph("two meshes", 6),
}


async def _verified(cluster: LocalCluster) -> None:
    """As a user proves it: `mirrord verify` of each node against the first."""
    first, *others = cluster.nodes
    async with trio.open_nursery() as nursery:
        for other in others:
            nursery.start_soon(_verify, cluster.file, first, other)


async def _verify(file: Path, one: str, other: str) -> None:
    command = [sys.executable, "-m", "mirrord", "verify", one, other, "--file", str(file)]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(b"equal"), done.stdout


async def _kill_in_the_middle(cluster: LocalCluster, ledger: Ledger, total: int, kills: int, rng: Random) -> None:
    """Each kill at a random moment between the first and the last acknowledged record."""
    for number in sorted(rng.randrange(total // 10, total * 8 // 10) for _ in range(kills)):
        await until(lambda number=number: ledger.count() >= number)  # type: ignore[misc]
        victim = rng.choice(cluster.nodes)
        cluster.kill(victim)
        await cluster.start(victim)


async def _survives_kills(folder: Path, shape: Graph, records: int, kills: int) -> None:
    ledger, rng = Ledger(), Random(len(shape.pulls))
    total = records * 2 * len(TOPICS) * len(shape.nodes)
    async with local_cluster(folder, shape, TOPICS) as cluster:
        await cluster.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_everywhere, cluster, ledger, records)
            nursery.start_soon(_kill_in_the_middle, cluster, ledger, total, kills, rng)
        await cluster.converged()
        assert ledger.count() == total
        assert await verdicts(cluster, ledger) == {}
        await _verified(cluster)
        for puller, source in shape.pulls:
            await cluster.link_state(puller, source, "caught-up")


async def test_a_mesh_of_three_outlives_kill_9(tmp_path: Path) -> None:
    """Every acknowledged record is on every node exactly once, in its origin's order, and nothing else."""
    await _survives_kills(tmp_path, graph("mesh", 3), records=60, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", GRAPHS.values(), ids=GRAPHS)
async def test_any_graph_outlives_kill_9_of_random_nodes(tmp_path: Path, shape: Graph) -> None:
    """The same on every graph, with redundant paths, relays and cycles, and several nodes killed."""
    await _survives_kills(tmp_path, shape, records=200, kills=4)


@pytest.mark.slow
async def test_all_nodes_killed_at_once_come_back_equal(tmp_path: Path) -> None:
    """A power switch that takes all daemons but no disk: nothing acknowledged is lost, no life begins."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS) as cluster:
        await cluster.start()
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_everywhere, cluster, ledger, 100)
                await until(lambda: ledger.count() % 1200 > 300)
                for node in cluster.nodes:
                    cluster.kill(node)
                await cluster.start()
        await cluster.converged()
        assert await verdicts(cluster, ledger) == {}
        for node in cluster.nodes:
            dump = await cluster.dump(node, "orders")
            assert len({record.origin.strand for record in dump.records}) == 3
            assert dump.tombstones == ()
