"""Deletes beside appends: what a node said is deleted never shows there again, and nothing else is missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import ClassVar

import msgspec
import trio

from ...client import call
from ...client.call import DiffQuery
from ..cluster.ledger import Dump, Held, Ledger, Mark, mark_of
from ..cluster.local import LocalCluster
from ..cluster.troubles import Work as Task
from ..cluster.writers import BATCH, tag_of, write
from .account import PASSING, Account, Tables

TOPIC = "notes"
AT_ONCE = 20
MIRRORED_WITHIN_S = 90.0
OF_DELETES = frozenset({"deleted", "erased", "stripped"})


class Deletions:
    """Every node writes, and deletes by tag and from the front. A delete is of its own node."""

    topics: ClassVar[Tables] = {TOPIC: {"durability": "disk"}}
    tables: ClassVar[Tables] = {}

    def __init__(self, cluster: LocalCluster) -> None:
        self.account = Account()
        self._cluster, self._ledger = cluster, Ledger()
        self._tried: set[Mark] = set()  # somewhere, by somebody: may be missing anywhere
        self._gone: dict[str, set[Mark]] = {node: set() for node in cluster.nodes}

    def tasks(self) -> Sequence[Task]:
        """A writer and a deleter for each node."""
        nodes = self._cluster.nodes
        return [partial(self._write, node) for node in nodes] + [partial(self._delete, node) for node in nodes]

    async def _write(self, node: str, until: float) -> None:
        while trio.current_time() < until:
            await write(self._cluster, self._ledger, node, TOPIC, AT_ONCE)
            self.account.done["written"] += AT_ONCE
            await trio.sleep(0.05)

    async def _delete(self, node: str, until: float) -> None:
        rng = Random(node)
        while trio.current_time() < until:
            await trio.sleep(rng.uniform(0.0, 0.4))
            try:
                await self._one(node, rng)
            except PASSING:
                self.account.done["unsure"] += 1

    async def _one(self, node: str, rng: Random) -> None:
        """One delete of what is seen, and a look at what is left."""
        seen = await self._page(node)
        if not seen:
            return
        chosen = rng.choice(seen)
        if rng.random() < 0.2:
            doomed = [mark_of(record) for record in seen[:10]]
            await self._ask(node, doomed, doomed, before_seq=seen[:10][-1].seq + 1)
        else:
            tag = tag_of(mark_of(chosen))
            doomed = [mark for mark in map(mark_of, seen) if tag_of(mark) == tag]
            first = (doomed[0].number - 1) // BATCH * BATCH + 1
            may_go = [Mark(doomed[0].writer, number) for number in range(first, first + BATCH)]
            await self._ask(node, doomed, may_go, match=["tag", "Eq", tag])
        self._look(node, await self._page(node))

    async def _ask(self, node: str, doomed: list[Mark], may_go: list[Mark], **what: object) -> None:
        self._tried.update(may_go)
        await self._cluster.api(node).ask(call.delete_records(TOPIC, **what))  # type: ignore[arg-type]
        self._gone[node].update(doomed)
        self.account.done["deleted"] += len(doomed)

    async def _page(self, node: str) -> list[Held]:
        query = DiffQuery(limit=200, include_origin=True)
        page = (await self._cluster.api(node).ask(call.diff(TOPIC, query))).page()
        return [msgspec.json.decode(raw, type=Held) for raw in page.records]

    def _look(self, node: str, seen: list[Held]) -> None:
        again = [mark for mark in map(mark_of, seen) if mark in self._gone[node]]
        self.account.broken("shown again", (node, again[:3]), len(again))

    async def judge(self) -> None:
        """All mirrors at one hash; nothing deleted to be seen, also after another kill -9; nothing else missing."""
        await self._cluster.converged(MIRRORED_WITHIN_S, topics=self.topics, but_for=OF_DELETES)
        for node in self._cluster.nodes:
            self._cluster.kill(node)
        await self._cluster.start()
        for node in self._cluster.nodes:
            dump = await self._cluster.dump(node, TOPIC)
            self._look(node, list(dump.records))
            self.account.judged(self._ledger.judge(TOPIC, dump, may_lack=self._tried), node)
        await self._newcomer()

    async def _newcomer(self) -> None:
        """A node with one source that lost everything is served what its source shows, and nothing deleted there."""
        sources: dict[str, list[str]] = {}
        for puller, source in self._cluster.graph.pulls:
            sources.setdefault(puller, []).append(source)
        for node, (source, *others) in sources.items():
            if not others and node != self._cluster.nodes[0]:
                self._cluster.kill(node)
                self._cluster.wipe(node)
                await self._cluster.start(node)
                await self._cluster.converged(MIRRORED_WITHIN_S, (source, node), self.topics)
                got, shown = await self._cluster.dump(node, TOPIC), await self._cluster.dump(source, TOPIC)
                self._look(source, list(got.records))
                self.account.broken("served otherwise", node, len(_marks(got) ^ _marks(shown)))
                self.account.done["newcomers"] += 1
                return


def _marks(dump: Dump) -> set[Mark]:
    return {mark_of(record) for record in dump.records}
