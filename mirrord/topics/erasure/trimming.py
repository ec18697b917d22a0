"""Giving space back: packs that hold nothing live go, and leave gaps with their hashes, so that places in them stay
comparable. A few a turn: the rest waits for the next one, or for the sweep of a silent topic.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from ...records.gap import DELETED, END_LEN, ERASED, VOLUNTARY, pack_end
from ...storage.store import Change, DropGap, DropPack, Gap, Pack, PutGap, Store
from ..log import retention
from ..log.log import Log
from ..log.turn import Turn

MOST_PACKS, MOST_BYTES = 64, 2 << 20  # dropped in one turn


class Trimmer:
    """What one turn gives back."""

    def __init__(self, turn: Turn, store: Store) -> None:
        self._turn, self._store = turn, store

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
        if sized.seq in turn.dropped:
            return
        pack = self._store.packs(log.tid, sized.seq, 1)[0]
        if (pack.seq, pack.last) != (sized.seq, sized.last):
            return  # merged with its neighbour meanwhile: it goes at a later turn, as a whole
        trails = retention.trails(pack.body)  # before anything is changed: it raises when the pack is none
        reason = self._why(pack)
        turn.dropped.add(pack.seq)
        turn.changes.append(DropPack(log.tid, pack.seq, pack.last))
        for trail in trails:
            strand = log.strands[trail.strand]
            gap = Gap(
                log.tid, strand.sid, trail.first, trail.last, reason, trail.prev_hash, trail.hash, ends=trail.ends
            )
            turn.changes.extend(self._merged(gap))
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

    # ---- gap rows --------------------------------------------------------------------------------

    def _merged(self, gap: Gap) -> list[Change]:
        """The gap, joined with the one that ends right before it when both are of a kind and stay small."""
        before = self._of_turn(gap) or next(iter(self._store.gaps(gap.tid, gap.sid, gap.first - 1, 1)), None)
        joins = (
            before is not None and before.last == gap.first - 1 and before.reason == gap.reason and not before.seq_from
        )
        if before is None or not joins or len(before.ends) + len(gap.ends) + END_LEN > retention.ENDS_BYTES:
            return [*self._coarsened(gap), PutGap(gap)]
        ends = before.ends + (pack_end(before.last, before.hash) if before.hash else b"") + gap.ends
        whole = structs.replace(gap, first=before.first, prev_hash=before.prev_hash, ends=ends)
        return [DropGap(gap.tid, gap.sid, before.first), PutGap(whole)]

    def _of_turn(self, gap: Gap) -> Gap | None:
        """The newest gap that this turn itself put right before ``gap``."""
        for change in reversed(self._turn.changes):
            if isinstance(change, PutGap) and change.gap.sid == gap.sid and change.gap.last == gap.first - 1:
                return change.gap
        return None

    def _coarsened(self, gap: Gap) -> list[Change]:
        """The strand's two oldest gaps as one without inner hashes, when there are more than trail_bytes keeps."""
        most = max(2, self._turn.sizes.trail_bytes // retention.ENDS_BYTES)
        oldest = self._store.gaps(gap.tid, gap.sid, 1, most + 1)
        if len(oldest) <= most:
            return []
        first, second = oldest[:2]
        if first.last != second.first - 1 or first.reason != second.reason or first.seq_from or second.seq_from:
            return []
        whole = structs.replace(second, first=first.first, prev_hash=first.prev_hash, ends=b"")
        return [
            DropGap(gap.tid, gap.sid, first.first),
            DropGap(gap.tid, gap.sid, second.first),
            PutGap(whole),
        ]
