"""The queue's task: takes all that waits, lets the foreman decide, has it committed in the topic's turn, answers.

Three small tasks beside it: one hears the topic's bell, one has settlements committed (``clerk.py``), one carries dead
letters over (``burial.py``). The lease table is in memory; with ``leases_durable`` it lies in marks as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf

import trio

from ..actors.bell import Ear
from ..actors.mailbox import Envelope, Mailbox
from ..errors import ActorDied, HomeUnreachable, MirrordError, NotReady, TopicNotFound
from ..topics.messages import Commit
from ..topics.topic import Topic
from .burial import Burial
from .clerk import Clerk
from .ground import Ground, home_of
from .leasing.books import Books, Moment
from .leasing.foreman import Foreman
from .leasing.leases import Lease, Leases
from .leasing.marks import Marks
from .leasing.messages import Ack, Claim, Counts, Extend, Look, Message, Nack
from .leasing.stock import Stock

MOST_AT_ONCE = 256
AGAIN_S = 1.0  # after a disk refused, and while peers may still tell what was settled


class Queue:
    """One queue of this node. ``number``: the last lease number that may have been given out before. ``left`` is called
    when it ends because its topic was deleted."""

    def __init__(self, topic: Topic, ground: Ground, number: int, left: Callable[[Queue], None]) -> None:
        self.name = f"queue:{topic.topic}"
        self.topic = topic
        self.mailbox: Mailbox[Message] = Mailbox(ground.room)
        self.over = False  # the topic was deleted: this object does nothing more
        self.ground, self._left = ground, left
        self._sure_in = 0  # the life in which peers have told all that was settled
        self._looking = self._in_doubt = False
        self.clerk, self.burial = Clerk(self), Burial(self)
        self._make_books(number)

    # ---- life ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """One life: read back what outlives a restart, then take turns. Ends when the topic was deleted."""
        self.clerk.begin()
        try:
            async with trio.open_nursery() as nursery:
                await self._begin()
                nursery.start_soon(self._hear)
                nursery.start_soon(self.clerk.live)
                nursery.start_soon(self.burial.live)
                self.mailbox.at_once = self._take_lone
                while not self.topic.about.deleted:
                    await self._turn(await self._next())
                self.over = True
                nursery.cancel_scope.cancel()
        finally:
            self.mailbox.at_once = None
            self.foreman.refuse_all(self._why_over())
        self._left(self)

    def _why_over(self) -> MirrordError:
        if self.topic.about.deleted:
            return TopicNotFound(f"topic {self.topic.topic!r} was deleted", {"topic": self.topic.topic})
        return ActorDied(f"{self.name} stopped; connect again")

    def _make_books(self, number: int) -> None:
        topic = self.topic
        log_id, leases = topic.log_id_hex, Leases(number, self.ground.most_leases)
        books = self.books = Books(
            Stock(topic), Marks(topic.tid, log_id), leases, lambda: topic.count, self.ground.most_jitter_ms,
            log_id, topic.removed,
        )  # fmt: skip
        self.foreman = Foreman(books)
        self.look_at_clock()
        kept = books.marks.read(topic.reads.marks(books.marks.prefix))
        books.dead_lettered = kept.dead_lettered
        moved = self.foreman.moved = [seq for seq in kept.moved if topic.is_live(seq)]
        for seq in moved:
            leases.restore(Lease(seq, "", 0, 0, 0), leaving=True)
        goes_on = {one.seq for one in kept.leases if books.config.leases_durable and topic.is_live(one.seq)} - set(
            moved
        )
        for lease in kept.leases:
            if lease.seq in goes_on:
                lease.until_ms += books.now.ms - books.now.wall_ms
                leases.restore(lease)
        over = {one.seq for one in kept.leases} - goes_on
        self._ends = [*kept.stale, *books.marks.no_leases(over), *books.marks.not_moved(set(kept.moved) - set(moved))]

    async def _begin(self) -> None:
        await self.topic.mailbox.ask(Commit(()))  # what an earlier life left on its way stands or is refused by now
        self.foreman.refuse_all(self._why_over())
        self._in_doubt = False
        self._make_books(self.number)
        if self._ends:
            await self.topic.mailbox.ask(Commit(tuple(self._ends)))
        self.burial.look()

    # ---- turns -----------------------------------------------------------------------------------

    async def _next(self) -> list[Envelope[Message]]:
        """All that waits; nothing, when a moment came at which something is due."""
        due_ms = self.foreman.next_ms()
        due_s = (due_ms - self._moment().ms + 0.5) / 1000 if due_ms is not None else inf
        with trio.move_on_after(max(0.0, min(due_s, AGAIN_S) if self._is_unsure() else due_s)):
            return await self.mailbox.batch(MOST_AT_ONCE)
        return []

    async def _turn(self, envelopes: Sequence[Envelope[Message]]) -> None:
        self._looking = False
        await self.topic.expire()
        if self._in_doubt or (self.topic.log_id_hex != self.books.log_id and not self.topic.about.deleted):
            await self._begin()
        fault = self._take(envelopes)
        while fault is None and self.foreman.serve():
            self._wake()
            await trio.lowlevel.checkpoint()
        self._wake()

    def _take_lone(self, envelope: Envelope[Message]) -> bool:
        """A claim or a settlement while the queue sleeps, decided where it was asked: that spares the rounds of the
        event loop until its task and the one that commits have had their turns. Not where the time or push streams
        have a say, for the task sleeps until the moment that it knows of."""
        topic, books = self.topic, self.books
        if not isinstance(envelope.message, Claim | Ack | Nack | Extend) or books.crew or topic.config.claim_jitter_ms:
            return False
        if self._in_doubt or topic.about.deleted or topic.log_id_hex != books.log_id or topic.has_expired():
            return False
        self._in_doubt = True
        if self._take((envelope,)) is None:
            self.foreman.serve()
        self._wake()
        self._in_doubt = False
        return True

    def _take(self, envelopes: Iterable[Envelope[Message]]) -> MirrordError | None:
        """Each is decided, waits for ``serve``, or is refused; why none may be served."""
        self._make_current()
        fault = self._may_not_grant()
        for envelope in envelopes:
            if fault is not None and (isinstance(fault, HomeUnreachable) or isinstance(envelope.message, Claim)):
                envelope.refuse(fault)
            else:
                self.foreman.on(envelope)
        if isinstance(fault, HomeUnreachable):
            self.foreman.refuse_all(fault)
        return fault

    def _make_current(self) -> None:
        """Leases whose time is over, and those of records that went from the topic, are none."""
        self.clerk.hear()
        self.look_at_clock()
        self.books.elapse()
        if self.topic.removed != self.books.removed:
            self.books.removed = self.topic.removed
            self.books.purge()

    def _may_not_grant(self) -> MirrordError | None:
        home, here = home_of(self.topic, self.ground.node), self.ground.node
        if home != here:
            return HomeUnreachable(f"{home} grants the leases of {self.topic.topic}, not {here}", {"home": home})
        if self._is_unsure():
            told = "this node lost what it knew; it asks its peers what was settled before it grants leases"
            return NotReady(told, {"topic": self.topic.topic}, AGAIN_S)
        return None

    def _is_unsure(self) -> bool:
        life = self.ground.life
        if life.reason is None or self._sure_in == life.record.number:
            return False
        if self.ground.unsure(self.topic.topic):
            return True
        self._sure_in = life.record.number
        return False

    def _moment(self) -> Moment:
        clock = self.ground.clock
        return Moment(int(clock.monotonic() * 1000), clock.wall_ms())

    def look_at_clock(self) -> None:
        self.books.now, self.books.config = self._moment(), self.topic.config

    def _wake(self) -> None:
        self.clerk.look()
        if self.foreman.letters:
            self.burial.look()

    def look(self) -> None:
        if not self._looking:
            self._looking = True
            self.mailbox.put(Look(), bounded_elsewhere=True)

    async def _hear(self) -> None:
        """The topic has more: somebody who waits may be served. Or it was deleted."""
        ear = self.topic.bell.attach(Ear())
        try:
            while True:
                await ear.wait()
                if self.books.crew or self.topic.about.deleted:
                    self.look()
        finally:
            ear.close()

    # ---- numbers ---------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """The last lease number that was given out."""
        return self.books.leases.number

    def counts(self) -> Counts:
        """As of now."""
        self._make_current()
        if self.books.crew.hungry:
            self.look()
        return self.foreman.counts()
