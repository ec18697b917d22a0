"""Work pushed over server-sent events: a stream keeps so many leases, gets the next job as one is done, and gives all
back the moment it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

import msgspec
import trio

from ....actors.bell import Ear
from ....errors import InvalidRequest, MirrordError, ShuttingDown
from ....node import Node
from ....queues.home import Home
from ....queues.leasing.leases import Claimant
from ....queues.leasing.messages import Attach, Detach, Given, Worker
from ....streams.dialect import HEARTBEAT, RETRY
from ....topics.topic import Topic
from ...auth.permit import Permit
from ...auth.principal import Scope
from ...message import Request, Response, Stream, Writer
from ..queues import call_of, check_worker, elsewhere, job_text, lease_ms_of, queue_of
from .watch import EVENT_STREAM, HEADERS, check_accepts, counted

HEARTBEAT_S = 15.0
UNSENT_BYTES = 64 << 10
_encode = msgspec.json.Encoder().encode


async def work(node: Node, request: Request, name: str) -> Response | Stream:
    """``GET /v0/topics/:topic/work``."""
    permit = _permit(request, name)
    args = request.query_args()
    worker = args.get("node", "")
    check_worker(node, worker)
    lease_ms = _lease_ms(args.get("lease_ms", ""))
    check_accepts(request)
    topic = await queue_of(node, name)
    home = elsewhere(node, request, topic)
    node.streams.check_seat(counted(request.principal))
    if home is not None:
        return await _passed_on(node, request, home, topic, permit)
    most = min(max(_number(args.get("max", ""), 1), 1), node.config.limits.max_claim)
    attach = Attach(Claimant(worker, most, lease_ms_of(node, topic, lease_ms)))

    async def write(writer: Writer) -> None:
        with node.streams.seat(counted(request.principal)):
            await _Working(node, topic, writer, permit).run(attach)

    return Stream(write, 200, EVENT_STREAM, HEADERS)


def _permit(request: Request, name: str) -> Permit:
    """What the caller is let through for: as one of our own, or as a peer that passes the call of such a one on."""
    scopes: tuple[Scope, ...] = ("peer",) if request.principal.may("peer") else ("read", "write")
    return Permit(request.principal, scopes, lambda: (name,))


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else default


def _lease_ms(text: str) -> int | None:
    if not text:
        return None
    number = _number(text, -1)
    if number < 0:
        raise InvalidRequest("lease_ms: expected a whole number of milliseconds", {"field": "lease_ms"})
    return number


class _Working:
    """One open stream."""

    def __init__(self, node: Node, topic: Topic, writer: Writer, permit: Permit) -> None:
        self._node, self._topic, self._writer, self._permit = node, topic, writer, permit

    async def run(self, attach: Attach) -> None:
        """Until the client is gone, the queue is, or the node is to stop. Whatever it holds then is free at once."""
        self._writer.low_latency(UNSENT_BYTES)
        worker: Worker | None = None
        try:
            await self._writer.send([RETRY])
            with trio.CancelScope(shield=True):  # a worker that nobody knows of would be given jobs for ever
                worker = found = await self._node.queues.ask(self._topic, attach)
            await self._supply(found)
        except MirrordError as error:
            await self._writer.send([self._last_words(error)])
        finally:
            if worker is not None:
                self._node.queues.tell(self._topic, Detach(worker))

    async def _supply(self, worker: Worker) -> None:
        ear = self._permit.attach(worker.bell.attach(self._node.drain_bell.attach(Ear())))
        try:
            while True:
                self._check(worker)
                given = worker.take()
                if given:
                    await self._writer.send([self._frame(one) for one in given])
                    continue
                with trio.move_on_after(HEARTBEAT_S) as silence:
                    await ear.wait()
                if silence.cancelled_caught:
                    await self._writer.send([HEARTBEAT])
        finally:
            ear.close()

    def _check(self, worker: Worker) -> None:
        """Raises what the stream ends for."""
        if self._node.draining:
            raise ShuttingDown("the node is shutting down; what was not acknowledged is free again")
        if (fault := self._permit.fault()) is not None:
            raise fault
        if worker.fault is not None:
            raise worker.fault

    def _frame(self, given: Given) -> bytes:
        text = job_text(given, f'"topic":"{self._topic.topic}",')
        return f"id: {given.job.seq}\nevent: job\ndata: {_one_line(text)}\n\n".encode()

    def _last_words(self, error: MirrordError) -> bytes:
        code: int | str = "server_shutting_down" if isinstance(error, ShuttingDown) else error.status
        told = {"code": code, "error": str(error), "reason": error.code, "topic": self._topic.topic}
        return b"event: error\ndata: %b\n\n" % _encode(told)


def _one_line(text: str) -> str:
    """JSON as sent may be written over several lines; outside of strings a line end is only space."""
    return text.replace("\r", " ").replace("\n", " ")


async def _passed_on(node: Node, request: Request, home: Home, topic: Topic, permit: Permit) -> Response | Stream:
    """The home's stream, as it comes; its refusal, if it refuses. Our client's end ends it there, too."""
    async with AsyncExitStack() as stack:
        reply = await stack.enter_async_context(home.stream(call_of(request, topic.source_name)))
        if reply.more is None:
            return Response(reply.status, reply.body, reply.content_type)
        more, opened = reply.more, stack.pop_all()

    async def write(writer: Writer) -> None:
        async with opened, aclosing(more) as pieces:
            with node.streams.seat(counted(request.principal)):
                await _pipe(node, pieces, writer, permit)

    return Stream(write, 200, EVENT_STREAM, HEADERS)


async def _pipe(node: Node, pieces: AsyncGenerator[bytes], writer: Writer, permit: Permit) -> None:
    """Until the home ends it, the client is gone, its key may no more, or this node is to stop."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_when_over, node, permit, nursery.cancel_scope)
        async for piece in pieces:
            await writer.send([piece])
        nursery.cancel_scope.cancel()


async def _end_when_over(node: Node, permit: Permit, scope: trio.CancelScope) -> None:
    ear = permit.attach(node.drain_bell.attach(Ear()))
    try:
        while not node.draining and permit.fault() is None:
            await ear.wait()
    finally:
        ear.close()
    scope.cancel()
