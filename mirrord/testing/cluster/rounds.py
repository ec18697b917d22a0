"""Rounds of chaos: a random cluster of real nodes, writers everywhere, and everything that can go wrong with both.

A seed draws the same cluster and the same faults at the same times; what falls together is up to the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import trio
from msgspec import Struct

from ...errors import MirrordError
from ..faults import FAIR, Conditions
from .graph import Graph, bridged_meshes, graph
from .ledger import Ledger, Verdict
from .local import LocalCluster, NotSoInTime, local_cluster
from .proxy import Proxy
from .writers import verdicts, write

TOPICS = {"orders": "fsync", "events": "disk"}
SHAPES = ("pair", "chain", "one-way ring", "star", "two-way ring", "mesh", "mesh")
AT_ONCE = 25
CONVERGED_WITHIN_S = 90.0
LINES = ("cut", "one-way", "half-open", "slow", "delay", "torn", "noise")
UNEXPECTED = ("actor_died", "connection_fault", "Traceback")
NODES = ("kill -9", "kill -9", "SIGSTOP")


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
    if rng.random() < 0.15:
        return "two meshes of 3 and a bridge", bridged_meshes(3)
    shape = rng.choice(SHAPES)
    count = 2 if shape == "pair" else rng.randint(3, 5)
    return f"{shape} of {count}", graph(shape, count)


async def play(seed: int, folder: Path, seconds: float) -> Round:
    """One round: faults for so long, then none, and then every node must hold every acknowledged record once."""
    rng, ledger, began = Random(seed), Ledger(), trio.current_time()
    name, shape = drawn(rng)
    faults: Counter[str] = Counter()
    found, failure = Verdict(), ""
    async with local_cluster(folder, shape, TOPICS, faulty=True) as cluster:
        try:
            await cluster.start()
            await _storm(cluster, ledger, rng, seconds, faults)
            await cluster.start()
            await cluster.converged(CONVERGED_WITHIN_S)
            for wrong in (await verdicts(cluster, ledger)).values():
                found += wrong
            failure = _unexpected(cluster)
        except* (MirrordError, NotSoInTime) as several:
            failure = "; ".join(str(error)[:1000] for error in several.exceptions)
            failure += await _links_that_lag(cluster)
    return Round(seed, name, ledger.count(), dict(faults), found, failure, trio.current_time() - began)


async def _storm(cluster: LocalCluster, ledger: Ledger, rng: Random, seconds: float, faults: Counter[str]) -> None:
    """Writers on every node for so long, each node and each line with troubles of its own; at the end all is well."""
    until = trio.current_time() + seconds
    nodes = {node: Random(rng.random()) for node in cluster.nodes}
    lines = {link: Random(rng.random()) for link in cluster.lines}
    async with trio.open_nursery() as nursery:
        for node, chance in nodes.items():
            nursery.start_soon(_trouble, lambda n=node, c=chance: _on_node(cluster, n, c, faults), chance, until)
            for topic in cluster.topics:
                nursery.start_soon(_write, cluster, ledger, node, topic, until)
        for link, chance in lines.items():
            line = cluster.lines[link]
            nursery.start_soon(_trouble, lambda w=line, c=chance: _on_line(w, c, faults), chance, until)


async def _write(cluster: LocalCluster, ledger: Ledger, node: str, topic: str, until: float) -> None:
    while trio.current_time() < until:
        await write(cluster, ledger, node, topic, AT_ONCE)
        await trio.sleep(0.02)


async def _trouble(happen: Callable[[], Awaitable[None]], rng: Random, until: float) -> None:
    """Something happens now and then, and is over before the next one."""
    while True:
        calm_s = rng.expovariate(1 / 4.0)
        if trio.current_time() + calm_s > until:
            return
        await trio.sleep(calm_s)
        await happen()


async def _on_node(cluster: LocalCluster, node: str, rng: Random, faults: Counter[str]) -> None:
    kind, pause_s = rng.choice(NODES), rng.choice((0.0, rng.uniform(0.1, 7.0)))
    faults[kind] += 1
    daemon = cluster.daemons[node]
    if not daemon.running:
        raise NotSoInTime(f"{node} ended by itself ({daemon.exit_code}): {daemon.last_words}")
    if kind == "SIGSTOP":
        daemon.freeze()
        await trio.sleep(pause_s)
        daemon.thaw()
    else:
        cluster.kill(node)
        await trio.sleep(pause_s / 3)
        await cluster.start(node)


async def _links_that_lag(cluster: LocalCluster) -> str:
    """What every link that is not caught up tells of itself."""
    told = []
    for node in cluster.nodes:
        try:
            links = await cluster.links(node)
        except MirrordError as error:
            told.append(f"\n  {node}: {error}")
        else:
            lagging = [(peer, link) for peer, link in links.items() if link["state"] != "caught-up"]
            told += [f"\n  {node} from {peer}: {link}" for peer, link in lagging]
    return "".join(told)


def _unexpected(cluster: LocalCluster) -> str:
    """The first fault that no node should ever log, whatever the world does to it."""
    for daemon in cluster.daemons.values():
        for line in daemon.log.read_text(errors="replace").splitlines():
            if any(word in line for word in UNEXPECTED):
                return f"{daemon.node}: {line}"
    return ""


async def _on_line(line: Proxy, rng: Random, faults: Counter[str]) -> None:
    kind, lasts_s = rng.choice(LINES), rng.uniform(0.2, 4.0)
    faults[kind] += 1
    match kind:
        case "torn":
            line.break_in(rng.randrange(1, 20_000))
        case "noise":
            line.babble(rng.randbytes(rng.randrange(1, 200)))
        case "one-way":
            silent = Conditions(silent=True)
            line.set(*((silent, FAIR) if rng.random() < 0.5 else (FAIR, silent)))
        case _:
            line.set_both(
                {
                    "cut": Conditions(cut=True),
                    "half-open": Conditions(silent=True),
                    "slow": Conditions(rate_bytes_s=rng.choice((6_250.0, 50_000.0))),
                    "delay": Conditions(delay_s=rng.uniform(0.02, 0.5)),
                }[kind]
            )
    await trio.sleep(lasts_s)
    line.heal()
