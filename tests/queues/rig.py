"""What queue tests stand on: a topic over a store in memory, a queue above it, and time that only moves by waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from msgspec import Raw

from mirrord.config.topic import topic_config
from mirrord.queues.ground import Ground
from mirrord.queues.home import no_way
from mirrord.queues.leasing.leases import Claimant
from mirrord.queues.leasing.messages import Ack, Attach, Claim, Claimed, Detach, Done, Extend, Given, Nack, Worker
from mirrord.queues.queues import Queues
from mirrord.records.batch import batches_of
from mirrord.records.draft import Draft
from mirrord.storage.life import LifeRecord
from mirrord.storage.memory import MemoryStore
from mirrord.topics.messages import Append
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read
from mirrord.topics.topic import Topic

from ..topics.rig import Rig

VIEW = View(limit=1000, max_bytes=1 << 24, tags=True)


class TrioClock:
    """Moves as trio's own clock does."""

    def __init__(self) -> None:
        self.now_ms = 0  # added to the wall clock: it may step

    def monotonic(self) -> float:
        return trio.current_time()

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.now_ms + int(trio.current_time() * 1000)


class QueueRig(Rig):
    """Nodes of one store, one after the other."""

    def __init__(self, store: MemoryStore | None = None, **config: Any) -> None:
        super().__init__(store)
        self.clock: Any = TrioClock()
        self.config = topic_config({"type": "queue", "lease_ms": 1000, **config})
        self.unsure: list[str] = []
        self.mirrored = False
        self.most_leases = 1000
        self.most_jitter_ms = 5000
        self._starts = 0

    @asynccontextmanager
    async def queueing(self) -> AsyncIterator[Topic]:
        """One run of the process; leaving it is kill -9."""
        self._starts += 1
        old = self.life.record
        self.life.take(LifeRecord(old.life, old.number, 1, "boot", 1, 1, b"", 0, self._starts))
        async with self.run() as self.registry:
            ground = Ground(
                "here", frozenset({"here", "there"}), self.life, self.clock, self.registry, self.most_leases,
                self.most_jitter_ms, 1000,
                lambda _: self.mirrored, lambda name: name in self.unsure,
            )  # fmt: skip
            self.queues = Queues(ground, self.supervisor, lambda name: no_way(name, ""))
            self.topic, _ = await self.registry.ensure("jobs", self.config)
            await self.queues.boot()
            yield self.topic

    async def append(self, *texts: str) -> None:
        await self.topic.mailbox.ask(Append(batches_of([Draft(Raw(f'"{text}"'.encode())) for text in texts])))

    async def claim(self, most: int = 1, node: str = "w", lease_ms: int = 1000) -> list[Given]:
        claimed: Claimed = await self.queues.ask(self.topic, Claim(Claimant(node, most, lease_ms)))
        return claimed.given

    async def ack(self, *seqs: int, node: str = "w", numbers: tuple[int, ...] = ()) -> Done:
        done: Done = await self.queues.ask(self.topic, Ack(node, list(seqs), list(numbers)))
        return done

    async def nack(self, *seqs: int, delay_ms: int = 0, node: str = "w") -> Done:
        done: Done = await self.queues.ask(self.topic, Nack(node, list(seqs), [], delay_ms))
        return done

    async def extend(self, *seqs: int, lease_ms: int, node: str = "w") -> Done:
        done: Done = await self.queues.ask(self.topic, Extend(node, list(seqs), [], lease_ms))
        return done

    async def attach(self, most: int, node: str = "w", lease_ms: int = 1000) -> Worker:
        worker: Worker = await self.queues.ask(self.topic, Attach(Claimant(node, most, lease_ms)))
        return worker

    def detach(self, worker: Worker) -> None:
        self.queues.tell(self.topic, Detach(worker))

    @property
    def counts(self) -> tuple[int, int, int]:
        found = self.queues.counts(self.topic)
        return found.ready, found.in_flight, found.dead_lettered

    async def records(self, name: str) -> list[dict[str, Any]]:
        """What the topic shows; nothing when it is not there."""
        if self.registry.known(name) is None:
            return []
        page = read(await self.registry.find(name), 0, None, VIEW)
        return [msgspec.json.decode(text) for text in page.records]


def texts(given: list[Given]) -> list[str]:
    """What the jobs say."""
    return [msgspec.json.decode(one.job.data) for one in given]
