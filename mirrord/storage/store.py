"""The store's promise: a list of changes commits as one, and reads come back in key order.

Above this file nothing knows SQL. Both stores (``sqlite/``, ``memory.py``) pass
``tests/contract/test_store.py``.

A topic is known here by a small number (``tid``), a strand *of a topic* by another (``sid``): both are given
out by the caller, unique in the store, never re-used. Strand ids are positive 63-bit
integers, hashes are 16 bytes.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

MANY_TAGS = ""  # stands in ``PutPack.tags`` (and in the index) for "too many tags to tell"

SEQ_BITS = 40  # a pack's row key is ``tid << SEQ_BITS | first seq``: one b-tree, in log order
MAX_SEQ = (1 << SEQ_BITS) - 1


class TopicRow(Struct, frozen=True):
    """A topic's identity and configuration: changes rarely. ``blob`` is the topic layer's own."""

    tid: int
    name: str
    blob: bytes


class HeadRow(Struct, frozen=True):
    """Where a topic's log stands. Changes with every commit."""

    tid: int
    head: int  # highest seq given
    ceiling: int  # seqs up to here may be readable: synced before they are
    floor: int  # highest seq that retention took away; readable is what lies above
    count: int  # live records
    bytes: int  # their JSON text
    last_ts: int  # ms, of the newest own commit
    taken: builtins.bytes = b""  # why the front is gone, as the topic layer wrote it; empty: as before format 2


class StrandRow(Struct, frozen=True):
    """A strand of a topic. ``descriptor`` is the encoded descriptor, immutable."""

    sid: int
    tid: int
    strand: int
    descriptor: bytes


class VectorRow(Struct, frozen=True):
    """How far the log has come in a strand: the last contiguous oseq and the chain hash there."""

    sid: int
    last: int
    hash: bytes
    whole_from: int  # from this oseq on the log holds the strand whole
    ts: int  # ms, origin's commit time of the last record held or covered


class Part(Struct, frozen=True):
    """A run of one strand inside a pack. Runs of a strand never overlap, and neither do its gaps."""

    sid: int
    first: int
    last: int


class Pack(Struct, frozen=True):
    """Consecutive chunks of one topic's log, byte for byte. Seqs ``seq..last`` without holes."""

    tid: int
    seq: int
    last: int
    records: int  # as many as seqs, less what a mask took out
    bytes: int  # JSON text of the records, as ``HeadRow.bytes`` counts it
    ts_last: int  # ms, origin's commit time of its newest record
    body: builtins.bytes


class Gap(Struct, frozen=True):
    """A range of a strand that the log does not hold, or (sid 0) a range of local seqs that was lost."""

    tid: int
    sid: int
    first: int  # oseq; for sid 0 the first seq
    last: int
    reason: str
    prev_hash: bytes | None  # before first, if known
    hash: bytes | None  # at last, if known
    seq_from: int = 0  # the local seqs it occupies; 0: none
    seq_to: int = 0
    ends: bytes = b""  # inner chunk ends, 24 bytes each: oseq u64 little-endian, hash

    @property
    def missed(self) -> int:
        """How many records it stands for; for sid 0 seqs."""
        return self.last - self.first + 1

    @property
    def seqs(self) -> int:
        """How many local seqs it occupies, when it occupies any."""
        return self.seq_to - self.seq_from + 1


MASK_BITS = 1024  # seqs of one mask row


class MaskRow(Struct, frozen=True):
    """Which seqs of a block of ``MASK_BITS`` are deleted: bit i is seq ``block * MASK_BITS + i``, little-endian bytes
    without zeros at their end."""

    tid: int
    block: int
    bits: builtins.bytes
    erased: builtins.bytes  # of these, what travelling deletions took
    text: int  # JSON text of the deleted records


class IdempotencyRow(Struct, frozen=True):
    """What a keyed append was answered with."""

    tid: int
    key: str
    first: int
    last: int
    head: int
    digest: bytes  # of the payload
    ts: int  # ms, when it was first used


# ---- changes: what one transaction is made of; applied in the order in which they stand


class PutMeta(Struct, frozen=True):
    key: str
    value: bytes


class PutTopic(Struct, frozen=True):
    row: TopicRow


class PutHead(Struct, frozen=True):
    row: HeadRow


class PutStrand(Struct, frozen=True):
    row: StrandRow


class PutVector(Struct, frozen=True):
    row: VectorRow


class PutPack(Struct, frozen=True):
    """``parts`` in log order; ``tags`` are the distinct tags, for the index."""

    pack: Pack
    parts: tuple[Part, ...]
    tags: tuple[str, ...] = ()


class DropPack(Struct, frozen=True):
    """The pack that begins at ``seq`` and ends at ``last`` goes, with its parts and tags.

    ``last`` is what the caller saw. Where neighbours were merged in the meantime (packs are private to the
    store) the commit is refused with StoreCorrupt instead of dropping records that nobody meant.
    """

    tid: int
    seq: int
    last: int


class PutGap(Struct, frozen=True):
    gap: Gap


class DropGap(Struct, frozen=True):
    tid: int
    sid: int
    first: int


class PutMask(Struct, frozen=True):
    row: MaskRow


class DropMasks(Struct, frozen=True):
    """The topic's mask rows of blocks before this one go: their packs are gone."""

    tid: int
    before: int


class PutIdempotency(Struct, frozen=True):
    row: IdempotencyRow


class DropIdempotency(Struct, frozen=True):
    """Keys of the topic first used before this moment (ms) are forgotten."""

    tid: int
    before: int


def marks_of_log(tid: int) -> str:
    """What the marks begin with that are of one topic's log (its groups, its queue): they go with it."""
    return f"topic/{tid}/"


class PutMark(Struct, frozen=True):
    """A reader's committed place."""

    reader: str
    value: bytes


class DropMark(Struct, frozen=True):
    reader: str


class DropLog(Struct, frozen=True):
    """The topic's packs, parts, tags, gaps, masks, idempotency keys go; topic, head, strand and vector rows stay."""

    tid: int


class DropTopic(Struct, frozen=True):
    """Everything of the topic goes, strands and vectors included."""

    tid: int


Change = (
    PutMeta
    | PutTopic
    | PutHead
    | PutStrand
    | PutVector
    | PutPack
    | DropPack
    | PutGap
    | DropGap
    | PutMask
    | DropMasks
    | PutIdempotency
    | DropIdempotency
    | PutMark
    | DropMark
    | DropLog
    | DropTopic
)


class Store(Protocol):
    """Commits are atomic and visible to reads as soon as ``commit`` returns, and never before.

    Reads run on the event loop and must not wait for a writer. A part that is already there (same sid
    and first), a pack key that is taken, or a value out of range raises StoreCorrupt and nothing of the
    commit is kept.
    """

    def commit(self, changes: Sequence[Change], *, sync: bool) -> None:
        """All or nothing; with ``sync`` it survives power loss, as does everything committed before it.

        Raises StorageFailed or DiskFull; then nothing of it is visible, now or after any crash.
        """
        ...

    def meta(self, key: str) -> bytes | None: ...

    def topics(self) -> Iterable[TopicRow]: ...

    def heads(self) -> Iterable[HeadRow]: ...

    def head(self, tid: int) -> HeadRow | None: ...

    def strands(self, tid: int) -> list[StrandRow]: ...

    def vectors(self, tid: int) -> list[VectorRow]: ...

    def top_ids(self) -> tuple[int, int]:
        """The highest tid and sid ever put that still stand (0 when none)."""
        ...

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]:
        """Packs in log order from the one that holds ``seq`` (or the next one after it); at least one if
        there is any, then more as long as all bodies fit into ``max_bytes``.

        Raises ChunkCorrupt when a body fails its checksum.
        """
        ...

    def pack_sizes(self, tid: int, seq: int, limit: int) -> list[Pack]:
        """As ``packs`` but with empty bodies (not read): for retention."""
        ...

    def parts(self, sid: int, oseq: int, limit: int) -> list[tuple[Part, int]]:
        """Runs of the strand that end at or after ``oseq``, in order, each with the seq of its pack."""
        ...

    def parts_of_pack(self, tid: int, seq: int) -> list[Part]:
        """The runs inside one pack, by sid and first."""
        ...

    def gaps(self, tid: int, sid: int, oseq: int, limit: int) -> list[Gap]:
        """Gaps of the strand that end at or after ``oseq``, in order."""
        ...

    def last_seq_gap(self, tid: int) -> int:
        """The highest local seq that a gap occupies; 0 when none does."""
        ...

    def seq_gaps(self, tid: int, seq_from: int, seq_to: int, limit: int) -> list[Gap]:
        """Gaps that occupy any local seq within ``seq_from..seq_to``, in seq order."""
        ...

    def packs_with_tag(self, tid: int, tag: str, limit: int, *, after: int = 0, prefix: bool = False) -> list[int]:
        """Seqs of packs that begin behind ``after`` and hold the tag (with ``prefix``: one that begins so), or too many
        tags to tell, in order."""
        ...

    def masks(self, tid: int) -> list[MaskRow]:
        """All mask rows of the topic, by block."""
        ...

    def idempotency(self, tid: int, key: str) -> IdempotencyRow | None: ...

    def mark(self, reader: str) -> bytes | None: ...

    def marks(self, prefix: str) -> list[tuple[str, bytes]]: ...

    def close(self) -> None: ...
