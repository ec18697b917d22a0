"""One router's task: reads its source behind its position, hands copies and the new position to the destination as one
append, sleeps until either topic rings. What it may copy is decided in ``copying.py``.
"""

from __future__ import annotations

from math import inf
from typing import Any

import trio

from ..actors.bell import Bell, Ear
from ..errors import BatchTooLarge, MirrordError, RecordTooLarge, TopicFull
from ..records.batch import batches_of
from ..storage.store import Change, PutMark
from ..storage.turns import LAST
from ..topics.messages import Append, Commit, Miss
from ..topics.topic import Topic
from .copying import MOST_RECORDS, Batch, Rule
from .definition import Definition
from .ground import Ground
from .memory import Memory
from .position import DEFINED, ROUTED, Position

RETRY_S = 1.0  # what refuses is asked again so often
ROOM_S = 0.1  # a full destination is asked again so often, or when it rings
PASSED_S = 1.0  # a position that moved without a copy is committed so long after
PASSED_MOST = 20_000  # or when so many records were passed over
TOO_MUCH = (TopicFull, BatchTooLarge, RecordTooLarge)


class Router:
    """One router. ``position`` is what is committed, or passed over since."""

    def __init__(self, definition: Definition, ground: Ground) -> None:
        self.name = f"router:{definition.name}"
        self.definition = definition
        self.position = Position()
        self.waiting = ""  # for what it stands still; empty: for nothing
        self.long_paths = 0  # copies that went through more topics than [limits] max_router_hops
        self.bell = Bell()  # rung when the position moved, or when it stands still
        self._ground = ground
        self._most = MOST_RECORDS
        self.refusals = 0  # of a full destination
        self._heard: Ear | None = None  # of it
        self._full: tuple[object, ...] = ()  # what it was when it refused last
        self._passed_since: float | None = None  # when the position moved without a copy, and from where
        self._passed_from = 0
        self._memory = Memory(definition, ground)

    # ---- life ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """One life: read back where it stands, then route for ever."""
        await self._find_place()
        while True:
            source = await self._source()
            ear = source.bell.attach(Ear())
            try:
                await self._follow(source, ear)
            finally:
                ear.close()
                self._hear_no_more()

    async def _follow(self, source: Topic, ear: Ear) -> None:
        """Route until the source is gone."""
        while not source.about.deleted:
            sleep_s = await self._route(source)
            self.bell.ring()
            with trio.move_on_after(sleep_s):
                await ear.wait()
        self._stand("its source")

    async def _route(self, source: Topic) -> float:
        """Everything up to the head, or until the destination refuses; for how many seconds to sleep then."""
        try:
            while source.head > self.position.seq:
                if not source.ready.is_set():
                    source = await self._ground.registry.find(source.topic)
                self.position = await self._memory.learn(await self._there(), self.position)
                if not await self._turn(source):
                    return RETRY_S
                self.waiting = ""
                self._hear_no_more()
                self.bell.ring()
                await trio.lowlevel.checkpoint()
            self.waiting = ""
            return await self._rest()
        except TOO_MUCH as error:
            await self._wait_for_room(error)
        except MirrordError as error:
            self._stand(error.code)
            await trio.sleep(RETRY_S)
            await self._find_place()  # what is in doubt would else be copied twice
        return 0.0

    async def _wait_for_room(self, error: MirrordError) -> None:
        """A full destination: fewer records at once, then the ear, then once more, then sleep."""
        if self._most > 1:
            self._most //= 2
        elif self._heard is None:
            self._stand(f"room in {self.definition.dest} ({error.code})")
            self._heard = (await self._dest()).bell.attach(Ear())
        else:
            self._full = self._room()
            self.refusals += 1
            self.bell.ring()
            with trio.move_on_after(ROOM_S):
                await self._heard.wait()

    def _room(self) -> tuple[object, ...]:
        """Changes when there may be room in the destination."""
        dest = self._ground.registry.known(self.definition.dest)
        return () if dest is None else (dest.removed, dest.config)

    def try_again(self) -> bool:
        """Whether it stands before a full destination where there may be room by now: it looks at once, and
        ``refusals`` tells if there is none."""
        if self._heard is None or self._full == self._room():
            return False
        self._heard.hear(None)
        return True

    def _hear_no_more(self) -> None:
        if self._heard is not None:
            self._heard.close()
            self._heard = None

    def _stand(self, what: str) -> None:
        self.waiting = what
        self.bell.ring()

    async def _rest(self) -> float:
        """At the head: a position that moved without a copy is committed too, some time later."""
        if self._passed_since is None:
            return inf
        left_s = self._passed_since + PASSED_S - self._ground.clock.monotonic()
        if left_s <= 0:
            await self._commit()
            return inf
        return left_s

    # ---- one turn --------------------------------------------------------------------------------

    async def _turn(self, source: Topic) -> bool:
        """Copy or pass over the next records; whether that could be done now."""
        own = source.own_strand
        rule = Rule(
            self.definition, self._ground.life.name, own.descriptor.strand if own is not None else 0, self._most
        )
        batch = rule.batch(source, self.position)
        waits_for = self._memory.waits_for(batch)
        if waits_for:
            self._stand(f"old copies from {', '.join(waits_for)}")
            return False
        if batch.copies or batch.missed:
            await self._give(batch)
            self._most = min(MOST_RECORDS, self._most * 2)
            return True
        self.position = batch.position
        if self._passed_since is None:
            self._passed_since, self._passed_from = self._ground.clock.monotonic(), batch.position.seq
        elif batch.position.seq - self._passed_from >= PASSED_MOST:
            await self._commit()
        return True

    async def _give(self, batch: Batch) -> None:
        """Copies and position in one commit. Raises what the destination refuses with; then nothing of it is kept."""
        dest = await self._dest()
        mark = self._mark(batch.position)
        message = Append(batches_of(batch.copies), changes=mark) if batch.copies else Miss(batch.missed, mark)
        await dest.kept(message)
        self.position, self._passed_since = batch.position, None
        self.long_paths += len(batch.copies) if batch.longest_path > self._ground.most_hops else 0

    async def _commit(self) -> None:
        await self._ground.journal.commit(self._mark(self.position), sync=False, urgent=False, size=64)
        self._passed_since = None

    def _mark(self, position: Position) -> tuple[Change, ...]:
        return (PutMark(ROUTED + self.definition.name, position.encode()),)

    # ---- what stands in the store ----------------------------------------------------------------

    async def _find_place(self) -> None:
        while True:
            if await self._reads_back():
                return
            await trio.sleep(RETRY_S)

    async def _reads_back(self) -> bool:
        """Find where it stands, behind whatever is still on its way into the store; whether that could be done."""
        ground, name = self._ground, self.definition.name
        self._passed_since = None
        try:
            await self.settle()
            packed = ground.store.mark(ROUTED + name)
            if packed is not None:
                self.position = Position.decode(packed)
        except MirrordError as error:
            self._stand(error.code)
            return False
        return True

    async def settle(self) -> None:
        """What it has asked for is committed, or never will be. Raises StorageFailed."""
        dest = self._ground.registry.any(self.definition.dest)
        if dest is not None:
            await dest.mailbox.put(Commit(()), bounded_elsewhere=True).wait()
        await self._ground.journal.commit((), sync=False, urgent=False, size=0, priority=LAST)  # behind all that waits

    async def define(self, definition: Definition) -> None:
        """Keep the definition; a new router begins at its source's head, or at the source's begin with ``backfill``.
        Raises StorageFailed, Throttled."""
        registry, name = self._ground.registry, definition.name
        source, _ = await registry.ensure(definition.source)
        dest, _ = await registry.ensure(definition.dest)
        changes: tuple[Change, ...] = (PutMark(DEFINED + name, definition.encode()),)
        if self._ground.store.mark(ROUTED + name) is None:
            begin = 0 if definition.backfill else source.head
            self.position = Position(begin, life=self._ground.life.record.number, dest_seq=dest.head)
            changes += self._mark(self.position)
        await self._ground.journal.commit(changes, sync=True, urgent=True, size=256)
        self.definition = definition

    async def _source(self) -> Topic:
        """The source, once it is there."""
        registry, name = self._ground.registry, self.definition.source
        ear = registry.bell.attach(Ear())
        try:
            while (source := registry.known(name)) is None:
                await ear.wait()
            return source
        finally:
            ear.close()

    async def _there(self) -> Topic | None:
        """The destination, unless it is yet to be made."""
        return None if self._ground.registry.known(self.definition.dest) is None else await self._dest()

    async def _dest(self) -> Topic:
        dest, _ = await self._ground.registry.ensure(self.definition.dest)
        return dest

    # ---- for people ------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Records of the source that it has not looked at."""
        source = self._ground.registry.known(self.definition.source)
        return max(0, source.head - self.position.seq) if source is not None else 0

    @property
    def state(self) -> str:
        """``caught-up``, ``routing``, or ``waiting`` (for what, says ``waiting``)."""
        return "waiting" if self.waiting else "routing" if self.lag else "caught-up"

    def statistics(self) -> dict[str, Any]:
        """Numbers for metrics, lists and answers."""
        told = {
            "state": self.state,
            "lag": self.lag,
            "forwarded_total": self.position.copied,
            "missed_total": self.position.missed,
            "long_paths_total": self.long_paths,
        }
        return told | ({"waiting_for": self.waiting} if self.waiting else {})
