"""Has committed what a queue's books hold ready: settlements of many callers are one commit, told when it stands."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Struct

from ..actors.mailbox import Envelope
from ..errors import MirrordError
from ..storage.store import Change
from ..topics.messages import Commit, Erase, Erased
from .leasing.books import Books, Pending

if TYPE_CHECKING:
    from .queue import Queue

MOST_ERASED = 10_000  # seqs in one commit


class UnderWay(Struct, frozen=True):
    """A commit that is asked for: who waits for it, and what it erases."""

    pending: list[Pending]
    seqs: tuple[int, ...]
    books: Books
    envelope: Envelope[Any]


class Clerk:
    """One queue's. ``live`` is a task of the queue's."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._under_way: UnderWay | None = None
        self._due = trio.Event()

    async def live(self) -> None:
        """Wait for what is on its way to the disk, and tell those who wait for it."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            while self._commit():
                if self._under_way is not None:
                    with suppress(MirrordError):
                        await self._under_way.envelope.wait()

    def begin(self) -> None:
        """A life begins: whoever waited for a commit was told that the one before ended."""
        self._under_way = None

    def look(self) -> None:
        """There may be something to commit."""
        if self._commit():
            self._due.set()

    def _commit(self) -> bool:
        """Have committed what must be, all that waits at once. Whether that is on its way; else nothing was to be
        done, or it stands already and all were told."""
        self.hear()
        while self._under_way is None and self._queue.books.pending:
            pending = self._first_pending()
            seqs = tuple([seq for one in pending for seq in one.seqs])
            envelope = self._erase(seqs, tuple([change for one in pending for change in one.changes]))
            self._under_way = UnderWay(pending, seqs, self._queue.books, envelope)
            self.hear()
        return self._under_way is not None

    def _first_pending(self) -> list[Pending]:
        books = self._queue.books
        taken, seqs, waiting = 0, 0, books.pending
        while taken < len(waiting) and seqs < MOST_ERASED:
            seqs += len(waiting[taken].seqs)
            taken += 1
        books.pending = waiting[taken:]
        return waiting[:taken]

    def hear(self) -> None:
        """If the commit that was on its way stands by now, or was refused, tell those who wait for it. The topic has
        counted already what went: so nobody may look whether more is gone before this is heard."""
        done = self._under_way
        if done is None or not done.envelope.done:
            return
        self._under_way = None
        self._queue.look_at_clock()
        try:
            told: Erased | None = done.envelope.told()
        except MirrordError as error:
            for one in done.pending:
                one.refused(error)
            return
        gone = frozenset(told.seqs) if told is not None else frozenset[int]()
        done.books.removed += len(gone)
        done.books.leases.left(done.seqs)  # all of them, before the first is told how many are ready
        for one in done.pending:
            one.then(gone)
        if self._queue.books.crew.hungry:
            self._queue.look()

    def _erase(self, seqs: tuple[int, ...], changes: tuple[Change, ...]) -> Envelope[Any]:
        """Ask for it. Marks are refused by a log that took the place of theirs."""
        topic, log_id = self._queue.topic, self._queue.books.log_id
        if not seqs or topic.log_id_hex != log_id:
            return topic.mailbox.put(Commit(changes, log_id), bounded_elsewhere=True)
        travels = self._queue.ground.mirrored(topic.topic)
        return topic.mailbox.put(Erase(seqs, changes, travels), bounded_elsewhere=True)
