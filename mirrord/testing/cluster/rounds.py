"""Rounds of chaos: a random cluster of real nodes, writers everywhere, and everything that can go wrong with both.

A seed draws the same cluster and the same faults at the same times; what falls together is up to the machine.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import trio
from msgspec import Struct

from ...errors import MirrordError
from .fates import befall
from .graph import Graph, graph
from .ledger import Ledger, Verdict
from .local import LocalCluster, NotSoInTime, local_cluster
from .troubles import links_that_lag, storm, unexpected
from .writers import verdicts, write, write_everywhere

TOPICS = {"orders": "fsync", "events": "disk"}
SHAPES = ("pair", "chain", "one-way ring", "star", "two-way ring", "mesh", "mesh", "two meshes")
COUNTS = {"pair": 2, "two meshes": 6}  # nodes; of the others 3 to 5
AT_ONCE = 25
CONVERGED_WITHIN_S = 90.0


class Round(Struct, frozen=True):
    """What came of one seed."""

    seed: int
    cluster: str
    acknowledged: int
    faults: dict[str, int]
    verdict: Verdict
    failure: str = ""  # it did not converge, or worse
    took_s: float = 0.0

    @property
    def right(self) -> bool:
        """Whether every promise held."""
        return self.verdict.right and not self.failure


def drawn(rng: Random) -> tuple[str, Graph]:
    """A cluster, and what to call it."""
    shape = rng.choice(SHAPES)
    count = COUNTS.get(shape) or rng.randint(3, 5)
    return f"{shape} of {count}", graph(shape, count)


async def play(seed: int, folder: Path, seconds: float) -> Round:
    """One round: faults for so long, in the middle of it a fate of whole nodes, then none, and then every node must
    hold every acknowledged record once."""
    rng, ledger, began = Random(seed), Ledger(), trio.current_time()
    name, shape = drawn(rng)
    faults: Counter[str] = Counter()
    found, failure = Verdict(), ""
    async with local_cluster(folder, shape, TOPICS, faulty=True) as cluster:
        try:
            await cluster.start()
            work = [partial(_write, cluster, ledger, node, topic) for node in cluster.nodes for topic in cluster.topics]
            await storm(cluster, rng, seconds / 2, faults, work)
            more = partial(write_everywhere, cluster, ledger, AT_ONCE)
            await befall(cluster, rng, faults, more, CONVERGED_WITHIN_S)
            await storm(cluster, rng, seconds / 2, faults, work)
            await cluster.start()
            await cluster.converged(CONVERGED_WITHIN_S)
            for wrong in (await verdicts(cluster, ledger)).values():
                found += wrong
            failure = unexpected(cluster)
        except* (MirrordError, NotSoInTime) as several:
            failure = "; ".join(str(error)[:1000] for error in several.exceptions)
            failure += await links_that_lag(cluster)
    return Round(seed, name, ledger.count(), dict(faults), found, failure, trio.current_time() - began)


async def _write(cluster: LocalCluster, ledger: Ledger, node: str, topic: str, until: float) -> None:
    while trio.current_time() < until:
        await write(cluster, ledger, node, topic, AT_ONCE)
        await trio.sleep(0.02)
