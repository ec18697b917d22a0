"""Masks: which seqs of a log are deleted, as bitmaps of fixed blocks. One int per block, and nothing for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from ...storage.store import MASK_BITS, MaskRow

FULL = (1 << MASK_BITS) - 1


class Mask(Struct, frozen=True):
    """One block. Bit i is seq ``block * MASK_BITS + i``; ``erased`` are those that a travelling deletion took."""

    bits: int = 0
    erased: int = 0
    text: int = 0  # JSON text of the deleted records, as their packs count it


NOTHING = Mask()


class Masks:
    """The deleted seqs of one log. A turn lays its own ``over`` the committed ones, and they become one when the commit
    stands: so readers see only what is durable."""

    __slots__ = ("_over", "_rows")

    def __init__(self, rows: dict[int, Mask] | None = None, over: Masks | None = None) -> None:
        self._rows: dict[int, Mask] = {} if rows is None else rows
        self._over = over

    @classmethod
    def load(cls, rows: Iterable[MaskRow]) -> Masks:
        """As the store has them."""
        return cls({r.block: Mask(_int(r.bits), _int(r.erased), r.text) for r in rows})

    def __bool__(self) -> bool:
        return bool(self._rows or self._over)

    def block(self, number: int) -> Mask:
        """One block's mask."""
        found = self._rows.get(number)
        if found is not None:
            return found
        return self._over.block(number) if self._over is not None else NOTHING

    # ---- asking ----------------------------------------------------------------------------------

    def within(self, first: int, last: int) -> int:
        """The deleted ones of these seqs: bit i is seq ``first + i``."""
        return self._cut(first, last, erased=False) if self else 0

    def erased_within(self, first: int, last: int) -> int:
        """The same of those that travelling deletions took."""
        return self._cut(first, last, erased=True) if self else 0

    def _cut(self, first: int, last: int, *, erased: bool) -> int:
        found, at = 0, first // MASK_BITS
        for number in range(at, last // MASK_BITS + 1):
            mask = self.block(number)
            found |= (mask.erased if erased else mask.bits) << (number - at) * MASK_BITS
        return found >> first - at * MASK_BITS & (1 << last - first + 1) - 1

    def covers(self, first: int, last: int) -> bool:
        """Whether all of these seqs are deleted."""
        return bool(self) and self.within(first, last) == (1 << last - first + 1) - 1

    def has(self, seq: int) -> bool:
        """Whether this seq is deleted."""
        return bool(self) and bool(self.block(seq // MASK_BITS).bits >> seq % MASK_BITS & 1)

    def count(self, first: int, last: int) -> int:
        """How many of these seqs are deleted."""
        if not self or last < first:
            return 0
        low, high = first // MASK_BITS, last // MASK_BITS
        if high - low < 2:
            return self.within(first, last).bit_count()
        inner = sum(self.block(number).bits.bit_count() for number in range(low + 1, high))
        ends = self.within(first, (low + 1) * MASK_BITS - 1), self.within(high * MASK_BITS, last)
        return inner + sum(bits.bit_count() for bits in ends)

    def first_live(self, seq: int, until: int) -> int:
        """The first seq from ``seq`` on that is not deleted; ``until + 1`` when all up to there are."""
        while seq <= until:
            number, at = divmod(seq, MASK_BITS)
            live = ~(self.block(number).bits >> at) & FULL >> at
            if live:
                return min(seq + (live & -live).bit_length() - 1, until + 1)
            seq = (number + 1) * MASK_BITS
        return until + 1

    # ---- changing --------------------------------------------------------------------------------

    def add(self, seqs: Iterable[tuple[int, int]], *, erased: bool) -> None:
        """Delete live seqs, each with the bytes of its JSON text."""
        blocks: dict[int, list[int]] = {}
        for seq, text in seqs:
            number, at = divmod(seq, MASK_BITS)
            found = blocks.setdefault(number, [0, 0])
            found[0] |= 1 << at
            found[1] += text
        for number, (bits, text) in blocks.items():
            old = self.block(number)
            gone = bits if erased else 0
            self._rows[number] = Mask(old.bits | bits, old.erased | gone, old.text + text)

    def add_bits(self, first: int, bits: int, *, erased: bool = False) -> None:
        """Delete seqs that have no text here: bit i is seq ``first + i``."""
        number, at = divmod(first, MASK_BITS)
        bits <<= at
        while bits:
            part = bits & FULL
            if part:
                old = self.block(number)
                self._rows[number] = Mask(old.bits | part, old.erased | (part if erased else 0), old.text)
            bits, number = bits >> MASK_BITS, number + 1

    def take(self, turn: Masks, before: int) -> None:
        """What a turn laid over these is committed; blocks before this one are gone."""
        self._rows.update(turn._rows)
        if before:
            for number in [number for number in self._rows if number < before]:
                del self._rows[number]

    def clear(self) -> None:
        """The log is dropped."""
        self._rows.clear()
        self._over = None

    def rows(self, tid: int) -> Iterator[MaskRow]:
        """What this layer alone holds, as stored."""
        for number, mask in sorted(self._rows.items()):
            yield MaskRow(tid, number, _bytes(mask.bits), _bytes(mask.erased), mask.text)

    @property
    def oldest(self) -> int | None:
        """The lowest block that has a mask in this layer; None: none has."""
        return min(self._rows, default=None)


def _int(packed: bytes) -> int:
    return int.from_bytes(packed, "little")


def _bytes(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
