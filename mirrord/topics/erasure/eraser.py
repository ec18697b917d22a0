"""Deletes, decided in the topic's turn: which records go, and what the log is then. Permanent, silent, at once.

A record that goes gets a bit in a mask; everything below a seq goes by moving the floor. What is behind neither is
served to readers or peers, whether or not its bytes still lie in a pack.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from operator import itemgetter

from msgspec import Struct

from ...errors import ChunkCorrupt
from ...records.gap import DELETED
from ...records.selector import Selector
from ...storage.store import Pack, Store
from ..log.turn import Turn
from ..messages import Delete, Deleted, Erase, Erased
from .contents import Range
from .sight import Contents, Sight, contents_of, tagged

PARTS = 256  # runs of a strand that are asked of the store at once
STEP_PACKS, STEP_BYTES = 64, 1 << 20  # looked at in one turn: what waits behind it waits some 10 ms


class Gone(Struct):
    """What a delete took."""

    records: int = 0
    text: int = 0


class Eraser:
    """Deletes of one turn."""

    def __init__(self, turn: Turn, store: Store, sight: Sight) -> None:
        self._turn, self._store, self._sight = turn, store, sight

    # ---- by seq ----------------------------------------------------------------------------------

    def erase(self, message: Erase) -> tuple[Erased, list[tuple[int, int]]]:
        """Delete single records. Also their places, as ``(strand, oseq)``. Raises ChunkCorrupt."""
        found = self._live(message.seqs)
        self._take(found, erased=message.travels)
        return Erased(tuple(seq for seq, _ in found)), [contents.place(seq) for seq, contents in found]

    def _live(self, seqs: Iterable[int]) -> list[tuple[int, Contents]]:
        log, masks = self._turn.log, self._turn.masks
        found: list[tuple[int, Contents]] = []
        here: Contents | None = None
        for seq in sorted(set(seqs)):
            if not log.floor < seq <= log.head or masks.has(seq):
                continue
            if here is None or not here.seq <= seq <= here.last:
                here = self._sight.contents(seq)
            if here is not None:  # else a gap has this seq
                found.append((seq, here))
        return found

    def erase_oseqs(self, strand: int, sid: int, ranges: Sequence[Range]) -> None:
        """Delete what the log holds of ranges of a strand (in order), because travelling deletions say so. What does
        not read back is left out: it is never served."""
        packs = (*self._holding(sid, ranges), *self._sight.fresh())
        found = [(seq, contents) for contents in packs for seq in _seqs_of(contents, strand, ranges)]
        masks, floor = self._turn.masks, self._turn.log.floor
        self._take([(seq, contents) for seq, contents in found if seq > floor and not masks.has(seq)], erased=True)
        masks.add([(seq, 0) for seq, _ in found], erased=True)  # also those that were gone here: peers may have them

    def _holding(self, sid: int, ranges: Sequence[Range]) -> Iterator[Contents]:
        """The committed packs that hold any of these oseqs, each once."""
        packs: dict[int, None] = {}
        at = 0  # what lies before is looked for, or is not here
        for first, last in ranges:
            at = max(at, first)
            while at <= last:
                parts = self._store.parts(sid, at, min(PARTS, last - at + 1))
                here = [(part, seq) for part, seq in parts if part.first <= last]
                packs.update(dict.fromkeys(seq for _, seq in here))
                at = here[-1][0].last + 1 if here else parts[0][0].first if parts else ranges[-1][1] + 1
        for seq in packs:
            with suppress(ChunkCorrupt):
                if (found := self._sight.whole(seq)) is not None:
                    yield found

    def _take(self, found: list[tuple[int, Contents]], *, erased: bool) -> Gone:
        log, masks = self._turn.log, self._turn.masks
        masks.add([(seq, contents.text(seq)) for seq, contents in found], erased=erased)
        packs = {contents.seq: contents for _, contents in found}
        self._turn.removal.wounded.update(c.seq for c in packs.values() if masks.covers(c.seq, c.last))
        gone = Gone(len(found), sum(contents.text(seq) for seq, contents in found))
        log.count -= gone.records
        log.bytes -= gone.text
        return gone

    # ---- by place and tag ------------------------------------------------------------------------

    def delete(self, message: Delete) -> Deleted:
        """Delete a front, or one step of what a selector means. Raises ChunkCorrupt."""
        log = self._turn.log
        until = log.head if message.until is None else message.until
        if message.log_id not in (None, log.about.log_id.hex()):
            return Deleted(0, 0, until)
        if message.before_seq is not None:
            until = min(until, message.before_seq - 1)
        if message.match is None:
            gone = self._front(until)
            return Deleted(gone.records, gone.text, until)
        return self._tagged(message.match, message.after, until)

    def _front(self, until: int) -> Gone:
        log = self._turn.log
        if until <= log.deleted_floor:
            return Gone()
        gone = self._between(log.floor + 1, until)
        log.count -= gone.records
        log.bytes -= gone.text
        log.floor = max(log.floor, until)
        log.take_front({DELETED: until})
        return gone

    def _tagged(self, match: Selector, after: int, until: int) -> Deleted:
        gone, room = Gone(), STEP_BYTES
        stored = self._with_tag(match, after)
        for seq in stored[:STEP_PACKS]:
            if seq > until:
                break
            if room <= 0:
                return Deleted(gone.records, gone.text, until, after)
            for pack in self._store.packs(self._turn.log.tid, seq, 1):
                self._match(pack, match, until, gone)
                room, after = room - len(pack.body), pack.last
        else:
            if len(stored) > STEP_PACKS:
                return Deleted(gone.records, gone.text, until, after)
        for pack in self._turn.closed_packs():
            self._match(pack, match, until, gone)
        return Deleted(gone.records, gone.text, until)

    def _with_tag(self, match: Selector, after: int) -> list[int]:
        """Packs behind ``after`` that may hold a match. One that was merged meanwhile begins where its first did."""
        tid = self._turn.log.tid
        begin = self._store.pack_sizes(tid, max(after, self._turn.log.floor) + 1, 1)
        before = begin[0].seq - 1 if begin else after
        return self._store.packs_with_tag(tid, match.text, STEP_PACKS + 1, after=before, prefix=match.is_prefix)

    def _match(self, pack: Pack, match: Selector, until: int, gone: Gone) -> None:
        log, masks = self._turn.log, self._turn.masks
        meant = [seq for seq, tag in tagged(pack) if seq <= until and match.matches(tag) and not masks.has(seq)]
        live = [seq for seq in meant if seq > log.floor]
        if not meant:
            return
        contents = contents_of(pack)
        taken = self._take([(seq, contents) for seq in live], erased=False)
        masks.add([(seq, 0) for seq in meant if seq <= log.floor], erased=False)  # evicted, but peers could get it yet
        gone.records += taken.records
        gone.text += taken.text

    # ---- what is live in a range -----------------------------------------------------------------

    def _between(self, first: int, last: int) -> Gone:
        """What is live in a range that begins right above the floor. Packs that lie in it whole, with nothing deleted,
        are added up; only the others are looked into."""
        log, masks = self._turn.log, self._turn.masks
        if last < first:
            return Gone()
        if last >= log.head:
            return Gone(log.count, log.bytes)
        gone = Gone()
        for pack in self._sizes(first, last):
            low, high = max(first, pack.seq), min(last, pack.last)
            if (low, high) == (pack.seq, pack.last) and not masks.count(low, high):
                part = Gone(high - low + 1, pack.bytes)
            else:
                part = self._text_of(seq for seq in range(low, high + 1) if not masks.has(seq))
            gone.records, gone.text = gone.records + part.records, gone.text + part.text
        return gone

    def _sizes(self, first: int, last: int) -> list[Pack]:
        found: list[Pack] = []
        seq = first
        while seq <= last and (page := self._store.pack_sizes(self._turn.log.tid, seq, 1024)):
            found += [pack for pack in page if pack.seq <= last]
            seq = page[-1].last + 1
        return found + [pack for pack in self._turn.closed_packs() if pack.seq <= last]

    def _text_of(self, seqs: Iterable[int]) -> Gone:
        gone = Gone()
        here: Contents | None = None
        for seq in seqs:
            if here is None or not here.seq <= seq <= here.last:
                here = self._sight.contents(seq)
            if here is not None:
                gone.records += 1
                gone.text += here.text(seq)
        return gone

    # ---- the front -------------------------------------------------------------------------------

    def advance_front(self) -> None:
        """The floor moves over deleted records at the front of the log: nothing readable is passed."""
        log = self._turn.log
        if self._turn.masks:
            log.floor = max(log.floor, self._turn.masks.first_live(log.floor + 1, log.head) - 1)


def _seqs_of(contents: Contents, strand: int, ranges: Sequence[Range]) -> Iterator[int]:
    """Local seqs at which a pack holds these oseqs of a strand."""
    ends = [*contents.starts[1:], contents.last + 1]
    for begin, end, (number, oseq) in zip(contents.starts, ends, contents.places, strict=True):
        if number == strand:
            for first, last in islice(ranges, bisect_left(ranges, oseq, key=itemgetter(1)), None):
                low, high = max(first, oseq), min(last, oseq + end - begin - 1)
                if low > high:
                    break
                yield from range(begin + low - oseq, begin + high - oseq + 1)
