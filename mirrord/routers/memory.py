"""What earlier lives of this node have copied. A life may begin with the tail of the store lost, or all of it: what was
copied then comes back over links, with the copies that tell of it. Those are read first: so nothing is copied twice.
"""

from __future__ import annotations

import trio
from msgspec import structs

from ..topics.topic import Topic
from .copying import READ_BYTES, Batch, old_copies
from .definition import Definition
from .ground import Ground
from .position import Position


class Memory:
    """One router's. A position carries what was learned, and in which life it was last complete."""

    def __init__(self, definition: Definition, ground: Ground) -> None:
        self._dest, self._router, self._ground = definition.dest, definition.name, ground
        self._asked_at: float | None = None  # when the wait for old copies began
        self._moves = -1  # commits of the destination up to here were looked at; -1: none yet

    def waits_for(self, batch: Batch) -> list[str]:
        """Nodes that may still bring copies of these records; nobody when they may be copied now.

        What this life wrote no other life has copied. Of other records it is enough that no peer tells more of our old
        copies than is here; in a new life all are waited for, near or far, that may hold some and were not heard yet.
        """
        if not batch.others:
            return []
        ground, life, now = self._ground, self._ground.life.record.number, self._ground.clock.monotonic()
        holders = ground.holders(self._dest, batch.position.life != life)
        if self._asked_at is None:
            self._asked_at = now
        if holders and now - self._asked_at < ground.patience_s:
            return holders
        self._asked_at = None
        batch.position = structs.replace(batch.position, life=life)
        return []

    async def learn(self, dest: Topic | None, position: Position) -> Position:
        """The position, with what the copies tell that came back since the last look. Raises ChunkCorrupt."""
        while dest is not None:
            ours = self._to_read(dest, position)
            if not ours:
                return structs.replace(position, dest_seq=dest.head)
            seq = position.dest_seq if position.dest_seq <= dest.head else 0  # else it is another log by now
            packs = dest.packs(seq + 1, READ_BYTES)
            found, last = old_copies(packs, seq, self._router, ours)
            known = dict(position.known)
            known.update((strand, oseq) for strand, oseq in found.items() if oseq > known.get(strand, 0))
            position = structs.replace(position, known=known, dest_seq=last if packs else dest.head)
            await trio.lowlevel.checkpoint()
        return position

    def _to_read(self, dest: Topic, position: Position) -> set[int]:
        """The strands that earlier lives of this node wrote, if any moved in what is not looked through yet."""
        moved, newest = dest.moved_since(self._moves)
        if moved or self._moves < 0:
            me, strands = self._ground.life.identity, dest.strands
            ours = {n for n, s in strands.items() if s.descriptor.origin == me.name and not me.wrote(s.descriptor)}
            came = bool(ours) if self._moves < 0 else not ours.isdisjoint(moved)
            if came and position.dest_seq != dest.head:
                return ours
        self._moves = newest
        return set()
