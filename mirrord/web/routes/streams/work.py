"""Work pushed over server-sent events: a stream keeps so many leases, gets the next job as one is done, and gives all
back the moment it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

import msgspec
import trio

from ....actors.bell import Ear
from ....errors import HomeUnreachable, InvalidRequest, MirrordError, ShuttingDown
from ....node import Node
from ....queues.home import Home
from ....queues.leasing.leases import Claimant
from ....queues.leasing.messages import Attach, Detach, Given, Worker
from ....streams.dialect import HEARTBEAT, RETRY
from ....topics.topic import Topic
from ...auth.permit import Permit
from ...auth.principal import Scope
from ...message import ClientGone, Request, Response, Stream, Writer
from ..bodies import whole
from ..queues import call_of, check_worker, elsewhere, job_text, lease_ms_of, queue_of
from .watch import EVENT_STREAM, HEADERS, LAST_WORDS_S, check_accepts, counted, over

HEARTBEAT_S = 15.0
UNSENT_BYTES = 64 << 10
_encode = msgspec.json.Encoder().encode


async def work(node: Node, request: Request, name: str) -> Response | Stream:
    """``GET /v0/topics/:topic/work``."""
    permit = _permit(request, name)
    args = request.query_args()
    worker = args.get("node", "")
    check_worker(node, worker)
    lease_ms = _lease_ms(args)
    check_accepts(request)
    topic = await queue_of(node, name)
    home = elsewhere(node, request, topic)
    node.streams.check_seat(counted(request.principal))
    if home is not None and request.method != "HEAD":  # the head alone is the same here
        return await _passed_on(node, request, home, topic, permit)
    most = min(whole(args, "max") or 1, node.config.limits.max_claim)
    attach = Attach(Claimant(worker, most, lease_ms_of(node, topic, lease_ms)))

    async def write(writer: Writer) -> None:
        with node.streams.seat(counted(request.principal)):
            await _Working(node, topic, writer, permit).run(attach)

    return Stream(write, 200, EVENT_STREAM, HEADERS)


def _permit(request: Request, name: str) -> Permit:
    """What the caller is let through for: as one of our own, or as a peer that passes the call of such a one on."""
    scopes: tuple[Scope, ...] = ("peer",) if request.principal.may("peer") else ("read", "write")
    return Permit(request.principal, scopes, lambda: (name,))


def _lease_ms(args: dict[str, str]) -> int | None:
    found = whole(args, "lease_ms")
    if found is None and args.get("lease_ms"):
        raise InvalidRequest("lease_ms: expected a whole number of milliseconds", {"field": "lease_ms"})
    return found


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
            await self._writer.send([_last_words(error, self._topic.topic)])
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
        fault = over(self._node, self._permit) or worker.fault
        if fault is not None:
            raise fault

    def _frame(self, given: Given) -> bytes:
        text = job_text(given, f'"topic":"{self._topic.topic}",')
        return f"id: {given.job.seq}\nevent: job\ndata: {_one_line(text)}\n\n".encode()


def _last_words(error: MirrordError, name: str) -> bytes:
    code: int | str = "server_shutting_down" if isinstance(error, ShuttingDown) else error.status
    told = {"code": code, "error": str(error), "reason": error.code, "topic": name}
    return b"event: error\ndata: %b\n\n" % _encode(told)


def _one_line(text: str) -> str:
    """JSON as sent may be written over several lines; outside of strings a line end is only space."""
    return text.replace("\r", " ").replace("\n", " ")


async def _passed_on(node: Node, request: Request, home: Home, topic: Topic, permit: Permit) -> Response | Stream:
    """The home's stream, as it comes; its refusal, if it refuses. Our client's end ends it there, too."""
    async with AsyncExitStack() as stack:
        reply = await stack.enter_async_context(home.stream(call_of(request, topic.source_name)))
        if reply.more is None:
            return Response(reply.status, reply.body, reply.content_type, reply.headers)
        more, opened = reply.more, stack.pop_all()

    async def write(writer: Writer) -> None:
        async with opened, aclosing(more) as pieces:
            with node.streams.seat(counted(request.principal)):
                await _PassingOn(node, topic, writer, permit).run(pieces)

    return Stream(write, 200, EVENT_STREAM, HEADERS)


class _PassingOn:
    """One open stream of another home."""

    def __init__(self, node: Node, topic: Topic, writer: Writer, permit: Permit) -> None:
        self._node, self._topic, self._writer, self._permit = node, topic, writer, permit
        self._fault: MirrordError | ClientGone | None = None
        """Why it ends, if it is not the home that ends it."""
        self._between = True
        """What was sent ends between two events."""

    async def run(self, pieces: AsyncGenerator[bytes]) -> None:
        """Until the home ends it or is lost, the client is gone, its key may no more, or this node is to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, pieces, nursery.cancel_scope)
            self._fault = await self._until_over()
            nursery.cancel_scope.cancel()
        if isinstance(self._fault, ClientGone):
            raise self._fault
        if self._fault is not None:
            await self._take_leave(self._fault)

    async def _send(self, pieces: AsyncGenerator[bytes], ended: trio.CancelScope) -> None:
        try:
            async for piece in pieces:
                self._between = piece.endswith(b"\n\n")
                await self._writer.send([piece])
        except (HomeUnreachable, ClientGone) as error:
            self._fault = error
        ended.cancel()

    async def _until_over(self) -> MirrordError:
        ear = self._permit.attach(self._node.drain_bell.attach(Ear()))
        try:
            while (fault := over(self._node, self._permit)) is None:
                await ear.wait()
            return fault
        finally:
            ear.close()

    async def _take_leave(self, fault: MirrordError) -> None:
        """What is under way must come to its end first; behind an event that the home did not end nothing is said."""
        with trio.move_on_after(LAST_WORDS_S):
            await self._writer.drained()
            if self._between:
                await self._writer.send([_last_words(fault, self._topic.topic)])
            return
        raise ClientGone("it took nothing for too long")
