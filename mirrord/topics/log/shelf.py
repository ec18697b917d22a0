"""The warm tail: recent packs of all topics in memory: live readers and caught-up links never touch the disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from ...storage.store import Pack


class Shelf:
    """Bounded in bytes over all topics; what was put first goes first. Holds only what is committed, without holes
    between a topic's oldest pack here and its head."""

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self._used = 0
        self._packs: dict[int, list[Pack]] = {}
        self._lasts: dict[int, list[int]] = {}
        self._order: deque[Pack] = deque()
        self._trimmed = 0  # packs in the order that are not held any more

    def put(self, pack: Pack) -> None:
        """A pack that was just committed at the head of its topic."""
        self._packs.setdefault(pack.tid, []).append(pack)
        self._lasts.setdefault(pack.tid, []).append(pack.last)
        self._order.append(pack)
        self._used += len(pack.body)
        while self._used > self._room:
            self._evict(self._order.popleft())

    def _evict(self, pack: Pack) -> None:
        packs = self._packs.get(pack.tid)
        if packs and packs[0] is pack:  # else the topic was cleared meanwhile, and its bytes with it
            packs.pop(0)
            self._lasts[pack.tid].pop(0)
            self._used -= len(pack.body)
            if not packs:
                del self._packs[pack.tid], self._lasts[pack.tid]

    def trim(self, tid: int, before_seq: int) -> None:
        """Forget packs that end before this seq: they are gone from the store."""
        packs = self._packs.get(tid)
        if not packs or packs[0].last >= before_seq:
            return
        gone = bisect_left(self._lasts[tid], before_seq)
        self._used -= sum(len(pack.body) for pack in packs[:gone])
        self._trimmed += gone
        if 2 * self._trimmed > len(self._order):  # now and then, so that the dead hold no memory
            dead = set(map(id, packs[:gone]))
            self._order = deque(p for p in self._order if id(p) not in dead and self._holds(p))
            self._trimmed = 0
        del packs[:gone], self._lasts[tid][:gone]
        if not packs:
            del self._packs[tid], self._lasts[tid]

    def _holds(self, pack: Pack) -> bool:
        packs = self._packs.get(pack.tid)
        return packs is not None and pack.seq >= packs[0].seq

    def clear(self, tid: int) -> None:
        """Forget a topic."""
        for pack in self._packs.pop(tid, ()):
            self._used -= len(pack.body)
        self._lasts.pop(tid, None)
        self._order = deque(p for p in self._order if p.tid != tid)

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
