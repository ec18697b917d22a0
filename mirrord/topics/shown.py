"""What of a topic is committed, as readers find it: they never ask the topic's task, but read here directly, from the
warm tail or the store.
"""

from __future__ import annotations

from ..config.topic import TopicConfig, effective_priority
from ..records.gap import DELETED
from ..records.selector import Selector
from ..records.strand import Descriptor
from ..storage.memory import MemoryStore
from ..storage.store import Gap, Pack, Store
from .erasure.masks import Masks
from .ground import Ground
from .log import retention
from .log.log import Identities, Log, Strand
from .read.face import Face

MAX_SEQ = (1 << 40) - 1
MOST_GAPS = 1000  # looked at to estimate what a reader missed


class Shown:
    """One topic of this node, read. Its task alone changes what is here, and only by what has been committed."""

    def __init__(self, tid: int, name: str, about: Identities, ground: Ground) -> None:
        self.topic = name
        self._ground = ground
        self._log = Log(tid, name, about)
        self._ephemeral = about.config.durability == "ephemeral"
        self._store: Store = MemoryStore() if self._ephemeral else ground.store
        self._sids: dict[int, Strand] = {}
        self.head = self.floor = self.count = self.bytes = self.last_gap = 0
        self.about, self.taken = about, self._log.taken
        self.last_read_ms = 0
        self._oldest = 0, 0  # a floor, and when the oldest record above it was committed, ms; 0: nobody looked
        self.removed = 0  # records that went since this object is there: who remembers some looks when it moves
        self._moves: dict[int, int] = {}  # strand -> number of the commit that moved it last, newest at the end
        self._move_no = 0

    def _show(self) -> None:
        log = self._log
        self._ground.quota.held += log.bytes - self.bytes
        self.head, self.floor, self.count, self.bytes = log.head, log.floor, log.count, log.bytes
        self.about, self.taken = log.about, log.taken

    @property
    def earliest(self) -> int:
        """The first seq that can be read; when nothing can, the next one that will be written."""
        return self.floor + 1 if self.count else self.head + 1

    @property
    def tid(self) -> int:
        """Its small number in the store."""
        return self._log.tid

    @property
    def config(self) -> TopicConfig:
        """As it is now."""
        return self.about.config

    @property
    def log_id_hex(self) -> str:
        """One life of this log, as readers' cursors carry it."""
        return self.about.log_id.hex()

    @property
    def dedupe_node(self) -> bool:
        """Whether readers may leave out what certain nodes wrote."""
        return self.about.config.dedupe_node

    @property
    def last_ts(self) -> int:
        """Commit time of the newest own record, ms; 0: none."""
        return self._log.last_ts

    def priority(self, now_ms: int) -> int:
        """-1000 to 1000: who goes first under pressure."""
        config = self.about.config
        return effective_priority(config, now_ms - self.last_read_ms if self.last_read_ms else None)

    @property
    def source_name(self) -> str:
        """What the topic is called where its records were written."""
        return self.about.renamed_from or self.topic

    @property
    def masks(self) -> Masks:
        """Which seqs above the floor are deleted."""
        return self._log.masks

    @property
    def strands(self) -> dict[int, Strand]:
        """All strands; tell others only their ``durable`` values."""
        return self._log.strands

    @property
    def own_strand(self) -> Strand | None:
        """The strand that this node writes now."""
        return self._log.own

    @property
    def move_no(self) -> int:
        """The number of the newest commit that this life of the topic saw."""
        return self._move_no

    def moved_since(self, move_no: int) -> tuple[list[int], int]:
        """Strands whose durable position moved after commit ``move_no``, and the number of the newest commit."""
        moved: list[int] = []
        for strand, moved_at in reversed(self._moves.items()):
            if moved_at <= move_no:
                break
            moved.append(strand)
        return moved, self._move_no

    def packs(self, seq: int, max_bytes: int) -> list[Pack]:
        """Committed packs from the one that holds ``seq`` on. Raises ChunkCorrupt."""
        if seq > self.head:
            return []
        tid = self._log.tid
        warm = self._ground.shelf.read(tid, seq, max_bytes)
        return warm if warm is not None else self._store.packs(tid, seq, max_bytes)

    def gone(self, first: int, last: int) -> int:
        """What of these seqs nobody may be given: deleted one by one, or all below a place. Bit i is ``first + i``."""
        bits = self._log.masks.within(first, last)
        if (front := self.taken.get(DELETED, 0)) >= first:
            bits |= (1 << min(front, last) - first + 1) - 1
        return bits

    def is_live(self, seq: int) -> bool:
        """Whether a record of this seq, if there was one, is still shown."""
        return self.floor < seq <= self.head and not self.masks.has(seq)

    @property
    def reads(self) -> Store:
        """The store that holds this topic's log."""
        return self._store

    def tagged(self, match: Selector, seq: int) -> int | None:
        """Where, at or behind ``seq``, the first pack that may hold a record that is meant begins; None: nowhere."""
        here = self._store.pack_sizes(self.tid, seq, 1)  # not the warm tail's: the store merges what is there apart
        after = here[0].seq - 1 if here else seq
        packs = self._store.packs_with_tag(self.tid, match.text, 1, after=after, prefix=match.is_prefix)
        return max(packs[0], seq) if packs else None

    def next_gap(self, seq: int) -> Gap | None:
        """The first gap that occupies a local seq at or after ``seq``."""
        gaps = self._store.seq_gaps(self.tid, seq, MAX_SEQ, 1)
        return gaps[0] if gaps else None

    def gaps_within(self, first: int, last: int) -> list[Gap]:
        """Gaps that occupy local seqs of this range, the first MOST_GAPS of them."""
        return self._store.seq_gaps(self.tid, first, last, MOST_GAPS) if first <= self.last_gap else []

    def face(self, strand: int) -> Face:
        """How a strand shows to readers."""
        return _face(self._log.strands[strand].descriptor)

    def face_of_sid(self, sid: int) -> Face | None:
        """The same by its small number; None for a range of local seqs without a strand."""
        if sid and sid not in self._sids:
            self._sids = {strand.sid: strand for strand in self._log.strands.values()}
        strand = self._sids.get(sid)
        return _face(strand.descriptor) if strand else None

    def _oldest_ts(self) -> int:
        if not self.config.ttl_ms or not self.count:
            return 0
        floor, ts = self._oldest
        if floor != self.floor or not ts:  # every turn, read and sweep asks, and the record is long out of memory
            packs = self.packs(self.floor + 1, 1)
            ts = retention.oldest_ts(packs[0], self.floor) if packs else 0
            self._oldest = self.floor, ts
        return ts

    def has_expired(self) -> bool:
        """Whether a record is still shown that its ttl forbids: then ask for a sweep before reading."""
        if not retention.has_limits(self.about.config):
            return False
        return retention.due(self._log, self._ground.clock.wall_ms(), self._oldest_ts())

    def _hide_expired(self) -> None:
        """Not to be shown, although it lies there: what its limits forbid by now, until more is committed."""
        shown = Log(self.tid, self.topic, self.about, floor=self.floor, count=self.count, bytes=self.bytes)
        left = retention.sweep(shown, self.masks, self._ground.clock.wall_ms(), self._store, [])
        self._ground.quota.held += left.bytes - self.bytes
        self.floor, self.count, self.bytes = left.floor, left.count, left.bytes
        self.taken = {**self.taken, **left.taken}

    def has_dead_packs(self) -> bool:
        """Whether packs lie there that hold nothing readable: each sweep gives some of them back."""
        return bool(self.floor) and self.floor >= self._log.oldest_last


def _face(descriptor: Descriptor) -> Face:
    return Face(descriptor.origin, f"{descriptor.strand:016x}")
