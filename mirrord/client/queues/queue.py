"""A lease queue: jobs that are given to one worker for a while, and come again until one has acknowledged them."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ...errors import NotAQueue
from .. import call as topics
from ..call import Draft
from ..nodes import Nodes
from ..patience import Manner
from ..sending.appended import Appended
from ..sending.producer import append
from . import call
from .job import Job, JobRow, Lessor
from .worker import Worker

MOST_SEQS = 1000  # in one ack


class QueueCounts(Struct, frozen=True):
    """How many jobs a queue has: to be had, leased, and given up on since the node's start. ``home`` grants leases."""

    ready: int
    in_flight: int
    dead_lettered: int
    home: str | None = None


class _State(Struct):
    queue: QueueCounts | None = None


class _Claimed(Struct):
    claimed: list[JobRow]


class Queue:
    """One queue. Any node of the cluster takes jobs; the queue's home grants the leases, others pass calls on."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.name = name
        self._nodes = nodes

    async def create(self, **config: Any) -> bool:
        """Make it: ``lease_ms``, ``max_deliveries``, ``dead_letter``, ... of docs/HTTP.md; whether it is new."""
        asked = topics.put_topic(self.name, {"type": "queue", **config})
        return bool((await self._nodes.ask(asked, Manner.HERE)).object().get("created"))

    async def send(self, *jobs: Any, key: str | None = None) -> Appended:
        """Queue these, as one: anything that is JSON, or a ``Draft`` with a tag. As ``Topic.append``."""
        drafts = [job if isinstance(job, Draft) else Draft(job) for job in jobs]
        return await append(self._nodes, self.name, drafts, key=key)

    async def claim(self, node: str, *, max_jobs: int = 1, lease_ms: int | None = None) -> list[Job]:
        """Lease up to ``max_jobs`` to the worker ``node``, if there are any. Raises NotAQueue, HomeUnreachable."""
        asked = call.claim(self.name, node, max_jobs=max_jobs, lease_ms=lease_ms)
        found = (await self._nodes.ask(asked, Manner.READ)).read_as(_Claimed)
        lessor = Lessor(self._nodes, self.name, node)
        return [Job(lessor, row) for row in found.claimed]

    def worker(self, node: str | None = None, *, max_jobs: int = 1, lease_ms: int | None = None) -> Worker:
        """Jobs as they come, at most ``max_jobs`` at a time; use it with ``async with``.

        ``node`` names the worker (default: this process). Leases are extended while the worker is there, and
        released when it leaves or dies.
        """
        who = node or f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        return Worker(self._nodes, Lessor(self._nodes, self.name, who), max_jobs, lease_ms)

    async def counts(self) -> QueueCounts:
        """How many jobs there are. Raises TopicNotFound, NotAQueue."""
        told = (await self._nodes.ask(topics.topic(self.name), Manner.READ)).read_as(_State)
        if told.queue is None:
            raise NotAQueue(f"{self.name} is a log, not a queue", {"topic": self.name})
        return told.queue

    async def ack(self, *jobs: Job) -> list[Job]:
        """These jobs are done, up to 1000 in one commit; those that were not ours any more."""
        return [job for some in _thousands(jobs) for job in await some[0].lessor.ack(some)]


def _thousands(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """Jobs of one worker together, as many as a call may settle."""
    by_worker: dict[Lessor, list[Job]] = {}
    for job in jobs:
        by_worker.setdefault(job.lessor, []).append(job)
    return [some[i : i + MOST_SEQS] for some in by_worker.values() for i in range(0, len(some), MOST_SEQS)]
