"""One topic on one feed: what to send next, decided by the caller's vector alone.

Walks the local log once, in its order, from the first pack that the caller lacks: per strand that is the strand's own
order. Chunks go out as the bytes that lie in the store. A strand rests while it is taken over another link, while the
caller holds a cover of it back, or while it is forked here. No task, no clock: the feed asks, the lane answers.
"""

from __future__ import annotations

from functools import partial

from ...records.chunk import COUNT, FIRST, STRAND, chunk_at
from ...records.run import stretch_from
from ...records.strand import Identity, Position
from ...storage.store import Pack
from ...topics.log.log import Strand
from ...topics.log.places import contradicts
from ...topics.topic import Topic
from ..frames import Piece
from ..wire import At, Chunks, ForkIs, StrandIs
from .closing import Closing
from .remains import Remains
from .standing import FORKED, GAP, SEND, Standings

MOST_RUNS = 64  # of bytes in a frame; more are joined: copying costs less than handing them to the kernel one by one

Body = list[bytes | memoryview]


class Lane:
    """What one caller gets of one topic. ``no`` is the topic's number on this connection."""

    def __init__(self, no: int, topic: Topic, caller: Identity, *, goes_on: bool = False) -> None:
        self.no, self.topic = no, topic
        self.standings = Standings(topic, caller)
        self.closing = Closing(self, goes_on=goes_on)
        self._log_id = topic.about.log_id
        self._cursor = 0
        self._even = -1  # where the cursor stood when nothing was left to send
        self._looked = -1  # commits of the topic up to here were examined for what to send
        self._walked: dict[int, None] = {}  # strands with packs to go through: what they end in is seen behind those
        self.begins_anew = True
        """The caller stands elsewhere: find where to begin."""
        self.is_corrupt = False
        """The log cannot be read: nothing more is sent of it."""

    def place(self, vector: list[At]) -> list[ForkIs]:
        """The caller stands here now. Forks are what its positions contradict."""
        forks: list[ForkIs] = []
        self.standings.place(vector)
        for number, oseq, digest in vector:
            strand = self.topic.strands.get(number)
            if strand is not None and contradicts(strand, self.topic.tid, Position(oseq, digest), self.topic.reads):
                forks.append(self._fork(number, digest))
        self.begins_anew = True
        return forks

    def _fork(self, number: int, digest: bytes | None) -> ForkIs:
        """The strand halts on this feed, and the caller is told: nothing stands still in silence."""
        standing, here = self.standings.of(number), self.topic.strands[number].durable
        standing.forked = True
        return ForkIs(self.no, number, (here.oseq, here.hash), (standing.oseq, digest))

    # ---- what to send ----------------------------------------------------------------------------

    @property
    def has_more(self) -> bool:
        """Whether ``next`` would find anything to look at."""
        moved = self.begins_anew or self._cursor < self.topic.head or self._looked != self.topic.move_no
        return moved and not self.is_corrupt

    def passes_by(self) -> bool:
        """Whether there was nothing left to send, and all that came since is of no use to the caller, such as its own:
        it need not be looked at again."""
        topic = self.topic
        if self._cursor != self._even or self.begins_anew or topic.about.log_id != self._log_id:
            return False
        numbers, newest = topic.moved_since(self._looked)
        for number in numbers:
            if self.wants(topic.strands[number]):
                return False
        self._cursor = self._even = topic.head
        self._looked = newest
        return True

    def next(self, budget_bytes: int) -> list[Piece]:
        """Frames worth about ``budget_bytes``; empty when the caller has all that it wants of what is durable."""
        pieces: list[Piece] = []
        if self.topic.about.log_id != self._log_id:  # dropped and made anew: the old seqs mean nothing
            self._log_id, self.begins_anew = self.topic.about.log_id, True
        while not pieces and self.has_more:
            if self.begins_anew:
                self.begins_anew = False
                self._begin(pieces, list(self.topic.strands.values()))
            if not pieces and self._cursor < self.topic.head and not self._walk(pieces, budget_bytes) and not pieces:
                passed = self._cursor
                self._begin(pieces, list(self.topic.strands.values()))
                # Never back: the store's pack may begin before the warm tail's, and a walk be shorter than both.
                self._cursor = max(self._cursor, passed)
            if self._cursor >= self.topic.head:
                self._look_behind(pieces)
        return pieces

    def wants(self, strand: Strand) -> bool:
        """Whether the caller is to be sent more of a strand."""
        return self.standings.of(strand.descriptor.strand).wants(strand.durable_last)

    def _look_behind(self, pieces: list[Piece]) -> None:
        """All packs are behind the cursor: a strand that moved and is still wanted ends in a gap."""
        strands = self.topic.strands
        numbers, self._looked = self.topic.moved_since(self._looked)
        if self._walked:
            numbers = list(dict.fromkeys([*numbers, *(number for number in self._walked if number in strands)]))
            self._walked.clear()
        if behind := [strand for number in numbers if self.wants(strand := strands[number])]:
            self._begin(pieces, behind)
        else:
            self._even = self._cursor

    def _begin(self, pieces: list[Piece], strands: list[Strand]) -> None:
        """Set the cursor before the first pack that any strand needs; covers for those that stand before a gap."""
        starts: list[int] = []
        for strand in strands:
            if not self.wants(strand):
                continue
            number = strand.descriptor.strand
            if (standing := self.standings.of(number)).own:
                self.introduce(pieces, number)
                continue
            needed = standing.oseq + 1
            found = self.topic.reads.parts(strand.sid, needed, 1)
            if found and found[0][0].first <= needed:
                starts.append(found[0][1])
                self._walked[number] = None
            else:
                self.closing.close_up_behind(pieces, strand, found[0][0].first if found else strand.durable_last + 1)
        self._cursor = min(starts) - 1 if starts else self.topic.head

    # ---- the walk --------------------------------------------------------------------------------

    def _walk(self, pieces: list[Piece], budget_bytes: int) -> bool:
        """Send from the packs behind the cursor; whether any chunk is sent."""
        body: Body = []
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

    def _flush(self, pieces: list[Piece], body: Body) -> None:
        """What was collected becomes a frame."""
        if body:
            runs = (b"".join(body),) if len(body) > MOST_RUNS else tuple(body)
            pieces.append(Piece(Chunks(self.no), runs))
            body.clear()

    def _walk_pack(self, pack: Pack, pieces: list[Piece], body: Body, room: int) -> int:
        """Collect what is to be sent of one pack, as few runs of bytes; how many bytes that is."""
        if gone := self.topic.gone(pack.seq, pack.last):
            return self._walk_remains(pack, gone, pieces, body, room)
        packed, length, seq = pack.body, len(pack.body), pack.seq
        start = end = taken = at = 0
        while at < length:
            size, header = chunk_at(packed, at)
            if taken and taken + size > room:
                break
            number, first, count = header[STRAND], header[FIRST], header[COUNT]
            standing = self.standings.of(number)
            verdict = standing.verdict(first, first + count - 1)
            if verdict is GAP:
                if end > start:
                    body.append(memoryview(packed)[start:end])
                start = end = at
                taken += self.closing.close_up(pieces, number, first, body.append, partial(self._flush, pieces, body))
                verdict = standing.verdict(first, first + count - 1)
            if verdict is SEND:
                if not standing.introduced:
                    self.introduce(pieces, number)
                if at != end:
                    if end > start:
                        body.append(memoryview(packed)[start:end])
                    start = at
                end, following = stretch_from(packed, at, header, room - taken)
                size, count = end - at, following - first
                taken += size
                standing.oseq = following - 1
            elif verdict is FORKED:
                pieces.append(self.forked(number))
            seq += count
            at += size
        else:
            seq = pack.last + 1
        if end > start:
            body.append(memoryview(packed)[start:end] if end - start < length else packed)
        self._cursor = max(self._cursor, seq - 1)
        return taken

    def _walk_remains(self, pack: Pack, gone: int, pieces: list[Piece], body: Body, room: int) -> int:
        self._flush(pieces, body)
        remains = Remains(self, pack, gone, self.topic.masks.erased_within(pack.seq, pack.last))
        remains.walk(room)
        pieces += remains.pieces
        self._cursor = max(self._cursor, remains.seq - 1)
        return remains.taken

    def forked(self, number: int) -> Piece:
        """The caller stands inside one of our chunks."""
        return Piece(self._fork(number, None))

    def introduce(self, pieces: list[Piece], number: int) -> None:
        """The strand's descriptor goes before what is sent of it."""
        standing = self.standings.of(number)
        if not standing.introduced:
            standing.introduced = True
            pieces.append(Piece(StrandIs(self.no, self.topic.strands[number].descriptor.encode())))
