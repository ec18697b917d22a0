"""Giving space back: packs that hold nothing live go, and leave gaps with their hashes, so that places in them stay
comparable. A few a turn: the rest waits for the next one, or for the sweep of a silent topic.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...records.gap import DELETED, ERASED, VOLUNTARY
from ...storage.store import DropPack, Gap, Pack, Store
from ..log import retention
from ..log.log import Log
from ..log.turn import Turn
from .rows import GapRows

MOST_PACKS, MOST_BYTES = 64, 2 << 20  # dropped in one turn


class Trimmer:
    """What one turn gives back."""

    def __init__(self, turn: Turn, store: Store) -> None:
        self._turn, self._store = turn, store
        self._rows = GapRows(turn, store)

    @property
    def _log(self) -> Log:
        return self._turn.log

    def front(self) -> None:
        """Drop packs that lie wholly below the floor, oldest first."""
        log, turn, room = self._log, self._turn, MOST_BYTES
        for sized in self._store.pack_sizes(log.tid, 1, MOST_PACKS):
            if sized.last > log.floor or room <= 0:
                log.oldest_last = sized.last
                turn.begin_at(sized.seq)
                return
            room -= sized.bytes
            self._drop(sized)
            log.oldest_last = sized.last
        if log.oldest_last <= log.floor and not self._store.pack_sizes(log.tid, log.oldest_last + 1, 1):
            turn.begin_at(log.floor + 1)
            log.oldest_last = log.floor + 1  # nothing is stored: look again when the floor moves

    def wounded(self, seqs: Iterable[int]) -> None:
        """Drop packs of which everything is deleted by now; the seqs tell in which this turn deleted something."""
        log, masks = self._log, self._turn.masks
        for seq in seqs:
            for sized in self._store.pack_sizes(log.tid, seq, 1):
                if sized.seq <= seq and sized.last > log.floor and masks.covers(sized.seq, sized.last):
                    self._drop(sized)

    def _drop(self, sized: Pack) -> None:
        log, turn = self._log, self._turn
        if sized.seq in turn.removal.dropped:
            return
        pack = self._store.packs(log.tid, sized.seq, 1)[0]
        if (pack.seq, pack.last) != (sized.seq, sized.last):
            return  # merged with its neighbour meanwhile: it goes at a later turn, as a whole
        trails = retention.trails(pack.body)  # before anything is changed: it raises when the pack is none
        reason = self._why(pack)
        turn.removal.dropped.add(pack.seq)
        turn.changes.append(DropPack(log.tid, pack.seq, pack.last))
        for trail in trails:
            strand = log.strands[trail.strand]
            gap = Gap(
                log.tid, strand.sid, trail.first, trail.last, reason, trail.prev_hash, trail.hash, ends=trail.ends
            )
            self._rows.put(gap)
            strand.whole_from = max(strand.whole_from, trail.last + 1)
            turn.touch(strand)

    def _why(self, pack: Pack) -> str:
        """Why the pack goes, as its gap tells it: in silence only if somebody deleted all of it."""
        log, masks = self._log, self._turn.masks
        if masks.covers(pack.seq, pack.last):
            every = (1 << pack.last - pack.seq + 1) - 1
            return ERASED if masks.erased_within(pack.seq, pack.last) == every else DELETED
        if pack.last <= log.deleted_floor:
            return DELETED
        lost = sorted((seq, reason) for reason, seq in log.taken.items() if reason not in VOLUNTARY)
        reached = [reason for seq, reason in lost if seq >= pack.last] or [reason for _, reason in lost[-1:]]
        return reached[0] if reached else DELETED
