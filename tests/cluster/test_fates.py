"""What becomes of a node: it came late, lost everything, was put back, was copied. Nothing is lost or doubled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from mirrord.client import call
from mirrord.testing.cluster.graph import graph
from mirrord.testing.cluster.ledger import Ledger
from mirrord.testing.cluster.local import LocalCluster, local_cluster
from mirrord.testing.cluster.writers import verdicts, write, write_everywhere

pytestmark = pytest.mark.slow

TOPICS = {"orders": "fsync", "events": "disk"}


async def _life(cluster: LocalCluster, node: str) -> int:
    life: int = (await cluster.api(node).ask(call.topology())).object()["life"]
    return life


async def _equal_and_right(cluster: LocalCluster, ledger: Ledger) -> None:
    await cluster.converged()
    assert await verdicts(cluster, ledger) == {}


async def test_a_late_joiner_gets_everything(tmp_path: Path) -> None:
    """A node that starts after the others have written holds all of it, and loses nothing that is written meanwhile."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS) as cluster:
        await cluster.start("ada", "bob")
        await write_everywhere(cluster, ledger, 300, ("ada", "bob"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_everywhere, cluster, ledger, 200, ("ada", "bob"))
            await cluster.start("cyd")
            await write_everywhere(cluster, ledger, 50, ("cyd",))
        await _equal_and_right(cluster, ledger)


async def test_a_late_joiner_at_the_end_of_a_chain(tmp_path: Path) -> None:
    """Records of a node that is away by now still come, through a relay, in their order."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("chain", 3), TOPICS) as cluster:
        await cluster.start("ada", "bob")
        await write_everywhere(cluster, ledger, 100, ("ada", "bob"))
        await cluster.converged(nodes=("ada", "bob"))
        cluster.kill("ada")
        await cluster.start("cyd")
        await cluster.converged(nodes=("bob", "cyd"))
        assert await verdicts(cluster, ledger, ("bob", "cyd")) == {}


async def test_a_wiped_node_gets_its_own_old_records_back(tmp_path: Path) -> None:
    """A new disk: the node comes back as another origin under its old name, with everything, each record once."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 100)
        await cluster.converged()
        cluster.kill("cyd")
        cluster.wipe("cyd")
        await write_everywhere(cluster, ledger, 50, ("ada", "bob"))
        await cluster.start("cyd")
        await write_everywhere(cluster, ledger, 50)
        await _equal_and_right(cluster, ledger)
        dump = await cluster.dump("cyd", "orders")
        assert len({record.origin.strand for record in dump.records if record.origin.node == "cyd"}) == 2


@pytest.mark.parametrize("in_place", [False, True], ids=["copied over", "overwritten in place"])
async def test_a_restored_backup_begins_a_new_life(tmp_path: Path, in_place: bool) -> None:
    """An old copy is noticed, even in the same file: a new strand is written, the lost tail comes back from peers."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 50)
        assert await cluster.daemons["cyd"].stop() == 0
        backup = cluster.copy("cyd")
        await cluster.start("cyd")
        await write_everywhere(cluster, ledger, 50)
        await cluster.converged()
        life = await _life(cluster, "cyd")
        cluster.kill("cyd")
        if in_place:
            for old in backup.iterdir():
                shutil.copyfile(old, cluster.data_dir("cyd") / old.name)
            (cluster.data_dir("cyd") / "mirrord.db-wal").unlink(missing_ok=True)
        else:
            cluster.restore("cyd", backup)
        await cluster.start("cyd")
        await write_everywhere(cluster, ledger, 50)
        await _equal_and_right(cluster, ledger)
        assert await _life(cluster, "cyd") == life + 1
        dump = await cluster.dump("ada", "orders")
        assert len({record.origin.strand for record in dump.records if record.origin.node == "cyd"}) == 2


async def test_a_backup_restored_while_all_peers_are_away(tmp_path: Path) -> None:
    """What was written before peers are heard is a life of its own: no number is used twice."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 30)
        assert await cluster.daemons["cyd"].stop() == 0
        backup = cluster.copy("cyd")
        await cluster.start("cyd")
        await write_everywhere(cluster, ledger, 30)
        await cluster.converged()
        for node in cluster.nodes:
            cluster.kill(node)
        cluster.restore("cyd", backup)
        await cluster.start("cyd")
        await write(cluster, ledger, "cyd", "orders", 30)
        await cluster.start("ada", "bob")
        await _equal_and_right(cluster, ledger)


async def test_a_reboot_of_a_node_loses_nothing(tmp_path: Path) -> None:
    """Without the boot's start mark a new life begins, whose records follow those of the old one."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("pair", 2), TOPICS) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 50)
        for node in cluster.nodes:
            cluster.kill(node)
        shutil.rmtree(tmp_path / "run")
        await cluster.start()
        assert [await _life(cluster, node) for node in cluster.nodes] == [2, 2]
        await write_everywhere(cluster, ledger, 50)
        await _equal_and_right(cluster, ledger)


async def test_a_copied_data_directory_is_refused_by_name(tmp_path: Path) -> None:
    """Two nodes with one origin id: each link between them and to them says duplicate-node; others go on."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 4), TOPICS) as cluster:
        await cluster.start("ada", "bob", "dan")
        await write_everywhere(cluster, ledger, 20, ("ada", "bob", "dan"))
        assert await cluster.daemons["bob"].stop() == 0
        shutil.copytree(cluster.data_dir("bob"), cluster.data_dir("cyd"))
        await cluster.start("bob")
        await cluster.converged(nodes=("ada", "bob", "dan"))
        await cluster.link_state("ada", "bob", "caught-up")
        await cluster.start("cyd")
        for puller, source in (("bob", "cyd"), ("cyd", "bob"), ("ada", "cyd")):
            told = await cluster.link_state(puller, source, "refused")
            assert "duplicate-node" in told["reason"]
        await write_everywhere(cluster, ledger, 20, ("ada", "bob", "dan"))
        await cluster.converged(nodes=("ada", "bob", "dan"))
        assert await verdicts(cluster, ledger, ("ada", "bob", "dan")) == {}

        cluster.kill("cyd")
        cluster.wipe("cyd")
        await cluster.start("cyd")
        await write_everywhere(cluster, ledger, 20)
        await _equal_and_right(cluster, ledger)


async def test_a_frozen_node_catches_up(tmp_path: Path) -> None:
    """SIGSTOP for longer than the watchdog waits: others name the link, and nobody loses a record."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 20)
        cluster.daemons["cyd"].freeze()
        await write_everywhere(cluster, ledger, 50, ("ada", "bob"))
        await cluster.converged(nodes=("ada", "bob"))
        await cluster.link_state("ada", "cyd", "unreachable")
        cluster.daemons["cyd"].thaw()
        await write_everywhere(cluster, ledger, 20)
        await _equal_and_right(cluster, ledger)
        await cluster.link_state("ada", "cyd", "caught-up")
