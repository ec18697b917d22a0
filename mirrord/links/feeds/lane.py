"""One topic on one feed: what to send next, decided by the caller's vector alone.

Walks the local log once, in its order, from the first pack that the caller lacks: per strand that is the strand's own
order. Chunks go out as the bytes that lie in the store. A strand rests while it is taken over another link, while the
caller holds a cover of it back, or while it is forked here. No task, no clock: the feed asks, the lane answers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from ...errors import ChunkCorrupt
from ...records.chunk import COUNT, FIRST, STRAND, chunk_at
from ...records.gap import CONTROL, ERASED, LOST, Cover
from ...records.run import stretch_from
from ...records.strand import Identity, Position
from ...storage.store import Pack
from ...topics.log.log import Strand
from ...topics.log.places import INSIDE, contradicts, hash_at
from ...topics.topic import Topic
from ..wire import At, Chunks, CoverIs, ForkIs, Move, Rewound, StrandIs, Take, Told, TopicInfo
from .piece import FORKED, GAP, PASS, SEND, Piece
from .remains import Remains

CONTROLS = 256  # control chunks that are sent at once


MOST_RUNS = 64  # of bytes in a frame; more are joined: copying costs less than handing them to the kernel one by one


class Sent(Struct):
    """How far the caller is known to have come in a strand: told by it, or sent to it."""

    oseq: int
    rests: bool = False  # a cover was sent and not answered yet


class Lane:
    """What one caller gets of one topic. ``no`` is the topic's number on this connection."""

    def __init__(self, no: int, topic: Topic, caller: Identity, *, goes_on: bool = False) -> None:
        self.no, self.topic, self._caller = no, topic, caller
        self._goes_on = goes_on  # the caller takes covers that need no waiting in their place
        self.log_id = topic.about.log_id
        self._sent: dict[int, Sent] = {}
        self._skip: set[int] = set()
        self._forked: set[int] = set()
        self._introduced: set[int] = set()
        self._may_strip: dict[int, int] = {}  # strands of which the caller takes stripped chunks, up to where
        self._told: dict[int, int] = {}
        self.digest = 0
        self._cursor = 0
        self._even = -1  # where the cursor stood when nothing was left to send
        self._looked = -1  # commits of the topic up to here were examined for what to send
        self._walked: dict[int, None] = {}  # strands with packs to go through: what they end in is seen behind those
        self._moves_told = -1
        self._stale = True  # positions changed from outside: find anew where to begin
        self._creator_told = (0, "")

    # ---- what the caller says --------------------------------------------------------------------

    def place(self, vector: list[At]) -> list[ForkIs]:
        """The caller stands here now. Forks are what its positions contradict."""
        forks: list[ForkIs] = []
        for number, oseq, digest in vector:
            self._sent[number] = Sent(oseq)
            self._skip.discard(number)
            self._may_strip.pop(number, None)
            self._forked.discard(number)
            strand = self.topic.strands.get(number)
            if strand is not None and contradicts(strand, self.topic.tid, Position(oseq, digest), self.topic.reads):
                forks.append(self._fork(number, oseq, digest))
        self._stale = True
        return forks

    def _fork(self, number: int, oseq: int, digest: bytes | None) -> ForkIs:
        """The strand halts on this feed, and the caller is told: nothing stands still in silence."""
        self._forked.add(number)
        here = self.topic.strands[number].durable
        return ForkIs(self.no, number, (here.oseq, here.hash), (oseq, digest))

    def skip(self, strands: list[int]) -> None:
        """The caller takes these over another link. Only strands that it knows count."""
        self._skip.update(strands)

    def take(self, takes: list[Take]) -> None:
        """The caller knows that nobody has more of these strands, up to there: it takes what is left."""
        self._may_strip.update(takes)

    def may_strip(self, number: int, last: int) -> bool:
        """Whether a stripped chunk that ends there was asked for."""
        return last <= self._may_strip.get(number, 0)

    def proves_rewind(self, vector: list[At]) -> int | None:
        """Our open strand, if the caller stands above our head in it or holds other content there: we were rewound."""
        own = self.topic.own_strand
        for number, oseq, _ in vector:
            if (
                own is not None
                and number == own.descriptor.strand
                and (oseq > own.durable_last or number in self._forked)
            ):
                return number
        return None

    def rewinds_of_caller(self) -> list[Rewound]:
        """Strands that the caller writes in its present life and of which we hold more than it told. It compares this
        with where it stands by then: only a node whose store was put back stands lower."""
        found: list[Rewound] = []
        for number, strand in self.topic.strands.items():
            sent = self._sent.get(number)
            told = sent.oseq if sent else 0
            if strand.durable_last > told and self._caller.wrote(strand.descriptor):
                found.append(Rewound(self.no, number, strand.durable_last, told))
        return found

    # ---- what to send ----------------------------------------------------------------------------

    def info(self) -> TopicInfo:
        """The topic as ``hello`` tells it."""
        topic = self.topic
        vector: list[Told] = []
        for number, strand in topic.strands.items():
            if strand.durable_last:
                vector.append(
                    (
                        number,
                        strand.durable_last,
                        strand.durable_hash,
                        strand.durable_whole_from,
                        strand.durable_ts,
                    )
                )
                self._tell(number, strand.durable_last)
        self._moves_told = topic.moved_since(-1)[1]
        config = topic.config
        return TopicInfo(
            self.no, topic.topic, topic.about.log_id, config.type, config.ttl_ms, config.durability,
            topic.head, topic.count, topic.bytes, vector, *self._who_created_it(),
        )  # fmt: skip

    def _who_created_it(self) -> tuple[int, str, str]:
        about = self.topic.about
        self._creator_told = (about.created_ms, about.creator)
        return about.created_ms, about.creator, about.config.home or ""

    def correction(self) -> TopicInfo | None:
        """Whom the topic was created by, when that is another than was told; no positions."""
        topic, config = self.topic, self.topic.config
        if self._creator_told == (topic.about.created_ms, topic.about.creator):
            return None
        return TopicInfo(
            self.no, topic.topic, topic.about.log_id, config.type, config.ttl_ms, config.durability,
            topic.head, topic.count, topic.bytes, [], *self._who_created_it(),
        )  # fmt: skip

    def farewell(self) -> TopicInfo:
        """The topic as it is told to be gone."""
        config = self.topic.config
        return TopicInfo(
            self.no, self.topic.topic, self.log_id, config.type, config.ttl_ms, config.durability, 0, 0, 0, []
        )

    def _tell(self, number: int, oseq: int) -> None:
        before = self._told.get(number)
        if before is not None:
            self.digest ^= position_digest(self.no, number, before)
        self._told[number] = oseq
        self.digest ^= position_digest(self.no, number, oseq)

    def moves(self) -> list[Move]:
        """Positions that changed since they were last told."""
        numbers, newest = self.topic.moved_since(self._moves_told)
        self._moves_told = newest
        found: list[Move] = []
        for number in numbers:
            strand = self.topic.strands[number]
            if strand.durable_last and strand.durable_last != self._told.get(number):
                found.append((self.no, number, strand.durable_last, strand.durable_hash, strand.durable_ts))
                self._tell(number, strand.durable_last)
        return found

    def next(self, budget_bytes: int) -> list[Piece]:
        """Frames worth about ``budget_bytes``; empty when the caller has all that it wants of what is durable."""
        pieces: list[Piece] = []
        if self.topic.about.log_id != self.log_id:  # dropped and made anew: the old seqs mean nothing
            self.log_id, self._stale = self.topic.about.log_id, True
        while not pieces and self.has_more:
            if self._stale:
                self._stale = False
                self._begin(pieces, list(self.topic.strands.values()))
            if not pieces and self._cursor < self.topic.head and not self._walk(pieces, budget_bytes) and not pieces:
                passed = self._cursor
                self._begin(pieces, list(self.topic.strands.values()))
                # Never back: the store's pack may begin before the warm tail's, and a walk be shorter than both.
                self._cursor = max(self._cursor, passed)
            if self._cursor >= self.topic.head:
                self._look_behind(pieces)
        return pieces

    @property
    def has_more(self) -> bool:
        """Whether ``next`` would find anything to look at."""
        return self._stale or self._cursor < self.topic.head or self._looked != self.topic.move_no

    def passes_by(self) -> bool:
        """Whether there was nothing left to send, and all that came since is of no use to the caller, such as its own:
        it need not be looked at again."""
        if self._cursor != self._even or self._stale or self.topic.about.log_id != self.log_id:
            return False
        numbers, newest = self.topic.moved_since(self._looked)
        if any(self._wanted(self.topic.strands[number]) for number in numbers):
            return False
        self._cursor = self._even = self.topic.head
        self._looked = newest
        return True

    def _look_behind(self, pieces: list[Piece]) -> None:
        """All packs are behind the cursor: a strand that moved and is still wanted ends in a gap."""
        numbers, self._looked = self.topic.moved_since(self._looked)
        numbers += [number for number in self._walked if number in self.topic.strands]
        self._walked.clear()
        behind = [s for n in dict.fromkeys(numbers) if self._wanted(s := self.topic.strands[n])]
        if behind:
            self._begin(pieces, behind)
        else:
            self._even = self._cursor

    def _wanted(self, strand: Strand) -> bool:
        number = strand.descriptor.strand
        if number in self._skip or number in self._forked or self._caller.wrote(strand.descriptor):
            return False
        sent = self._sent.get(number)
        return strand.durable_last > (sent.oseq if sent else 0) and not (sent is not None and sent.rests)

    def _begin(self, pieces: list[Piece], strands: list[Strand]) -> None:
        """Set the cursor before the first pack that any strand needs; covers for those that stand before a gap."""
        starts: list[int] = []
        for strand in strands:
            if not self._wanted(strand):
                continue
            sent = self._sent.get(strand.descriptor.strand)
            after = sent.oseq if sent else 0
            found = self.topic.reads.parts(strand.sid, after + 1, 1)
            if found and found[0][0].first <= after + 1:
                starts.append(found[0][1])
                self._walked[strand.descriptor.strand] = None
            else:
                until = found[0][0].first - 1 if found else strand.durable_last
                self._close_up_behind(pieces, strand, until + 1)
        self._cursor = min(starts) - 1 if starts else self.topic.head

    def _walk(self, pieces: list[Piece], budget_bytes: int) -> bool:
        """Send from the packs behind the cursor; whether any chunk is sent."""
        body: list[bytes | memoryview] = []
        room = budget_bytes
        packs = self.topic.packs(self._cursor + 1, budget_bytes)
        if not packs:
            self._cursor = self.topic.head
        for pack in packs:
            room -= self._walk_pack(pack, pieces, body, room)
            if room <= 0 or self._cursor < pack.last:  # control chunks take room too: the rest of a pack comes first
                break
        self._flush(pieces, body)
        return bool(pieces)

    def _flush(self, pieces: list[Piece], body: list[bytes | memoryview]) -> None:
        """What was collected becomes a frame."""
        if body:
            runs = (b"".join(body),) if len(body) > MOST_RUNS else tuple(body)
            pieces.append(Piece(Chunks(self.no), runs))
            body.clear()

    def _walk_pack(self, pack: Pack, pieces: list[Piece], body: list[bytes | memoryview], room: int) -> int:
        """Collect what is to be sent of one pack, as few runs of bytes; how many bytes that is."""
        if gone := self.topic.gone(pack.seq, pack.last):
            return self._walk_remains(pack, gone, pieces, body, room)
        view, seq = memoryview(pack.body), pack.seq
        start = end = taken = at = 0
        while at < len(view):
            size, header = chunk_at(pack.body, at)
            if taken and taken + size > room:
                break
            number, first, count = header[STRAND], header[FIRST], header[COUNT]
            verdict = self.verdict(number, first, count)
            if verdict is SEND:
                self.introduce(pieces, number)
                if at != end:
                    if end > start:
                        body.append(view[start:end])
                    start = at
                end, following = stretch_from(pack.body, at, header, room - taken)
                taken += end - at
                size, count = end - at, following - first
                self.sent_to(number, following - 1)
            elif verdict is GAP:
                if end > start:
                    body.append(view[start:end])
                start = end = at
                taken += self.close_up(pieces, number, first, body.append, partial(self._flush, pieces, body))
                if self.verdict(number, first, count) is SEND:
                    end = at + size
                    taken += size
                    self.sent_to(number, first + count - 1)
            elif verdict is FORKED:
                pieces.append(self.forked(number))
            seq += count
            at += size
        else:
            seq = pack.last + 1
        if end > start:
            body.append(view[start:end] if end - start < len(view) else pack.body)
        self._cursor = max(self._cursor, seq - 1)
        return taken

    def _walk_remains(
        self, pack: Pack, gone: int, pieces: list[Piece], body: list[bytes | memoryview], room: int
    ) -> int:
        self._flush(pieces, body)
        remains = Remains(self, pack, gone, self.topic.masks.erased_within(pack.seq, pack.last))
        remains.walk(room)
        pieces += remains.pieces
        self._cursor = max(self._cursor, remains.seq - 1)
        return remains.taken

    def verdict(self, number: int, first: int, count: int) -> str:
        if number in self._skip or number in self._forked:
            return PASS
        sent = self._sent.get(number)
        after = sent.oseq if sent is not None else 0
        if first + count - 1 <= after or (sent is not None and sent.rests):
            return PASS
        if self._caller.wrote(self.topic.strands[number].descriptor):
            return PASS
        if first <= after:  # the caller stands inside a chunk, where no boundary can be
            return FORKED
        return SEND if first == after + 1 else GAP

    def sent_to(self, number: int, oseq: int) -> None:
        sent = self._sent.get(number)
        if sent is None:
            self._sent[number] = Sent(oseq)
        else:
            sent.oseq = oseq

    def rest(self, number: int) -> None:
        """The caller was told something of the strand that it must answer first."""
        self._sent.setdefault(number, Sent(0)).rests = True

    def forked(self, number: int) -> Piece:
        """The caller stands inside one of our chunks."""
        return Piece(self._fork(number, self._sent[number].oseq, None))

    def introduce(self, pieces: list[Piece], number: int) -> None:
        if number not in self._introduced:
            self._introduced.add(number)
            pieces.append(Piece(StrandIs(self.no, self.topic.strands[number].descriptor.encode())))

    # ---- control chunks, and gaps ----------------------------------------------------------------

    def close_up(
        self, pieces: list[Piece], number: int, first: int, put: Callable[[bytes], None], flush: Callable[[], None]
    ) -> int:
        """Send what stands between the caller and ``first``, control chunks and covers; the bytes of the chunks. At a
        cover that the caller must answer the strand rests."""
        size = 0
        while True:
            size += self._bring_to(number, first, put)
            if self._stale or self._sent_of(number) >= first - 1:
                return size
            flush()
            if not self._cover(pieces, number, first - 1):
                return size

    def _sent_of(self, number: int) -> int:
        sent = self._sent.get(number)
        return sent.oseq if sent is not None else 0

    def _bring_to(self, number: int, first: int, put: Callable[[bytes], None]) -> int:
        """Send the control chunks that stand right behind the caller. When there are more than one call looks at, the
        walk begins anew behind them."""
        strand, sent = self.topic.strands[number], self._sent.get(number)
        after, size = sent.oseq if sent else 0, 0
        rows = self.topic.reads.gaps(self.topic.tid, strand.sid, after + 1, CONTROLS)
        for gap in rows:
            if gap.reason != CONTROL or gap.first != after + 1 or gap.first >= first:
                break
            put(gap.ends)
            after, size = gap.last, size + len(gap.ends)
        else:
            self._stale |= len(rows) == CONTROLS
        if size:
            self.sent_to(number, after)
        return size

    def _close_up_behind(self, pieces: list[Piece], strand: Strand, before: int) -> None:
        """The same where no pack follows. Then the walk looks again at what comes behind."""
        number, body = strand.descriptor.strand, list[bytes | memoryview]()
        self.introduce(pieces, number)
        self.close_up(pieces, number, before, body.append, partial(self._flush, pieces, body))
        self._flush(pieces, body)
        self._stale |= self._wanted(strand)

    def _cover(self, pieces: list[Piece], number: int, until: int) -> bool:
        """Tell the gap between the caller and the next record that there is. Whether the strand goes on behind it; else
        it rests until the caller says where it stands then."""
        after = self._sent_of(number)
        self.introduce(pieces, number)
        cover = self._gap_behind(self.topic.strands[number], after, until)
        goes_on = self._goes_on and cover.reason == ERASED
        self.sent_to(number, cover.last if goes_on else after)
        self._sent[number].rests = not goes_on
        told = CoverIs(self.no, number, cover.first, cover.last, cover.reason, cover.prev_hash, cover.hash, goes_on)
        pieces.append(Piece(told))
        return goes_on

    def _gap_behind(self, strand: Strand, after: int, until: int) -> Cover:
        """Raises ChunkCorrupt where records are said to be which no pack holds: what may come back is not lost."""
        topic, number, sid = self.topic, strand.descriptor.strand, strand.sid
        before = hash_at(strand, topic.tid, after, topic.reads)
        prev_hash = None if before is INSIDE else before
        for gap in topic.reads.gaps(topic.tid, sid, after + 1, 1):
            if gap.first <= after + 1 and gap.reason != CONTROL:
                return Cover(number, after + 1, gap.last, gap.reason, prev_hash, gap.hash)
            until = min(until, gap.first - 1)
        for part, seq in topic.reads.parts(sid, after + 1, 1):
            if part.first <= after + 1:
                told = f"strand {number:016x} is told to have {after + 1} in the pack at {seq}, which has not"
                raise ChunkCorrupt(f"topic {topic.topic}: {told}; fetch it from a peer", {"topic": topic.topic})
            until = min(until, part.first - 1)
        # Neither records nor a gap row: the store has lost them. Their hashes are not known here.
        return Cover(number, after + 1, until, LOST, prev_hash, None)


def position_digest(no: int, strand: int, oseq: int) -> int:
    """One position's share in the digest of all that was told: their xor."""
    return xxh3_64_intdigest(b"%d %d %d" % (no, strand, oseq))
