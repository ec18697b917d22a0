"""Routers: two topics into one, and two in a ring. In the end each record is in each destination exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import trio

from ..cluster.ledger import Ledger, Verdict
from ..cluster.local import LocalCluster
from ..cluster.troubles import Work as Task
from ..cluster.writers import write
from .account import Account, Tables

COPIED = {"left": ("both",), "right": ("both",), "north": ("south",), "south": ("north",)}
AT_ONCE = 10
SETTLED_WITHIN_S = 60.0


class Copies:
    """Every node copies what it wrote itself; all topics are mirrored."""

    topics: ClassVar[Tables] = {name: {"durability": "disk"} for name in (*COPIED, "both")}
    tables: ClassVar[Tables] = {
        "routers": {
            "left->both": {"source": "left", "dest": "both"},
            "right->both": {"source": "right", "dest": "both"},
            "north->south": {"source": "north", "dest": "south", "allow_cycle": True},
            "south->north": {"source": "south", "dest": "north", "allow_cycle": True},
        }
    }

    def __init__(self, cluster: LocalCluster) -> None:
        self.account = Account()
        self._cluster, self._ledger = cluster, Ledger()

    def tasks(self) -> Sequence[Task]:
        """A writer for each node and source."""
        return [partial(self._write, node, topic) for node in self._cluster.nodes for topic in COPIED]

    async def _write(self, node: str, topic: str, until: float) -> None:
        while trio.current_time() < until:
            await write(self._cluster, self._ledger, node, topic, AT_ONCE, copied_to=COPIED[topic])
            self.account.done["written"] += AT_ONCE
            await trio.sleep(0.1)

    async def judge(self) -> None:
        """Wait until everything has been copied and mirrored, then count."""
        found: dict[tuple[str, str], Verdict] = {}
        with trio.move_on_after(SETTLED_WITHIN_S):
            while True:
                found = await self._verdicts()
                if all(verdict.right for verdict in found.values()):
                    break
                await trio.sleep(0.5)
        for where, verdict in found.items():
            self.account.judged(verdict, where)
        self.account.done["copied"] += sum(len(self._ledger.acknowledged(name)) for name in ("both", "north", "south"))

    async def _verdicts(self) -> dict[tuple[str, str], Verdict]:
        return {
            (node, topic): self._ledger.judge(topic, await self._cluster.dump(node, topic))
            for node in self._cluster.nodes
            for topic in self.topics
        }
