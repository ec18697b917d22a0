"""A leased job, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from msgspec import Struct

from ..answer import payload
from ..call import Call
from ..nodes import Nodes
from ..patience import Manner
from . import call


class JobRow(Struct, rename={"seq": "$seq", "ts_ms": "$ts", "tag": "$tag", "deadline_ms": "deadline"}):
    """A job as a node writes it."""

    seq: int
    lease_id: str
    deadline_ms: int
    ts_ms: int = 0
    tag: str | None = None
    deliveries: int = 1
    data: Any = None
    meta: Any = None


class _Settled(Struct):
    skipped: list[int] = []
    deadlines: dict[str, int] = {}


class Lessor:
    """Settles the leases of one worker at one queue. Calls go to any node, which passes them on to the home."""

    def __init__(self, nodes: Nodes, queue: str, node: str) -> None:
        self.queue = queue
        self.node = node
        self.held: dict[str, Job] = {}
        """By lease id: what is to be extended."""
        self._nodes = nodes

    async def ack(self, jobs: Sequence[Job]) -> list[Job]:
        """Done, in one commit. The jobs that were not ours any more."""
        seqs, lease_ids = self._settle(jobs)
        return await self._skipped(call.ack(self.queue, self.node, seqs, lease_ids), jobs)

    async def nack(self, jobs: Sequence[Job], delay_ms: int) -> list[Job]:
        """Not done: for others, after ``delay_ms``. The jobs that were not ours any more."""
        seqs, lease_ids = self._settle(jobs)
        return await self._skipped(call.nack(self.queue, self.node, seqs, lease_ids, delay_ms=delay_ms), jobs)

    async def extend(self, jobs: Sequence[Job], lease_ms: int) -> list[Job]:
        """Ours for ``lease_ms`` from now on. The jobs that were not ours any more."""
        seqs, lease_ids = [job.seq for job in jobs], [job.lease_id for job in jobs]
        lost = await self._skipped(call.extend(self.queue, self.node, seqs, lease_ids, lease_ms=lease_ms), jobs)
        for job in lost:
            job.lost = not job.settled
            self.held.pop(job.lease_id, None)
        return lost

    def _settle(self, jobs: Sequence[Job]) -> tuple[list[int], list[str]]:
        for job in jobs:
            job.settled = True
            self.held.pop(job.lease_id, None)
        return [job.seq for job in jobs], [job.lease_id for job in jobs]

    async def _skipped(self, asked: Call, jobs: Sequence[Job]) -> list[Job]:
        told = (await self._nodes.ask(asked, Manner.READ)).read_as(_Settled)
        for job in jobs:
            job.deadline_ms = told.deadlines.get(str(job.seq), job.deadline_ms)
        skipped = set(told.skipped)
        return [job for job in jobs if job.seq in skipped]


class Job:
    """One job, ours until its lease ends. ``deliveries``: how often it was given out, this time included.

    ``async with job:`` acknowledges it at the end, or gives it back when the block raises.
    """

    def __init__(self, lessor: Lessor, row: JobRow) -> None:
        self.queue = lessor.queue
        self.seq, self.lease_id, self.deadline_ms = row.seq, row.lease_id, row.deadline_ms
        self.ts_ms, self.tag, self.deliveries = row.ts_ms, row.tag, row.deliveries
        self.data, self.meta = payload(row.data), row.meta
        self.settled = False
        """Acknowledged, or given back."""
        self.lost = False
        """The lease ended before that: another worker may have the job."""
        self.lessor = lessor

    async def ack(self) -> bool:
        """Done: it is gone for ever. False: the lease was lost before, or a try whose answer was lost has done it."""
        return not await self.lessor.ack([self])

    async def nack(self, delay_ms: int = 0) -> bool:
        """Not done: it goes to another worker, after ``delay_ms``. False: the lease was lost before."""
        return not await self.lessor.nack([self], delay_ms)

    async def extend(self, lease_ms: int) -> bool:
        """Ours for so long from now on. A worker's jobs are extended by themselves."""
        return not await self.lessor.extend([self], lease_ms)

    async def __aenter__(self) -> Job:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.settled:
            await (self.ack() if error is None else self.nack())

    def __repr__(self) -> str:
        return f"Job(queue={self.queue!r}, seq={self.seq}, deliveries={self.deliveries}, data={self.data!r})"
