"""The gap rows of a log while a turn changes them: control chunks lie among them, and where packs or control chunks
were stands a row with the hashes around it and at its inner ends, so that places in it stay comparable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import structs

from ...records.gap import CONTROL, END_LEN, ERASED, pack_end
from ...storage.store import DropGap, Gap, PutGap, Store
from ..log.log import Strand
from ..log.retention import ENDS_BYTES
from ..log.turn import Turn

PAGE = 256


class GapRows:
    """The rows as they are once the turn's changes so far stand."""

    def __init__(self, turn: Turn, store: Store) -> None:
        self._turn, self._store = turn, store

    def read(self, sid: int, oseq: int, limit: int) -> list[Gap]:
        """As ``Store.gaps``."""
        put: dict[int, Gap] = {}
        gone: set[int] = set()
        for change in self._turn.changes:
            if isinstance(change, PutGap) and change.gap.sid == sid:
                put[change.gap.first] = change.gap
                gone.add(change.gap.first)
            elif isinstance(change, DropGap) and change.sid == sid:
                put.pop(change.first, None)
                gone.add(change.first)
        stored = [] if self._turn.cleared else self._store.gaps(self._turn.log.tid, sid, oseq, limit + len(gone))
        rows = [gap for gap in stored if gap.first not in gone] + [gap for gap in put.values() if gap.last >= oseq]
        return sorted(rows, key=lambda gap: gap.first)[:limit]

    def between(self, sid: int, first: int, last: int) -> Iterator[Gap]:
        """Rows that reach into a range, in order."""
        while first <= last and (page := self.read(sid, first, PAGE)):
            yield from (gap for gap in page if gap.first <= last)
            first = page[-1].last + 1

    # ---- what is gone ----------------------------------------------------------------------------

    def put(self, gap: Gap) -> None:
        """A range that is gone, joined with the rows right before and behind it that are of its kind, where they stay
        small together."""
        before = self._right_before(gap)
        if before is not None and _join_well(before, gap):
            self._drop(before)
            gap = _joined(before, gap)
        else:
            self._coarsen(gap.sid)
        for behind in self.read(gap.sid, gap.last + 1, 1):
            if _join_well(gap, behind):
                self._drop(behind)
                gap = _joined(gap, behind)
        self._turn.changes.append(PutGap(gap))

    def _right_before(self, gap: Gap) -> Gap | None:
        """Mostly what this turn put last."""
        for change in reversed(self._turn.changes):
            if isinstance(change, PutGap) and change.gap.sid == gap.sid and change.gap.last == gap.first - 1:
                return change.gap
        return next(iter(self.read(gap.sid, gap.first - 1, 1)), None)

    def _drop(self, gap: Gap) -> None:
        self._turn.changes.append(DropGap(gap.tid, gap.sid, gap.first))

    def _coarsen(self, sid: int) -> None:
        """The strand's two oldest rows as one without inner hashes, when there are more than trail_bytes keeps."""
        most = max(2, self._turn.sizes.trail_bytes // ENDS_BYTES)
        oldest = self.read(sid, 1, most + 1)
        if len(oldest) > most and _continues(*oldest[:2]) and oldest[0].reason != CONTROL:
            first, second = oldest[:2]
            self._drop(first)
            self._drop(second)
            self._turn.changes.append(
                PutGap(structs.replace(second, first=first.first, prev_hash=first.prev_hash, ends=b""))
            )

    # ---- control chunks that were said anew ------------------------------------------------------

    def supersede(self, strand: Strand, first: int, last: int) -> None:
        """Control chunks of this range are said anew: only where they stood is kept, in one row with what was erased
        beside them."""
        run, size = list[Gap](), 0
        for gap in list(self.between(strand.sid, max(first, strand.controls_from) - 1, last)):
            if run and gap.first != run[-1].last + 1:
                size += self._replace(run)
                run = []
            if gap.reason == ERASED or (gap.reason == CONTROL and first <= gap.first and gap.last <= last):
                run.append(gap)
        size += self._replace(run)
        for _ in range(size // ENDS_BYTES + bool(size)):
            self._coarsen(strand.sid)
        if first <= strand.controls_from:
            strand.controls_from = max(strand.controls_from, last + 1)

    def _replace(self, run: list[Gap]) -> int:
        """Rows that follow each other become one; by how many bytes of inner ends."""
        size = 0
        for piece in _pieces(run):
            if any(gap.reason == CONTROL for gap in piece):
                for gap in piece:
                    self._drop(gap)
                whole = _without_words(piece[0])
                for gap in piece[1:]:
                    whole = _joined(whole, _without_words(gap))
                self._turn.changes.append(PutGap(whole))
                size += len(whole.ends)
        return size


def _continues(before: Gap, gap: Gap) -> bool:
    return before.last == gap.first - 1 and before.reason == gap.reason and not (before.seq_from or gap.seq_from)


def _join_well(before: Gap, gap: Gap) -> bool:
    return _continues(before, gap) and len(before.ends) + len(gap.ends) + END_LEN <= ENDS_BYTES


def _joined(before: Gap, gap: Gap) -> Gap:
    ends = before.ends + (pack_end(before.last, before.hash) if before.hash else b"") + gap.ends
    return structs.replace(gap, first=before.first, prev_hash=before.prev_hash, ends=ends)


def _without_words(gap: Gap) -> Gap:
    return structs.replace(gap, reason=ERASED, ends=b"") if gap.reason == CONTROL else gap


def _pieces(run: Iterable[Gap]) -> Iterator[list[Gap]]:
    """Rows that follow each other, as many at once as one row may have inner ends."""
    piece: list[Gap] = []
    size = 0
    for gap in run:
        grows = END_LEN + (len(gap.ends) if gap.reason == ERASED else 0)
        if piece and size + grows > ENDS_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(gap)
        size += grows
    if piece:
        yield piece
