"""Reader groups: what was committed is never handed out again, and what was not can be had again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, ClassVar

import msgspec
import trio

from ...client.call import Call
from ...client.groups import call
from ..cluster.ledger import Ledger, Mark
from ..cluster.local import LocalCluster
from ..cluster.troubles import Work as Task
from ..cluster.writers import write
from .account import PASSING, Account, Tables

TOPIC, GROUP = "news", "mail"
AT_ONCE = 20
CONSUMERS = 2
IDLE_MS = 1500
DRAINED_WITHIN_S = 60.0


class Readers:
    """One group of two consumers on every node; each consumer commits two thirds of what it is given."""

    topics: ClassVar[Tables] = {TOPIC: {"durability": "disk"}}
    tables: ClassVar[Tables] = {}

    def __init__(self, cluster: LocalCluster) -> None:
        self.account = Account()
        self._cluster, self._ledger = cluster, Ledger()
        self._committed: dict[str, dict[Mark, float]] = {node: {} for node in cluster.nodes}
        self._handed: dict[str, set[Mark]] = {node: set() for node in cluster.nodes}

    def tasks(self) -> Sequence[Task]:
        """A writer and the consumers of each node."""
        nodes = self._cluster.nodes
        read = [partial(self._consume, node, f"{node}-{one}") for node in nodes for one in range(CONSUMERS)]
        return [partial(self._write, node) for node in nodes] + read

    async def _write(self, node: str, until: float) -> None:
        while trio.current_time() < until:
            await write(self._cluster, self._ledger, node, TOPIC, AT_ONCE)
            self.account.done["written"] += AT_ONCE
            await trio.sleep(0.1)

    async def _consume(self, node: str, consumer: str, until: float) -> None:
        rng = Random(consumer)
        while trio.current_time() < until:
            try:
                found, _ = await self._read(node, consumer, limit=rng.randint(1, 50), wait_ms=500, min_idle_ms=IDLE_MS)
                keep = [(seq, mark) for seq, mark in found if rng.random() < 0.67]
                await trio.sleep(rng.uniform(0.0, 0.1))
                await self._commit(node, consumer, keep)
            except PASSING:
                self.account.done["unsure"] += 1
                await trio.sleep(0.1)

    async def _read(self, node: str, consumer: str, **more: int) -> tuple[list[tuple[int, Mark]], dict[str, Any]]:
        sent_s = trio.current_time()
        told = await self._ask(node, call.read(TOPIC, GROUP, consumer, **more))
        found = [(int(one["$seq"]), msgspec.convert(one["data"], Mark)) for one in told["records"]]
        for _, mark in found:
            if self._committed[node].get(mark, sent_s) < sent_s:
                self.account.broken("committed and handed out again", (node, consumer, mark))
        self._handed[node].update(mark for _, mark in found)
        self.account.done["handed out"] += len(found)
        return found, told

    async def _commit(self, node: str, consumer: str, some: list[tuple[int, Mark]]) -> None:
        if some:
            told = await self._ask(node, call.commit(TOPIC, GROUP, consumer, seqs=[seq for seq, _ in some]))
            counted = [mark for seq, mark in some if seq not in told["skipped"]]
            now_s = trio.current_time()
            for mark in counted:
                self._committed[node].setdefault(mark, now_s)
            self.account.done["committed"] += len(counted)

    async def _ask(self, node: str, question: Call) -> dict[str, Any]:
        return (await self._cluster.api(node).ask(question)).object()

    async def judge(self) -> None:
        """Commit all that is left at every node: together with what was committed before it is everything."""
        await self._cluster.converged(topics=self.topics)
        for node in self._cluster.nodes:
            with trio.move_on_after(DRAINED_WITHIN_S):
                while True:
                    found, told = await self._read(node, "last", limit=500, min_idle_ms=0)
                    await self._commit(node, "last", found)
                    if not found and told["caught_up"] and not told["pending"]:
                        break
            missing = set(self._ledger.acknowledged(TOPIC)) - self._handed[node]
            self.account.broken("never handed out", (node, sorted(missing)[:3]), len(missing))
