"""Workers of a run with queues: they claim, dawdle, acknowledge in time, too late or not at all, and remember."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import trio
from msgspec import Struct

from ..errors import MirrordError
from ..node import Node
from ..queues.leasing.leases import Claimant
from ..queues.leasing.messages import Ack, Claim, Claimed, Done, Given, Nack
from ..topics.read.face import View
from ..topics.read.reading import read
from ..topics.topic import Topic
from .removals import place_of
from .world.place import Place
from .world.story import Story

LEASE_MS = 400
ANSWER_S = 3.0
IDLE_S = 0.15
NAME = "worker"  # all are called so: what keeps them apart are their leases
MOST = 3
_ONE = View(limit=1, max_bytes=1, origin=True)
_json = msgspec.json.Decoder(dict[str, Any]).decode


class Held(Struct):
    """A lease that a worker was told of. ``since`` when the process that granted it lives."""

    number: int
    until: float
    since: float
    over: bool = False


class Workers:
    """All workers of one run, at the home of its queues. Reads what they are told against what they were told."""

    def __init__(self, home: Place, story: Story, topics: Sequence[str], rng: Random) -> None:
        self._home, self._story, self._topics, self._rng = home, story, topics, rng
        self._held: dict[tuple[str, int], Held] = {}
        self._done: set[tuple[int, int]] = set()  # places of records that were acknowledged

    async def work(self, until: float) -> None:
        """One worker, until that moment."""
        while trio.current_time() < until:
            node, worked = self._home.node, False
            if node is not None:
                with self._home.bound(ANSWER_S):
                    worked = await self._round(node, self._rng.choice(self._topics))
            await trio.sleep(0.01 if worked else IDLE_S)

    async def _round(self, node: Node, name: str) -> bool:
        since = self._home.up_since
        try:
            topic, _ = await node.registry.ensure(name)
            claimed: Claimed = await node.queues.ask(topic, Claim(Claimant(NAME, MOST, LEASE_MS)))
            for given in claimed.given:
                self._was_given(topic, given, since)
            for given in claimed.given:
                await trio.sleep(self._rng.choice((0.0, 0.05, 0.3, 0.7)))
                await self._settle(node, topic, given, since)
        except MirrordError as error:
            self._story.note("not worked", name, error.code)
            return False
        return bool(claimed.given)

    def _was_given(self, topic: Topic, given: Given, since: float) -> None:
        now, key = trio.current_time(), (topic.log_id_hex + topic.topic, given.job.seq)
        before = self._held.get(key)
        where = f"{topic.topic} {given.job.seq}"
        self._story.note("claimed", where, given.number, given.deliveries)
        if before is not None and not before.over and before.since == since and now < before.until - 0.01:
            self._story.fail("always_leased_once", f"{where}: lease {given.number} while {before.number} stands")
        self._held[key] = Held(given.number, now + LEASE_MS / 1000, since)
        if _place(topic, given.job.seq) in self._done:
            self._story.fail("always_done_once", f"{where}: acknowledged, and given out again")

    async def _settle(self, node: Node, topic: Topic, given: Given, since: float) -> None:
        seq, key = given.job.seq, (topic.log_id_hex + topic.topic, given.job.seq)
        where, place = f"{topic.topic} {seq}", _place(topic, seq)
        if self._rng.random() < 0.2:
            held = self._held[key]
            held.over = held.over or held.number == given.number  # another one may be told of it before we are
            await node.queues.ask(topic, Nack(NAME, [seq], [given.number], self._rng.choice((0, 100))))
            return
        if place is not None:
            self._story.ordered.add(place)
            self._story.let_go.add(str(given.job.data))
        done: Done = await node.queues.ask(topic, Ack(NAME, [seq], [given.number]))
        held = self._held[key]
        if done.done and held.number != given.number and held.since == since:
            self._story.fail("always_fenced", f"{where}: lease {given.number} settled what lease {held.number} holds")
        if done.done:
            held.over = True
            self._story.note("done", where)
            self._story.counts["jobs done"] += 1
            if place is not None:
                self._done.add(place)
                self._story.remove(self._home.name, place, everywhere=True)


def _place(topic: Topic, seq: int) -> tuple[int, int] | None:
    """Where the record stands in its strand; None when it is not shown any more."""
    page = read(topic, seq - 1, None, _ONE)
    shown = [_json(text.encode()) for text in page.records]
    return place_of(shown[0]) if shown and shown[0]["$seq"] == seq else None
