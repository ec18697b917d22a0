"""What a topic knows of its log: heads, strands, positions. Values only; the rules that change them are in ``turn.py``.

Every number stands twice where it matters: as *deciding* (with the turn in flight) and as *durable* (committed, the
only thing that readers, feeds and peers are told).
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping

import msgpack
from msgspec import Struct, field

from ...config.topic import TopicConfig, as_json, topic_config
from ...records.gap import DELETED
from ...records.strand import Descriptor, Identity, Position
from ...storage.store import HeadRow, StrandRow, TopicRow, VectorRow
from ..erasure.masks import Masks

NOTHING_TAKEN = msgpack.packb([])


class Strand(Struct):
    """One strand of this topic, as far as this log has come in it."""

    sid: int
    descriptor: Descriptor
    last: int = 0  # deciding: the last contiguous oseq, held or covered
    hash: bytes | None = None  # chain hash there; None after a cover that did not tell it: `unverified`
    whole_from: int = 1
    ts: int = 0  # ms, commit time of the last record at its origin
    stored: bool = False  # its descriptor row is in the store
    controls_from: int = 1  # no control chunk stands before this oseq, as far as this life looked
    durable_last: int = 0
    durable_hash: bytes | None = None
    durable_whole_from: int = 1
    durable_ts: int = 0

    @property
    def durable(self) -> Position:
        """The position that others may be told."""
        return Position(self.durable_last, self.durable_hash)

    def settle(self) -> None:
        """The turn is committed: what was deciding is durable."""
        self.stored = True
        self.durable_last, self.durable_hash = self.last, self.hash
        self.durable_whole_from, self.durable_ts = self.whole_from, self.ts


class Spoken(Struct):
    """Control chunks that this node said since its last snapshot, and how large that was."""

    chunks: int = 0
    bytes: int = 0
    snapshot: int = 0

    def add(self, size: int) -> None:
        """One more."""
        self.chunks += 1
        self.bytes += size

    def calls_for_snapshot(self, most_chunks: int, most_bytes: int) -> bool:
        """Whether there are too many; and they weigh as much as what is said again of them, so that it pays."""
        return (self.chunks > most_chunks or self.bytes > most_bytes) and self.bytes >= self.snapshot


class Identities(Struct, frozen=True):
    """What a topic's row says beyond its name: kept as one msgpack blob, changes rarely."""

    log_id: bytes
    config: TopicConfig
    life_no: int  # the node's life in which the topic was last born
    put: bool  # somebody configured it by PUT, so its keys are kept
    deleted: bool
    created_ms: int
    renamed_from: str | None = None  # the name at its source, when a link brings it under another
    closed_sid: int = 0  # our strands up to this one are closed, even those of the present life
    creator: str = ""  # the node that created it first, as far as is known; it grants a queue's leases

    def encode(self) -> bytes:
        """As stored."""
        packed: bytes = msgpack.packb(
            [
                self.log_id,
                as_json(self.config),
                self.life_no,
                self.put,
                self.deleted,
                self.created_ms,
                self.renamed_from,
                self.closed_sid,
                self.creator,
            ]
        )
        return packed

    @classmethod
    def decode(cls, blob: bytes) -> Identities:
        """Back from the store."""
        log_id, config, *rest = msgpack.unpackb(blob)[:9]  # eight where nobody kept who created it
        return cls(log_id, topic_config(config), *rest)


class Log(Struct):
    """The log of one topic on this node."""

    tid: int
    name: str
    about: Identities
    head: int = 0
    ceiling: int = 0
    floor: int = 0
    taken: Mapping[str, int] = {}  # reason -> highest seq of the front that went for it; never changed in place
    taken_row: builtins.bytes = NOTHING_TAKEN  # the same as stored
    masks: Masks = field(default_factory=Masks)  # deleted seqs, durable ones only: a turn lays its own over them
    awaited: Mapping[int, tuple[tuple[int, int], ...]] = {}  # strand -> oseqs to erase when they come
    oldest_last: int = 0  # where the oldest stored pack ends, as far as this life looked; 0: it did not
    count: int = 0
    bytes: int = 0
    last_ts: int = 0
    strands: dict[int, Strand] = field(default_factory=dict)
    own: Strand | None = None  # this node's open strand in its present life
    committed_row: HeadRow | None = None  # what stands in the store of the numbers above, once this life knows
    spoken: Spoken | None = None  # None: this life did not count yet
    groups: int | None = None  # no fewer than there are marks of groups that others told of; None: the same

    def take_front(self, taken: Mapping[str, int]) -> None:
        """Remember why seqs of the front went."""
        self.taken = {**self.taken, **taken}
        self.taken_row = msgpack.packb(sorted(self.taken.items()))

    def forget_front(self) -> None:
        """The log is dropped: nothing was taken from the next one."""
        self.taken, self.taken_row = {}, NOTHING_TAKEN

    @property
    def deleted_floor(self) -> int:
        """Up to here somebody deleted everything: nothing of it is served to peers either."""
        return self.taken.get(DELETED, 0)

    @property
    def head_row(self) -> HeadRow:
        """As stored."""
        return HeadRow(
            self.tid, self.head, self.ceiling, self.floor, self.count, self.bytes, self.last_ts, self.taken_row
        )

    @property
    def topic_row(self) -> TopicRow:
        """As stored."""
        return TopicRow(self.tid, self.name, self.about.encode())


def strand_row(tid: int, strand: Strand) -> StrandRow:
    """As stored."""
    return StrandRow(strand.sid, tid, strand.descriptor.strand, strand.descriptor.encode())


def load_strands(rows: list[StrandRow], vectors: list[VectorRow]) -> dict[int, Strand]:
    """Strands as the store has them, all of it durable."""
    places = {row.sid: row for row in vectors}
    strands: dict[int, Strand] = {}
    for row in rows:
        descriptor = Descriptor.decode(row.descriptor)
        strand = Strand(row.sid, descriptor, hash=descriptor.id_hash)
        place = places.get(row.sid)
        if place is not None:
            strand.last, strand.hash = place.last, place.hash or None
            strand.whole_from, strand.ts = place.whole_from, place.ts
        strand.settle()
        strands[row.strand] = strand
    return strands


def load_taken(row: bytes) -> dict[str, int]:
    """Why the front went, as stored."""
    return {str(reason): int(seq) for reason, seq in msgpack.unpackb(row)} if row else {}


def own_open(strands: dict[int, Strand], identity: Identity, closed_sid: int) -> Strand | None:
    """This node's open strand: the newest of its present life, unless it was closed. There is at most one."""
    mine = [s for s in strands.values() if identity.wrote(s.descriptor) and s.sid > closed_sid]
    return max(mine, key=lambda s: s.sid, default=None)
