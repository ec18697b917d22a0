"""Dead letters: records that had their last delivery are carried over to the topic that the queue names, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import MirrordError
from ..records.batch import batches_of
from ..topics.messages import Append
from .leasing.books import Pending
from .leasing.foreman import Foreman
from .leasing.letters import letter

if TYPE_CHECKING:
    from .queue import Queue

MOST_AT_ONCE = 256
AGAIN_S = 1.0  # after a disk refused
BURIED_S = 1.0  # a claim waits so long for the dead letters that it found


class Burial:
    """One queue's. ``live`` is a task of the queue's."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._letters, self._buried = trio.Event(), trio.Event()

    def look(self) -> None:
        """There may be dead letters."""
        self._letters.set()

    async def live(self) -> None:
        """First a copy with a mark, then the deletion with its end: so a crash in between neither loses nor doubles
        one."""
        while True:
            self._buried.set()
            await self._letters.wait()
            self._letters, self._buried = trio.Event(), trio.Event()
            while (foreman := self._queue.foreman).moved or foreman.letters:
                await (self._copy(foreman) if foreman.letters else self._let_go(foreman))
            self._queue.look()

    async def over(self) -> None:
        """Until the dead letters that were found are where they belong; not longer than a moment, for their topic may
        refuse them."""
        with trio.move_on_after(BURIED_S):
            while self._queue.foreman.letters or self._queue.foreman.moved or not self._buried.is_set():
                await self._buried.wait()
                await trio.lowlevel.checkpoint()

    async def _copy(self, foreman: Foreman) -> None:
        letters, foreman.letters = foreman.letters[:MOST_AT_ONCE], foreman.letters[MOST_AT_ONCE:]
        books, topic, seqs = foreman.books, self._queue.topic, [one.job.seq for one in letters]
        drafts = [letter(one.job, topic.topic, one.deliveries, self._origin) for one in letters]
        # What dies with the process needs no mark: neither the record nor the mark would be found again.
        marks = books.marks.moved(seqs) if topic.config.durability != "ephemeral" else ()
        try:
            dead, _ = await self._queue.ground.registry.ensure(topic.config.dead_letter or "")
            await dead.kept(Append(batches_of(drafts), changes=marks))
        except MirrordError:  # it is full, or the disk refuses: they stay, and later claims try again
            self._queue.look_at_clock()
            books.leases.stay(seqs, books.stock, books.now.ms, books.now.ms + int(AGAIN_S * 1000))
        else:
            foreman.moved += seqs

    async def _let_go(self, foreman: Foreman) -> None:
        """Have the clerk delete what was copied, with the marks that tell so."""
        books, seqs, told = foreman.books, tuple(foreman.moved), trio.Event()
        count = books.dead_lettered + len(seqs)

        def then(_: object) -> None:
            foreman.moved = foreman.moved[len(seqs) :]
            books.dead_lettered = count
            told.set()

        books.pending.append(Pending(seqs, books.marks.gone(seqs, count), then, lambda _: told.set()))
        self._queue.clerk.look()
        await told.wait()
        if foreman.moved:  # the disk refused
            await trio.sleep(AGAIN_S)

    def _origin(self, strand: int) -> str:
        return self._queue.topic.face(strand).origin
