"""What links bring: strands, chunks and covers of other nodes, compared with the log and taken into the turn."""

from __future__ import annotations

from msgspec import Struct

from ...errors import ProtocolViolation
from ...records.chunk import (
    CONTROL,
    COUNT,
    FIRST,
    FLAGS,
    HASH,
    HEADER_LEN,
    KIND,
    PREV_HASH,
    RECORDS,
    STRAND,
    STRIPPED,
    TEXT_LEN,
    TS_LAST,
    Header,
    check_hash,
    check_shape,
    header_at,
    missing,
    tags_of,
)
from ...records.gap import ERASED, Cover, takes_a_seq
from ...records.run import Run, run_from
from ...records.strand import Descriptor, Position
from ...storage.store import Gap
from ..messages import Applied, Fork
from . import rules
from .log import Strand
from .turn import Turn


class Unfit(Struct):
    """Strands of which a chunk came that the log cannot take."""

    ahead: dict[int, None] = {}
    forks: dict[int, Fork] = {}
    mine: dict[int, None] = {}


class Arrival:
    """One message of a link, on its way into a turn."""

    _taken = _known = 0
    _unfit: Unfit | None = None

    def __init__(self, turn: Turn, *, lacks: str = "") -> None:
        self._turn, self._log = turn, turn.log
        self._lacks = lacks  # why chunks may come stripped
        self._moved: dict[int, int] = {}

    def introduce(self, descriptor: Descriptor) -> None:
        """Know a strand from now on. Raises ProtocolViolation when it contradicts what is known."""
        turn, strands = self._turn, self._log.strands
        known = strands.get(descriptor.strand)
        if known is not None:
            if known.descriptor != descriptor:
                raise ProtocolViolation(f"strand {descriptor.strand:016x} was described in another way before")
            return
        if turn.identity.wrote(descriptor):
            raise ProtocolViolation(f"strand {descriptor.strand:016x} is told to be ours, but we never opened it")
        if len(strands) >= turn.sizes.strands:
            raise ProtocolViolation(
                f"topic {self._log.name} has {turn.sizes.strands} strands already ([limits] max_strands_per_topic)"
            )
        turn.know(descriptor)

    # ---- chunks ----------------------------------------------------------------------------------

    def apply(self, buffer: bytes) -> Applied:
        """Compare-and-append the chunks of one frame. Raises ProtocolViolation at the first that cannot be true;
        those before it are kept."""
        self._turn.write_batches()
        at, end = 0, len(buffer)
        while at < end:
            at = self._judge(buffer, at, end - at)
        moved, unfit = tuple(self._moved.items()), self._unfit
        if unfit is None:
            return Applied(self._taken, self._known, moved=moved)
        return Applied(
            self._taken, self._known, tuple(unfit.ahead), tuple(unfit.forks.values()), moved, tuple(unfit.mine)
        )

    def _judge(self, buffer: bytes, at: int, room: int) -> int:
        """What becomes of the chunk at ``at``; where the next one begins."""
        if room < HEADER_LEN:
            raise ProtocolViolation("a frame ends inside a chunk header")
        header = header_at(buffer, at)
        size, number = check_shape(header, room), header[STRAND]
        if header[KIND] > CONTROL:
            raise ProtocolViolation(f"a chunk of kind {header[KIND]} needs a newer mirrord on this node")
        strand = self._log.strands.get(number)
        if strand is None:
            raise ProtocolViolation(f"a chunk of strand {number:016x} came before its descriptor")
        verdict = rules.follows(strand.last, header)
        if verdict is rules.NEXT and strand is not self._log.own and rules.chains(strand.hash, header):
            if self._unfit is None or number not in self._unfit.forks:
                return self._take(strand, buffer, at, header, size)
        elif verdict is rules.KNOWN and rules.same_end(strand.last, strand.hash, header):
            self._known += header[COUNT]
        else:
            self._leave(strand, header, verdict)
        return at + size

    def _leave(self, strand: Strand, header: Header, verdict: str) -> None:
        if self._unfit is None:
            self._unfit = Unfit()
        number, unfit = header[STRAND], self._unfit
        if verdict is rules.NEXT and strand is self._log.own:
            unfit.mine[number] = None
        elif verdict is rules.AHEAD:
            unfit.ahead[number] = None
        elif number not in unfit.forks:
            before, last = header[FIRST] - 1, header[FIRST] + header[COUNT] - 1
            theirs = Position(before, header[PREV_HASH]) if verdict is rules.NEXT else Position(last, header[HASH])
            unfit.forks[number] = _fork(strand, theirs)

    def _take(self, strand: Strand, buffer: bytes, at: int, header: Header, size: int) -> int:
        """The chunk that follows, and those behind it that follow without a doubt; where the next one begins."""
        if header[KIND] != RECORDS or header[FLAGS] & STRIPPED:
            self._take_other(strand, buffer[at : at + size], header)
            return at + size
        log, turn = self._log, self._turn
        run, end = run_from(buffer, at, size, header, turn.room_for(size))
        turn.put(strand, log.head + 1, buffer[at:end], run)
        records = run.records
        log.head += records
        log.count += records
        log.bytes += run.text_bytes
        self._taken += records
        self._moved[header[STRAND]] = strand.last
        return end

    def _take_other(self, strand: Strand, chunk: bytes, header: Header) -> None:
        """One that lacks records, or says something to nodes."""
        check_hash(memoryview(chunk), 0, len(chunk), header)
        if header[KIND] == RECORDS:
            self._take_stripped(strand, chunk, header)
        else:
            self._turn.put_control(strand, chunk, header)
            self._turn.removal.orders.append(chunk)
        self._taken += header[COUNT]
        self._moved[header[STRAND]] = strand.last

    def _take_stripped(self, strand: Strand, chunk: bytes, header: Header) -> None:
        """What it lacks was deleted where it came from, and so it is here."""
        if not self._lacks:
            raise ProtocolViolation(f"strand {header[STRAND]:016x}: a stripped chunk came unasked")
        log, turn = self._log, self._turn
        gone, tags = missing(chunk, 0, header), tags_of(chunk, 0, header)
        turn.masks.add_bits(log.head + 1, gone, erased=self._lacks == ERASED)
        run = Run(header[FIRST], header[COUNT], header[TEXT_LEN], header[TS_LAST], header[HASH], tags)
        turn.put(strand, log.head + 1, chunk, run)
        log.head += run.records
        log.count += run.records - gone.bit_count()
        log.bytes += run.text_bytes

    # ---- covers ----------------------------------------------------------------------------------

    def cover(self, cover: Cover) -> Applied:
        """Advance over a range that brings no records. Raises ProtocolViolation when it cannot be true."""
        strand = self._log.strands.get(cover.strand)
        if strand is None or not cover.is_sound():
            raise ProtocolViolation(f"a cover of strand {cover.strand:016x} cannot be true")
        if cover.last <= strand.last:
            return Applied(known=cover.last - cover.first + 1)
        if cover.first > strand.last + 1:
            return Applied(ahead=(cover.strand,))
        inside = cover.first <= strand.last  # the log has come further since it was told
        if not inside and not rules.cover_chains(strand.hash, cover):
            return Applied(forks=(_fork(strand, Position(cover.first - 1, cover.prev_hash)),))
        self._take_cover(strand, cover)
        return Applied(taken=1, moved=((cover.strand, cover.last),))

    def _take_cover(self, strand: Strand, cover: Cover) -> None:
        self._turn.close_pack()
        log, seq = self._log, 0
        if takes_a_seq(cover.reason):
            log.head += 1
            seq = log.head
        gap = Gap(log.tid, strand.sid, strand.last + 1, cover.last, cover.reason, strand.hash, cover.hash, seq, seq)
        self._turn.put_gap(gap)
        strand.last, strand.hash, strand.whole_from = cover.last, cover.hash, cover.last + 1
        self._turn.touch(strand)


def _fork(strand: Strand, theirs: Position) -> Fork:
    return Fork(strand.descriptor.strand, Position(strand.last, strand.hash), theirs)
