"""One turn of a topic: all that waited in its mailbox, decided at once, committed as one list of changes.

Pure: the log's deciding values change as messages are taken; if the commit fails the topic forgets them all by reading
its state back from the store. A turn is at most one in flight per topic, so no seq is burned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Raw, Struct

from ...records import chunk as chunks
from ...records.batch import Batch, batches_of, encode, joined_batches
from ...records.chunk import COUNT, FIRST, HASH, TS_LAST, Header
from ...records.draft import Draft
from ...records.gap import CONTROL, LOST, SOURCE_TRIM
from ...records.run import Run
from ...records.strand import Descriptor, Identity
from ...storage.life import Life
from ...storage.store import (
    MANY_TAGS,
    MASK_BITS,
    Change,
    DropMasks,
    Gap,
    Pack,
    Part,
    PutGap,
    PutHead,
    PutMask,
    PutPack,
    PutStrand,
    PutVector,
    VectorRow,
)
from ..erasure.masks import Masks
from . import rules
from .log import Log, Strand, strand_row
from .pack import joined
from .sources import Sources

SHARED_BYTES = 64 << 10  # appends of one turn share a chunk up to this; a larger one has its own


class Sizes(Struct, frozen=True):
    """Bounds of what a turn makes, from the configuration."""

    pack_bytes: int
    strands: int  # per topic
    trail_bytes: int = 1 << 20  # hashes kept of evicted ranges, per strand of a topic
    control_chunks: int = 250  # of one node and topic, until it says them anew
    control_bytes: int = 1 << 20


class Removal(Struct):
    """What a turn takes away."""

    masks: Masks  # what is deleted, over what was
    orders: list[bytes] = []  # control chunks that came and are to be followed
    settled: dict[int, list[tuple[int, int]]] = {}  # ranges of strands that peers are to erase too
    wounded: set[int] = set()  # a seq of each pack in which something was deleted and nothing is left
    dropped: set[int] = set()  # packs that go, by their first seq


class Turn:
    """Collects what one commit of a topic changes."""

    sync = cleared = told = False
    removes = False  # it may take something away: most do not
    begins_at = 0  # no pack is left before this seq; 0: as before
    size = 0  # bytes of the packs
    last_gap: int | None = None  # the highest seq that a gap of this turn has, 0 when they have none; None: no gaps
    _removal: Removal | None = None
    _masks_before = 0  # blocks before this one go: their packs are gone
    _batch_bytes = _pack_bytes = 0

    def __init__(self, log: Log, life: Life, sizes: Sizes, now_ms: int, sources: Sources) -> None:
        self.log, self.sizes, self.now_ms, self.sources = log, sizes, now_ms, sources
        self._life = life
        self.changes: list[Change] = []
        self.marks: list[Change] = []  # of readers: committed whatever becomes of the log
        self.packs: list[Pack] = []
        self.touched: dict[int, Strand] = {}  # strands whose row changes, by sid
        self._batches: list[Batch] = []  # appended and numbered, and not yet in a chunk
        self._pieces: list[PutPack] = []  # of the pack that is not yet closed
        self.before = self._head_row = log.committed_row or log.head_row

    @property
    def identity(self) -> Identity:
        """Who writes here."""
        return self._life.identity

    # ---- own records -----------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch]) -> tuple[int, int]:
        """Number new records of this node; ``(first seq, last seq)``. All that is appended in a turn shares a commit
        time and, as far as it fits, a chunk: what peers fetch costs by chunks."""
        log, first_seq = self.log, self.log.head + 1
        for batch in batches:
            records, text = batch.records, batch.text_bytes
            if self._batches and (self._batch_bytes + text > SHARED_BYTES or batch.routed != self._batches[0].routed):
                self.write_batches()  # a chunk is of what writers sent, or of what routers made
            self._batches.append(batch)
            self._batch_bytes += text
            log.head += records
            log.count += records
            log.bytes += text
        return first_seq, log.head

    def write_batches(self) -> None:
        """What was appended since becomes a chunk: before anything else happens to the log, or at the end."""
        if not self._batches:
            return
        log, batches = self.log, self._batches
        batch = batches[0] if len(batches) == 1 else joined_batches(batches)
        self._batches, self._batch_bytes = [], 0
        strand = log.own or self._open_strand()
        ts = log.last_ts = max(self.now_ms, strand.ts)
        prev, first = strand.hash or strand.descriptor.id_hash, strand.last + 1
        packed, digest, tags = encode(strand.descriptor.strand, first, prev, ts, (batch,))
        run = Run(first, batch.records, batch.text_bytes, ts, digest, tags)
        self.put(strand, log.head - batch.records + 1, packed, run)

    def tell(self, contents: Sequence[tuple[str, bytes]]) -> int:
        """Control chunks of this node's strand, one if they fit: peers do what the contents say, each a word and JSON.
        How many bytes that is."""
        self.write_batches()
        strand, size = self.log.own or self._open_strand(), 0
        drafts = [Draft(Raw(text), tag=word) for word, text in contents]
        for batch in batches_of(drafts):
            prev = strand.hash or strand.descriptor.id_hash
            ts = max(self.now_ms, strand.ts)
            packed, _, _ = encode(strand.descriptor.strand, strand.last + 1, prev, ts, [batch], chunks.CONTROL)
            self.put_control(strand, packed, chunks.header_at(packed, 0))
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

    def room_for(self, size: int) -> int:
        """How many bytes may go into the pack that a chunk of this size goes into; one that is larger goes alone."""
        room = self.sizes.pack_bytes - self._pack_bytes
        return room if size <= room else self.sizes.pack_bytes

    def put(self, strand: Strand, seq: int, packed: bytes, run: Run) -> None:
        """Chunks that go on in a strand, into the pack that has room for them; ``seq`` is that of the first record."""
        if self._pieces and self._pack_bytes + len(packed) > self.sizes.pack_bytes:
            self._seal_pack()
        records, last = run.records, run.first + run.records - 1
        pack = Pack(self.log.tid, seq, seq + records - 1, records, run.text_bytes, run.ts_last, packed)
        tags = run.tags if run.tags is not None else (MANY_TAGS,)
        self._pieces.append(PutPack(pack, (Part(strand.sid, run.first, last),), tags))
        self._pack_bytes += len(packed)
        strand.last, strand.hash, strand.ts = last, run.hash, run.ts_last
        self.touched[strand.sid] = strand

    def put_control(self, strand: Strand, packed: bytes, header: Header) -> None:
        """It has oseqs and a place in the chain, takes no seq, and is kept for those who come later."""
        gap = Gap(
            self.log.tid, strand.sid, header[FIRST], header[FIRST] + header[COUNT] - 1, CONTROL,
            header[chunks.PREV_HASH], header[HASH], ends=packed,
        )  # fmt: skip
        self.put_gap(gap)
        strand.last, strand.hash, strand.ts = gap.last, header[HASH], header[TS_LAST]
        self.touched[strand.sid] = strand

    def put_gap(self, gap: Gap) -> None:
        """A range without records; whoever gives it a seq has closed the pack before."""
        self.last_gap = max(self.last_gap or 0, gap.seq_to)
        self.changes.append(PutGap(gap))

    def close_pack(self) -> None:
        """What comes next stands in no pack with what came before."""
        self.write_batches()
        if self._pieces:
            self._seal_pack()

    def _seal_pack(self) -> None:
        pieces = self._pieces
        put = pieces[0] if len(pieces) == 1 else joined(pieces)
        self.packs.append(put.pack)
        self.changes.append(put)
        self.size += self._pack_bytes
        self._pieces, self._pack_bytes = [], 0

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

    def finish(self, per_second: Callable[[], float]) -> list[Change]:
        """All changes of the turn, in the order in which they must be applied. Empty when nothing changed.
        ``per_second``: how fast the log grows, asked when the ceiling must rise."""
        self.write_batches()
        if self._pieces:
            self._seal_pack()
        log, changes = self.log, self.changes
        if log.head > log.ceiling:
            log.ceiling, self.sync = rules.raise_ceiling(log.head, log.ceiling, per_second()), True
        for strand in self.touched.values():  # behind the packs: a DropLog before must not take what follows it
            if not strand.stored:
                changes.append(PutStrand(strand_row(log.tid, strand)))
            row = VectorRow(strand.sid, strand.last, strand.hash or b"", strand.whole_from, strand.ts)
            changes.append(PutVector(row))
        if self.removes:
            changes += [PutMask(row) for row in self.masks.rows(log.tid)]
        if self._masks_before:
            changes.append(DropMasks(log.tid, self._masks_before))
        if (head := log.head_row) != self.before:
            self._head_row = head
            changes.append(PutHead(head))
        if self.marks:
            changes += self.marks
        return changes

    def closed_packs(self) -> list[Pack]:
        """Packs that this turn has made so far."""
        self.close_pack()
        return self.packs

    def forget_packs(self) -> None:
        """The log is dropped: what this turn put into it goes too."""
        self._pieces, self.cleared, self.told = [], True, False
        self._batches, self._batch_bytes = [], 0
        self._pack_bytes = self.size = self._masks_before = self.begins_at = 0
        self._removal, self.removes = Removal(Masks()), True
        self.packs.clear()
        self.last_gap = None
        self.changes.clear()

    def touch(self, strand: Strand) -> None:
        """The strand's row changed."""
        self.touched[strand.sid] = strand

    def settle(self) -> None:
        """The commit stands: deciding values become durable."""
        for strand in self.touched.values():
            strand.settle()
        log = self.log
        log.committed_row = self._head_row
        if self.removes or self._masks_before:
            if self.cleared:
                log.masks.clear()
            log.masks.take(self.masks, self._masks_before)

    @property
    def removal(self) -> Removal:
        """What it takes away; made when somebody looks."""
        if self._removal is None:
            self._removal, self.removes = Removal(Masks(over=self.log.masks)), True
        return self._removal

    @property
    def masks(self) -> Masks:
        """What this turn deletes, over what is deleted."""
        return self.removal.masks

    def begin_at(self, seq: int) -> None:
        """No pack is left before this seq: what was deleted there needs no mask any more."""
        self.begins_at = seq
        block = seq // MASK_BITS
        oldest = self.log.masks.oldest
        if oldest is not None and oldest < block:
            self._masks_before = block
