"""The lag matrix: how far every node is known to have come in every strand, gossiped with the heartbeats.

Each sight is stamped by the node that it speaks of; the newest stamp wins, and a node that started anew is believed:
what it told before is forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter

from msgspec import Struct

from ...names import is_topic
from ..wire import Sight, Stamp

Key = tuple[str, str, int]  # node, topic (by its name there), strand

SPARE = 64  # changes that another has followed may lie in the order beside as many as there are sights
_number = itemgetter(0)


class Seen(Struct, frozen=True):
    """One node's place in one strand."""

    oseq: int
    ts: int  # ms, commit time of the record there at its origin
    stamp: Stamp  # of the node itself


class Matrix:
    """Bounded: at most ``room`` sights; the oldest that changed goes first."""

    def __init__(self, me: str, room: int = 200_000) -> None:
        self._me, self._room = me, room
        self._seen: dict[Key, Seen] = {}  # in order of change
        self._change: dict[Key, int] = {}
        self._order: list[tuple[int, Key]] = []  # all changes; of some keys a newer one follows, or they are forgotten
        self._changes = 0
        self._start: dict[str, tuple[int, int]] = {}  # the newest start of each node: born (ms), starts

    def see(self, node: str, topic: str, strand: int, oseq: int, ts: int, stamp: Stamp) -> bool:
        """Take note; whether that was news."""
        if stamp[:2] != self._start.get(node):
            if stamp[:2] < self._start.get(node, (0, 0)):
                return False
            self._forget_before(node, stamp[:2])
        key = (node, topic, strand)
        old = self._seen.get(key)
        # What came between two heartbeats has the stamp of the first: of two with one stamp the further is the newer.
        if old is not None and (old.oseq == oseq or (stamp, oseq) < (old.stamp, old.oseq)):
            if stamp > old.stamp:
                self._seen[key] = Seen(oseq, old.ts, stamp)
            return False
        self._seen.pop(key, None)
        self._seen[key] = Seen(oseq, ts, stamp)
        if len(self._seen) > self._room:
            oldest = next(iter(self._seen))
            del self._seen[oldest], self._change[oldest]
        self._note(key)
        return True

    def _note(self, key: Key) -> None:
        self._changes += 1
        self._change[key] = self._changes
        self._order.append((self._changes, key))
        if len(self._order) > 2 * len(self._change) + SPARE:
            self._order = [(number, key) for number, key in self._order if self._change.get(key) == number]

    def _forget_before(self, node: str, start: tuple[int, int]) -> None:
        """The node has started anew and tells all its places again; what it had before it may have lost."""
        self._start[node] = start
        for key in [key for key in self._seen if key[0] == node]:
            del self._seen[key], self._change[key]

    def clear(self) -> None:
        """Forget everything; who is told of it keeps its place."""
        self._seen.clear()
        self._change.clear()
        self._order.clear()
        self._start.clear()

    def take(self, sights: Iterable[Sight], known_nodes: frozenset[str]) -> None:
        """What a peer gossips; of ourselves we know better, of strangers we want nothing."""
        for node, topic, strand, oseq, ts, stamp in sights:
            if node != self._me and node in known_nodes and is_topic(topic):
                self.see(node, topic, strand, oseq, ts, stamp)

    def since(self, change: int, most: int, but: str) -> tuple[list[Sight], int]:
        """Sights that changed after ``change``, oldest first, not of the node ``but``; and up to where that is."""
        found: list[Sight] = []
        at = bisect_right(self._order, change, key=_number)
        while at < len(self._order) and len(found) < most:
            change, key = self._order[at]
            at += 1
            if key[0] != but and self._change.get(key) == change:
                seen = self._seen[key]
                found.append((*key, seen.oseq, seen.ts, seen.stamp))
        return found, change

    def place(self, node: str, topic: str, strand: int) -> int | None:
        """How far a node is known to have come; None when nothing is known."""
        seen = self._seen.get((node, topic, strand))
        return seen.oseq if seen is not None else None

    def knows(self, node: str) -> bool:
        """Whether anything was heard of the node."""
        return node in self._start

    def rows(self) -> Iterable[tuple[Key, Seen]]:
        """All sights."""
        return self._seen.items()
