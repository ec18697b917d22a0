"""Reading after a cursor: a page of records, or the one tombstone that stands before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct, structs

from ...records.gap import VOLUNTARY
from ...records.selector import Selector
from ...storage.store import Gap, Pack
from ..erasure.masks import Masks
from .face import Face, View, gap_tombstone, join, tombstone
from .page import Page

READ_BYTES = 1 << 18  # fetched at once: about what a usual page holds, for what is not shown was read in vain
MIXED = "mixed"  # evicted as well as expired
MOST_SCANNED = 50_000  # records looked at for one page: a filter that drops all must not hold the node up
PACK_SCANNED = 64  # a pack that was fetched because its tags may match counts as so many of them


class LogReads(Protocol):
    """The committed log, as a topic shows it to readers."""

    topic: str
    head: int
    floor: int
    taken: Mapping[str, int]  # why the front is gone: reason -> highest seq that went for it
    count: int
    last_gap: int  # highest seq that a gap occupies; 0: none

    @property
    def log_id_hex(self) -> str: ...

    @property
    def dedupe_node(self) -> bool: ...

    @property
    def masks(self) -> Masks: ...

    def packs(self, seq: int, max_bytes: int) -> list[Pack]: ...

    def tagged(self, match: Selector, seq: int) -> int | None: ...

    def next_gap(self, seq: int) -> Gap | None: ...

    def gaps_within(self, first: int, last: int) -> list[Gap]: ...

    def face(self, strand: int) -> Face: ...

    def face_of_sid(self, sid: int) -> Face | None: ...


class Found(Struct, frozen=True):
    """One page, ready to be answered. ``worth_telling`` is false when a long poll should rather wait."""

    records: list[str]
    next_from_seq: int
    head: int
    earliest: int
    tombstone: str | None
    scanned: int
    begun_at: int = 0  # its records stand behind this seq: the cursor, or where the loss ends that is told

    @property
    def caught_up(self) -> bool:
        """Whether the cursor stands at the head."""
        return self.next_from_seq >= self.head

    @property
    def worth_telling(self) -> bool:
        """Whether a long poll must not wait on: something is here, or there is more to examine."""
        return bool(self.records) or self.tombstone is not None or not self.caught_up

    def body(self, log: LogReads, total_ms: Callable[[], float]) -> bytes:
        """The answer of ``POST /v0/topics/:topic/diff``."""
        lag = max(0, self.head - self.next_from_seq)
        return (
            f'{{"topic":"{log.topic}","log_id":"{log.log_id_hex}","records":{join(self.records)},'
            f'"next_from_seq":{self.next_from_seq},"head_seq":{self.head},"earliest_seq":{self.earliest},'
            f'"caught_up":{"true" if self.caught_up else "false"},"tombstone":{self.tombstone or "null"},"lag":{lag},'
            f'"performance":{{"server_total_ms":{total_ms():.3f},"records_scanned":{self.scanned}}}}}'
        ).encode()


class _Faces(dict[int, Face]):
    def __init__(self, log: LogReads) -> None:
        super().__init__()
        self._log = log

    def __missing__(self, strand: int) -> Face:
        face = self[strand] = self._log.face(strand)
        return face


def read(log: LogReads, from_seq: int, log_id: str | None, view: View, until: int | None = None) -> Found:
    """The page after ``from_seq``. Losses in the middle of the log stop a page and are told one a page.

    ``until`` cuts the log there: what stands behind is not yet to be shown.
    """
    if view.skip_nodes and not log.dedupe_node:  # the topic does not let its readers filter by node
        view = structs.replace(view, skip_nodes=frozenset())
    head, floor = log.head if until is None else min(log.head, until), log.floor
    earliest = floor + 1 if log.count else head + 1
    told: str | None = None
    cursor = from_seq
    if from_seq > log.head or (log_id is not None and log_id != log.log_id_hex):
        told, cursor = tombstone(1, head, "recreated", head, earliest, head), 0
    if cursor < (lost := lost_front(log.taken)):
        told = told or _front_tombstone(log, cursor, lost, head)
    cursor = max(cursor, floor)  # what was deleted behind it goes without saying
    begun_at = cursor
    if cursor >= head:
        return Found([], cursor, head, earliest, told, 0, begun_at)
    page, faces = Page(cursor, [], lead=f'"$topic":"{log.topic}",' if view.named else ""), _Faces(log)
    while page.cursor < head and not page.full and page.scanned < MOST_SCANNED:
        gap = log.next_gap(page.cursor + 1) if page.cursor < log.last_gap else None
        if gap is not None and gap.seq_from <= page.cursor + 1:
            if told is not None or page.records:
                break
            told, page.cursor = gap_tombstone(gap, log.face_of_sid(gap.sid), head), gap.seq_to
            begun_at = gap.seq_to
            continue
        _fill(page, log, floor, gap.seq_from - 1 if gap is not None else head, view, faces)
    return Found(page.records, page.cursor, head, earliest, told, page.scanned, begun_at)


def _fill(page: Page, log: LogReads, floor: int, until: int, view: View, faces: dict[int, Face]) -> None:
    most_bytes, masks = min(READ_BYTES, view.max_bytes), log.masks
    if view.match is not None and until - page.cursor > view.limit:  # far enough for the index of tags to be worth it
        page.scanned += PACK_SCANNED
        begin = log.tagged(view.match, page.cursor + 1)
        page.cursor = until if begin is None else min(begin - 1, until)
        most_bytes = 1
    if page.cursor < until:
        packs = log.packs(page.cursor + 1, most_bytes)
        for pack in packs:
            if pack.seq > until:
                break
            page.add_pack(pack, floor, until, view, faces, masks.within(pack.seq, pack.last) if masks else 0)
            if page.full:
                return
        if not packs or packs[-1].seq > until:
            page.cursor = until


def _front_tombstone(log: LogReads, cursor: int, lost: int, head: int) -> str:
    missed = lost - cursor + sum(gap.missed - gap.seqs for gap in log.gaps_within(cursor + 1, lost))
    return tombstone(cursor + 1, lost, front_reason(log.taken, cursor), missed, lost + 1, head)


def lost_front(taken: Mapping[str, int]) -> int:
    """The highest seq of the front that is gone although nobody deleted it; 0: none is."""
    return max([seq for reason, seq in taken.items() if reason not in VOLUNTARY], default=0)


def front_reason(taken: Mapping[str, int], after: int) -> str:
    """Why what follows ``after`` at the front is gone: the one reason that reaches it, or that there are several."""
    reasons = [reason for reason, seq in taken.items() if seq > after and reason not in VOLUNTARY]
    return reasons[0] if len(reasons) == 1 else MIXED
