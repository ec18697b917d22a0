"""All streams of a node: sessions, connections and their bounds, and where a request's topics begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any, Protocol

import trio
from msgspec import Struct

from ..clock import Clock
from ..errors import InvalidRequest, Throttled, TopicNotFound
from ..names import check_topic
from ..topics.registry import Registry
from ..topics.topic import Topic
from .fans import Fans
from .session import Session, Sessions, Start
from .watcher import StreamGround


class StreamRules(Struct, frozen=True):
    """Bounds, as ``[limits]`` has them. 0 of a count: any number."""

    most_sessions: int
    session_ttl_s: float
    most_connections: int
    most_connections_per_key: int
    most_prefix_topics: int


class From(Struct, frozen=True):
    """Where a request wants to begin in a topic, or in all topics of a prefix that there are."""

    from_seq: int = 0
    tail: bool = False
    log_id: str | None = None


class Key(Protocol):
    """Who opens connections: a counter of their own."""

    streams: int


class Streams:
    """See the module. ``watch`` makes sessions; whoever opens a connection takes a ``seat``."""

    def __init__(self, registry: Registry, fans: Fans, clock: Clock, rng: Random, rules: StreamRules) -> None:
        self.registry, self.fans, self._clock, self._rules = registry, fans, clock, rules
        self.ground = StreamGround(registry, fans, rules.most_prefix_topics)
        self.sessions = Sessions(rng, rules.session_ttl_s, rules.most_sessions)
        self.connections = 0

    def now_s(self) -> float:
        """What the deadlines of sessions go by."""
        return self._clock.monotonic()

    def check_seat(self, key: Key | None) -> None:
        """Raises Throttled at [limits] max_sse and max_sse_per_key."""
        rules = self._rules
        if rules.most_connections and self.connections >= rules.most_connections:
            raise Throttled.beyond("max_sse", rules.most_connections)
        if key is not None and rules.most_connections_per_key and key.streams >= rules.most_connections_per_key:
            raise Throttled.beyond("max_sse_per_key", rules.most_connections_per_key)

    @contextmanager
    def seat(self, key: Key | None) -> Iterator[None]:
        """One open connection of a key."""
        self.connections += 1
        if key is not None:
            key.streams += 1
        try:
            yield
        finally:
            self.connections -= 1
            if key is not None:
                key.streams -= 1

    async def watch(
        self, wanted: Mapping[str, From], *, lenient: bool, **fields: Any
    ) -> tuple[Session, dict[str, Topic]]:
        """A new session, and its topics. Raises TopicNotFound (unless ``lenient``), InvalidRequest, Throttled."""
        starts: dict[str, Start] = {}
        topics: dict[str, Topic] = {}
        for name, place in wanted.items():
            for topic in await self.meant_by(name, lenient=lenient):
                if name == topic.topic or topic.topic not in wanted:
                    topics[topic.topic], starts[topic.topic] = topic, start_of(topic, place)
        prefixes = tuple(name[:-1] for name in wanted if name.endswith("*"))
        named = frozenset(name for name in wanted if name in topics)
        session = self.sessions.open(self.now_s(), starts=starts, named=named, prefixes=prefixes, **fields)
        return session, dict(sorted(topics.items()))

    async def meant_by(self, name: str, *, lenient: bool = False) -> list[Topic]:
        """The topic of that name, or all that begin as ``chat:*`` says, by name. Raises as ``watch``."""
        if not name.endswith("*"):
            if self.registry.known(name) is None:
                check_topic(name)
                if lenient:
                    return []
            found = [await self.registry.find(name)]
        else:
            found = await matching(self.registry, name, self._rules.most_prefix_topics)
        for topic in found:
            await topic.expire()
        return found

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        return {
            "sse_connections": self.connections,
            "watch_sessions": self.sessions.count(self.now_s()),
            **self.fans.statistics(),
        }


def start_of(topic: Topic, place: From) -> Start:
    """Where a stream begins: behind ``from_seq``, or at the head; in the log that the client knows, if it told that."""
    if place.tail:
        return Start(topic.head, topic.log_id_hex)
    return Start(place.from_seq, place.log_id or topic.log_id_hex)


async def matching(registry: Registry, pattern: str, most: int) -> list[Topic]:
    """All topics that ``chat:*`` means, alive. Raises InvalidRequest when they are too many, NotReady."""
    prefix = pattern[:-1]
    if prefix:
        check_topic(prefix)
    found = registry.page(prefix, "", most + 1)
    if len(found) > most:
        told = f"{pattern} means more than {most} topics ([limits] max_prefix_topics); use a longer prefix"
        raise InvalidRequest(told, {"limit": "max_prefix_topics", "max": most})
    alive: list[Topic] = []
    for topic in found:
        try:
            alive.append(await registry.find(topic.topic))
        except TopicNotFound:
            continue  # deleted while others were being found
        await trio.lowlevel.checkpoint()
    return alive
