"""Groups over the topics' rig: a store in memory, a clock that stands still, everything that can fail in reach."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mirrord.groups.groups import Groups
from mirrord.groups.messages import Commit, Committed, GroupState, Handed, Read, Reclaim, Reclaimed, Tell
from mirrord.groups.turn import Bounds
from mirrord.records.batch import batches_of
from mirrord.topics.messages import Append
from mirrord.topics.read.face import View
from mirrord.topics.registry import Registry

from ..topics.rig import Rig, draft

VIEW = View(limit=100, max_bytes=1 << 20)


class GroupRig(Rig):
    """``opened`` is one run of the process; leaving it is kill -9."""

    bounds = Bounds(groups=10, consumers=10, pending=1000)
    groups: Groups
    registry: Registry

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[GroupRig]:
        async with self.run() as registry:
            self.registry = registry
            self.groups = Groups(registry, self.supervisor, self.clock, self.bounds, 4096)
            yield self

    async def append(self, *texts: str, topic: str = "t", **labels: Any) -> None:
        found, _ = await self.registry.ensure(topic)
        await found.mailbox.ask(Append(batches_of([draft(text, **labels) for text in texts])))

    async def read(self, consumer: str = "ann", limit: int = 100, topic: str = "t", **more: Any) -> Handed:
        handed: Handed = await self.groups.ask(topic, Read("g", consumer, View(limit, VIEW.max_bytes), **more))
        return handed

    async def commit(self, *seqs: int, consumer: str = "ann", up_to: int | None = None) -> Committed:
        done: Committed = await self.groups.ask("t", Commit("g", consumer, seqs, up_to))
        return done

    async def reclaim(self, consumer: str = "bob", min_idle_ms: int = 0, **more: Any) -> Reclaimed:
        done: Reclaimed = await self.groups.ask("t", Reclaim("g", consumer, VIEW, min_idle_ms, **more))
        return done

    async def state(self) -> GroupState:
        told: GroupState = await self.groups.ask("t", Tell("g"))
        return told


def seqs(answer: Handed | Reclaimed) -> list[int]:
    """Which records they are."""
    return [json.loads(text)["$seq"] for text in answer.records]


def times(answer: Handed | Reclaimed) -> list[int]:
    """How often each was handed out."""
    return [json.loads(text)["deliveries"] for text in answer.records]
