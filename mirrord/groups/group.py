"""The rules of one reader group: who holds which records, and what a commit may take away. Pure.

A record is *handed out* once, to one consumer, and stays with it until that consumer commits it or another one takes it
over. What was committed is never handed out again; what was not stays known until it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from ..topics.erasure.masks import Masks
from ..topics.vectors import Vector

BLOCK_BITS = 8  # records whose state is stored together: what a commit rewrites is bounded by the blocks it touches
MOST_GONE = 1000  # losses that are remembered until somebody reads


class Delivery(Struct, eq=False):
    """Records that one consumer was given at one moment, as far as it still holds them."""

    consumer: str
    at_ms: int
    times: int  # how often these records were handed out by now
    seqs: dict[int, None] = field(default_factory=dict)


class Group(Struct, eq=False):
    """One group's state: a cursor, and what was handed out below it and not committed (``holders``, in seq order)."""

    name: str
    created_ms: int
    cursor: int  # the highest seq that was handed out or passed over
    holders: dict[int, Delivery] = field(default_factory=dict)
    deliveries: dict[Delivery, None] = field(default_factory=dict)  # oldest first
    consumers: dict[str, int] = field(default_factory=dict)  # how many records each holds
    gone: list[int] = field(default_factory=list)  # lost while pending, and not told yet
    removed: int | None = None  # how many records had gone from the log when losses were looked for last
    told_to: int = 0  # up to here peers were told that it is done with everything
    tell_from_ms: int = 0
    place_moved: bool = False  # what the mark with the cursor says changed
    vector: Vector | None = None  # of other nodes, as it was when pending records were looked through for it
    last_at_ms: int = 0
    touched: set[int] = field(default_factory=set)  # blocks that changed since they were stored

    @property
    def pending(self) -> int:
        """How many records are handed out and not committed."""
        return len(self.holders)

    @property
    def committed_to(self) -> int:
        """Everything up to here is done with: committed, or gone."""
        first = next(iter(self.holders), None)
        return self.cursor if first is None else first - 1

    @property
    def blocks(self) -> list[int]:
        """Blocks that have, or had, something pending that is stored."""
        return sorted({seq >> BLOCK_BITS for seq in self.holders} | self.touched)

    # ---- handing out -----------------------------------------------------------------------------

    def hand_out(self, consumer: str, seqs: Iterable[int], now_ms: int) -> None:
        """Give records above all that were given before to a consumer. The cursor follows."""
        delivery = self._delivery(consumer, now_ms, 1)
        for seq in seqs:
            self._hold(seq, delivery)
            self.cursor = max(self.cursor, seq)

    def take_over(self, consumer: str, seqs: Iterable[int], now_ms: int) -> None:
        """Give records that are pending to another consumer (or to the same one anew)."""
        by_times: dict[int, list[int]] = {}
        for seq in seqs:
            by_times.setdefault(self.holders[seq].times + 1, []).append(seq)
        for times, some in by_times.items():
            delivery = self._delivery(consumer, now_ms, times)
            for seq in some:
                self._release(seq, self.holders[seq])
                self._hold(seq, delivery)

    def idle(self, min_idle_ms: int, now_ms: int, most: int, *, after: int = 0, of: str | None = None) -> list[int]:
        """Pending records behind a seq (``of`` one consumer only) that nobody was given for so long, in seq order, at
        most so many."""
        first_ms = self.next_idle_ms(min_idle_ms)
        if first_ms is None or now_ms < first_ms:
            return []
        found: list[int] = []
        for seq, delivery in self.holders.items():
            meant = seq > after and (of is None or delivery.consumer == of)
            if meant and now_ms - delivery.at_ms >= min_idle_ms:
                found.append(seq)
                if len(found) == most:
                    break
        return found

    def next_idle_ms(self, min_idle_ms: int) -> int | None:
        """When (ms since the epoch) the next pending record has been idle for so long; None: nothing is pending."""
        oldest = next(iter(self.deliveries), None)
        return None if oldest is None else oldest.at_ms + min_idle_ms

    # ---- letting go ------------------------------------------------------------------------------

    def commit(self, consumer: str, seqs: Iterable[int]) -> tuple[int, list[int]]:
        """How many of these the consumer still held, and are done now; and those that it did not hold."""
        committed, skipped = 0, []
        for seq in seqs:
            delivery = self.holders.get(seq)
            if delivery is None or delivery.consumer != consumer:
                skipped.append(seq)
            else:
                self._let_go(seq, delivery)
                committed += 1
        return committed, skipped

    def commit_to(self, consumer: str, up_to: int) -> int:
        """Commit all that the consumer holds up to a seq; how many."""
        held = [seq for d in self.deliveries if d.consumer == consumer for seq in d.seqs if seq <= up_to]
        return self.commit(consumer, held)[0]

    def lose(self, seqs: Iterable[int]) -> None:
        """Records that are there no longer: deleted, expired, evicted. Nobody holds them any more, and the next answer
        says so (MOST_GONE at most)."""
        for seq in seqs:
            self._let_go(seq, self.holders[seq])
            self.gone.append(seq)
        del self.gone[:-MOST_GONE]

    def finish(self, seqs: Iterable[int]) -> None:
        """Another node's group is done with these."""
        for seq in seqs:
            self._let_go(seq, self.holders[seq])

    def take_gone(self) -> list[int]:
        """What was lost since this was asked last."""
        gone, self.gone = self.gone, []
        return gone

    def deleted(self, masks: Masks) -> list[int]:
        """What is pending and deleted."""
        size = 1 << BLOCK_BITS
        blocks = [b for b in self.blocks if masks.within(b * size, (b + 1) * size - 1)]
        seqs = [seq for b in blocks for seq in range(b * size, (b + 1) * size)]
        return [seq for seq in seqs if seq in self.holders and masks.has(seq)]

    def up_to(self, seq: int) -> list[int]:
        """What is pending up to a seq: below the log's floor all of it is gone."""
        found: list[int] = []
        for held in self.holders:
            if held > seq:
                break
            found.append(held)
        return found

    def seek(self, cursor: int) -> int:
        """Stand somewhere else: nobody holds anything, the next record handed out is the one after. How many were let
        go."""
        dropped = list(self.holders)
        for seq in dropped:
            self._let_go(seq, self.holders[seq])
        self.cursor = cursor
        return len(dropped)

    # ---- how it is stored ------------------------------------------------------------------------

    def runs(self, block: int) -> Iterator[tuple[int, int, Delivery]]:
        """What is pending in a block, as runs of one delivery: first seq, last seq."""
        first, begin = None, block << BLOCK_BITS
        holder: Delivery | None = None
        for seq in range(begin, begin + (1 << BLOCK_BITS)):
            now = self.holders.get(seq)
            if now is not holder:
                if holder is not None and first is not None:
                    yield first, seq - 1, holder
                first, holder = seq, now
        if holder is not None and first is not None:
            yield first, begin + (1 << BLOCK_BITS) - 1, holder

    def restore(self, runs: Iterable[tuple[int, int, str, int, int]]) -> None:
        """Read back what ``runs`` told of every block, in seq order: first, last, consumer, at_ms, times."""
        found: dict[tuple[int, str, int], Delivery] = {}
        for first, last, consumer, at_ms, times in runs:
            key = (at_ms, consumer, times)
            delivery = found.get(key) or found.setdefault(key, Delivery(consumer, at_ms, times))
            for seq in range(first, last + 1):
                self.holders[seq] = delivery
                delivery.seqs[seq] = None
            self.consumers[consumer] = self.consumers.get(consumer, 0) + last + 1 - first
        for _, delivery in sorted(found.items()):
            self.deliveries[delivery] = None
            self.last_at_ms = max(self.last_at_ms, delivery.at_ms)

    # ---- the two tables, kept in step --------------------------------------------------------------

    def _delivery(self, consumer: str, now_ms: int, times: int) -> Delivery:
        self.last_at_ms = max(now_ms, self.last_at_ms)  # a clock that steps back must not disorder them
        return Delivery(consumer, self.last_at_ms, times)

    def _hold(self, seq: int, delivery: Delivery) -> None:
        self.holders[seq] = delivery
        delivery.seqs[seq] = None
        self.deliveries[delivery] = None
        self.consumers[delivery.consumer] = self.consumers.get(delivery.consumer, 0) + 1
        self.touched.add(seq >> BLOCK_BITS)

    def _let_go(self, seq: int, delivery: Delivery) -> None:
        del self.holders[seq]
        self._release(seq, delivery)

    def _release(self, seq: int, delivery: Delivery) -> None:
        del delivery.seqs[seq]
        if not delivery.seqs:
            del self.deliveries[delivery]
        left = self.consumers[delivery.consumer] - 1
        if left:
            self.consumers[delivery.consumer] = left
        else:
            del self.consumers[delivery.consumer]
        self.touched.add(seq >> BLOCK_BITS)
