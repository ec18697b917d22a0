"""One turn of a topic: all that waited in its mailbox, decided at once, committed as one list of changes.

Pure: the log's deciding values change as messages are taken; if the commit fails the topic forgets them all by reading
its state back from the store. A turn is at most one in flight per topic, so no seq is burned.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct

from ...records import chunk as chunks
from ...records.batch import Batch, batches_of, encode
from ...records.chunk import COUNT, FIRST, HASH, TS_LAST, Header
from ...records.draft import Draft
from ...records.gap import CONTROL, LOST, SOURCE_TRIM
from ...records.strand import Descriptor, Identity
from ...storage.store import MASK_BITS, Change, DropMasks, Gap, Pack, PutGap, PutHead, PutMask, PutStrand, PutVector
from ..erasure.masks import Masks
from . import rules
from .log import Log, Strand, strand_row, vector_row
from .pack import PackBuilder
from .sources import Sources

SHARED_BYTES = 64 << 10  # appends of one turn share a chunk up to this; a larger one has its own


class Sizes(Struct, frozen=True):
    """Bounds of what a turn makes, from the configuration."""

    pack_bytes: int
    strands: int  # per topic
    trail_bytes: int = 1 << 20  # hashes kept of evicted ranges, per strand of a topic
    control_chunks: int = 250  # of one node and topic, until it says them anew
    control_bytes: int = 1 << 20


class Turn:
    """Collects what one commit of a topic changes."""

    def __init__(self, log: Log, identity: Identity, sizes: Sizes, now_ms: int, sources: Sources) -> None:
        self.log, self.identity, self.sizes, self.now_ms = log, identity, sizes, now_ms
        self.sources = sources
        self.changes: list[Change] = []
        self.marks: list[Change] = []  # of readers: committed whatever becomes of the log
        self.sync = self.cleared = self.told = False
        self.packs: list[Pack] = []
        self.gaps: list[Gap] = []
        self.orders: list[bytes] = []  # control chunks that came and are to be followed
        self.masks = Masks(over=log.masks)  # what this turn deletes, over what is deleted
        self._masks_before = 0  # blocks before this one go: their packs are gone
        self.settled: dict[int, list[tuple[int, int]]] = {}  # ranges of strands that peers are to erase too
        self.wounded: set[int] = set()  # a seq of each pack in which something was deleted and nothing is left
        self.dropped: set[int] = set()  # packs that go, by their first seq
        self.begins_at = 0  # no pack is left before this seq; 0: as before
        self._pack: PackBuilder | None = None
        self._batches: list[Batch] = []  # appended and numbered, and not yet in a chunk
        self._batch_bytes = 0
        self._touched: dict[int, Strand] = {}
        self.ceiling_before, self.floor_before = log.ceiling, log.floor
        self._head_before = log.head_row

    # ---- own records -----------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch]) -> tuple[int, int]:
        """Number new records of this node; ``(first seq, last seq)``. All that is appended in a turn shares a commit
        time and, as far as it fits, a chunk: what peers fetch costs by chunks."""
        log, first_seq = self.log, self.log.head + 1
        for batch in batches:
            if self._batches and (
                self._batch_bytes + batch.text_bytes > SHARED_BYTES or batch.routed != self._batches[0].routed
            ):
                self.write_batches()  # a chunk is of what writers sent, or of what routers made
            self._batches.append(batch)
            self._batch_bytes += batch.text_bytes
            log.head += batch.records
            log.count += batch.records
            log.bytes += batch.text_bytes
        return first_seq, log.head

    def write_batches(self) -> None:
        """What was appended since becomes a chunk: before anything else happens to the log, or at the end."""
        batches, log = self._batches, self.log
        if not batches:
            return
        self._batches, self._batch_bytes = [], 0
        strand = log.own or self._open_strand()
        ts = log.last_ts = max(self.now_ms, strand.ts)
        prev = strand.hash if strand.hash is not None else strand.descriptor.id_hash
        packed, digest, tags = encode(strand.descriptor.strand, strand.last + 1, prev, ts, batches)
        header = chunks.header_at(packed, 0)
        self.put(log.head - header[COUNT] + 1, strand, packed, header, tags)
        strand.hash = digest

    def tell(self, contents: Sequence[tuple[str, bytes]]) -> int:
        """Control chunks of this node's strand, one if they fit: peers do what the contents say, each a word and JSON.
        How many bytes that is."""
        self.write_batches()
        strand, size = self.log.own or self._open_strand(), 0
        drafts = [Draft(Raw(text), tag=word) for word, text in contents]
        for batch in batches_of(drafts):
            prev = strand.hash if strand.hash is not None else strand.descriptor.id_hash
            ts = max(self.now_ms, strand.ts)
            packed, digest, _ = encode(strand.descriptor.strand, strand.last + 1, prev, ts, [batch], chunks.CONTROL)
            self.put_control(strand, packed, chunks.header_at(packed, 0))
            strand.hash = digest
            size += len(packed)
            if self.log.spoken is not None:
                self.log.spoken.add(len(packed))
        self.told = True
        return size

    def _open_strand(self) -> Strand:
        log, me = self.log, self.identity
        earlier = [s for s in log.strands.values() if s.descriptor.origin_id == me.origin_id and s.last]
        before = max(earlier, key=lambda s: s.sid, default=None)
        after = (before.descriptor.strand, before.last, before.hash or b"") if before else None
        descriptor = Descriptor(
            self.sources.strand(), log.about.renamed_from or log.name, me.origin_id, me.name, me.life, after
        )
        strand = self.know(descriptor)
        log.own = strand
        return strand

    def know(self, descriptor: Descriptor) -> Strand:
        """A strand that nobody knew before."""
        strand = Strand(self.sources.sid(), descriptor, hash=descriptor.id_hash, durable_hash=descriptor.id_hash)
        self.log.strands[descriptor.strand] = strand
        return strand

    # ---- packs -----------------------------------------------------------------------------------

    def pack_for(self, header: Header, seq: int) -> PackBuilder:
        """The pack that has room for a chunk; ``seq`` is that of its first record."""
        pack = self._pack
        if pack is None or (pack.size + chunks.size_of(header) > self.sizes.pack_bytes and pack.bodies):
            self._seal_pack()
            pack = self._pack = PackBuilder(seq)
        return pack

    def put(
        self, seq: int, strand: Strand, piece: bytes | memoryview, header: Header, tags: Sequence[str] | None
    ) -> None:
        """A chunk into a pack; ``seq`` is that of its first record."""
        self.pack_for(header, seq).add(strand.sid, piece, header, tags)
        strand.last += header[COUNT]
        strand.ts = header[TS_LAST]
        self._touched[strand.sid] = strand

    def put_control(self, strand: Strand, packed: bytes, header: Header) -> None:
        """It has oseqs and a place in the chain, takes no seq, and is kept for those who come later."""
        gap = Gap(
            self.log.tid, strand.sid, header[FIRST], header[FIRST] + header[COUNT] - 1, CONTROL,
            header[chunks.PREV_HASH], header[HASH], ends=packed,
        )  # fmt: skip
        self.put_gap(gap)
        strand.last, strand.ts = gap.last, header[TS_LAST]
        self._touched[strand.sid] = strand

    def put_gap(self, gap: Gap) -> None:
        """A range without records; whoever gives it a seq has closed the pack before."""
        self.gaps.append(gap)
        self.changes.append(PutGap(gap))

    def close_pack(self) -> None:
        """What comes next stands in no pack with what came before."""
        self.write_batches()
        self._seal_pack()

    def _seal_pack(self) -> None:
        if self._pack is not None and self._pack.bodies:  # else its first chunk was one that cannot be
            put = self._pack.close(self.log.tid)
            self.packs.append(put.pack)
            self.changes.append(put)
        self._pack = None

    def lose(self, seq_to: int) -> None:
        """Seqs up to here may have been readable in a life whose tail is gone: one `lost` tombstone, never re-used."""
        log = self.log
        if seq_to > log.head:
            self.close_pack()
            gap = Gap(log.tid, 0, log.head + 1, seq_to, LOST, None, None, log.head + 1, seq_to)
            log.head = seq_to
            self.put_gap(gap)

    def miss(self, records: int) -> None:
        """So many records were lost on their way into this log: one tombstone, at a seq of its own. It stays here, as
        no strand has a place for what was never written."""
        self.close_pack()
        log = self.log
        log.head += 1
        gap = Gap(log.tid, 0, log.head, log.head + records - 1, SOURCE_TRIM, None, None, log.head, log.head)
        self.put_gap(gap)

    def finish(self, per_second: float) -> list[Change]:
        """All changes of the turn, in the order in which they must be applied. Empty when nothing changed."""
        self.close_pack()
        log = self.log
        ceiling = rules.raise_ceiling(log.head, log.ceiling, per_second)
        if ceiling != log.ceiling:
            log.ceiling, self.sync = ceiling, True
        rows: list[Change] = []  # behind the packs: a DropLog among the changes must not take what follows it
        for strand in self._touched.values():
            if not strand.stored:
                rows.append(PutStrand(strand_row(log.tid, strand)))
            rows.append(PutVector(vector_row(strand)))
        rows += [PutMask(row) for row in self.masks.rows(log.tid)]
        if self._masks_before:
            rows.append(DropMasks(log.tid, self._masks_before))
        if (head := log.head_row) != self._head_before:
            rows.append(PutHead(head))
        return self.changes + rows + self.marks

    def closed_packs(self) -> list[Pack]:
        """Packs that this turn has made so far."""
        self.close_pack()
        return self.packs

    def forget_packs(self) -> None:
        """The log is dropped: what this turn put into it goes too."""
        self._pack, self.cleared, self.told = None, True, False
        self._batches, self._batch_bytes = [], 0
        self.masks.clear()
        self._masks_before = self.begins_at = 0
        self.wounded.clear()
        self.settled.clear()
        self.orders.clear()
        self.dropped.clear()
        self.packs.clear()
        self.gaps.clear()
        self.changes.clear()

    def touch(self, strand: Strand) -> None:
        """The strand's row changed."""
        self._touched[strand.sid] = strand

    def settle(self) -> None:
        """The commit stands: deciding values become durable."""
        for strand in self._touched.values():
            strand.settle()
        if self.cleared:
            self.log.masks.clear()
        self.log.masks.take(self.masks, self._masks_before)

    @property
    def masks_changed(self) -> bool:
        """Whether this turn deleted anything."""
        return self.masks.oldest is not None

    def begin_at(self, seq: int) -> None:
        """No pack is left before this seq: what was deleted there needs no mask any more."""
        self.begins_at = seq
        block = seq // MASK_BITS
        oldest = self.log.masks.oldest
        if oldest is not None and oldest < block:
            self._masks_before = block

    @property
    def touched(self) -> tuple[Strand, ...]:
        """Strands whose position this turn moved."""
        return tuple(self._touched.values())
