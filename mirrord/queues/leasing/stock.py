"""What a queue can give out: live records of its topic, read ahead of the claim cursor. Pure, given committed reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from ...records.chunk import COUNT, FIRST, KIND, RECORDS, STRAND, chunks_in
from ...records.record import records
from ...storage.store import Pack

AHEAD_BYTES = 256 << 10  # packs read at once


class Log(Protocol):
    """The committed log of the topic, as a queue reads it."""

    head: int
    floor: int

    def packs(self, seq: int, max_bytes: int) -> list[Pack]: ...

    def is_live(self, seq: int) -> bool: ...


class Job(Struct, frozen=True):
    """A record as a worker gets it: ``data`` and ``meta`` are JSON text, opaque data is bytes."""

    seq: int
    ts: int
    strand: int
    tag: str | None
    node: str | None
    meta: str | None
    data: str | bytes


class Stock:
    """Records in log order, decoded once for many claims. Holds at most what one claim wants, and a few packs."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ahead: deque[Job] = deque()
        self._behind = self._until = 0  # what is ahead are the records beyond the one and up to the other
        self._drawn: dict[int, Job] = {}

    def is_live(self, seq: int) -> bool:
        """Whether the topic still shows the record."""
        return self._log.is_live(seq)

    def after(self, cursor: int, limit: int) -> tuple[list[int], int]:
        """Live seqs beyond the cursor, at most ``limit``, and the seq up to which that is all of them. Their records
        are at hand for the next ``jobs``. Raises ChunkCorrupt."""
        if cursor != self._behind:
            self._ahead.clear()
            self._behind = self._until = cursor
        self._drawn = {}
        while len(self._drawn) < limit:
            if not self._ahead and not self._read_on():
                break
            job = self._ahead.popleft()
            self._behind = job.seq
            if self.is_live(job.seq):
                self._drawn[job.seq] = job
        if not self._ahead:
            self._behind = max(self._behind, self._until)
        return list(self._drawn), self._behind

    def _read_on(self) -> bool:
        """Read the next packs. False: there are no records up to the head."""
        log = self._log
        while self._until < log.head and not self._ahead:
            start = max(self._until, log.floor)
            packs = log.packs(start + 1, AHEAD_BYTES)
            if not packs:
                self._until = log.head
            for pack in packs:
                until = min(pack.last, log.head)
                self._ahead.extend(job for job in _jobs(pack) if start < job.seq <= until)
                self._until = max(self._until, until)
        return bool(self._ahead)

    def jobs(self, seqs: Iterable[int]) -> dict[int, Job]:
        """The records of these seqs; those that are gone are left out. Raises ChunkCorrupt."""
        found: dict[int, Job] = {}
        missing: list[int] = []
        for seq in seqs:
            if (job := self._drawn.get(seq)) is not None:
                found[seq] = job
            else:
                missing.append(seq)
        pack: Pack | None = None
        wanted = set(missing)
        for seq in sorted(missing):
            if pack is None or seq > pack.last:
                pack = next(iter(self._log.packs(seq, 1)), None)
                if pack is None:
                    break
                found.update((job.seq, job) for job in _jobs(pack, wanted))
        return {seq: job for seq, job in found.items() if self.is_live(seq)}


def _jobs(pack: Pack, wanted: Container[int] | None = None) -> Iterator[Job]:
    """The records of a pack, or only those that are wanted: chunks without one are not decoded."""
    seq, body = pack.seq, pack.body
    for at, _, header in chunks_in(body):
        if header[KIND] != RECORDS:
            continue
        count = header[COUNT]
        if wanted is None or any(s in wanted for s in range(seq, seq + count)):
            for record in records(body, at, header):
                own = seq + record.oseq - header[FIRST]
                if wanted is None or own in wanted:
                    yield Job(own, record.ts, header[STRAND], record.tag, record.node, record.meta, record.data)
        seq += count
