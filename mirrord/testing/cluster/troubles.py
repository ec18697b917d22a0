"""Everything that can go wrong with nodes and lines while others work: kill -9, SIGSTOP, lines of all bad kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import trio

from ...errors import MirrordError
from ..faults import FAIR, Conditions
from .local import LocalCluster, NotSoInTime
from .proxy import Proxy

LINES = ("cut", "one-way", "half-open", "slow", "delay", "torn", "noise")
NODES = ("kill -9", "kill -9", "SIGSTOP")
UNEXPECTED = ("actor_died", "connection_fault", "Traceback")
Work = Callable[[float], Awaitable[None]]  # goes on until that time


async def storm(cluster: LocalCluster, rng: Random, seconds: float, faults: Counter[str], work: Sequence[Work]) -> None:
    """Work for so long, each node and each line with troubles of its own; at the end all lines are well."""
    until = trio.current_time() + seconds
    nodes = {node: Random(rng.random()) for node in cluster.nodes}
    lines = {link: Random(rng.random()) for link in cluster.lines}
    async with trio.open_nursery() as nursery:
        for one in work:
            nursery.start_soon(one, until)
        for node, chance in nodes.items():
            nursery.start_soon(_trouble, lambda n=node, c=chance: _on_node(cluster, n, c, faults), chance, until)
        for link, chance in lines.items():
            line = cluster.lines[link]
            nursery.start_soon(_trouble, lambda w=line, c=chance: _on_line(w, c, faults), chance, until)


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


async def links_that_lag(cluster: LocalCluster) -> str:
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


def unexpected(cluster: LocalCluster) -> str:
    """The first fault that no node should ever log, whatever the world does to it."""
    for daemon in cluster.daemons.values():
        for line in daemon.log.read_text(errors="replace").splitlines():
            if any(word in line for word in UNEXPECTED):
                return f"{daemon.node}: {line}"
    return ""
