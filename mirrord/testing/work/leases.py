"""Which jobs are in whose hands, and which are done, as surely as workers can tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from ..cluster.ledger import Mark
from .account import Account


class Lease(Struct):
    """One job in one worker's hands. Times are of the clock of all workers."""

    seq: int
    lease_id: str
    mark: Mark
    process: int  # of the home that granted it; 0: it may be another one's
    since_s: float  # the answer had come
    until_s: float  # as long as it takes from when the question was sent; the home counts from later
    is_held: bool = True  # nobody has asked to settle it


class Leases:
    """What came of all claims and settlements; what must not be goes to the account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._last: dict[Mark, Lease] = {}
        self._acked: dict[Mark, float] = {}  # when that was answered
        self.maybe_acked: set[Mark] = set()
        """What somebody asked to acknowledge, whatever came of it."""

    def grant(self, lease: Lease, sent_s: float) -> None:
        """A claim that was sent then was answered with this."""
        if self._acked.get(lease.mark, sent_s) < sent_s:
            self._account.broken("delivered again", lease)
        other = self._last.get(lease.mark)
        if other is not None and other.is_held and lease.process and other.process == lease.process:
            both_at_once = other.since_s <= sent_s and lease.since_s < other.until_s
            self._account.broken("leased to two", (other, lease), both_at_once)
        self._last[lease.mark] = lease
        self._account.done["claimed"] += 1

    def settle(self, leases: Iterable[Lease], *, ack: bool) -> None:
        """Somebody asks to settle these now."""
        for lease in leases:
            lease.is_held = False
            if ack:
                self.maybe_acked.add(lease.mark)

    def acknowledged(self, marks: Iterable[Mark], now_s: float) -> None:
        """An ack was answered, and counted for these."""
        for mark in marks:
            self._account.broken("settled twice", mark, mark in self._acked)
            self._acked.setdefault(mark, now_s)
            self._account.done["acked"] += 1
