"""Work for idle moments: merging small packs, and giving free pages back to the file system.

A step is small (two packs full, or 64 pages), so a turn that comes
meanwhile waits a few ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from ..packing import PACK_BYTES, Extent, merge, merge_parts, plan
from ..store import MAX_SEQ, Change, DropTopic, Pack, PutPack
from .connection import rows
from .deferred import Deferred
from .statements import DROP_PART, DROP_TAG, Transaction, checksum, pack_key, parts_of, tags_of

STEP_BYTES = 2 * PACK_BYTES
ROW_BYTES = 16  # what a row costs besides its body; keeps a group of tiny packs bounded too
VACUUM_PAGES = 64
SPARE_PAGES = 32  # free pages that are kept for the next appends

_EXTENTS = "SELECT key, last, length(body) FROM packs WHERE key BETWEEN ? AND ? ORDER BY key"
_GROUP = """SELECT key, last, records, bytes, ts_last, checksum, parts, tags, body FROM packs
    WHERE key BETWEEN ? AND ? ORDER BY key"""


class Upkeep:
    """Knows which topics have small packs. Lives on the writer's connection and thread; raises apsw.Error."""

    def __init__(self, writer: apsw.Connection, deferred: Deferred) -> None:
        self._writer = writer
        self._deferred = deferred
        self._loose = {tid: PACK_BYTES for (tid,) in rows(writer, "SELECT tid FROM heads")}
        self._vacuuming = False

    def note(self, changes: Sequence[Change]) -> None:
        """Take note of what was committed."""
        for change in changes:
            if isinstance(change, PutPack) and (size := len(change.pack.body)) < PACK_BYTES:
                tid = change.pack.tid
                self._loose[tid] = self._loose.get(tid, 0) + size + ROW_BYTES

    def forget(self, changes: Sequence[Change]) -> None:
        """Topics that were dropped have nothing to merge."""
        for change in changes:
            if isinstance(change, DropTopic):
                self._loose.pop(change.tid, None)

    def merge_some(self) -> bool:
        """One step of merging, in a topic where a full pack may be made. Whether there was one."""
        tid = next((tid for tid, size in self._loose.items() if size >= PACK_BYTES), None)
        if tid is None:
            return False
        if not self.repack(tid, STEP_BYTES):
            del self._loose[tid]
        return True

    def repack(self, tid: int, budget_bytes: int) -> bool:
        """Merge the next small packs of a topic, about ``budget_bytes`` of them. Whether more are to be seen.

        Readers see the same records before, meanwhile and after. A pack that fails its checksum stays as
        it is: merged, it would get a good one.
        """
        self._writer.execute("BEGIN IMMEDIATE")
        begin = rows(self._writer, "SELECT seq FROM merged WHERE tid = ?", tid)
        extents, more = self._extents(tid, begin[0][0] if begin else 0, budget_bytes)
        planned = plan(extents)
        waiting = self._deferred.waiting_packs() if planned.groups else set()
        merged = {key for first, last in planned.groups for key in self._merge(tid, first, last, waiting)}
        if planned.done and (not begin or planned.done != begin[0][0]):
            self._writer.execute("INSERT OR REPLACE INTO merged VALUES (?, ?)", (tid, planned.done))
        told = not merged.isdisjoint(waiting)  # what waits must be written: packs that tell it are gone
        if told:
            self._deferred.write(merged)
        self._writer.execute("COMMIT")
        if told:
            self._deferred.forget()
        return more

    def write_deferred(self) -> bool:
        """Write what waits into its tables. Whether anything did."""
        if not self._deferred.waiting:
            return False
        self._writer.execute("BEGIN IMMEDIATE")
        self._deferred.write()
        self._writer.execute("COMMIT")
        self._deferred.forget()
        return True

    def _extents(self, tid: int, seq: int, budget_bytes: int) -> tuple[list[Extent], bool]:
        extents: list[Extent] = []
        cursor: Any = self._writer.execute(_EXTENTS, (pack_key(tid, seq), pack_key(tid, MAX_SEQ)))
        try:
            for key, last, size in cursor:
                extents.append(Extent(key & MAX_SEQ, last, size + ROW_BYTES))
                budget_bytes -= ROW_BYTES + (size if size < PACK_BYTES else 0)
                if budget_bytes < 0 and len(extents) > 1:
                    return extents, True
        finally:
            cursor.close()
        return extents, False

    def _merge(self, tid: int, first: int, last: int, waiting: set[int]) -> list[int]:
        """The keys of the packs that became one."""
        span = (pack_key(tid, first), pack_key(tid, last))
        group = rows(self._writer, _GROUP, *span)
        if any(checksum(row[8]) != row[5] for row in group):
            return []
        parts = [(row[0], part) for row in group for part in parts_of(row[6])]
        tags = [(tid, tag, row[0] & MAX_SEQ) for row in group for tag in tags_of(row[7])]
        self._writer.execute("DELETE FROM packs WHERE key BETWEEN ? AND ?", span)
        self._writer.executemany(DROP_PART, [(part.sid, part.first) for key, part in parts if key not in waiting])
        self._writer.executemany(DROP_TAG, tags)
        merged = merge([Pack(tid, row[0] & MAX_SEQ, row[1], row[2], row[3], row[4], row[8]) for row in group])
        names = tuple(tag for _, tag, _ in tags)
        Transaction(self._writer).apply([PutPack(merged, merge_parts([part for _, part in parts]), names)])
        return [row[0] for row in group]

    def vacuum_some(self) -> bool:
        """Give free pages back, one step; once begun, to the end. Whether there was something to do."""
        free: int = rows(self._writer, "PRAGMA freelist_count")[0][0]
        self._vacuuming = free > (0 if self._vacuuming else SPARE_PAGES)
        if self._vacuuming:
            self._writer.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        return self._vacuuming
