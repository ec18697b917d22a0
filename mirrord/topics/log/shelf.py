"""The warm tail: recent packs of all topics in memory: live readers and caught-up links never touch the disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from ...storage.store import Pack

SMALL_BYTES = 2048
JOINED = 32
"""So many small packs in a row become one: who reads the tail pays by packs."""


class _Tail(Struct):
    """A topic's newest packs, without holes."""

    packs: list[Pack] = []
    lasts: list[int] = []  # of the same packs, to find by
    small: int = 0  # how many of the newest are small, in a row

    def drop(self, count: int) -> int:
        """Forget the oldest; how many bytes that were."""
        size = sum([len(pack.body) for pack in self.packs[:count]])
        del self.packs[:count], self.lasts[:count]
        self.small = min(self.small, len(self.packs))
        return size


class Shelf:
    """Bounded in bytes over all topics; what was put first goes first. Holds only what is committed, without holes
    between a topic's oldest pack here and its head."""

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self._used = 0
        self._tails: dict[int, _Tail] = {}
        self._order: deque[tuple[int, int]] = deque()  # topic and last seq of what was put; some are gone since
        self._held = 0

    def put(self, pack: Pack) -> None:
        """A pack that was just committed at the head of its topic."""
        tid, size, order = pack.tid, len(pack.body), self._order
        tail = self._tails.get(tid)
        if tail is None:
            tail = self._tails[tid] = _Tail()
        tail.packs.append(pack)
        tail.lasts.append(pack.last)
        order.append((tid, pack.last))
        self._held += 1
        self._used += size
        tail.small = tail.small + 1 if size < SMALL_BYTES else 0
        if tail.small >= JOINED:
            self._join(tid, tail)
        while self._used > self._room and order:
            self._evict(*order.popleft())
        if len(order) > 2 * self._held + JOINED:
            self._order = deque([one for one in order if self._holds(*one)])

    def _join(self, tid: int, tail: _Tail) -> None:
        packs, order = tail.packs[-JOINED:], self._order
        first, last = packs[0], packs[-1].last
        if any(one.last + 1 != other.seq for one, other in pairwise(packs)):
            tail.small = 1  # seqs that no pack holds lie between them
            return
        tail.packs[-JOINED:] = [
            replace(
                first, last=last, records=sum(p.records for p in packs), bytes=sum(p.bytes for p in packs),
                ts_last=max(p.ts_last for p in packs), body=b"".join([p.body for p in packs]),
            )
        ]  # fmt: skip
        tail.lasts[-JOINED:] = [last]
        tail.small = 0
        self._held -= JOINED - 1
        while order and order[-1][0] == tid and order[-1][1] >= first.last:
            order.pop()
        order.append((tid, last))

    def _evict(self, tid: int, last: int) -> None:
        tail = self._tails.get(tid)
        if tail is not None and tail.lasts[0] <= last:  # else it was joined or trimmed, or the topic was cleared
            self._drop(tid, tail, 1)

    def _holds(self, tid: int, last: int) -> bool:
        tail = self._tails.get(tid)
        at = bisect_left(tail.lasts, last) if tail is not None else 0
        return tail is not None and at < len(tail.lasts) and tail.lasts[at] == last

    def _drop(self, tid: int, tail: _Tail, count: int) -> None:
        self._used -= tail.drop(count)
        self._held -= count
        if not tail.packs:
            del self._tails[tid]

    def trim(self, tid: int, before_seq: int) -> None:
        """Forget packs that end before this seq: they are gone from the store."""
        tail = self._tails.get(tid)
        if tail is not None and tail.lasts[0] < before_seq:
            self._drop(tid, tail, bisect_left(tail.lasts, before_seq))

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
        found: list[Pack] = []
        for index in range(bisect_left(tail.lasts, seq), len(tail.packs)):
            found.append(tail.packs[index])
            max_bytes -= len(tail.packs[index].body)
            if max_bytes <= 0:
                break
        return found

    @property
    def used_bytes(self) -> int:
        """Bytes held now."""
        return self._used
