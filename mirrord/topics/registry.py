"""Name to topic: create, find, list, forget. Topics are born at their first use, so a node with many starts at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from msgspec import structs

from ..actors.bell import Bell
from ..actors.supervisor import Supervisor
from ..config.topic import DEFAULT, DURABILITIES, TopicConfig, topic_config
from ..errors import MirrordError, NotReady, Throttled, TopicLinked, TopicNotFound
from ..names import check_topic
from ..storage.store import Change, PutTopic, TopicRow
from ..storage.store import DropTopic as DropTopicRows
from ..storage.turns import LAST as LAST_IN_LINE
from .ground import Ground
from .log import retention
from .log.log import Identities
from .messages import BeginLife, Configure, Created, DropTopic, Sweep
from .topic import Topic

BIRTH_DEADLINE_S = 10.0
SWEEP_EVERY_S = 1.0
LAST = "\x7f"  # behind every character of a name


class Registry:
    """All topics of the node. ``declared`` gives the fields that the file sets for a name, ``linked`` whether a link
    names it."""

    name = "topics"

    def __init__(
        self,
        ground: Ground,
        supervisor: Supervisor,
        declared: Callable[[str], dict[str, object]],
        linked: Callable[[str], bool],
        max_topics: int,
        room: int,
    ) -> None:
        self._ground, self._supervisor = ground, supervisor
        self._declared, self._linked = declared, linked
        self._max_topics, self._room = max_topics, room
        self._topics: dict[str, Topic] = {}
        self._names: list[str] = []  # sorted; those deleted are not in it
        self._born: set[str] = set()
        self._changing: dict[str, trio.Event] = {}
        self.bell = Bell()  # rung when a topic comes or goes
        self._came: dict[str, int] = {}  # names created since the start, newest last, with their number
        self.creations = self.went = 0  # how many were created and deleted since the start: feeds keep a place in them

    def boot(self) -> None:
        """Know every topic of the store; none is born by that."""
        heads = {row.tid: row for row in self._ground.store.heads()}
        for row in self._ground.store.topics():
            about = Identities.decode(row.blob)
            topic = Topic(row.tid, row.name, about, self._ground, self._room)
            head = heads.get(row.tid)
            if head is not None:
                topic.head, topic.count, topic.bytes, topic.floor = (
                    head.head,
                    head.count,
                    head.bytes,
                    head.floor,
                )
                self._ground.quota.held += head.bytes
            self._topics[row.name] = topic
        self._names = sorted(n for n, t in self._topics.items() if not t.about.deleted)

    # ---- finding ---------------------------------------------------------------------------------

    async def find(self, name: str) -> Topic:
        """The topic, alive. Raises TopicNotFound, or NotReady when it cannot be born in time."""
        topic = self._topics.get(name)
        if topic is None or topic.about.deleted:
            raise TopicNotFound(f"no topic {name!r} on this node; append to it or PUT it to create it", {"topic": name})
        return topic if topic.ready.is_set() else await self._bear(topic)

    def declared(self, name: str) -> dict[str, object]:
        """The fields that the file sets for a topic of this name."""
        return self._declared(name)

    def declared_over(self, name: str, config: TopicConfig = DEFAULT) -> TopicConfig:
        """A configuration with what the file sets laid over it: the file wins."""
        return topic_config(self._declared(name), config)

    async def _bear(self, topic: Topic) -> Topic:
        if topic.ready.is_set():
            return topic
        if topic.topic not in self._born:
            self._born.add(topic.topic)
            self._supervisor.keep(topic)
        with trio.move_on_after(BIRTH_DEADLINE_S):
            await topic.ready.wait()
            await self._reconcile(topic)
            return topic
        raise NotReady(f"topic {topic.topic} cannot be read from the store yet; see GET /v0/actors", retry_after_s=1.0)

    async def _reconcile(self, topic: Topic) -> None:
        """The file may have changed since the topic was configured: its keys win at every start."""
        wanted = self.declared_over(topic.topic, topic.config)
        if wanted != topic.config and not topic.about.deleted:
            await topic.mailbox.ask(Configure(wanted, put=False))

    def known(self, name: str) -> Topic | None:
        """The topic if there is one and it was not deleted, born or not."""
        topic = self._topics.get(name)
        return None if topic is None or topic.about.deleted else topic

    @property
    def names(self) -> list[str]:
        """Of all topics, sorted."""
        return self._names

    def came_since(self, creation: int) -> list[str]:
        """Topics created after that creation and still there, oldest first."""
        found: list[str] = []
        for name in reversed(self._came):
            if self._came[name] <= creation:
                break
            found.append(name)
        return found[::-1]

    def page(self, prefix: str, after: str, size: int) -> list[Topic]:
        """Topics by name, behind ``after``."""
        names = self._names
        start = bisect_right(names, after) if after >= prefix else bisect_left(names, prefix)
        end = bisect_left(names, prefix + LAST, lo=start) if prefix else len(names)
        return [self._topics[name] for name in names[start : min(end, start + size)]]

    def any(self, name: str) -> Topic | None:
        """The topic of that name if it is alive, even when its log was deleted: its vector stands."""
        topic = self._topics.get(name)
        return topic if topic is not None and topic.ready.is_set() else None

    async def alive(self, wanted: Callable[[str], bool]) -> list[Topic]:
        """Every topic whose name is wanted, alive, deleted ones included: for links, which must tell all positions."""
        return [await self._bear(t) for t in list(self._topics.values()) if wanted(t.topic)]

    def __iter__(self) -> Iterator[Topic]:
        return iter([self._topics[name] for name in self._names])

    def __len__(self) -> int:
        return len(self._names)

    # ---- creating --------------------------------------------------------------------------------

    async def ensure(
        self,
        name: str,
        config: TopicConfig | None = None,
        *,
        put: bool = False,
        renamed_from: str | None = None,
        created: Created | None = None,
    ) -> tuple[Topic, bool]:
        """The topic, alive, and whether this call created it. Without ``config``: as the file declares it;
        without ``created``: by this node, now.

        Raises Throttled at [limits] max_topics, InvalidRequest for a name that cannot be, StorageFailed.
        """
        await self._turn_of(name)
        if self.known(name) is not None:
            return await self.find(name), False
        check_topic(name)
        if self._max_topics and len(self._names) >= self._max_topics:
            raise Throttled(
                "this node has as many topics as it may",
                {"limit": "max_topics", "max": self._max_topics},
                1.0,
            )
        with self._alone(name):
            life = self._ground.life
            made = created or Created(life.name, self._ground.clock.wall_ms())
            about = Identities(
                b"", config or self.declared_over(name), life.record.number, put, False, made.at_ms, renamed_from,
                creator=made.by,
            )  # fmt: skip
            return await self._create(name, about), True

    async def _turn_of(self, name: str) -> None:
        """Creating and deleting one name stand in line: whoever comes second finds what the first one left."""
        while (waiting := self._changing.get(name)) is not None:
            await waiting.wait()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Nobody else changes the name meanwhile, and who asked for it may not give up half way: rows and names agree.
        Bounded by the journal, which settles every turn, and by births, which have a deadline."""
        done = self._changing[name] = trio.Event()
        try:
            with trio.CancelScope(shield=True):
                yield
        finally:
            del self._changing[name]
            done.set()

    async def _create(self, name: str, about: Identities) -> Topic:
        topic = self._topics.get(name)
        if topic is not None and _lives_elsewhere(topic.config, about.config) and not self._linked(name):
            await self._forget(topic)  # nobody brings again what was deleted, and no log moves between two stores
            topic = None
        if topic is None:
            topic = await self._write_new(name, about)
            await self._bear(topic)
        else:  # deleted before: its vector stands, so only newer records come
            await self._bear(topic)
            await topic.mailbox.ask(Configure(about.config, about.put))
        insort(self._names, name)
        self._came.pop(name, None)
        self._came[name] = self.creations = self.creations + 1
        self.bell.ring()
        return topic

    async def _write_new(self, name: str, about: Identities) -> Topic:
        ground = self._ground
        about = structs.replace(about, log_id=ground.sources.log_id())
        row = TopicRow(ground.sources.tid(), name, about.encode())
        await ground.journal.commit([PutTopic(row)], sync=True, urgent=True, size=len(row.blob))
        topic = self._topics[name] = Topic(row.tid, name, about, ground, self._room)
        return topic

    # ---- deleting --------------------------------------------------------------------------------

    async def delete(self, name: str, *, if_empty: bool, forget: bool, changes: Sequence[Change] = ()) -> bool:
        """Let go of a topic's log; whether there was one. ``changes`` are marks that are committed with it. With
        ``forget`` its positions too, so that links would bring everything again. Raises TopicLinked (forget only),
        TopicNotEmpty, StorageFailed."""
        if forget and self._linked(name):
            raise TopicLinked(detail={"topic": name})
        await self._turn_of(name)
        topic = self._topics.get(name)
        if topic is None or (topic.about.deleted and not forget):
            return False
        there = not topic.about.deleted
        with self._alone(name):
            await self._bear(topic)
            await topic.mailbox.ask(DropTopic(forget, if_empty, tuple(changes)))
            self._names = [n for n in self._names if n != name]
            self._came.pop(name, None)
            self.went += 1
            topic.bell.ring()
            self.bell.ring()
            if forget:
                await self._forget(topic)
        return there

    async def _forget(self, topic: Topic) -> None:
        await self._supervisor.end(topic.name)
        self._ground.shelf.clear(topic.tid)
        try:
            rows = [DropTopicRows(topic.tid)]  # behind what the topic still has in line
            await self._ground.journal.commit(rows, sync=True, urgent=False, size=64, priority=LAST_IN_LINE)
        except MirrordError:
            self._supervisor.keep(topic)  # its rows stand, so it does too
            raise
        self._born.discard(topic.topic)
        del self._topics[topic.topic]

    # ---- lives, retention, numbers ---------------------------------------------------------------

    async def begin_life(self) -> None:
        """The node began a new life while running: topics that are alive come into it, others at their birth."""
        for topic in list(self._topics.values()):
            if topic.ready.is_set():
                await topic.mailbox.ask(BeginLife())
                topic.bell.ring()

    async def live(self) -> None:
        """Sweeps topics on which nobody writes, so that a silent topic shrinks too."""
        while True:
            await trio.sleep(SWEEP_EVERY_S)
            for topic in list(self):
                if retention.has_limits(topic.config) or topic.has_dead_packs():
                    await self.sweep(topic)

    async def sweep(self, topic: Topic) -> None:
        """Have it let go of what its limits forbid, if it can."""
        try:
            await self.find(topic.topic)
            if topic.has_expired() or topic.has_dead_packs():
                await topic.mailbox.ask(Sweep())
        except MirrordError:
            pass  # deleted meanwhile, or the disk refuses: its limits hold again when it can be written

    def statistics(self) -> dict[str, Any]:
        """Numbers for metrics, over all topics."""
        classes = Counter(t.config.durability for t in self)
        return {
            "topics": len(self._names),
            "records_live": sum(t.count for t in self),
            "bytes_live": sum(t.bytes for t in self),
            **{f"topics_{name}": classes[name] for name in DURABILITIES},
        }


def _lives_elsewhere(old: TopicConfig, new: TopicConfig) -> bool:
    return (old.durability == "ephemeral") != (new.durability == "ephemeral")
