"""What a node holds, read from its store as it lies there, for the checker."""

from __future__ import annotations

from msgspec import Struct, field

from ...errors import ProtocolViolation
from ...records.chunk import COUNT, FIRST, HASH, PREV_HASH, STRAND, TS_FIRST, Header, check_hash, chunks_in
from ...records.gap import DELETED
from ...records.record import rows
from ...records.strand import Descriptor
from ...storage.store import Gap, Store
from ...topics.erasure.masks import Masks
from ...topics.log.log import Identities, load_taken

ALL = 1 << 40


class Held(Struct, frozen=True):
    """A chunk as it lies in a log."""

    seq: int
    first: int
    count: int
    prev_hash: bytes
    hash: bytes
    sound: bool  # its bytes have the hash that it tells
    texts: tuple[str | None, ...]  # None: deleted
    times: tuple[int, ...]

    @property
    def last(self) -> int:
        """Its last oseq."""
        return self.first + self.count - 1


class StrandDump(Struct):
    """One strand in one log, in log order."""

    descriptor: Descriptor
    last: int = 0
    hash: bytes = b""
    held: list[Held] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def texts(self) -> dict[int, tuple[str, int]]:
        """oseq: text and commit time."""
        return {
            chunk.first + i: (text, ts)
            for chunk in self.held
            for i, (text, ts) in enumerate(zip(chunk.texts, chunk.times, strict=True))
            if text is not None
        }


class TopicDump(Struct):
    """One topic's log. ``spans`` are the local seqs that packs and gaps occupy, in order."""

    name: str
    log_id: bytes
    deleted: bool
    head: int = 0
    floor: int = 0
    ceiling: int = 0
    count: int = 0
    strands: dict[int, StrandDump] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    masks: Masks = field(default_factory=Masks)


class Dump(Struct):
    """One node's store."""

    node: str
    topics: dict[str, TopicDump]

    def strand(self, topic: str, strand: int) -> StrandDump | None:
        """None when it is not known there."""
        found = self.topics.get(topic)
        return found.strands.get(strand) if found is not None else None

    def texts(self, topic: str) -> dict[str, int]:
        """How often each text lies in the log."""
        found: dict[str, int] = {}
        if topic in self.topics:
            for strand in self.topics[topic].strands.values():
                for chunk in strand.held:
                    for text in filter(None, chunk.texts):
                        found[text] = found.get(text, 0) + 1
        return found


def dump_of(node: str, store: Store) -> Dump:
    """Everything that the store holds."""
    heads = {row.tid: row for row in store.heads()}
    topics: dict[str, TopicDump] = {}
    for row in store.topics():
        about = Identities.decode(row.blob)
        found = topics[row.name] = TopicDump(row.name, about.log_id, about.deleted)
        if (head := heads.get(row.tid)) is not None:
            found.head, found.floor, found.ceiling, found.count = head.head, head.floor, head.ceiling, head.count
        found.masks = Masks.load(store.masks(row.tid))
        front = load_taken(heads[row.tid].taken).get(DELETED, 0) if row.tid in heads else 0
        _strands(found, row.tid, store)
        _packs(found, row.tid, store, front)
        found.spans += [(gap.seq_from, gap.seq_to) for gap in store.seq_gaps(row.tid, 1, ALL - 1, ALL)]
        found.spans.sort()
    return Dump(node, topics)


def _strands(found: TopicDump, tid: int, store: Store) -> None:
    vectors = {row.sid: row for row in store.vectors(tid)}
    for row in store.strands(tid):
        strand = found.strands[row.strand] = StrandDump(Descriptor.decode(row.descriptor))
        if row.sid in vectors:
            strand.last, strand.hash = vectors[row.sid].last, vectors[row.sid].hash
        strand.gaps = store.gaps(tid, row.sid, 1, ALL)


def _packs(found: TopicDump, tid: int, store: Store, front: int) -> None:
    for pack in store.packs(tid, 1, ALL):
        found.spans.append((pack.seq, pack.last))
        seq = pack.seq
        for at, size, header in chunks_in(pack.body):
            ts = header[TS_FIRST]
            times = tuple(ts + row[0] for row in rows(pack.body, at, header))
            texts = tuple(
                None if seq + i <= front or found.masks.has(seq + i) else str(row[4])
                for i, row in enumerate(rows(pack.body, at, header))
            )
            sound = _is_sound(pack.body, at, size, header)
            chunk = Held(seq, header[FIRST], header[COUNT], header[PREV_HASH], header[HASH], sound, texts, times)
            found.strands[header[STRAND]].held.append(chunk)
            seq += header[COUNT]


def _is_sound(body: bytes, at: int, size: int, header: Header) -> bool:
    try:
        check_hash(memoryview(body), at, size, header)
    except ProtocolViolation:
        return False
    return True
