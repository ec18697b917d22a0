"""A worker: jobs pushed by the node, leases kept alive, everything released at the end."""

from __future__ import annotations

import logging
import random
from collections import deque
from types import TracebackType

import anyio
import msgspec
from anyio.abc import TaskGroup

from ...errors import InvalidRequest, MirrordError, PeerUnreachable
from .. import call as topics
from ..answer import not_mirrord
from ..bell import Bell
from ..nodes import Nodes
from ..patience import Manner
from . import call
from .events import Event, EventReader, named
from .job import Job, JobRow, Lessor

SILENCE_S = 45.0  # three heartbeats of the node
MOST_SEQS = 1000  # in one extend
log = logging.getLogger("mirrord.client")


class Worker:
    """``async with queue.worker(max_jobs=10) as w:``, then ``async for job in w:`` for as long as wanted.

    The node gives at most ``max_jobs`` at a time: settle some to get more. Every lease that is not settled is extended
    in time. When the connection breaks the node takes all leases back: those jobs are ``lost``, and come again, here or
    elsewhere; the worker connects anew, for the client's ``give_up_after_s``, and then raises.
    """

    def __init__(self, nodes: Nodes, lessor: Lessor, max_jobs: int, lease_ms: int | None) -> None:
        self._nodes = nodes
        self._lessor = lessor
        self._max_jobs = max_jobs
        self._lease_ms = lease_ms
        self._ready: deque[Job] = deque()
        self._heard = False  # something came on this stream
        self._bell = Bell()
        self._failed: MirrordError | None = None
        self._group: TaskGroup | None = None

    @property
    def node(self) -> str:
        """Who holds the leases."""
        return self._lessor.node

    async def __aenter__(self) -> Worker:
        if self._group is not None:
            raise InvalidRequest("a worker is used once; ask the queue for another one")
        state = (await self._nodes.ask(topics.topic(self._lessor.queue), Manner.READ)).object()
        lease_ms = self._lease_ms or int(state["config"].get("lease_ms", 30_000))
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._listen)
        self._group.start_soon(self._keep, lease_ms)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        self._failed = self._failed or InvalidRequest("the worker was left")
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        self._lose_all()

    def __aiter__(self) -> Worker:
        return self

    async def __anext__(self) -> Job:
        if self._group is None:
            raise InvalidRequest("take jobs within 'async with queue.worker() as w:'")
        while True:
            ear = self._bell.ear()
            while self._ready:
                job = self._ready.popleft()
                if not job.lost:
                    return job
            if self._failed is not None:
                raise self._failed
            await ear.wait()

    async def _listen(self) -> None:
        """Stream after stream, until one cannot be had in time."""
        trial = self._nodes.trial(Manner.READ)
        while True:
            self._heard = False
            failure = await self._one_stream(trial.node)
            self._lose_all()
            if self._heard:
                trial = self._nodes.trial(Manner.READ)
            wait_s = trial.after(failure, anyio.current_time(), random.random())
            if wait_s is None:
                self._failed = failure
                self._bell.ring()
                return
            log.warning("no jobs of %s (%s); connecting anew in %.1f s", self._lessor.queue, failure, wait_s)
            await anyio.sleep(wait_s)

    async def _one_stream(self, at: int) -> MirrordError:
        """Jobs, until the stream ends; why it did."""
        asked = call.work(self._lessor.queue, self.node, max_jobs=self._max_jobs, lease_ms=self._lease_ms)
        reader, failure = EventReader(), None
        try:
            with anyio.CancelScope() as scope:
                async with self._nodes.stream(at, asked, SILENCE_S) as pieces:
                    async for piece in pieces:
                        self._heard = True
                        failure = failure or self._took(reader, piece)
                        if failure is not None:
                            scope.cancel()  # an exception from here would leave httpx's generators unfinished
        except MirrordError as error:
            failure = failure or error
        return failure or PeerUnreachable("the node ended the stream of jobs")

    def _took(self, reader: EventReader, piece: bytes) -> MirrordError | None:
        """The jobs in a piece of the stream; the error that ends it, if it does."""
        try:
            for event in reader.feed(piece):
                self._on(event)
        except MirrordError as error:
            return error
        return None

    def _on(self, event: Event) -> None:
        """Raises what an error event names."""
        if event.name == "error":
            raise named(event.data)
        if event.name != "job":
            return
        try:
            job = Job(self._lessor, msgspec.json.decode(event.data, type=JobRow))
        except msgspec.MsgspecError:
            raise not_mirrord(self._lessor.queue, "a job") from None
        self._lessor.held[job.lease_id] = job
        self._ready.append(job)
        self._bell.ring()

    async def _keep(self, lease_ms: int) -> None:
        """Extend every lease that is not settled, three times as often as needed."""
        while True:
            await anyio.sleep(lease_ms / 3000)
            held = list(self._lessor.held.values())
            for i in range(0, len(held), MOST_SEQS):
                try:
                    await self._lessor.extend(held[i : i + MOST_SEQS], lease_ms)
                except MirrordError as error:
                    log.warning("leases at %s could not be extended: %s", self._lessor.queue, error)

    def _lose_all(self) -> None:
        """The node took back what was leased on the connection."""
        for job in self._lessor.held.values():
            job.lost = True
        self._lessor.held.clear()
        self._ready.clear()
