"""The disk of a simulated node: a store in memory that tells what it commits, and kills its node at a commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ...records.chunk import COUNT, FIRST, STRAND, chunks_in, missing
from ...records.gap import CONTROL, DELETED, ERASED
from ...records.record import records
from ...storage.memory import MemoryStore
from ...storage.store import Change, DropLog, DropPack, Gap, PutGap, PutPack, PutStrand
from ...topics.erasure.masks import Masks
from ...topics.erasure.sight import contents_of
from ...topics.log.log import load_taken
from ..plan import COPIES

PACK_BYTES = 700  # so that small packs are merged within a run


class Killed(Exception):
    """kill -9, at a commit."""


def of_a_kill(error: BaseException) -> bool:
    """Whether this is a kill at a commit, or a nursery that ended by it: the process is over in a moment."""
    return isinstance(error, Killed) or (isinstance(error, BaseExceptionGroup) and error.split(Killed)[1] is None)


class SimDisk(MemoryStore):
    """``watch`` hears of every commit that stands."""

    def __init__(self, watch: Callable[[SimDisk, Sequence[Change]], None]) -> None:
        super().__init__(pack_bytes=PACK_BYTES)
        self._watch = watch
        self._kill: tuple[str, int] | None = None
        self.came_at: dict[tuple[int, int], float] = {}  # (sid, first): when that run was committed
        self.gone: set[str] = set()  # texts that retention or a deletion took

    def kill_at(self, moment: str, commits: int) -> None:
        """Die before or after so many commits from now. ``disarm`` takes it back."""
        self._kill = (moment, commits)

    def disarm(self) -> None:
        """Nobody dies any more."""
        self._kill = None

    def commit(self, changes: Sequence[Change], *, sync: bool) -> None:
        dies = None
        if self._kill is not None:
            moment, left = self._kill
            self._kill = (moment, left - 1)
            dies = moment if left <= 1 else None
        if dies == "before":
            self._kill = None
            raise Killed
        goes = self._goes(changes)
        super().commit(changes, sync=sync)
        self.gone |= goes
        self._remember(changes)
        self._watch(self, changes)
        if dies == "after":
            self._kill = None
            raise Killed

    def _goes(self, changes: Sequence[Change]) -> set[str]:
        found: set[str] = set()
        for change in changes:
            if isinstance(change, DropPack):
                found.update(texts_of(self.packs(change.tid, change.seq, 1)[0].body))
            elif isinstance(change, DropLog):
                found.update(text for pack in self.packs(change.tid, 1, 1 << 40) for text in texts_of(pack.body))
        return found

    def _remember(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, PutPack):
                for part in change.parts:
                    self.came_at[part.sid, part.first] = trio.current_time()

    # ---- what it holds ----------------------------------------------------------------------------------------------

    def texts(self) -> set[str]:
        """The data of every record that a client wrote, so not of routers' copies."""
        return {
            text
            for row in self.topics()
            if row.name != COPIES
            for pack in self.packs(row.tid, 1, 1 << 40)
            for text in texts_of(pack.body)
        }

    def sid(self, topic: str, strand: int) -> tuple[int, int] | None:
        """The small numbers (tid, sid) of a strand; None when it is not known here."""
        for row in self.topics():
            if row.name == topic:
                return next(((row.tid, s.sid) for s in self.strands(row.tid) if s.strand == strand), None)
        return None

    def holds_since(self, sid: int, oseq: int) -> float | None:
        """When the record came that is held here; None when it is not."""
        found = self.parts(sid, oseq, 1)
        if not found or found[0][0].first > oseq or self._is_deleted(sid, oseq, found[0][1]):
            return None
        return max((at for (s, first), at in self.came_at.items() if s == sid and first <= oseq), default=0.0)

    def _is_deleted(self, sid: int, oseq: int, pack_seq: int) -> bool:
        row = self._strands.rows[sid]
        masks, head = Masks.load(self.masks(row.tid)), self.head(row.tid)
        front = load_taken(head.taken).get(DELETED, 0) if head is not None else 0
        contents = contents_of(self.packs(row.tid, pack_seq, 1)[0])
        seqs = range(contents.seq, contents.last + 1)
        return any((masks.has(seq) or seq <= front) and contents.place(seq) == (row.strand, oseq) for seq in seqs)

    def place(self, sid: int, tid: int) -> int:
        """How far the log has come in a strand."""
        return next((row.last for row in self.vectors(tid) if row.sid == sid), 0)


def texts_of(body: bytes) -> list[str]:
    """The data of the records of a pack."""
    return [str(record.data) for at, _, header in chunks_in(body) for record in records(body, at, header)]


def new_strands(changes: Sequence[Change]) -> list[bytes]:
    """Descriptors that a commit stores."""
    return [change.row.descriptor for change in changes if isinstance(change, PutStrand)]


def link_gaps(changes: Sequence[Change]) -> list[Gap]:
    """Gaps that came over a link: not those that a log's own retention or deletion leaves behind."""
    if any(isinstance(change, DropPack | DropLog) for change in changes):
        return []
    gaps = [change.gap for change in changes if isinstance(change, PutGap) and change.gap.sid]
    return [gap for gap in gaps if gap.reason not in (CONTROL, ERASED)]  # those are not waited with


def stripped(changes: Sequence[Change]) -> list[tuple[int, int, int, int, list[int]]]:
    """(tid, strand, first and last oseq, which it lacks) of each stripped chunk that a link brings."""
    found: list[tuple[int, int, int, int, list[int]]] = []
    for pack in [change.pack for change in changes if isinstance(change, PutPack)]:
        for at, _, header in chunks_in(pack.body):
            gone, first = missing(pack.body, at, header), header[FIRST]
            lacks = [first + i for i in range(gone.bit_length()) if gone >> i & 1]
            if lacks:
                found.append((pack.tid, header[STRAND], first, first + header[COUNT] - 1, lacks))
    return found
