"""All queues of a node: which topics have somebody who grants their leases, and who that is for the others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec import structs

from ..actors.supervisor import Supervisor
from ..config.topic import TopicConfig
from ..errors import InvalidRequest, MirrordError, NotAQueue
from ..storage.life import LifeRecord
from ..topics.topic import Topic
from .ground import Ground, home_of
from .home import Home
from .leasing.marks import prefix
from .leasing.messages import Counts, Message
from .queue import Queue

NUMBERS_PER_START = 1 << 32
STARTS_PER_LIFE = 1 << 20


class Queues:
    """``ask`` is the door; a queue is born at its first use, or at the start when it left something to be done."""

    def __init__(self, ground: Ground, supervisor: Supervisor, home_at: Callable[[str], Home]) -> None:
        self._ground, self._supervisor, self._home_at = ground, supervisor, home_at
        self._first_number = first_number(ground.life.record)
        self._homes: dict[str, Home] = {}
        self._queues: dict[str, Queue] = {}

    async def boot(self) -> None:
        """Queues that kept leases or left dead letters half carried over go on with them."""
        for topic in list(self._ground.registry):
            if topic.config.type == "queue" and self.home_of(topic) == self._ground.node:
                with suppress(MirrordError):  # deleted meanwhile, or unreadable: then its first use tells
                    found = await self._ground.registry.find(topic.topic)
                    if found.reads.marks(prefix(found.tid)):
                        await self._kept(found)

    async def aclose(self) -> None:
        """Let go of the connections to other homes."""
        for home in self._homes.values():
            await home.aclose()

    def check(self, name: str, config: TopicConfig) -> None:
        """Raises InvalidRequest when a topic of this name cannot be configured so."""
        if config.type == "queue" and config.dead_letter == name:
            raise InvalidRequest("dead_letter: expected another topic than the queue itself", {"field": "dead_letter"})
        if config.home is not None and config.home not in self._ground.nodes:
            told = f"home: expected one of {', '.join(sorted(self._ground.nodes))}, found {config.home!r}"
            raise InvalidRequest(told, {"field": "home"})

    def home_of(self, topic: Topic) -> str:
        """The node that grants the leases of a queue."""
        return home_of(topic, self._ground.node)

    def home(self, topic: Topic) -> Home | None:
        """The way to the node that grants the leases of a queue; None: this one does. Raises HomeUnreachable when
        the configuration does not name that node."""
        name = self.home_of(topic)
        if name == self._ground.node:
            return None
        if name not in self._homes:
            self._homes[name] = self._home_at(name)
        return self._homes[name]

    async def find(self, name: str) -> Topic:
        """The topic of a queue, alive. Raises TopicNotFound, NotAQueue, NotReady."""
        topic = await self._ground.registry.find(name)
        if topic.config.type != "queue":
            raise NotAQueue(f"{name} is a log; create a topic of type queue", {"topic": name})
        return topic

    async def ask(self, topic: Topic, message: Message) -> Any:
        """Have the queue decide. Raises HomeUnreachable where this node is not its home, NotReady, Throttled,
        StorageFailed."""
        return await (await self._kept(topic)).mailbox.ask(message)

    async def buried(self, topic: Topic) -> None:
        """Until the dead letters that a claim found are where they belong, or a moment has passed."""
        queue = self._queues.get(topic.topic)
        if queue is not None and topic.config.dead_letter is not None:
            await queue.burial.over()

    def tell(self, topic: Topic, message: Message) -> None:
        """The same without an answer; a queue that is gone needs not to hear it."""
        queue = self._queues.get(topic.topic)
        if queue is not None and not queue.over:
            queue.mailbox.put(message, bounded_elsewhere=True)

    async def _kept(self, topic: Topic) -> Queue:
        queue = self._queues.get(topic.topic)
        if queue is not None and (queue.over or queue.topic is not topic):  # deleted, and made anew
            await self._supervisor.end(queue.name)
            self._forget(queue)
            queue = self._queues.get(topic.topic)
        if queue is None:
            queue = self._queues[topic.topic] = Queue(topic, self._ground, self._first_number, self._forget)
            self._supervisor.keep(queue)
        return queue

    def _forget(self, queue: Queue) -> None:
        self._first_number = max(self._first_number, queue.number)
        if self._queues.get(queue.topic.topic) is queue:
            del self._queues[queue.topic.topic]

    def __len__(self) -> int:
        """How many somebody keeps now."""
        return len(self._queues)

    def counts(self, topic: Topic) -> Counts:
        """How a queue stands. Elsewhere than at its home nothing is known of leases."""
        queue = self._queues.get(topic.topic)
        if queue is None or queue.topic is not topic:
            return Counts(topic.count, 0, 0)
        return queue.counts()

    def describe(self, topic: Topic) -> dict[str, Any]:
        """``queue`` of a topic's state, as people are told it."""
        return structs.asdict(self.counts(topic)) | {"home": self.home_of(topic)}

    def statistics(self) -> dict[str, Any]:
        """Numbers for metrics."""
        topics = [topic for topic in self._ground.registry if topic.config.type == "queue"]
        return {"queue_topics": len(topics), "queue_leases_in_flight": sum(self.counts(t).in_flight for t in topics)}


def first_number(life: LifeRecord) -> int:
    """Lease numbers begin above all that earlier starts may have given out: a lease of before fences nothing now."""
    return ((life.number - 1) * STARTS_PER_LIFE + life.starts - 1) * NUMBERS_PER_START
