"""The warm tail: recent packs of all topics in memory: live readers and caught-up links never touch the disk."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from operator import attrgetter

from msgspec import Struct, field

from ...storage.packing import merge
from ...storage.store import Pack

SMALL_BYTES = 2048
JOINED = 32
"""So many small packs in a row become one: who reads the tail pays by packs."""

_last = attrgetter("last")


class _Row(Struct):
    """Packs that go together: a single one, or small ones without a hole between them."""

    last: int = 0  # where they end
    small: int = 0  # how many they are, while more may join them


class _Tail(Struct):
    """A topic's newest packs."""

    packs: list[Pack] = []
    row: _Row = field(default_factory=_Row)  # the newest

    def holds(self, row: _Row) -> bool:
        """Whether anything of a row of this tail is still there."""
        return bool(self.packs) and self.packs[0].last <= row.last

    def drop(self, count: int) -> int:
        """Forget the oldest; how many bytes that were."""
        size = sum([len(pack.body) for pack in self.packs[:count]])
        del self.packs[:count]
        return size


class Shelf:
    """Bounded in bytes over all topics; the row that was begun first goes first. Holds only what is committed, without
    holes between a topic's oldest pack here and its head."""

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self._used = 0
        self._tails: dict[int, _Tail] = {}
        self._order: deque[tuple[int, _Tail, _Row]] = deque()  # as they were begun; of some nothing is left
        self._clean_at = JOINED  # rows: then those of which nothing is left are forgotten

    def put(self, pack: Pack) -> None:
        """A pack that was just committed at the head of its topic."""
        tail, size = self._tails.get(pack.tid), len(pack.body)
        if tail is None:
            tail = self._tails[pack.tid] = _Tail()
        row = tail.row
        tail.packs.append(pack)
        if row.small and size < SMALL_BYTES and row.last == pack.seq - 1:
            row.last = pack.last
            row.small += 1
            if row.small == JOINED:
                tail.packs[-JOINED:] = [merge(tail.packs[-JOINED:])]
                row.small = 0
        else:
            self._begin_row(pack, tail)
        self._used += size
        while self._used > self._room:
            self._evict()

    def _begin_row(self, pack: Pack, tail: _Tail) -> None:
        tail.row = _Row(pack.last, int(len(pack.body) < SMALL_BYTES))
        self._order.append((pack.tid, tail, tail.row))
        if len(self._order) > self._clean_at:
            self._order = deque([(tid, tail, row) for tid, tail, row in self._order if tail.holds(row)])
            self._clean_at = 2 * len(self._order) + JOINED

    def _evict(self) -> None:
        tid, tail, row = self._order.popleft()
        if tail.holds(row):  # else it was trimmed, or the topic was cleared
            self._drop(tid, tail, bisect_right(tail.packs, row.last, key=_last))

    def _drop(self, tid: int, tail: _Tail, count: int) -> None:
        self._used -= tail.drop(count)
        if not tail.packs:
            del self._tails[tid]

    def trim(self, tid: int, before_seq: int) -> None:
        """Forget packs that end before this seq: they are gone from the store."""
        tail = self._tails.get(tid)
        if tail is not None and tail.packs[0].last < before_seq:
            self._drop(tid, tail, bisect_left(tail.packs, before_seq, key=_last))

    def clear(self, tid: int) -> None:
        """Forget a topic."""
        tail = self._tails.get(tid)
        if tail is not None:
            self._drop(tid, tail, len(tail.packs))

    def read(self, tid: int, seq: int, max_bytes: int) -> list[Pack] | None:
        """As ``Store.packs``; None when this part of the log is not here."""
        tail = self._tails.get(tid)
        if tail is None or tail.packs[0].seq > seq:
            return None
        packs = tail.packs
        if packs[-1].seq <= seq:  # whoever is caught up reads the newest
            return packs[-1:] if seq <= packs[-1].last else []
        found: list[Pack] = []
        for index in range(bisect_left(packs, seq, key=_last), len(packs)):
            found.append(packs[index])
            max_bytes -= len(packs[index].body)
            if max_bytes <= 0:
                break
        return found

    @property
    def used_bytes(self) -> int:
        """Bytes held now."""
        return self._used
