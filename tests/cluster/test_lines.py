"""Faulty lines between real daemons: cut, slow, silent one way or both, broken inside a frame, with noise."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio

from mirrord.testing.cluster.graph import graph
from mirrord.testing.cluster.ledger import Ledger
from mirrord.testing.cluster.local import LocalCluster, local_cluster
from mirrord.testing.cluster.proxy import Proxy
from mirrord.testing.cluster.writers import verdicts, write, write_everywhere
from mirrord.testing.faults import FAIR, Conditions

pytestmark = pytest.mark.slow

TOPICS = {"orders": "fsync", "events": "disk"}
CUT, SILENT = Conditions(cut=True), Conditions(silent=True)


async def _equal_and_right(cluster: LocalCluster, ledger: Ledger) -> None:
    await cluster.converged()
    assert await verdicts(cluster, ledger) == {}


@pytest.mark.parametrize(
    ("there", "back"),
    [(CUT, CUT), (FAIR, SILENT), (SILENT, SILENT)],
    ids=["cut", "one-way partition", "half-open"],
)
async def test_another_path_takes_over(tmp_path: Path, there: Conditions, back: Conditions) -> None:
    """A line that no longer brings anything is named `unreachable`; its records come over the third node."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS, faulty=True) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 20)
        await _equal_and_right(cluster, ledger)
        line = cluster.lines["ada", "bob"]
        line.set(there, back)
        await write(cluster, ledger, "bob", "orders", 100)
        await cluster.converged(within_s=20)
        told = await cluster.link_state("ada", "bob", "unreachable", within_s=20)
        assert told["reason"]
        assert (await cluster.links("ada"))["cyd"]["state"] == "caught-up"
        line.heal()
        await cluster.link_state("ada", "bob", "caught-up")
        await write_everywhere(cluster, ledger, 20)
        await _equal_and_right(cluster, ledger)


async def test_requests_that_do_not_arrive_cost_nothing(tmp_path: Path) -> None:
    """The other one-way partition: the feed still comes, what the caller says does not."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS, faulty=True) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 20)
        cluster.lines["ada", "bob"].set(there=SILENT)
        await write_everywhere(cluster, ledger, 50)
        await cluster.converged(within_s=40)
        cluster.lines["ada", "bob"].heal()
        await write_everywhere(cluster, ledger, 20)
        await _equal_and_right(cluster, ledger)


async def test_a_node_cut_off_from_all_comes_back(tmp_path: Path) -> None:
    """Both sides go on writing; when the line is back each gets what the other has, and says so."""
    ledger = Ledger()
    async with local_cluster(tmp_path, graph("mesh", 3), TOPICS, faulty=True) as cluster:
        await cluster.start()
        await write_everywhere(cluster, ledger, 20)
        cut = [line for link, line in cluster.lines.items() if "cyd" in link]
        for line in cut:
            line.set_both(CUT)
        await cluster.link_state("cyd", "ada", "unreachable")
        await cluster.link_state("ada", "cyd", "unreachable")
        await write_everywhere(cluster, ledger, 100)
        await cluster.converged(nodes=("ada", "bob"))
        for line in cut:
            line.heal()
        await _equal_and_right(cluster, ledger)
        for puller, source in cluster.graph.pulls:
            await cluster.link_state(puller, source, "caught-up")


async def test_fifty_kbit_a_second(tmp_path: Path) -> None:
    """Many topics over a slow line with a long way: all comes, on one connection, since heartbeats pass."""
    ledger = Ledger()
    topics = {f"topic-{number:02}": "disk" for number in range(40)}
    async with local_cluster(tmp_path, graph("pair", 2), topics, faulty=True) as cluster:
        for line in cluster.lines.values():
            line.set_both(Conditions(rate_bytes_s=50_000 / 8, delay_s=0.3))
        await cluster.start()
        await cluster.link_state("ada", "bob", "caught-up")
        await cluster.link_state("bob", "ada", "caught-up")
        connects = [(await cluster.links(a))[b]["connects"] for a, b in cluster.graph.pulls]
        await write_everywhere(cluster, ledger, 20)
        await cluster.converged(within_s=180)
        assert await verdicts(cluster, ledger) == {}
        assert [(await cluster.links(a))[b]["connects"] for a, b in cluster.graph.pulls] == connects


async def _break_again_and_again(lines: list[Proxy], rng: Random) -> None:
    while True:
        for line in lines:
            if line.back.breaks_in is None:
                line.break_in(rng.randrange(1, 20_000))
        await trio.sleep(0.05)


async def test_lines_that_break_inside_frames(tmp_path: Path) -> None:
    """A torn frame is no record: what was cut off comes again, whole, once."""
    ledger, rng = Ledger(), Random(1)
    async with local_cluster(tmp_path, graph("two-way ring", 4), TOPICS, faulty=True) as cluster:
        await cluster.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_break_again_and_again, list(cluster.lines.values()), rng)
            await write_everywhere(cluster, ledger, 200)
            nursery.cancel_scope.cancel()
        for line in cluster.lines.values():
            line.heal()
        await _equal_and_right(cluster, ledger)
        assert sum(line.connections for line in cluster.lines.values()) > 2 * len(cluster.lines)


async def test_noise_on_the_line_is_no_record(tmp_path: Path) -> None:
    """Bytes that nobody sent end that connection by name, and change nothing of what is held."""
    ledger, rng = Ledger(), Random(2)
    async with local_cluster(tmp_path, graph("pair", 2), TOPICS, faulty=True) as cluster:
        await cluster.start()
        for size in (1, 8, 100, 5000):
            await cluster.link_state("ada", "bob", "caught-up")
            connects = (await cluster.links("ada"))["bob"]["connects"]
            cluster.lines["ada", "bob"].babble(rng.randbytes(size))
            await write_everywhere(cluster, ledger, 20)
            await cluster.converged()
            assert (await cluster.links("ada"))["bob"]["connects"] > connects
        assert await verdicts(cluster, ledger) == {}
