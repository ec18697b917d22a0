"""A queue on all nodes: workers everywhere, one home that is killed, frozen and in the end wiped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, ClassVar

import msgspec
import trio

from ...client import call as topics
from ...client.call import Call
from ...client.queues import call
from ..cluster.graph import NAMES
from ..cluster.ledger import Ledger, Mark
from ..cluster.local import LocalCluster
from ..cluster.troubles import Work as Task
from ..cluster.writers import write
from .account import PASSING, Account, Tables
from .leases import Lease, Leases

TOPIC, HOME = "jobs", NAMES[0]
AT_ONCE = 10
LEASE_MS = 2500
DRAINED_WITHIN_S = 90.0


class Jobs:
    """Every node takes jobs, and has a worker; calls reach the home over faulty lines."""

    topics: ClassVar[Tables] = {
        TOPIC: {"type": "queue", "home": HOME, "durability": "disk", "lease_ms": LEASE_MS},
    }
    tables: ClassVar[Tables] = {}

    def __init__(self, cluster: LocalCluster) -> None:
        self.account = Account()
        self._cluster, self._ledger = cluster, Ledger()
        self._leases = Leases(self.account)

    def tasks(self) -> Sequence[Task]:
        """A writer and a worker for each node."""
        nodes = self._cluster.nodes
        return [partial(self._write, node) for node in nodes] + [partial(self._work, node) for node in nodes]

    async def _write(self, node: str, until: float) -> None:
        while trio.current_time() < until:
            await write(self._cluster, self._ledger, node, TOPIC, AT_ONCE)
            self.account.done["written"] += AT_ONCE
            await trio.sleep(0.2)

    async def _work(self, node: str, until: float) -> None:
        rng = Random(node)
        while trio.current_time() < until:
            try:
                leases = await self._claim(node, rng.randint(1, 10))
                await trio.sleep(rng.uniform(0.0, 0.3) if leases else 0.1)
                await self._deal_with(node, leases, rng)
            except PASSING:
                self.account.done["unsure"] += 1
                await trio.sleep(0.1)

    async def _deal_with(self, node: str, leases: list[Lease], rng: Random) -> None:
        match rng.choice(("ack", "ack", "ack", "nack", "forget", "late", "extend")):
            case "ack":
                await self._ack(node, leases)
            case "nack":
                await self._give_back(node, leases)
            case "late":
                await trio.sleep(LEASE_MS / 1000)
                await self._ack(node, leases)
            case "extend":
                await self._extend(node, leases)
                await self._ack(node, leases)

    async def _claim(self, node: str, most: int) -> list[Lease]:
        """What the home gives, and whether it may."""
        sent_s, process = trio.current_time(), self._home
        told = await self._ask(node, call.claim(TOPIC, f"worker-{node}", max_jobs=most))
        now_s, granted_by = trio.current_time(), process if process == self._home else 0
        leases = []
        for one in told["claimed"]:
            mark = msgspec.convert(one["data"], Mark)
            lease = Lease(one["$seq"], one["lease_id"], mark, granted_by, now_s, sent_s + LEASE_MS / 1000)
            self._leases.grant(lease, sent_s)
            leases.append(lease)
        return leases

    async def _ack(self, node: str, leases: list[Lease]) -> None:
        counted = await self._settle(node, leases, call.ack)
        self._leases.acknowledged(counted, trio.current_time())

    async def _give_back(self, node: str, leases: list[Lease]) -> None:
        self.account.done["nacked"] += len(await self._settle(node, leases, call.nack))

    async def _settle(self, node: str, leases: list[Lease], verb: Any) -> list[Mark]:
        """Ask for it; the jobs for which it counted."""
        if not leases:
            return []
        self._leases.settle(leases, ack=verb is call.ack)
        ids = [lease.lease_id for lease in leases]
        told = await self._ask(node, verb(TOPIC, f"worker-{node}", [lease.seq for lease in leases], ids))
        return [lease.mark for lease in leases if lease.seq not in told["skipped"]]

    async def _extend(self, node: str, leases: list[Lease]) -> None:
        if not leases:
            return
        sent_s, seqs, ids = trio.current_time(), [one.seq for one in leases], [one.lease_id for one in leases]
        question = call.extend(TOPIC, f"worker-{node}", seqs, ids, lease_ms=LEASE_MS)
        skipped = (await self._ask(node, question))["skipped"]
        for lease in leases:
            if lease.seq not in skipped:
                lease.until_s = sent_s + LEASE_MS / 1000
                self.account.done["extended"] += 1

    @property
    def _home(self) -> int:
        return self._cluster.daemons[HOME].pid

    async def _ask(self, node: str, question: Call) -> dict[str, Any]:
        return (await self._cluster.api(node).ask(question)).object()

    async def judge(self) -> None:
        """The home comes back without its disk: what was settled stays settled, and the rest is all there."""
        await self._cluster.converged(topics=self.topics)
        self._cluster.kill(HOME)
        self._cluster.wipe(HOME)
        await self._cluster.start(HOME)
        with trio.move_on_after(DRAINED_WITHIN_S):
            while not await self._is_empty():
                for node in self._cluster.nodes:
                    try:
                        await self._ack(node, await self._claim(node, 100))
                    except PASSING:
                        self.account.done["unsure"] += 1
                await trio.sleep(0.1)
        lost = set(self._ledger.acknowledged(TOPIC)) - self._leases.maybe_acked
        self.account.broken("lost", sorted(lost)[:3], len(lost))
        for node in self._cluster.nodes:
            left = len((await self._cluster.dump(node, TOPIC)).records)
            self.account.broken("left behind", node, left)

    async def _is_empty(self) -> bool:
        for node in self._cluster.nodes:
            try:
                if (await self._ask(node, topics.topic(TOPIC)))["count"]:
                    return False
            except PASSING:
                return False
        return set(self._ledger.acknowledged(TOPIC)) <= self._leases.maybe_acked
