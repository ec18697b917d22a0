"""Following a topic: every record after a cursor, and then each new one, for as long as wanted."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import anyio
from msgspec import UNSET, Struct, structs

from ...errors import TopicNotFound
from .. import call
from ..nodes import Nodes
from ..patience import Manner
from .record import Cursor, Page, Record, Tombstone, page

WAIT_MS = 25_000  # of one long-poll; a node would wait 30 s at most
LATEST: Final = "latest"
LOOK_AGAIN_S = 1.0  # for a topic that is not there yet
E = TypeVar("E", Record, Record | Tombstone)
log = logging.getLogger("mirrord.client")


class View(Struct, frozen=True):
    """What of a topic is wanted."""

    match: Any = None
    """``"X"``, ``"P*"`` or a tuple: only records with such a tag."""
    without: Sequence[str] = ()
    """Leave out what these nodes, or writers with these labels, wrote."""
    page_records: int = 1000
    strands: bool = False
    """With every record's origin; needed to go on at another node."""

    def query(self, cursor: Cursor, wait_ms: int) -> call.DiffQuery:
        """The question for what comes after a cursor."""
        return call.DiffQuery(
            from_seq=cursor.seq,
            limit=self.page_records,
            log_id=cursor.log_id or UNSET,
            cursor=cursor.many or UNSET,
            match=self.match if self.match is not None else UNSET,
            node=tuple(self.without) or UNSET,
            include_tags=True,
            include_origin=True if self.strands else UNSET,
            wait_ms=wait_ms or UNSET,
        )


class Follow(Generic[E]):
    """``async for`` over records as they come. Holds nothing open between two of them, so it needs no closing.

    With ``on_gap`` gaps go there and only records come out; without, a Tombstone comes out where records are missing.
    ``cursor`` is the place after what came out last: save it, and give it as ``after`` the next time. (Of a prefix such
    as ``chat:*`` it moves a page at a time, so what came out after it comes again.)

    A node that does not answer is tried again, or the next node, for the client's ``give_up_after_s``; then the error
    is raised, and going on with the same Follow continues where it stood.
    """

    def __init__(
        self,
        nodes: Nodes,
        topic: str,
        view: View,
        after: Cursor | Literal["latest"] | None,
        *,
        on_gap: Callable[[Tombstone], object] | None = None,
        wait_for_topic: bool = False,
    ) -> None:
        self._nodes = nodes
        self._topic = topic
        self._view = view
        self._on_gap = on_gap
        self._wait_for_topic = wait_for_topic
        self._from_the_oldest = after is None
        self._from_the_end = after == LATEST
        self._ready: deque[Record | Tombstone] = deque()
        self._read_to = after if isinstance(after, Cursor) else Cursor()  # of what was fetched
        self._vector = dict(self._read_to.vector)
        self._told_to = self._read_to  # of what came out
        self._url = ""

    @property
    def cursor(self) -> Cursor:
        """The place after what came out last."""
        place = self._told_to if self._ready else self._read_to
        return structs.replace(place, vector=dict(self._vector)) if self._view.strands else place

    def __aiter__(self) -> Follow[E]:
        return self

    async def __anext__(self) -> E:
        while True:
            while self._ready:
                event = self._ready.popleft()
                self._passed(event)
                if isinstance(event, Record) or self._on_gap is None:
                    return event  # type: ignore[return-value]  # E is what on_gap says
                self._on_gap(event)
            await self._fetch()

    def _passed(self, event: Record | Tombstone) -> None:
        if not self._read_to.many:
            self._told_to = event.cursor
        if event.origin is not None and self._view.strands:
            upto = event.origin.oseq if isinstance(event, Record) else event.origin.oseq_to
            strand = event.origin.strand
            self._vector[strand] = max(upto, self._vector.get(strand, 0))

    async def _fetch(self) -> None:
        """One page into ``_ready``, waiting for something to come."""
        try:
            if self._from_the_end:
                self._read_to = await self._end()
                self._from_the_end = False
            question = call.diff(self._topic, self._view.query(self._read_to, WAIT_MS))
            answer = await self._nodes.ask(question, Manner.READ)
        except TopicNotFound:
            if not self._wait_for_topic:
                raise
            self._from_the_end = False  # whatever it will hold comes from now on
            await anyio.sleep(LOOK_AGAIN_S)
            return
        found = page(self._topic, answer)
        self._ready.extend(self._wanted(found, answer.url))
        if self._url not in ("", answer.url):
            log.warning("reading %s goes on at %s", self._topic, answer.url)
        self._url = answer.url
        self._told_to, self._read_to = self._read_to, found.cursor
        self._from_the_oldest = False

    async def _end(self) -> Cursor:
        """Behind everything that is there now."""
        told = (await self._nodes.ask(call.topic(self._topic), Manner.READ)).object()
        return Cursor(int(told["head_seq"]), str(told["log_id"]))

    def _wanted(self, found: Page, url: str) -> list[Record | Tombstone]:
        elsewhere = self._view.strands and self._url != url and bool(self._url or self._vector)
        events: list[Record | Tombstone] = [
            gap for gap in found.tombstones if gap.origin is not None or not self._is_none_of_ours(gap, elsewhere)
        ]
        return events + [record for record in found.records if not self._seen(record)]

    def _is_none_of_ours(self, gap: Tombstone, elsewhere: bool) -> bool:
        """What was gone before we began, and that another node's log is another one."""
        return (self._from_the_oldest and gap.gap_from == 1) or (elsewhere and gap.reason == "recreated")

    def _seen(self, record: Record) -> bool:
        """Whether it came out before, from another node's log."""
        origin = record.origin
        return self._view.strands and origin is not None and origin.oseq <= self._vector.get(origin.strand, 0)
