"""A topic of a node, as a thing to write to and to read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from msgspec import UNSET, Struct, UnsetType

from ..errors import InvalidRequest
from . import call
from .call import Draft
from .groups import call as calls_of_groups
from .groups.group import Group
from .nodes import Nodes
from .patience import Manner
from .queues.queue import QueueCounts
from .records.follow import LATEST, Follow, View
from .records.record import Cursor, Page, Record, Tombstone, page
from .sending.buffer import Bounds
from .sending.producer import Producer, append

if TYPE_CHECKING:
    from .sending.appended import Appended

After = Cursor | str | int | None


class TopicState(Struct, frozen=True):
    """A topic on one node. ``count`` and ``bytes`` are of the live records; times are ms since the epoch."""

    topic: str
    type: Literal["log", "queue"]
    head_seq: int
    earliest_seq: int
    next_seq: int
    count: int
    bytes: int
    config: Mapping[str, Any]
    log_id: str = ""
    last_write_ts: int | None = None
    last_read_ts: int | None = None
    queue: QueueCounts | UnsetType = UNSET

    @property
    def cursor(self) -> Cursor:
        """The place behind everything that is there now."""
        return Cursor(self.head_seq, self.log_id)


class Deleted(Struct, frozen=True):
    """What a delete removed, and what is left."""

    deleted: int
    head_seq: int
    earliest_seq: int
    count: int
    bytes: int


class Topic:
    """One topic. Making one asks nobody: a topic begins with its first append, or with ``create``.

    Every call raises what the node names, as the classes of ``mirrord.errors``: at once where repeating does not
    help, else after the client's ``give_up_after_s``.
    """

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.name = name
        self._nodes = nodes

    # ---- writing ---------------------------------------------------------------------------------

    async def append(
        self,
        *records: Any,
        tag: str | None = None,
        node: str | None = None,
        meta: Any = None,
        key: str | None = None,
    ) -> Appended:
        """Write these records as one: all, or none. A record is anything that is JSON, or a ``Draft``.

        ``tag`` and ``meta`` are for those that are no Draft, ``node`` is their writer's label. It is repeated with
        an idempotency ``key`` (one of its own when there is none) until its fate is known. Raises Unacknowledged if
        it stays unknown: ``error.detail["key"]``, at the same node, repeats it without doubling.
        """
        if not records:
            raise InvalidRequest("there is nothing to append")
        drafts = [record if isinstance(record, Draft) else Draft.of(record, tag=tag, meta=meta) for record in records]
        return await append(self._nodes, self.name, drafts, node=node, key=key)

    def producer(
        self,
        *,
        linger_ms: float = 5.0,
        batch_records: int = 1000,
        batch_bytes: int = 1 << 20,
        waiting_records: int = 10_000,
        waiting_bytes: int = 16 << 20,
    ) -> Producer:
        """For many records: batches by themselves, with back-pressure. Use it with ``async with``."""
        return Producer(
            self._nodes, self.name, Bounds(linger_ms, batch_records, batch_bytes, waiting_records, waiting_bytes)
        )

    # ---- reading ---------------------------------------------------------------------------------

    async def read(
        self,
        after: After = None,
        *,
        limit: int = 256,
        wait_ms: int = 0,
        match: Any = None,
        without: Sequence[str] = (),
        origins: bool = False,
    ) -> Page:
        """One page of records after a cursor (None: from the oldest); ``page.cursor`` leads to the next.

        ``wait_ms``: how long to wait for something to come. ``match``: only records with the tag ``"X"``, or ``"P*"``.
        ``without``: leave out what these nodes or labels wrote. Raises TopicNotFound.
        """
        view = View(match, without, limit, origins)
        question = call.diff(self.name, view.query(cursor_of(after) or Cursor(), wait_ms))
        return page(self.name, await self._nodes.ask(question, Manner.READ))

    @overload
    def follow(
        self, after: After = None, *, match: Any = None, without: Sequence[str] = (), wait_for_topic: bool = False
    ) -> Follow[Record | Tombstone]: ...
    @overload
    def follow(
        self,
        after: After = None,
        *,
        match: Any = None,
        without: Sequence[str] = (),
        wait_for_topic: bool = False,
        on_gap: Callable[[Tombstone], object],
    ) -> Follow[Record]: ...
    def follow(
        self,
        after: After = None,
        *,
        match: Any = None,
        without: Sequence[str] = (),
        wait_for_topic: bool = False,
        on_gap: Callable[[Tombstone], object] | None = None,
    ) -> Follow[Any]:
        """``async for`` every record after a cursor (None: from the oldest; "latest": only what comes from the first
        step on), and then each new one. A name such as ``chat:*`` is all topics that begin so.

        Where records are missing that this reader should have had, a Tombstone comes out; with ``on_gap`` it goes
        there instead. A topic that is not there raises TopicNotFound, or is waited for.
        """
        view = View(match, without, strands=self._nodes.several)
        begin: Cursor | Literal["latest"] | None = LATEST if after == LATEST else cursor_of(after)
        if begin == LATEST and self.name.endswith("*"):
            raise InvalidRequest("many topics have no one end; follow them from the oldest, or watch them")
        return Follow(self._nodes, self.name, view, begin, on_gap=on_gap, wait_for_topic=wait_for_topic)

    def group(self, name: str) -> Group:
        """A group of readers who share the topic's records among them."""
        return Group(self._nodes, self.name, name)

    async def groups(self) -> list[str]:
        """The names of the topic's groups on the client's first node."""
        told = await self._nodes.every(calls_of_groups.groups(self.name), "groups")
        return [str(found["group"]) for found in told]

    # ---- the topic itself ------------------------------------------------------------------------

    async def state(self) -> TopicState:
        """Head, counts, configuration. Leaves no trace as a read. Raises TopicNotFound."""
        return (await self._nodes.ask(call.topic(self.name), Manner.HERE)).read_as(TopicState)

    async def create(self, **config: Any) -> bool:
        """Make it, with this configuration over the defaults, or give it that; whether it is new.

        Raises TopicExistsIncompatible, DeclaredInFile.
        """
        answer = await self._nodes.ask(call.put_topic(self.name, config), Manner.HERE)
        return bool(answer.object().get("created"))

    async def configure(self, **config: Any) -> None:
        """Change these keys and leave the others. Raises TopicNotFound, DeclaredInFile."""
        await self._nodes.ask(call.patch_topic(self.name, config), Manner.HERE)

    async def delete(self, *, before: int | None = None, match: Any = None) -> Deleted:
        """Remove for ever what lies before a seq, or has a tag (``"X"``, ``"P*"``), or both."""
        asked = call.delete_records(self.name, before_seq=before, match=match)
        return (await self._nodes.ask(asked, Manner.HERE)).read_as(Deleted)

    async def drop(self, *, if_empty: bool = False, forget: bool = False) -> bool:
        """Drop the topic's log on this node; whether there was one. Peers keep theirs.

        ``forget``: its positions too, so that what peers hold comes again. Raises TopicNotEmpty, TopicLinked.
        """
        asked = call.delete_topic(self.name, if_empty=if_empty, forget=forget)
        return bool((await self._nodes.ask(asked, Manner.HERE)).object().get("deleted"))


def cursor_of(after: After) -> Cursor | None:
    """What users give as a place: a Cursor, its text, a seq, or None for the oldest record. Raises InvalidRequest."""
    if after is None or isinstance(after, Cursor):
        return after
    return Cursor.read(after if isinstance(after, str) else str(int(after)))
