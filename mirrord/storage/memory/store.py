"""The store without a disk: the same promise, and it can forget, fail and go back in time when told to.

Rows are frozen, so a snapshot copies only references; every commit keeps how to undo itself until it is
synced, so a loss of power is a walk backwards. Nothing here depends on time or chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from msgspec import Struct

from ...errors import DiskFull, StorageFailed
from ..bounds import check
from ..packing import PACK_BYTES, Extent, merge, merge_parts, plan
from ..store import Change, PutPack
from .changes import Changes
from .table import Undo


class Fault(Enum):
    """What the disk answers instead of doing its work."""

    EIO = "eio"
    ENOSPC = "enospc"


class Snapshot(Struct, frozen=True):
    """Everything that was committed at one moment, as a backup holds it."""

    tables: tuple[Any, ...]


class _Armed(Struct, frozen=True):
    fault: Fault
    written: bool  # the commit reached the disk before the fault, so it must be taken back
    sticky: bool


class MemoryStore(Changes):
    """``witness`` is called with "before" and "after" around each commit; what it raises goes through.

    A simulator kills a node there: at "before" nothing of the commit is kept, at "after" all of it is.
    """

    def __init__(self, witness: Callable[[str], None] | None = None, pack_bytes: int = PACK_BYTES) -> None:
        super().__init__()
        self._pack_bytes = pack_bytes
        self._witness = witness
        self._armed: _Armed | None = None
        self._unsynced: list[Undo] = []  # oldest first; what each commit replaced
        self._loose: dict[int, int] = {}  # by topic: bytes that came since merging last looked
        self.failed = False

    @property
    def state(self) -> str:
        """``ok``, ``full`` (only deletes are let in) or ``failed`` (nothing is)."""
        full = self._armed is not None and self._armed.sticky and self._armed.fault is Fault.ENOSPC
        return "failed" if self.failed else "full" if full else "ok"

    @property
    def wal_bytes(self) -> int:
        """There is no write-ahead log."""
        return 0

    @property
    def unsynced(self) -> int:
        """How many commits a loss of power would take."""
        return len(self._unsynced)

    def commit(self, changes: Sequence[Change], *, sync: bool) -> None:
        """See Store. While the store is ``failed`` every commit is refused; ``heal`` ends that."""
        if self.failed:
            raise StorageFailed("the disk refused a commit and has not recovered yet", retry_after_s=1.0)
        self._tell("before")
        self._meet_fault(changes, written=False)
        kept = False
        try:
            check(changes)
            for change in changes:
                self._apply(change)
            self._meet_fault(changes, written=True)
            kept = True
        finally:
            self._close(kept=kept)
        if sync:
            self._unsynced.clear()
        self._note(changes)
        self._tell("after")

    def _note(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if type(change) is PutPack:
                tid = change.pack.tid
                self._loose[tid] = self._loose.get(tid, 0) + len(change.pack.body)

    def _tell(self, moment: str) -> None:
        if self._witness is not None:
            self._witness(moment)

    def _close(self, *, kept: bool) -> None:
        """End of a transaction: its log of changes becomes one step back, or is walked now."""
        log = self._undo.copy()
        self._undo.clear()
        if kept:
            self._unsynced.append(log)
        else:
            self._walk_back(log)

    def _walk_back(self, log: Undo) -> None:
        for table, key, old in reversed(log):
            table.put_back(key, old)

    def _meet_fault(self, changes: Sequence[Change], *, written: bool) -> None:
        armed = self._armed
        if armed is None or armed.written is not written:
            return
        if armed.fault is Fault.ENOSPC and armed.sticky and not any(type(c) is PutPack for c in changes):
            return  # the ballast was freed for these
        if not armed.sticky:
            self._armed = None
        elif armed.fault is Fault.EIO:
            self.failed = True
        raise DiskFull() if armed.fault is Fault.ENOSPC else StorageFailed()

    def fail_next(self, fault: Fault, *, written: bool = False, sticky: bool = False) -> None:
        """The next commit is refused; with ``sticky`` each one until ``mend``.

        With ``written`` it had reached the disk when the fault came, and is taken back.
        """
        self._armed = _Armed(fault, written, sticky)

    def mend(self) -> None:
        """The disk works again; a failed store still waits for ``heal``."""
        self._armed = None

    def heal(self) -> None:
        """Leave the state ``failed``. Raises StorageFailed while the disk does not work."""
        if self._armed is not None and self._armed.sticky and self._armed.fault is Fault.EIO:
            raise StorageFailed("the disk still refuses", retry_after_s=1.0)
        self.failed = False

    def crash(self, keep_unsynced: int | None = None) -> None:
        """The process or the machine dies; this store is then what the next start finds.

        None: kill -9, every commit is kept. A number: power loss, so many of the commits that were not
        synced survive, oldest first, and the later ones are forgotten.
        """
        if keep_unsynced is not None:
            while len(self._unsynced) > keep_unsynced:
                self._walk_back(self._unsynced.pop())
        self._unsynced.clear()  # what the next start reads is on the disk
        self.failed = False
        self._armed = None

    def snapshot(self) -> Snapshot:
        """A backup of what is committed."""
        return Snapshot(tuple(table.copy() for table in self._tables()))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a backup, durably."""
        for table, copied in zip(self._tables(), snapshot.tables, strict=True):
            table.restore(copied)
        self._unsynced.clear()

    @property
    def log_work_due(self) -> bool:
        """Never: there is no disk to wait for."""
        return False

    def tidy(self, *, idle: bool = True) -> bool:  # noqa: ARG002 -- a promise of all stores
        """Merge the small packs of one topic. Whether more may wait."""
        tid = next((tid for tid, size in self._loose.items() if size >= self._pack_bytes), None)
        if tid is None or self.failed:
            return False
        del self._loose[tid]
        self._repack(tid)
        return True

    def _repack(self, tid: int) -> None:
        rows = self._packs.rows
        keys = list(self._packs.span((tid, self._merged.rows.get(tid, 0)), (tid + 1,)))
        packs = [rows[key].pack for key in keys]
        planned = plan([Extent(pack.seq, pack.last, len(pack.body)) for pack in packs], self._pack_bytes)
        for first, last in planned.groups:
            group = [rows[key] for key in keys if first <= key[1] <= last]
            for row in group:
                self._take(row)
            parts = merge_parts(part for row in group for part in row.parts)
            tags = tuple(tag for row in group for tag in row.tags)
            self._put_pack(PutPack(merge([row.pack for row in group]), parts, tags))
        if planned.groups:
            self._merged.put(tid, planned.done)
        self._close(kept=True)

    def close(self) -> None:
        """Nothing to close: the store can be opened again as it is."""
