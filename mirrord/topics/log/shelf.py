"""The warm tail: recent packs of all topics in memory: live readers and caught-up links never touch the disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import pairwise

from msgspec.structs import replace

from ...storage.store import Pack

SMALL_BYTES = 2048
JOINED = 32
"""So many small packs in a row become one: who reads the tail pays by packs."""


class Shelf:
    """Bounded in bytes over all topics; what was put first goes first. Holds only what is committed, without holes
    between a topic's oldest pack here and its head."""

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self._used = 0
        self._packs: dict[int, list[Pack]] = {}
        self._lasts: dict[int, list[int]] = {}
        self._small: dict[int, int] = {}  # how many small packs a topic's newest are, in a row
        self._order: deque[tuple[int, int]] = deque()  # topic and last seq of what was put; some are gone since
        self._held = 0

    def put(self, pack: Pack) -> None:
        """A pack that was just committed at the head of its topic."""
        tid = pack.tid
        packs = self._packs.get(tid)
        if packs is None:
            packs, self._lasts[tid] = [], []
            self._packs[tid] = packs
        packs.append(pack)
        self._lasts[tid].append(pack.last)
        self._order.append((tid, pack.last))
        self._held += 1
        self._used += len(pack.body)
        small = self._small.get(tid, 0) + 1 if len(pack.body) < SMALL_BYTES else 0
        self._small[tid] = small
        if small >= JOINED:
            self._join(tid)
        while self._used > self._room and self._order:
            self._evict(*self._order.popleft())
        if len(self._order) > 2 * self._held + JOINED:
            self._order = deque(one for one in self._order if self._holds(*one))

    def _join(self, tid: int) -> None:
        packs, lasts = self._packs[tid], self._lasts[tid]
        tail = packs[-JOINED:]
        first = tail[0]
        if any(one.last + 1 != other.seq for one, other in pairwise(tail)):
            self._small[tid] = 1  # seqs that no pack holds lie between them
            return
        packs[-JOINED:] = [
            replace(
                first, last=tail[-1].last, records=sum(p.records for p in tail), bytes=sum(p.bytes for p in tail),
                ts_last=max(p.ts_last for p in tail), body=b"".join([p.body for p in tail]),
            )
        ]  # fmt: skip
        lasts[-JOINED:] = [tail[-1].last]
        self._small[tid] = 0
        self._held -= JOINED - 1

    def _evict(self, tid: int, last: int) -> None:
        packs = self._packs.get(tid)
        if packs and packs[0].last <= last:  # else it was joined or trimmed, or the topic was cleared
            self._used -= len(packs.pop(0).body)
            self._lasts[tid].pop(0)
            self._held -= 1
            if not packs:
                self._forget(tid)

    def _holds(self, tid: int, last: int) -> bool:
        lasts = self._lasts.get(tid)
        at = bisect_left(lasts, last) if lasts else 0
        return lasts is not None and at < len(lasts) and lasts[at] == last

    def _forget(self, tid: int) -> None:
        self._packs.pop(tid, None)
        self._lasts.pop(tid, None)
        self._small.pop(tid, None)

    def trim(self, tid: int, before_seq: int) -> None:
        """Forget packs that end before this seq: they are gone from the store."""
        packs = self._packs.get(tid)
        if not packs or packs[0].last >= before_seq:
            return
        gone = bisect_left(self._lasts[tid], before_seq)
        self._used -= sum(len(pack.body) for pack in packs[:gone])
        self._held -= gone
        del packs[:gone], self._lasts[tid][:gone]
        self._small[tid] = min(self._small[tid], len(packs))
        if not packs:
            self._forget(tid)

    def clear(self, tid: int) -> None:
        """Forget a topic."""
        packs = self._packs.get(tid, ())
        self._used -= sum(len(pack.body) for pack in packs)
        self._held -= len(packs)
        self._forget(tid)

    def read(self, tid: int, seq: int, max_bytes: int) -> list[Pack] | None:
        """As ``Store.packs``; None when this part of the log is not here."""
        packs = self._packs.get(tid)
        if not packs or packs[0].seq > seq:
            return None
        start = bisect_left(self._lasts[tid], seq)
        found: list[Pack] = []
        for index in range(start, len(packs)):
            found.append(packs[index])
            max_bytes -= len(packs[index].body)
            if max_bytes <= 0:
                break
        return found

    @property
    def used_bytes(self) -> int:
        """Bytes held now."""
        return self._used
