"""Acks, nacks and extensions: only who holds a record under the lease that it names decides over it. Pure."""

from __future__ import annotations

from ...actors.mailbox import Envelope
from ...errors import MirrordError
from .books import Books, Pending
from .leases import Lease
from .messages import Ack, Done, Extend, Message, Settling


class Settler:
    """One queue's."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def settle(self, envelope: Envelope[Message], message: Settling) -> None:
        """Take one message; it is answered now, or when what it needs is committed."""
        books = self._books
        found = books.leases.match(message.node, message.seqs, message.numbers, books.stock)
        mine = [lease for lease in found if lease is not None]
        skipped = [seq for seq, lease in zip(message.seqs, found, strict=True) if lease is None]
        if not mine:
            envelope.answer(self._done([], skipped))
        elif isinstance(message, Ack):
            self._ack(envelope, mine, skipped)
        elif isinstance(message, Extend):
            self._extend(envelope, mine, skipped, message.lease_ms)
        else:
            self._nack(envelope, mine, skipped, message.delay_ms)

    def _done(self, leases: list[Lease], skipped: list[int], deadlines: dict[int, int] | None = None) -> Done:
        return Done(len(leases), skipped, self._books.ready, self._books.in_flight, deadlines or {})

    def _ack(self, envelope: Envelope[Message], mine: list[Lease], skipped: list[int]) -> None:
        books = self._books
        seqs = tuple(lease.seq for lease in mine)
        for lease in mine:
            books.leases.leave(lease)

        def then(gone: frozenset[int]) -> None:
            books.crew.ended(mine)
            done = [lease for lease in mine if lease.seq in gone]
            envelope.answer(self._done(done, [*skipped, *(seq for seq in seqs if seq not in gone)]))

        def refused(error: MirrordError) -> None:
            books.crew.ended(books.leases.stay(seqs, books.stock, books.now.ms))
            envelope.refuse(error)

        ends = tuple(books.marks.no_leases(seqs)) if books.config.leases_durable else ()
        books.pending.append(Pending(seqs, ends, then, refused))

    def _nack(self, envelope: Envelope[Message], mine: list[Lease], skipped: list[int], delay_ms: int) -> None:
        books = self._books
        due_ms = books.now.ms + delay_ms if delay_ms else 0
        for lease in mine:
            books.leases.release(lease, due_ms)
        books.crew.ended(mine)
        marks = (books.mark_of_ended(lease, due_ms) for lease in mine)
        books.keep(marks, lambda _: envelope.answer(self._done(mine, skipped)), envelope.refuse)

    def _extend(self, envelope: Envelope[Message], mine: list[Lease], skipped: list[int], lease_ms: int) -> None:
        books = self._books
        until_ms = books.now.ms + lease_ms
        deadlines = {lease.seq: books.now.wall(until_ms) for lease in mine}
        for lease in mine:
            books.leases.extend(lease, until_ms)
        marks = (books.marks.lease(lease, deadlines[lease.seq]) for lease in mine)
        books.keep(marks, lambda _: envelope.answer(self._done(mine, skipped, deadlines)), envelope.refuse)
