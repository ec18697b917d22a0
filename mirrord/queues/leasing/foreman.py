"""What a queue decides: who gets which record, at once or when claims have gathered for a while. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from ...actors.mailbox import Envelope
from ...errors import MirrordError
from ...storage.store import Change
from .books import Books, nobody_waits
from .leases import Claimant, Lease, share
from .messages import Attach, Claim, Claimed, Counts, Detach, Given, Look, Message, Worker
from .settler import Settler
from .stock import Job

MOST_SHARED = 10_000  # records given out at one stroke
AGAIN_MS = 1000  # a record whose lease could not be written down is claimable again after it
Ask = tuple[Envelope[Message], Claimant]


class Letter(Struct, frozen=True):
    """A record that had its last delivery."""

    job: Job
    deliveries: int


class Foreman:
    """One queue's decisions, between two waits."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._settler = Settler(books)
        self.letters: list[Letter] = []
        self.moved: list[int] = []  # copied to the dead letters, to be deleted
        self._claims: deque[Ask] = deque()
        self._window_ms: int | None = None  # until when claims gather

    # ---- what is said ----------------------------------------------------------------------------

    def on(self, envelope: Envelope[Message]) -> None:
        """Take one message. It is answered now, by ``serve``, or when what it needs is committed."""
        match envelope.message:
            case Claim(claimant):
                self._claims.append((envelope, claimant))
            case Attach(claimant):
                envelope.answer(self.books.crew.attach(claimant))
            case Detach(worker):
                self._detach(worker)
                envelope.answer(None)
            case Look():
                envelope.answer(None)
            case message:
                self._settler.settle(envelope, message)

    def _detach(self, worker: Worker) -> None:
        books = self.books
        leases = books.leases
        held = [leases.held[seq] for seq in sorted(books.crew.detach(worker)) if seq in leases.held]
        for lease in held:
            leases.release(lease)
        books.keep((books.mark_of_ended(lease) for lease in held), nobody_waits, nobody_waits)

    # ---- giving out ------------------------------------------------------------------------------

    def serve(self) -> bool:
        """Give out what may be given now. True: there is more to do, after others had their turn."""
        books = self.books
        if jitter_ms := books.jitter_ms:
            if self._window_ms is None and (self._claims or (books.crew.hungry and books.ready)):
                self._window_ms = books.now.ms + jitter_ms
            if self._window_ms is not None and books.now.ms >= self._window_ms:
                claims, self._claims, self._window_ms = list(self._claims), deque(), None
                self._share_out(claims, self._first_in_line())
            return False
        self._window_ms = None
        if self._claims:
            self._share_out([self._claims.popleft()], [])
            return bool(self._claims) or books.crew.hungry
        workers = self._first_in_line()
        return self._share_out([], workers) if workers else False

    def _first_in_line(self) -> list[Worker]:
        books = self.books
        return books.crew.first(min(books.ready, MOST_SHARED)) if books.crew.hungry else []

    def _share_out(self, claims: Sequence[Ask], workers: Sequence[Worker]) -> bool:
        """Draw what they want and can have, and share it round-robin. Whether anything was given."""
        books, config = self.books, self.books.config
        wants = [claimant for _, claimant in claims] + [worker.wants for worker in workers]
        limit = min(sum(want.most for want in wants), MOST_SHARED)
        drawn = books.leases.draw(limit, books.stock, config.max_deliveries if config.dead_letter else 0)
        jobs = books.stock.jobs([seq for seq, _ in (*drawn.ready, *drawn.spent)])
        self._set_aside(drawn.spent, jobs)
        ready = [one for one in drawn.ready if one[0] in jobs]
        shares = share(ready, wants)
        for (envelope, claimant), part in zip(claims, shares, strict=False):
            self._hand_over(self._lease(part, claimant, jobs), envelope)
        for worker, part in zip(workers, shares[len(claims) :], strict=True):
            self._supply(worker, self._lease(part, worker.claimant, jobs))
        return bool(ready)

    def _set_aside(self, spent: list[tuple[int, int]], jobs: dict[int, Job]) -> None:
        self.books.leases.left(seq for seq, _ in spent if seq not in jobs)
        self.letters += [Letter(jobs[seq], deliveries) for seq, deliveries in spent if seq in jobs]

    def _lease(self, part: list[tuple[int, int]], to: Claimant, jobs: dict[int, Job]) -> list[tuple[Lease, Given]]:
        leased: list[tuple[Lease, Given]] = []
        books = self.books
        for one in sorted(part):
            lease = books.leases.give(one, to, books.now.ms)
            deadline = books.now.wall(lease.until_ms)
            leased.append((lease, Given(jobs[lease.seq], lease.number, deadline, lease.deliveries)))
        return leased

    def _hand_over(self, leased: list[tuple[Lease, Given]], envelope: Envelope[Message]) -> None:
        def refused(error: MirrordError) -> None:
            self._take_back(leased)
            envelope.refuse(error)

        given = [one for _, one in leased]
        self.books.keep(self._marks(leased), lambda _: envelope.answer(Claimed(given, self.books.ready)), refused)

    def _supply(self, worker: Worker, leased: list[tuple[Lease, Given]]) -> None:
        if leased:
            given = [one for _, one in leased]
            self.books.crew.holds(worker, [lease for lease, _ in leased])
            self.books.keep(self._marks(leased), lambda _: worker.hand(given), lambda _: self._take_back(leased))

    def _marks(self, leased: list[tuple[Lease, Given]]) -> list[Change]:
        durable = self.books.config.leases_durable
        return [self.books.marks.lease(lease, given.deadline) for lease, given in leased] if durable else []

    def _take_back(self, leased: list[tuple[Lease, Given]]) -> None:
        """Their leases could not be written down, and nobody was told of them."""
        books = self.books
        for lease, _ in leased:
            if books.leases.held.get(lease.seq) is lease:
                lease.deliveries -= 1
                books.leases.release(lease, books.now.ms + AGAIN_MS)
                books.crew.ended([lease])

    # ---- ends ------------------------------------------------------------------------------------

    def next_ms(self) -> int | None:
        """When to look again although nothing was said: claims have gathered, or a lease ends while a stream waits."""
        moments = [self._window_ms, self.books.leases.next_ms() if self.books.crew else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def refuse_all(self, fault: MirrordError) -> None:
        """Nobody is served here any more: waiting claims and all streams are told why."""
        claims, self._claims, self._window_ms = self._claims, deque(), None
        for envelope, _ in claims:
            envelope.refuse(fault)
        pending, self.books.pending = self.books.pending, []
        for one in pending:
            one.refused(fault)
        self.books.crew.end_all(fault)

    def counts(self) -> Counts:
        """As the topic's state shows them."""
        return Counts(self.books.ready, self.books.in_flight, self.books.dead_lettered)
