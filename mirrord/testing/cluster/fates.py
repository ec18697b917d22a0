"""What becomes of whole nodes between two storms, on any graph: nothing that was everywhere before is lost by it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from .local import LocalCluster

Write = Callable[[], Awaitable[None]]  # some more records, everywhere; returns when all is acknowledged


async def befall(cluster: LocalCluster, rng: Random, faults: Counter[str], write: Write, within_s: float) -> None:
    """One of ``FATES``. All nodes run and hold the same before, which must come within so long; all run afterwards."""
    kind = rng.choice(list(FATES))
    faults[kind] += 1
    await cluster.start()
    await cluster.converged(within_s)
    await FATES[kind](cluster, rng.choice(cluster.nodes), write)
    await cluster.start()


async def _wiped(cluster: LocalCluster, node: str, _: Write) -> None:
    cluster.kill(node)
    cluster.wipe(node)


async def _put_back(cluster: LocalCluster, node: str, write: Write) -> None:
    """To what it had before others pulled more from it."""
    cluster.kill(node)
    copy = cluster.copy(node)
    await cluster.start(node)
    await write()
    await cluster.converged()
    cluster.kill(node)
    cluster.restore(node, copy)


async def _all_killed(cluster: LocalCluster, _: str, __: Write) -> None:
    for node in cluster.nodes:
        cluster.kill(node)


async def _all_rebooted(cluster: LocalCluster, node: str, write: Write) -> None:
    """What is boot-scoped is gone: each begins a new life."""
    await _all_killed(cluster, node, write)
    shutil.rmtree(cluster.run_dir)


FATES: Mapping[str, Callable[[LocalCluster, str, Write], Awaitable[None]]] = {
    "wiped": _wiped,
    "put back": _put_back,
    "all killed": _all_killed,
    "all rebooted": _all_rebooted,
}
