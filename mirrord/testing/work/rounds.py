"""Rounds of chaos for what users do with topics: several kinds of work at once on a random cluster of real nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import trio
from msgspec import Struct, structs

from ...errors import MirrordError
from ..cluster.graph import Graph, graph
from ..cluster.local import QUICK, LocalCluster, NotSoInTime, local_cluster
from ..cluster.troubles import links_that_lag, storm, unexpected
from .account import Tables, Work
from .copies import Copies
from .deletions import Deletions
from .jobs import Jobs
from .readers import Readers
from .streams import Streams

KINDS: Mapping[str, type[Work]] = {
    "streams": Streams,
    "readers": Readers,
    "deletions": Deletions,  # a node that is nobody's home loses its disk in the end,
    "jobs": Jobs,  # and then the home,
    "copies": Copies,  # whose routers copy nothing again
}
LINKS = {"gap_patience": "3s"}  # a cover may have to wait so long at each node on its way
SHAPES = {"pair": 2, "chain": 3, "one-way ring": 3, "star": 4, "two-way ring": 4, "mesh": 3, "two meshes": 4}


class Found(Struct, frozen=True):
    """What came of one kind of work in one round."""

    done: dict[str, int]
    wrong: dict[str, int]
    examples: tuple[str, ...] = ()


class WorkRound(Struct, frozen=True):
    """What came of one seed."""

    faults: dict[str, int]
    found: dict[str, Found]
    failure: str = ""
    took_s: float = 0.0
    seed: int = 0
    cluster: str = ""

    @property
    def right(self) -> bool:
        """Whether every promise held."""
        return not self.failure and not any(found.wrong for found in self.found.values())


def drawn(rng: Random) -> tuple[str, Graph]:
    """A cluster, and what to call it. In all of them every node can be reached from every other one."""
    shape = rng.choice(list(SHAPES))
    return f"{shape} of {SHAPES[shape]}", graph(shape, SHAPES[shape])


async def play(seed: int, folder: Path, seconds: float, kinds: Sequence[str] = tuple(KINDS)) -> WorkRound:
    """One round: work under faults for so long, then none, and then everything must be as it was answered."""
    rng = Random(seed)
    name, shape = drawn(rng)
    played = await play_on(shape, folder, seconds, kinds, rng)
    return structs.replace(played, seed=seed, cluster=name)


async def play_on(shape: Graph, folder: Path, seconds: float, kinds: Sequence[str], rng: Random) -> WorkRound:
    """The same on a graph that is given."""
    faults: Counter[str] = Counter()
    failure, began = "", trio.current_time()
    classes = [KINDS[kind] for kind in kinds]
    topics: dict[str, str] = {topic: "disk" for one in classes for topic in one.topics}
    async with local_cluster(folder, shape, topics, faulty=True, tables=_tables(classes)) as cluster:
        work = {kind: KINDS[kind](cluster) for kind in kinds}
        try:
            await _through(cluster, list(work.values()), rng, seconds, faults)
            failure = unexpected(cluster)
        except* (MirrordError, NotSoInTime) as several:
            failure = "; ".join(str(error)[:1000] for error in several.exceptions)
            failure += await links_that_lag(cluster)
    found = {
        kind: Found(dict(one.account.done), dict(one.account.wrong), tuple(one.account.examples))
        for kind, one in work.items()
    }
    return WorkRound(dict(faults), found, failure, trio.current_time() - began)


async def _through(
    cluster: LocalCluster, work: Sequence[Work], rng: Random, seconds: float, faults: Counter[str]
) -> None:
    await cluster.start()
    await storm(cluster, rng, seconds, faults, [task for one in work for task in one.tasks()])
    await cluster.start()
    for one in work:
        await one.judge()


def _tables(classes: Sequence[type[Work]]) -> Tables:
    """The file's tables of all of them, beside those that make nodes quick."""
    tables = {name: dict(table) for name, table in QUICK.items()} | {"links": dict(LINKS)}
    for one in classes:
        tables.setdefault("topics", {}).update(one.topics)
        for name, table in one.tables.items():
            tables.setdefault(name, {}).update(table)
    return tables
