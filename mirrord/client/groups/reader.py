"""One consumer of a reader group: gets records, holds them, commits them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

import anyio
from msgspec import Struct

from ...errors import GroupNotFound, InvalidRequest
from ..answer import Answer
from ..nodes import Nodes
from ..patience import Manner
from ..records.record import Gap, Record, Row, Tombstone
from . import call
from .call import Start

WAIT_MS = 25_000  # of one long-poll; a node would wait 30 s at most
MOST_SEQS = 1000  # in one commit
log = logging.getLogger("mirrord.client")


class Terms(Struct, frozen=True):
    """Who reads, and how."""

    consumer: str
    start: Start
    page_records: int
    min_idle_ms: int


class Delivery:
    """A record that this consumer holds until it commits it, or until it goes to another one for being idle."""

    __slots__ = ("_reader", "record")

    def __init__(self, reader: GroupReader, record: Record) -> None:
        self.record = record
        self._reader = reader

    @property
    def data(self) -> Any:
        """The record's payload."""
        return self.record.data

    @property
    def seq(self) -> int:
        """The record's seq on the group's node."""
        return self.record.seq

    async def commit(self) -> bool:
        """This record is done with, and will not come again. False: it was not ours any more."""
        return await self._reader.commit(self) == 1


class _Handed(Struct):
    records: list[Row]
    log_id: str = ""
    tombstone: Gap | None = None
    next_cursor: int = 0


class GroupReader:
    """``async for`` over deliveries, for as long as wanted; ``await delivery.commit()`` when one is dealt with.

    Records come in the order of the log but for those that come again. A node that is down is tried again for the
    client's ``give_up_after_s``. What waits in here for ``min_idle_ms`` is passed over: it is another's by then.
    """

    def __init__(
        self,
        nodes: Nodes,
        topic: str,
        group: str,
        terms: Terms,
        on_gap: Callable[[Tombstone], object] | None,
    ) -> None:
        self._nodes = nodes
        self._topic, self._group, self._terms = topic, group, terms
        self._on_gap = on_gap if on_gap is not None else _log_gap
        self._ready: deque[Delivery] = deque()
        self._stale_at_s = 0.0
        self._inside = False

    @property
    def consumer(self) -> str:
        """Who holds what this reader gets."""
        return self._terms.consumer

    async def __aenter__(self) -> GroupReader:
        self._inside = True
        await self._fetch_own()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside = False
        self._ready.clear()

    def __aiter__(self) -> GroupReader:
        return self

    async def __anext__(self) -> Delivery:
        if not self._inside:
            raise InvalidRequest("read within 'async with group.reader() as r:'")
        while True:
            if anyio.current_time() >= self._stale_at_s:
                self._ready.clear()
            if self._ready:
                return self._ready.popleft()
            await self._fetch()

    async def commit(self, *deliveries: Delivery) -> int:
        """All of these are done with; how many were still ours. One commit for up to 1000."""
        committed = 0
        for i in range(0, len(deliveries), MOST_SEQS):
            seqs = [delivery.seq for delivery in deliveries[i : i + MOST_SEQS]]
            asked = call.commit(self._topic, self._group, self.consumer, seqs=seqs)
            committed += int((await self._nodes.ask(asked, Manner.HERE)).object()["committed"])
        return committed

    async def _fetch(self) -> None:
        terms = self._terms
        asked = call.read(
            self._topic, self._group, terms.consumer, limit=terms.page_records, wait_ms=WAIT_MS,
            start=terms.start, min_idle_ms=terms.min_idle_ms, include_tags=True,
        )  # fmt: skip
        began_s = anyio.current_time()
        answer = await self._nodes.ask(asked, Manner.HERE)
        self._take(answer, max(began_s, anyio.current_time() - 1.0))

    async def _fetch_own(self) -> None:
        """What this consumer was given in an earlier life and did not commit comes before all else."""
        after = 0
        while True:
            asked = call.reclaim(
                self._topic, self._group, self.consumer, of=self.consumer, min_idle_ms=0, cursor=after,
                limit=self._terms.page_records, include_tags=True,
            )  # fmt: skip
            try:
                answer = await self._nodes.ask(asked, Manner.HERE)
            except GroupNotFound:
                return  # the first read makes it
            after = self._take(answer, anyio.current_time())
            if after == 0:
                return

    def _take(self, answer: Answer, at_s: float) -> int:
        """The answer's records into ``_ready``; where to go on."""
        handed = answer.read_as(_Handed)
        if handed.tombstone is not None:
            self._on_gap(handed.tombstone.tombstone(self._topic, handed.log_id))
        self._ready.extend(Delivery(self, row.record(self._topic, handed.log_id)) for row in handed.records)
        self._stale_at_s = at_s + self._terms.min_idle_ms / 1000
        return handed.next_cursor


def _log_gap(gap: Tombstone) -> None:
    log.warning("records %d to %d of %s are gone (%s)", gap.gap_from, gap.gap_to, gap.topic, gap.reason)
