"""One open stream: it reads on alone what it is behind with, in the order of the topics' names, and rides with the fans
where it is caught up. It knows no socket: what goes out is put to an ``Outlet``.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Protocol

import trio
from msgspec import Struct

from ..actors.bell import Ear
from ..errors import MirrordError, SlowConsumer, Throttled
from ..topics.read.face import View
from ..topics.read.reading import read
from ..topics.registry import Registry
from .dialect import Dialect
from .fans import Fans
from .place import Batch, Place, batch_of

PAGES_IN_TURN = 16  # of one topic, before the others that the stream is behind with get a turn
LOOK_EVERY_S = 1.0  # while its client takes nothing, a stream looks so often whether the node stops
COME, GO = "come", "go"
Over = Callable[[], MirrordError | None]


class Outlet(Protocol):
    """The way to the client. Raises OSError when the client is gone."""

    def put(self, batch: Batch, place: Place) -> bool:
        """Hand a batch over without waiting. False: not all of it is taken yet, and nothing more may be put before
        ``drained`` has returned."""
        ...

    def beat(self) -> bool:
        """The same for a sign of life."""
        ...

    def gone(self, name: str) -> bool:
        """The same for the news that a topic was deleted."""
        ...

    async def drained(self) -> None:
        """Returns when the client has taken what was put. May be cancelled and called again."""
        ...


class StreamGround(Struct, frozen=True):
    """What all streams of a node stand on."""

    registry: Registry
    fans: Fans
    most_prefix_topics: int


class Prefix(Struct, frozen=True):
    """Topics whose names begin with ``text``, those to come included."""

    text: str
    view: View
    strong: bool = False


class Pace(Struct, frozen=True):
    """A stream's times, in seconds."""

    heartbeat_s: float
    slow_s: float  # a client that has not taken what was put within this is too slow


class Watcher:
    """``run`` it; change what it watches by ``watch`` and ``unwatch``. ``over`` tells why it must end now, if so."""

    def __init__(self, ground: StreamGround, outlet: Outlet, dialect: Dialect, pace: Pace, over: Over) -> None:
        self._fans, self._registry, self._most_topics = ground.fans, ground.registry, ground.most_prefix_topics
        self._outlet, self._dialect, self._pace, self._over = outlet, dialect, pace, over
        self.ear = Ear()
        self.places: dict[str, Place] = {}  # in the order of their names; always this one mapping
        self._prefixes: dict[str, Prefix] = {}
        self._creations = self._registry.creations
        self._behind: dict[Place, None] = {}
        self._clogged = False
        self._gone: OSError | None = None
        self._beat_at_s = 0.0

    # ---- what it watches -------------------------------------------------------------------------

    def watch(self, place: Place) -> None:
        """From this place on; a place in the same topic is replaced."""
        self.unwatch(place.name)
        self.places[place.name] = place
        if place.name != max(self.places):
            ordered = sorted(self.places.items())
            self.places.clear()
            self.places.update(ordered)
        self._behind[place] = None
        self.ear.hear(COME)

    def unwatch(self, name: str) -> bool:
        """Whether it was watched."""
        place = self.places.pop(name, None)
        if place is None:
            return False
        self._fans.leave(place, self._dialect)
        self._behind.pop(place, None)
        self.ear.hear(COME)
        return True

    def watch_prefix(self, prefix: Prefix) -> None:
        """From now on also topics that are created and begin so, from their first record on."""
        if not self._prefixes:
            self._creations = self._registry.creations
            self._registry.bell.attach(self.ear, COME)
        self._prefixes[prefix.text] = prefix

    @property
    def prefixes(self) -> Set[str]:
        """Those that are watched."""
        return self._prefixes.keys()

    def unwatch_prefix(self, text: str) -> bool:
        """Whether it was watched; its topics are no more."""
        if self._prefixes.pop(text, None) is None:
            return False
        for name in [name for name in self.places if name.startswith(text)]:
            self.unwatch(name)
        return True

    async def _welcome(self) -> None:
        """Watch what was created meanwhile and is meant by a prefix. Raises Throttled when that becomes too much."""
        came, self._creations = self._registry.came_since(self._creations), self._registry.creations
        for name in came:
            prefix = next((one for one in self._prefixes.values() if name.startswith(one.text)), None)
            if prefix is None or name in self.places or self._registry.known(name) is None:
                continue
            if len(self.places) >= self._most_topics:
                told = f"the prefix {prefix.text}* means more topics than one stream may watch; use longer prefixes"
                raise Throttled(told, {"limit": "max_prefix_topics", "max": self._most_topics})
            topic = await self._registry.find(name)
            self.watch(Place(topic, prefix.view, 0, topic.log_id_hex, prefix.strong))

    # ---- riding ----------------------------------------------------------------------------------

    def take(self, place: Place, batch: Batch) -> bool:
        """See ``Rider``."""
        if self._clogged or self._gone is not None:
            return False
        try:
            self._emit(place, batch)
        except OSError as error:
            self._gone = error
        return self._gone is None and not self._clogged

    def let_go(self, place: Place) -> None:
        """See ``Rider``."""
        if self.places.get(place.name) is place:
            self._behind[place] = None
            self.ear.hear(GO)

    def _emit(self, place: Place, batch: Batch) -> None:
        changed = batch.to_log_id != batch.log_id
        if batch.events:
            self._clogged = not self._outlet.put(batch, place)
            self._beat_at_s = trio.current_time() + self._pace.heartbeat_s
        place.seq, place.first = batch.to_seq, False
        place.told = batch.caught_up
        if changed:
            place.log_id = batch.to_log_id

    # ---- life ------------------------------------------------------------------------------------

    async def run(self, *, lasting: bool = False) -> None:
        """Until nothing is left to be watched, or for ever if ``lasting``.

        Raises OSError when the client is gone, SlowConsumer, what ``over`` tells, and what reading raises.
        """
        self._beat_at_s = trio.current_time() + self._pace.heartbeat_s
        while True:
            self._check()
            if self._clogged:
                await self._drain()
            elif self._prefixes and self._creations != self._registry.creations:
                await self._welcome()
            elif self._behind:
                await self._catch_up()
            elif not (self.places or self._prefixes or lasting):
                return
            else:
                await self._park()

    def close(self) -> None:
        """Watch nothing any more; the places stay where they are."""
        self.ear.close()
        for place in self.places.values():
            self._fans.leave(place, self._dialect)

    def _check(self) -> None:
        if self._gone is not None:
            raise self._gone
        if (error := self._over()) is not None:
            raise error

    async def _park(self) -> None:
        with trio.move_on_at(self._beat_at_s):
            await self.ear.wait()
            return
        if trio.current_time() >= self._beat_at_s:
            self._clogged = not self._outlet.beat()
            self._beat_at_s = trio.current_time() + self._pace.heartbeat_s

    async def _drain(self) -> None:
        deadline_s = trio.current_time() + self._pace.slow_s
        while self._clogged:
            with trio.move_on_at(min(deadline_s, trio.current_time() + LOOK_EVERY_S)):
                await self._outlet.drained()
                self._clogged = False
            if self._clogged:
                self._check()
                if trio.current_time() >= deadline_s:
                    raise SlowConsumer

    async def _catch_up(self) -> None:
        """One turn for each topic that it is behind with."""
        for place in sorted(self._behind, key=lambda place: place.name):
            for _ in range(PAGES_IN_TURN):
                if place not in self._behind:
                    break
                await self._advance(place)
                self._check()
                if self._clogged:
                    await self._drain()
                else:
                    await trio.lowlevel.checkpoint()

    async def _advance(self, place: Place) -> None:
        """One page read alone; caught up, it joins the others."""
        topic = place.topic
        await topic.expire()
        until: int | None = None
        if place.strong:
            until = topic.head
            await self._fans.synced(topic)
        if place not in self._behind:
            return
        if topic.about.deleted:
            self.unwatch(place.name)
            self._clogged = not self._outlet.gone(place.name)
            return
        found = read(topic, place.seq, place.log_id, place.view, until)
        self._emit(place, batch_of(place, found, self._dialect))
        if found.caught_up:
            del self._behind[place]
            self._fans.join(place, self, self._dialect)
