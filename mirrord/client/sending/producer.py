"""Sends records one by one and ships them in batches: in order, each once, without memory beyond its bounds."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup
from msgspec import Raw

from ...errors import InvalidRequest, MirrordError, PayloadTooLarge, Unacknowledged
from .. import call
from ..bell import Bell
from ..call import Draft
from ..nodes import Nodes
from ..patience import Manner
from .appended import Appended
from .buffer import Bounds, Buffer, Waiting, halves
from .receipt import Receipt

MOST_FAILED = 1000  # failures that are remembered for the next flush
_ABOUT_A_RECORD = (InvalidRequest, PayloadTooLarge)  # refused because of what is in it; others may be welcome


class Producer:
    """``async with topic.producer() as p: await p.send(...)``. Many tasks may send.

    One batch is on its way at a time, each with an idempotency key, and is repeated until the node has it: records
    arrive in the order of ``send``, each once, also when the connection or the daemon dies in between.

    A record that the node refuses for what it is (too large, malformed) fails alone. Any other lasting failure halts
    the producer: what waits fails with that error, and so do ``send`` and ``flush``; begin a new one. Leaving the
    block waits until all is acknowledged, and raises if something was not.
    """

    def __init__(self, nodes: Nodes, topic: str, bounds: Bounds) -> None:
        self._nodes = nodes
        self._topic = topic
        self._bounds = bounds.checked()
        self._buffer = Buffer(bounds)
        self._more, self._less = Bell(), Bell()
        self._door = anyio.Lock()
        self._in_flight: Sequence[Waiting] = ()
        self._failed: deque[Receipt] = deque(maxlen=MOST_FAILED)  # since the last flush
        self._hurried = 0  # how many wait for all to be settled
        self._closing = False
        self._halted: MirrordError | None = None
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Producer:
        if self._group is not None or self._closing:
            raise InvalidRequest("a producer is used once; ask the topic for another one")
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._ship)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        self._closing = True
        try:
            await self._settled()
        finally:
            self._halt(Unacknowledged("the producer was left before this was acknowledged"))
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)
        if error is None:
            self._tell()

    async def send(self, data: Any, *, tag: str | None = None, node: str | None = None, meta: Any = None) -> Receipt:
        """Hand over one record; waits while the buffer is full. The receipt can be awaited, or left alone.

        Raises what halted the producer; TypeError when ``data`` is nothing that JSON has, nor ``bytes``.
        """
        draft = Draft.of(data, tag=tag, node=node, meta=meta)
        packed = draft.is_binary
        text = bytes(draft.written(packed))
        self._check()
        if self._door.locked() or not self._buffer.has_room(len(text)):
            async with self._door:  # the first who waits is the first who comes in
                await self._room(len(text))
        record = Waiting(text, Receipt(), packed)
        self._buffer.add(record)
        if len(self._buffer) == 1 or self._buffer.full_batch:
            self._more.ring()
        return record.receipt

    async def flush(self) -> None:
        """Wait until everything sent so far is settled. Raises the first failure since the last flush."""
        await self._settled()
        self._tell()

    @property
    def waiting(self) -> int:
        """Records that are not acknowledged yet."""
        return len(self._buffer) + sum(not record.receipt.is_settled for record in self._in_flight)

    async def _settled(self) -> None:
        self._hurried += 1
        try:
            while self.waiting and self._halted is None:
                ear = self._less.ear()
                self._more.ring()
                await ear.wait()
        finally:
            self._hurried -= 1

    async def _room(self, size: int) -> None:
        while not self._buffer.has_room(size):
            ear = self._less.ear()
            await ear.wait()
            self._check()

    def _check(self) -> None:
        if self._closing or self._group is None:
            raise InvalidRequest("send within 'async with topic.producer() as p:'")
        if self._halted is not None:
            raise self._halted

    def _tell(self) -> None:
        untold = [receipt.error for receipt in self._failed if receipt.error and not receipt.told]
        self._failed.clear()
        if untold:
            raise untold[0]

    async def _ship(self) -> None:
        """Batch after batch, until the producer is left."""
        while True:
            ear = self._more.ear()
            if not self._buffer:
                await ear.wait()
                continue
            if not self._buffer.full_batch and not self._hurried:
                await self._linger()
            self._in_flight = self._buffer.take()
            try:
                await self._deliver(self._in_flight)
            except MirrordError as error:
                self._halt(error)
                return
            self._in_flight = ()
            self._less.ring()

    async def _linger(self) -> None:
        """Wait for company, unless a batch is full or somebody waits for the end."""
        with anyio.move_on_after(self._bounds.linger_ms / 1000):
            await self._more.ear().wait()

    async def _deliver(self, batch: Sequence[Waiting]) -> None:
        """Until the node has kept it. A batch that it refuses is halved until the culprit is alone."""
        try:
            answer = await self._append(batch)
        except _ABOUT_A_RECORD as error:
            if len(batch) == 1:
                self._settle(batch, None, error)
                return
            for half in halves(batch):
                await self._deliver(half)
        else:
            self._settle(batch, answer, None)

    async def _append(self, batch: Sequence[Waiting]) -> Appended:
        key = secrets.token_hex(16)
        texts = [Raw(record.text) for record in batch]
        asked = call.append_written(self._topic, texts, batch[0].packed, key=key)
        return Appended.of(await self._nodes.ask(asked, Manner.WRITE, key))

    def _settle(self, batch: Sequence[Waiting], answer: Appended | None, error: MirrordError | None) -> None:
        for i, record in enumerate(batch):
            record.receipt.settle(answer.first_seq + i if answer is not None else None, error)
            if error is not None:
                self._failed.append(record.receipt)

    def _halt(self, error: MirrordError) -> None:
        """Nothing more is sent: what is on its way and what waits fails."""
        left = [record for record in (*self._in_flight, *self._buffer.take_all()) if not record.receipt.is_settled]
        self._halted = self._halted or error
        self._in_flight = ()
        self._settle(left, None, error)
        self._less.ring()


async def append(
    nodes: Nodes, topic: str, records: Sequence[Draft], *, node: str | None = None, key: str | None = None
) -> Appended:
    """One append, repeated until its fate is known. Without a ``key`` it gets one of its own."""
    key = key or secrets.token_hex(16)
    answer = await nodes.ask(call.append(topic, records, node=node, key=key), Manner.WRITE, key)
    return Appended.of(answer)
