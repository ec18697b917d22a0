"""The one task that serves all fans: rounds of one page for everybody who is due, the most important topics first.

A fan rests after its page for as long as that took, so that watchers never have more than half of the node's
time; what is appended meanwhile shares the next page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import trio

from ..actors.bell import Ear
from ..clock import Clock
from ..errors import ActorDied, MirrordError
from ..topics.topic import Topic
from .dialect import Dialect
from .fan import Fan, FanKey
from .place import Batch, Place, Rider

HANDED_AT_ONCE = 64  # riders that are handed a batch before others of the node get a turn
REST_SHARE = 1.0
LEAST_REST_S, MOST_REST_S = 0.0005, 0.05


class Fans:
    """An actor. ``sync`` returns when everything committed before is safe from power loss."""

    name = "streams"

    def __init__(self, clock: Clock, sync: Callable[[], Awaitable[None]]) -> None:
        self._clock, self._sync = clock, sync
        self._fans: dict[FanKey, Fan] = {}
        self._keys: dict[Fan, FanKey] = {}
        self._proving: set[Fan] = set()
        self._ear = Ear()
        self._alive = False
        self.encoded = self.handed = 0

    # ---- what streams call -----------------------------------------------------------------------

    def join(self, place: Place, rider: Rider, dialect: Dialect) -> None:
        """Ride from the place on. Raises ActorDied while this actor is dead."""
        if not self._alive:
            raise ActorDied("the streams of this node are being restarted; come again with your last cursor")
        key = FanKey(place.topic.tid, place.view, dialect, place.strong)
        fan = self._fans.get(key)
        if fan is None:
            fan = self._fans[key] = Fan(place.topic, place.view, dialect, strong=place.strong)
            self._keys[fan] = key
            place.topic.bell.attach(self._ear, fan)
        fan.join(place, rider)
        if fan.due or (fan.strong and fan.visible < place.topic.head):
            self._ear.hear(fan)

    def leave(self, place: Place, dialect: Dialect) -> None:
        """Ride no more; fine for who does not."""
        fan = self._fans.get(FanKey(place.topic.tid, place.view, dialect, place.strong))
        if fan is not None:
            fan.leave(place)
            self._close_if_empty(fan)

    def _close_if_empty(self, fan: Fan) -> None:
        if not len(fan) and fan in self._keys:
            del self._fans[self._keys.pop(fan)]
            fan.topic.bell.detach(self._ear, fan)

    # ---- life ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Serve until cancelled; whoever rides is let go at the end."""
        self._alive = True
        try:
            async with trio.open_nursery() as nursery:
                resting: dict[Fan, None] = {}
                while True:
                    await self._round(await self._due(resting), resting, nursery)
        finally:
            self._alive = False
            for fan in list(self._keys):
                self._dissolve(fan)

    async def _due(self, resting: dict[Fan, None]) -> list[Fan]:
        """Sleep until somebody's bell rang or a rest is over; fans with something to do, the most important first."""
        until_s = min((fan.rest_until_s for fan in resting), default=inf)
        with trio.move_on_at(until_s):
            for token in await self._ear.wait():
                if isinstance(token, Fan) and token in self._keys:
                    resting[token] = None
        now = trio.current_time()
        ready = [fan for fan in resting if fan.rest_until_s <= now]
        for fan in ready:
            del resting[fan]
        now_ms = self._clock.wall_ms()
        return sorted((fan for fan in ready if fan in self._keys), key=lambda fan: -fan.topic.priority(now_ms))

    async def _round(self, fans: list[Fan], resting: dict[Fan, None], nursery: trio.Nursery) -> None:
        for fan in fans:
            began_s = trio.current_time()
            if fan.topic.about.deleted:
                self._dissolve(fan)
                continue
            if fan.strong and fan.shown != (fan.topic.head, fan.topic.log_id_hex):
                self._prove(fan, nursery)
            try:
                if await self._serve(fan):
                    resting[fan] = None
            except MirrordError:  # it cannot be read: each will meet the fault by itself, and tell its client
                self._dissolve(fan)
            rest_s = REST_SHARE * (trio.current_time() - began_s)
            fan.rest_until_s = trio.current_time() + min(rest_s, MOST_REST_S) if rest_s > LEAST_REST_S else 0.0
        await trio.lowlevel.checkpoint()

    async def _serve(self, fan: Fan) -> bool:
        """One page; whether there is more to do."""
        fan.topic.last_read_ms = self._clock.wall_ms()
        found = fan.next_batch()
        if found is None:
            return False
        self.encoded += 1
        batch, riders = found
        took = await self._hand(fan, batch, riders)
        fan.settle(batch, took)
        self._close_if_empty(fan)
        return fan in self._keys and fan.due

    async def _hand(self, fan: Fan, batch: Batch, riders: dict[Place, Rider]) -> dict[Place, Rider]:
        took: dict[Place, Rider] = {}
        for count, (place, rider) in enumerate(riders.items(), 1):
            if place not in fan:
                continue
            if rider.take(place, batch):
                took[place] = rider
            else:
                fan.leave(place)
                rider.let_go(place)
            if not count % HANDED_AT_ONCE:
                await trio.lowlevel.checkpoint()
        self.handed += len(took)
        return took

    def _dissolve(self, fan: Fan) -> None:
        for place, rider in fan.riders():
            fan.leave(place)
            rider.let_go(place)
        self._close_if_empty(fan)

    # ---- only what is synced ---------------------------------------------------------------------

    def _prove(self, fan: Fan, nursery: trio.Nursery) -> None:
        if fan not in self._proving:
            self._proving.add(fan)
            nursery.start_soon(self._proven, fan)

    async def _proven(self, fan: Fan) -> None:
        topic = fan.topic
        wanted = (topic.head, topic.log_id_hex)
        try:
            await self.synced(topic)
            fan.shown = wanted
        except MirrordError:
            self._dissolve(fan)
        finally:
            self._proving.discard(fan)
            self._ear.hear(fan)

    async def synced(self, topic: Topic) -> None:
        """What the topic shows now survives power loss, as far as its class promises to keep anything.

        Raises StorageFailed.
        """
        if topic.config.durability not in ("fsync", "ephemeral"):
            await self._sync()

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        return {
            "fans": len(self._keys),
            "riders": sum(len(fan) for fan in self._keys),
            "pages_encoded": self.encoded,
            "pages_handed": self.handed,
        }
