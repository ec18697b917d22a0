"""Who holds which record of a queue, for how long, and what may be claimed next. Pure.

All times are milliseconds of one clock that never steps. A record is in one place at a time: *fresh* (beyond the claim
cursor, not in here), *held* under a lease, *delayed* by a nack, *freed* (claimed before, claimable again) or *leaving*
(a commit that takes it out is on its way). Claiming n of m records costs O(n log m); nothing is ever scanned but when
records vanish from under the leases, or to forget moments that no longer count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol

from msgspec import Struct

ROOM_FOR_STALE = 64  # moments that no longer count, before they are forgotten


class Supply(Protocol):
    """The live records of the topic, as far as they are committed."""

    def after(self, cursor: int, limit: int) -> tuple[list[int], int]:
        """Live seqs beyond the cursor, in order, at most ``limit``; and the seq up to which that is all of them."""
        ...

    def is_live(self, seq: int) -> bool: ...


class Lease(Struct):
    """One record in one worker's hands. ``stream`` is the push stream that it was given to; 0: a claim."""

    seq: int
    node: str
    number: int
    until_ms: int
    deliveries: int
    stream: int = 0


class Claimant(Struct, frozen=True):
    """Who wants how many records, for how long each."""

    node: str
    most: int
    lease_ms: int
    stream: int = 0


class Drawn(Struct, frozen=True):
    """Records taken from what is claimable, with the deliveries that each has behind it. ``spent`` had their last."""

    ready: list[tuple[int, int]]
    spent: list[tuple[int, int]]


class Leases:
    """The table. ``number`` is the last lease number that was given out, ``most`` how many records it may remember."""

    def __init__(self, number: int = 0, most: int = 1 << 62) -> None:
        self.number, self._most = number, most
        self.cursor = 0  # all seqs up to here are in here, or gone
        self.held: dict[int, Lease] = {}
        self.delayed: dict[int, tuple[int, int]] = {}  # seq -> due, deliveries
        self.freed: dict[int, int] = {}  # seq -> deliveries
        self.leaving: dict[int, Lease] = {}
        self._free: list[int] = []  # heap of the freed
        self._restored_to = 0  # up to here some are in here although the cursor has not come to them
        self._moments: list[tuple[int, int]] = []  # heap of (ms, seq): ends of leases and of delays

    # ---- time ------------------------------------------------------------------------------------

    def elapse(self, now_ms: int) -> list[Lease]:
        """Leases past their deadline (not those just at it) and delays that are over: claimable again. The leases."""
        ended: list[Lease] = []
        moments = self._moments
        while moments and moments[0][0] < now_ms:
            _, seq = heappop(moments)
            lease = self.held.get(seq)
            if lease is not None and lease.until_ms < now_ms:
                del self.held[seq]
                self._free_again(seq, lease.deliveries)
                ended.append(lease)
            elif seq in self.delayed and self.delayed[seq][0] <= now_ms:
                self._free_again(seq, self.delayed.pop(seq)[1])
        return ended

    def next_ms(self) -> int | None:
        """The first moment at which ``elapse`` may find something; None: never, as things stand."""
        return self._moments[0][0] + 1 if self._moments else None

    def _hold(self, lease: Lease) -> None:
        self.held[lease.seq] = lease
        self._after(lease.until_ms, lease.seq)

    def _delay(self, seq: int, due_ms: int, deliveries: int) -> None:
        self.delayed[seq] = (due_ms, deliveries)
        self._after(due_ms - 1, seq)

    def _after(self, moment_ms: int, seq: int) -> None:
        heappush(self._moments, (moment_ms, seq))
        if len(self._moments) > 2 * (len(self.held) + len(self.delayed)) + ROOM_FOR_STALE:
            self._moments = [(lease.until_ms, seq) for seq, lease in self.held.items()]
            self._moments += [(due - 1, seq) for seq, (due, _) in self.delayed.items()]
            heapify(self._moments)

    # ---- claiming --------------------------------------------------------------------------------

    def draw(self, limit: int, supply: Supply, most_deliveries: int = 0) -> Drawn:
        """Take claimable records, those that were claimed before first, each by lowest seq. Those with
        ``most_deliveries`` (0: no end) behind them do not count for the limit: they leave. All must be given away."""
        drawn = Drawn([], [])
        while len(drawn.ready) < limit and self._free:
            seq = heappop(self._free)
            deliveries = self.freed.pop(seq, None)
            if deliveries is None or not supply.is_live(seq):
                continue
            if most_deliveries and deliveries >= most_deliveries:
                self.leaving[seq] = Lease(seq, "", 0, 0, deliveries)
                drawn.spent.append((seq, deliveries))
            else:
                drawn.ready.append((seq, deliveries))
        room = min(limit - len(drawn.ready), self._most - self.known - len(drawn.ready))
        while room > 0:
            seqs, self.cursor = supply.after(self.cursor, room)
            fresh = self._unknown(seqs, drawn) if seqs and seqs[0] <= self._restored_to else seqs
            drawn.ready.extend((seq, 0) for seq in fresh)
            room = room - len(fresh) if len(fresh) < len(seqs) else 0
        return drawn

    def _unknown(self, seqs: list[int], drawn: Drawn) -> list[int]:
        """Those that were not restored: the cursor began before them."""
        again = {seq for seq, _ in drawn.ready}
        known = (self.held, self.delayed, self.freed, self.leaving, again)
        return [seq for seq in seqs if not any(seq in table for table in known)]

    def give(self, drawn: tuple[int, int], to: Claimant, now_ms: int) -> Lease:
        """Lease a drawn record."""
        seq, deliveries = drawn
        self.number += 1
        lease = Lease(seq, to.node, self.number, now_ms + to.lease_ms, deliveries + 1, to.stream)
        self._hold(lease)
        return lease

    def restore(self, lease: Lease, *, leaving: bool = False) -> None:
        """A lease, or (with number 0) a delay, that outlived a restart; or a record that is to leave."""
        if leaving:
            self.leaving[lease.seq] = lease
        elif lease.number:
            self._hold(lease)
        else:
            self._delay(lease.seq, lease.until_ms, lease.deliveries)
        self.number = max(self.number, lease.number)
        self._restored_to = max(self._restored_to, lease.seq)

    # ---- what holders do -------------------------------------------------------------------------

    def match(self, node: str, seqs: Sequence[int], numbers: Sequence[int], supply: Supply) -> list[Lease | None]:
        """For each seq the lease that the caller holds, once; None: another's, ended, or the record is gone.
        ``numbers`` fences: a lease counts only under its number (0: under any). Call ``elapse`` first."""
        found: list[Lease | None] = []
        seen: set[int] = set()
        for i, seq in enumerate(seqs):
            lease = self.held.get(seq)
            fits = lease is not None and lease.node == node and seq not in seen
            if lease is None or not fits or not fences(numbers[i] if numbers else 0, lease) or not supply.is_live(seq):
                lease = None
            seen.add(seq)
            found.append(lease)
        return found

    def extend(self, lease: Lease, until_ms: int) -> None:
        """Hold it until then; earlier than before is fine."""
        lease.until_ms = until_ms
        self._after(until_ms, lease.seq)

    def release(self, lease: Lease, due_ms: int = 0) -> None:
        """Give a held record back, claimable at once or from ``due_ms`` on."""
        del self.held[lease.seq]
        if due_ms:
            self._delay(lease.seq, due_ms, lease.deliveries)
        else:
            self._free_again(lease.seq, lease.deliveries)

    def leave(self, lease: Lease) -> None:
        """Its settlement is on the way to the disk: nobody else may have it meanwhile."""
        del self.held[lease.seq]
        self.leaving[lease.seq] = lease

    def left(self, seqs: Iterable[int]) -> None:
        """The commit stands: these are gone."""
        for seq in seqs:
            self.leaving.pop(seq, None)

    def stay(self, seqs: Iterable[int], supply: Supply, now_ms: int, due_ms: int = 0) -> list[Lease]:
        """The commit was refused: a lease goes on as it was, what was spent is claimable from ``due_ms`` on. The leases
        that ended meanwhile."""
        ended: list[Lease] = []
        for lease in filter(None, [self.leaving.pop(seq, None) for seq in seqs]):
            live = supply.is_live(lease.seq)
            if live and lease.number and lease.until_ms >= now_ms:
                self._hold(lease)
                continue
            ended.append(lease)
            if live:
                self._delay(lease.seq, due_ms, lease.deliveries)
        return ended

    def _free_again(self, seq: int, deliveries: int) -> None:
        self.freed[seq] = deliveries
        heappush(self._free, seq)

    # ---- what became of the records --------------------------------------------------------------

    def purge(self, supply: Supply) -> tuple[list[Lease], list[int]]:
        """Records vanished from the topic (deleted, expired, evicted): forget them. The leases that ended by it, and
        what else is forgotten."""
        ended = [lease for lease in self.held.values() if not supply.is_live(lease.seq)]
        for lease in ended:
            del self.held[lease.seq]
        forgotten = [seq for seq in (*self.delayed, *self.freed) if not supply.is_live(seq)]
        for seq in forgotten:
            self.delayed.pop(seq, None)
            self.freed.pop(seq, None)
        self._free = list(self.freed)
        heapify(self._free)
        return ended, forgotten

    @property
    def known(self) -> int:
        """How many records it remembers."""
        return len(self.held) + len(self.delayed) + len(self.freed) + len(self.leaving)

    def ready(self, live: int) -> int:
        """How many of ``live`` records may be claimed now, once what vanished is purged."""
        return max(0, live - len(self.held) - len(self.delayed) - len(self.leaving))


def fences(number: int, lease: Lease) -> bool:
    """Whether a caller that names this lease number (0: none) means this lease, not one that came before it."""
    return number in (0, lease.number)


def share(drawn: Sequence[tuple[int, int]], claimants: Sequence[Claimant]) -> list[list[tuple[int, int]]]:
    """Round-robin, one each in turn, nobody more than it wants. Records beyond what all want stay out."""
    shares: list[list[tuple[int, int]]] = [[] for _ in claimants]
    hungry = [i for i, claimant in enumerate(claimants) if claimant.most > 0]
    at = 0
    while at < len(drawn) and hungry:
        for i in hungry[: len(drawn) - at]:
            shares[i].append(drawn[at])
            at += 1
        hungry = [i for i in hungry if len(shares[i]) < claimants[i].most]
    return shares


def lease_id(number: int) -> str:
    """As workers see a lease's number."""
    return f"lease_{number:x}"
