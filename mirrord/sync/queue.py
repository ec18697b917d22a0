"""Lease queues, without async."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any

from ..client.queues import job as of_job
from ..client.queues import queue as of_queue
from ..client.queues import worker as of_worker
from .thread import Face, Held, Steps, blocking


class Queue(Face):
    """As ``mirrord.Queue``."""

    _inner: of_queue.Queue

    send = blocking(of_queue.Queue.send)
    counts = blocking(of_queue.Queue.counts)

    def create(self, **config: Any) -> bool:
        """Make it, with this configuration over the defaults, or give it that; whether it is new."""
        return self._loop.run(partial(self._inner.create, **config))

    def claim(self, node: str, *, max_jobs: int = 1, lease_ms: int | None = None) -> list[Job]:
        """Lease up to ``max_jobs``, if there are any."""
        found = self._loop.run(partial(self._inner.claim, node, max_jobs=max_jobs, lease_ms=lease_ms))
        return [Job(self._loop, job) for job in found]

    def ack(self, *jobs: Job) -> list[Job]:
        """These are done, up to 1000 in one commit; those that were not ours any more."""
        by_inner = {id(job._inner): job for job in jobs}
        lost = self._loop.run(partial(self._inner.ack, *(job._inner for job in jobs)))
        return [by_inner[id(job)] for job in lost]

    def worker(
        self, node: str | None = None, *, max_jobs: int = 1, lease_ms: int | None = None
    ) -> AbstractContextManager[Worker]:
        """Jobs as they come: ``with queue.worker() as w: for job in w: ...``."""
        return Held(self._loop, self._inner.worker(node, max_jobs=max_jobs, lease_ms=lease_ms), Worker)


class Worker(Steps["Job"]):
    """As ``mirrord.Worker``, with ``for``."""

    _inner: of_worker.Worker

    @property
    def node(self) -> str:
        """Who holds the leases."""
        return self._inner.node

    def _shown(self, item: of_job.Job) -> Job:
        return Job(self._loop, item)


class Job(Face):
    """As ``mirrord.Job``, with ``with``; ``job.it`` has all that is told of it."""

    _inner: of_job.Job

    ack = blocking(of_job.Job.ack)
    nack = blocking(of_job.Job.nack)
    extend = blocking(of_job.Job.extend)
    _exit = blocking(of_job.Job.__aexit__)

    @property
    def it(self) -> of_job.Job:
        """Seq, lease, deliveries, tag, meta, lost, settled."""
        return self._inner

    @property
    def data(self) -> Any:
        """The job's payload."""
        return self._inner.data

    @property
    def seq(self) -> int:
        """The job's seq in the queue."""
        return self._inner.seq

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit(kind, error, trace)
