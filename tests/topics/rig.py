"""What topic tests stand on: origins that write strands elsewhere, and a topic over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from msgspec import Raw

from mirrord.actors.rounds import Crowd
from mirrord.actors.supervisor import Death, Supervisor
from mirrord.config.topic import DEFAULT, TopicConfig, topic_config
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Draft
from mirrord.records.strand import Descriptor, Identity, Position
from mirrord.storage.inline import InlineJournal
from mirrord.storage.journal import Journal
from mirrord.storage.life import Life, LifeRecord
from mirrord.storage.memory import MemoryStore
from mirrord.topics.ground import Ground
from mirrord.topics.log.log import Identities, Log
from mirrord.topics.log.shelf import Shelf
from mirrord.topics.log.sources import Sources
from mirrord.topics.log.turn import Sizes, Turn
from mirrord.topics.registry import Registry

ME = Identity("here", b"h" * 16, b"L" * 16)
SIZES = Sizes(64 << 10, 1000)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return self.now_ms / 1000


class Origin:
    """A node elsewhere that writes one strand."""

    def __init__(self, number: int, name: str = "there", ts: int = 1_600_000_000_000) -> None:
        self.descriptor = Descriptor(number, "orders", name.encode().ljust(16, b"."), name, number.to_bytes(16, "big"))
        self.ts = ts
        self.chunks: list[bytes] = []
        self.ends = [Position(0, self.descriptor.id_hash)]

    def write(self, count: int = 1, *, tag: str | None = None, pad: int = 0, ts: int | None = None) -> bytes:
        """The next chunk; its records are numbered, so that what arrived can be told apart."""
        at = self.ends[-1]
        drafts = [Draft(Raw(self.text(at.oseq + 1 + i, pad).encode()), tag=tag) for i in range(count)]
        packed, digest, _ = encode(
            self.descriptor.strand, at.oseq + 1, at.hash or b"", ts or self.ts, batches_of(drafts)
        )
        self.chunks.append(packed)
        self.ends.append(Position(at.oseq + count, digest))
        return packed

    def text(self, oseq: int, pad: int = 0) -> str:
        """The data of one record."""
        return f'"{self.descriptor.origin} {self.descriptor.strand}/{oseq}{"." * pad}"'

    @property
    def number(self) -> int:
        return self.descriptor.strand


def log_of(config: TopicConfig = DEFAULT) -> Log:
    """An empty log of topic 1."""
    return Log(1, "orders", Identities(b"l" * 8, config, 1, False, False, 0))


def turn_of(log: Log, *, sizes: Sizes = SIZES, now_ms: int = 1_700_000_000_000, sid: int = 0) -> Turn:
    """One turn of it. ``sid``: the small numbers given out before."""
    return Turn(log, life_of(ME), sizes, now_ms, sources_of(log, sid))


def sources_of(log: Log, sid: int = 0) -> Sources:
    """The same small numbers for the same log, whoever asks."""
    known = max((s.sid for s in log.strands.values()), default=sid)
    return Sources(9, known, Random(known))


def life_of(me: Identity) -> Life:
    return Life(me.name, me.origin_id, LifeRecord(me.life, 1, 1, "boot", 1, 1, b""), None)


def draft(text: str = "1", **labels: Any) -> Draft:
    return Draft(Raw(text.encode()), **labels)


class Together(InlineJournal):
    """Commits nothing where it was asked: for what is about turns of the topic's own task."""

    def take_desk(self, *, sync: bool) -> bool:  # noqa: ARG002 -- as in Journal
        return False


class Rig:
    """Topics over a store in memory, with everything that can be made to fail in reach."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        declared: dict[str, dict[str, object]] | None = None,
        me: Identity = ME,
        sizes: Sizes = SIZES,
    ) -> None:
        self.sizes = sizes
        self.clock = Clock()
        self.store = store or MemoryStore()
        self.linked: set[str] = set()
        self.declared = declared or {}
        self.deaths: list[Death] = []
        self.life = life_of(me)
        self.settled = trio.Event()
        self.settled.set()
        self.max_topics = 100
        self.shelf_bytes = 1 << 20
        self.journals: type[Journal] = InlineJournal  # or Journal, which has a thread; or Together

    def new_life(self, *, log_ids: bool = False) -> None:
        """As a start after a reboot (or a restored backup) finds it."""
        number = self.life.record.number + 1
        since = number if log_ids else self.life.record.log_ids_since
        self.life.take(LifeRecord(number.to_bytes(16, "big"), number, since, "boot", 1, 1, b""))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Registry]:
        """One run of the process; leaving it is kill -9 (what is committed stays)."""
        async with trio.open_nursery() as nursery:
            self.journal = self.journals(self.store, self.clock)
            self.supervisor = Supervisor(self.clock, Random(1), lambda death, _: self.deaths.append(death))
            await nursery.start(self.journal.run)
            await nursery.start(self.supervisor.run)
            self.shelf = Shelf(self.shelf_bytes)
            sources = Sources(*self.store.top_ids(), Random(f"{self.life.identity}"))
            self.ground = Ground(
                self.life, self.clock, self.store, self.journal, self.shelf, sources, self.sizes, self.settled,
                Crowd(self.journal.rounds),
            )  # fmt: skip
            registry = Registry(
                self.ground,
                self.supervisor,
                lambda name: self.declared.get(name, {}),
                lambda name: name in self.linked,
                self.max_topics,
                4096,
            )
            registry.boot()
            yield registry
            nursery.cancel_scope.cancel()


def config(**keys: Any) -> TopicConfig:
    return topic_config(keys)
