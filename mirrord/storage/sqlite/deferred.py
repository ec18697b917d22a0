"""Rows that may wait: a pack's own row tells what its commit says of parts, head and vectors, and their tables follow.

An append alone would write four pages: its pack, its part, the topic's head, the strand's vector. Told by the pack's
row it writes one, in one statement; the other rows are written later, many at once, and those of packs that were merged
by then never. Until they are, reads lay them over the tables. After a crash the packs behind their topic's head *in the
table* tell what had waited. Decision 0035.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import apsw
from msgspec import Struct, msgpack
from msgspec.structs import astuple

from ..store import (
    MAX_SEQ,
    SEQ_BITS,
    Change,
    DropLog,
    DropPack,
    DropTopic,
    HeadRow,
    Pack,
    Part,
    PutHead,
    PutPack,
    PutVector,
    VectorRow,
)
from .connection import rows
from .statements import HEAD, META, PART, VECTOR, pack_key, parts_of

MOST_PARTS = 4096  # that wait at most
WRITTEN_KEY = "written"  # the number of the last commit whose rows waited and now stand in the tables

_DROPS = (DropPack, DropLog, DropTopic)
_LAST_PART = "SELECT last FROM parts WHERE sid = ? ORDER BY first DESC LIMIT 1"
_NEXT_PACK = "SELECT key FROM packs WHERE key > ? ORDER BY key LIMIT 1"
_TELLING = "SELECT key, parts, told FROM packs WHERE key > ? AND key <= ? AND told IS NOT NULL ORDER BY key"


class Deferral(Struct):
    """What of one commit waits. ``told``: what its packs' rows tell, by key; none: there is nothing that could wait.
    ``alone``: the one pack whose row is all that is to be written."""

    told: dict[int, bytes] = {}
    heads: dict[int, HeadRow] = {}
    vectors: list[VectorRow] = []
    parts: list[tuple[Part, int]] = []  # each with its pack's key
    ends: dict[int, int] = {}  # by sid: where its last part here ends
    alone: PutPack | None = None


class _Told(Struct, array_like=True, frozen=True):
    number: int
    head: tuple[Any, ...] | None  # in a topic's last pack of the commit
    vectors: list[tuple[Any, ...]]  # in the first of these, of all topics


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(_Told).decode


class Deferred:
    """Belongs to the writer's connection and thread, but for ``heads``, ``vectors`` and ``parts``, which any thread may
    read: what stands in them has been committed, and leaves them after it came into the tables. Raises apsw.Error."""

    def __init__(self, writer: apsw.Connection) -> None:
        self._writer = writer
        self.heads: dict[int, HeadRow] = {}
        self.vectors: dict[int, VectorRow] = {}
        self.parts: dict[int, list[tuple[Part, int]]] = {}  # by sid
        self._waiting = 0
        told = rows(writer, "SELECT value FROM meta WHERE key = ?", WRITTEN_KEY)
        self._number = int(told[0][0]) if told else 0
        self._heads_written: dict[int, int] = dict(rows(writer, "SELECT tid, head FROM heads"))
        self._ends: dict[int, int] = {}  # by sid: no part of it ends behind this
        self._recover()

    @property
    def waiting(self) -> bool:
        """Whether rows wait."""
        return bool(self.heads)

    # ---- a commit --------------------------------------------------------------------------------

    def plan(self, changes: Sequence[Change]) -> Deferral | None:
        """What of a commit may wait; None when all that waits, and all of this, must be written now."""
        if len(changes) == 3 and (alone := self._plan_alone(*changes)) is not None:
            return alone
        waits, packs = Deferral(), dict[int, Pack]()
        for change in changes:
            if isinstance(change, PutPack):
                if not self._lies_behind(change, packs, waits):
                    return None
            elif isinstance(change, PutHead):
                waits.heads[change.row.tid] = change.row
            elif isinstance(change, PutVector):
                waits.vectors.append(change.row)
            elif isinstance(change, _DROPS):
                return None
        if packs or waits.heads or waits.vectors:
            return waits if self._all_told(packs, waits) else None
        return waits

    def _plan_alone(self, put: Change, vector: Change, head: Change) -> Deferral | None:
        """What nearly every commit of a writer or a link is: a pack of one strand behind all others, with no tags, and
        what its row tells. None for everything else, which ``plan`` judges."""
        if not (isinstance(put, PutPack) and isinstance(vector, PutVector) and isinstance(head, PutHead)):
            return None
        pack, row, parts = put.pack, head.row, put.parts
        if put.tags or len(parts) != 1 or self._waiting >= MOST_PARTS:
            return None
        part, tid = parts[0], pack.tid
        sid = part.sid
        if pack.seq <= self._heads_written.get(tid, 0) or part.first <= (self._ends.get(sid) or self._end(sid)):
            return None
        self._number += 1
        key, strand = tid << SEQ_BITS | pack.seq, vector.row
        told = _encode((self._number, astuple(row), (astuple(strand),)))
        return Deferral({key: told}, {row.tid: row}, [strand], [(part, key)], {sid: part.last}, put)

    def _lies_behind(self, change: PutPack, packs: dict[int, Pack], waits: Deferral) -> bool:
        """Whether a pack lies behind all that the tables know of its topic, and each of its parts behind all of its
        strand: then they stand nowhere yet, and reads can lay them over the tables."""
        pack = change.pack
        tid, seq = pack.tid, pack.seq
        if seq <= self._heads_written.get(tid, 0):
            return False
        packs[tid] = pack
        key = tid << SEQ_BITS | seq
        for part in change.parts:
            sid = part.sid
            if part.first <= (waits.ends.get(sid) or self._ends.get(sid) or self._end(sid)):
                return False
            waits.ends[sid] = part.last
            waits.parts.append((part, key))
        waits.told[key] = b""
        return True

    def _end(self, sid: int) -> int:
        """Where the strand's last part in the table ends."""
        found = rows(self._writer, _LAST_PART, sid)
        self._ends[sid] = end = found[0][0] if found else 0
        return end

    def _all_told(self, packs: dict[int, Pack], waits: Deferral) -> bool:
        """Have the last pack of each topic tell its head, the first of these all vectors, and the others that their
        parts wait. False when they cannot tell it all."""
        heads, vectors, told = waits.heads, [astuple(row) for row in waits.vectors], waits.told
        if heads.keys() != packs.keys() or self._waiting + len(waits.parts) > MOST_PARTS:
            return False
        self._number += 1
        if len(told) > 1:
            told.update(dict.fromkeys(told, _encode((self._number, None, ()))))
        for tid, row in heads.items():
            told[tid << SEQ_BITS | packs[tid].seq] = _encode((self._number, astuple(row), vectors))
            vectors = []
        return True

    def committed(self, changes: Sequence[Change], waits: Deferral | None) -> None:
        """After the commit of a plan. Without one all that waited was written with it."""
        if waits is not None:
            self._take(waits)
            return
        self.forget()
        for change in changes:
            if isinstance(change, PutHead):
                self._heads_written[change.row.tid] = change.row.head
            elif isinstance(change, DropTopic):
                self._heads_written.pop(change.tid, None)
                self._ends.clear()
            elif isinstance(change, PutPack):
                for part in change.parts:
                    self._ends.pop(part.sid, None)  # to be found in the table again

    def _take(self, waits: Deferral) -> None:
        self._ends.update(waits.ends)
        for part, key in waits.parts:
            self.parts.setdefault(part.sid, []).append((part, key))
        for row in waits.vectors:
            self.vectors[row.sid] = row
        self.heads.update(waits.heads)
        self._waiting += len(waits.parts)

    # ---- into the tables -------------------------------------------------------------------------

    def write(self, merged: Collection[int] = ()) -> None:
        """All that waits, into an open transaction; ``forget`` follows its commit. ``merged``: keys of packs that this
        transaction replaced, so that nothing needs to be told of their parts."""
        many = self._writer.executemany
        many(PART, [
            (part.sid, part.first, part.last, key)
            for parts in self.parts.values() for part, key in parts if key not in merged
        ])  # fmt: skip
        many(HEAD, [astuple(row) for row in self.heads.values()])
        many(VECTOR, [astuple(row) for row in self.vectors.values()])
        self._writer.execute(META, (WRITTEN_KEY, b"%d" % self._number))

    def forget(self) -> None:
        """What was written waits no longer."""
        for tid, row in self.heads.items():
            self._heads_written[tid] = row.head
        self.heads, self.vectors, self.parts, self._waiting = {}, {}, {}, 0

    def waiting_packs(self) -> set[int]:
        """Keys of the packs whose parts wait."""
        return {key for parts in self.parts.values() for _, key in parts}

    # ---- after a crash ---------------------------------------------------------------------------

    def _recover(self) -> None:
        """Write what waited when the process ended."""
        telling: list[tuple[_Told, int, bytes]] = []
        key = 0
        while found := rows(self._writer, _NEXT_PACK, key):
            tid = found[0][0] >> SEQ_BITS
            key = pack_key(tid, MAX_SEQ)
            behind = rows(self._writer, _TELLING, pack_key(tid, self._heads_written.get(tid, 0)), key)
            told = [(_decode(blob), pack, parts) for pack, parts, blob in behind]
            telling += [one for one in told if one[0].number > self._number]
        for one in sorted(telling, key=lambda one: (one[0].number, one[1])):  # a vector may be told by several topics
            self._take(_deferral(*one))
            self._number = one[0].number
        if telling:
            with self._writer:
                self.write()
            self.forget()


def _deferral(told: _Told, key: int, parts: bytes) -> Deferral:
    heads = [HeadRow(*told.head)] if told.head is not None else []
    return Deferral(
        heads={row.tid: row for row in heads},
        vectors=[VectorRow(*row) for row in told.vectors],
        parts=[(part, key) for part in parts_of(parts)],
        ends={part.sid: part.last for part in parts_of(parts)},
    )
