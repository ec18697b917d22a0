"""What router tests stand on: topics over a store in memory, with routers above them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from msgspec import Raw

from mirrord.actors.bell import Ear
from mirrord.records.batch import batches_of
from mirrord.records.draft import Draft
from mirrord.routers.definition import Definition
from mirrord.routers.ground import Ground
from mirrord.routers.router import Router
from mirrord.routers.routers import Define, LetTopicGo, Routers, Undefine
from mirrord.storage.memory import MemoryStore
from mirrord.topics.messages import Append
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read

from ..topics.rig import Rig

VIEW = View(limit=1000, max_bytes=1 << 24, tags=True)
WITHIN_S = 5.0


class RouterRig(Rig):
    """Nodes of one store, one after the other. ``holders`` are nodes that may still bring old copies."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__(store)
        self.in_file: dict[str, Definition] = {}
        self.holders: list[str] = []
        self.patience_s = 60.0
        self.most = 100
        self.wait_ms = 2000

    @asynccontextmanager
    async def routing(self) -> AsyncIterator[Routers]:
        """One run of the process; leaving it is kill -9."""
        async with self.run() as self.registry:
            ground = Ground(
                self.life, self.clock, self.store, self.journal, self.registry, lambda *_: self.holders,
                self.patience_s, 8,
            )  # fmt: skip
            routers = self.routers = Routers(ground, self.supervisor, self.in_file, self.most, self.wait_ms)
            routers.boot()
            self.supervisor.keep(routers)
            yield routers

    # ---- what clients do -------------------------------------------------------------------------

    async def define(self, name: str, source: str, dest: str, *, create_dest: bool = True, **more: Any) -> bool:
        """Whether the router is new."""
        _, created = await self.routers.mailbox.ask(Define(Definition(name, source, dest, **more), create_dest))
        return bool(created)

    async def undefine(self, name: str) -> bool:
        return bool(await self.routers.mailbox.ask(Undefine(name)))

    async def let_go(self, topic: str, *, if_empty: bool = False) -> tuple[bool, list[str]]:
        deleted, gone = await self.routers.mailbox.ask(LetTopicGo(topic, if_empty, False))
        return deleted, gone

    async def append(self, topic: str, *texts: str, **labels: Any) -> None:
        found, _ = await self.registry.ensure(topic)
        await found.mailbox.ask(Append(batches_of([Draft(Raw(f'"{text}"'.encode()), **labels) for text in texts])))

    async def records(self, topic: str) -> list[dict[str, Any]]:
        """All that a reader is shown, tombstones too, once the routers had their time."""
        await self.routers.into.catch_up(topic)
        found, cursor, caught_up = list[dict[str, Any]](), 0, False
        log = await self.registry.find(topic)
        while not caught_up:
            page = read(log, cursor, None, VIEW)
            found += [msgspec.json.decode(page.tombstone)] if page.tombstone else []
            found += [msgspec.json.decode(text) for text in page.records]
            cursor, caught_up = page.next_from_seq, page.caught_up
        return found

    async def texts(self, topic: str) -> list[str]:
        """What the records of the topic say; a tombstone says its reason."""
        return [found["data"] if "data" in found else found["reason"] for found in await self.records(topic)]

    async def until(self, name: str, state: str) -> Router:
        """Wait until the router says that it is so."""
        router = self.routers.find(name)
        ear = router.bell.attach(Ear())
        with trio.fail_after(WITHIN_S):
            while router.state != state:
                await ear.wait()
        ear.close()
        return router
