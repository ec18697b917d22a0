"""What a reader gets, as values: records, gaps, pages, and its own place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ...errors import InvalidRequest
from ..answer import Answer, payload

T = TypeVar("T")
NO_VECTOR: Mapping[str, int] = {}


class Cursor(Struct, frozen=True):
    """A reader's place in a topic: the last seq that it has read, and of which log.

    Keep ``str(cursor)`` with what you did about the records, and go on from there. ``vector`` (strand to oseq) is
    there when the reader may go on at another node, whose log has other seqs. ``many`` is a place in all topics of a
    prefix, as the node wrote it; then there is no seq.
    """

    seq: int = 0
    log_id: str = ""
    vector: Mapping[str, int] = NO_VECTOR
    many: str = ""

    def __str__(self) -> str:
        place = f"*{self.many}" if self.many else f"{self.seq}" + (f"@{self.log_id}" if self.log_id else "")
        strands = ",".join(f"{strand}:{oseq}" for strand, oseq in sorted(self.vector.items()))
        return place + (f";{strands}" if strands else "")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """What ``str`` wrote. Raises InvalidRequest."""
        place, _, strands = text.partition(";")
        many = place[1:] if place.startswith("*") else ""
        seq, _, log_id = ("0", "", "") if many else place.partition("@")
        pairs = [pair.partition(":") for pair in strands.split(",")] if strands else []
        try:
            found = cls(int(seq), log_id, {strand: int(oseq) for strand, _, oseq in pairs}, many)
        except ValueError:
            raise InvalidRequest(f"{text!r} is no cursor; use what str(cursor) gave, or a seq") from None
        if found.seq < 0:
            raise InvalidRequest("a cursor's seq is 0 or more")
        return found


class Origin(Struct, frozen=True):
    """Where a record was first accepted. (``strand``, ``oseq``) names it on every node for ever."""

    node: str
    strand: str
    oseq: int


class GapOrigin(Struct, frozen=True):
    """Which records of a strand a gap stands for, both ends included."""

    node: str
    strand: str
    oseq_from: int
    oseq_to: int


class Record(Struct, frozen=True):
    """One record of a topic. ``ts_ms``: when its origin committed it, since the epoch. ``data`` is what JSON says, or
    the ``bytes`` that were written."""

    topic: str
    log_id: str
    seq: int
    ts_ms: int
    node: str
    data: Any
    tag: str | None = None
    meta: Any = None
    origin: Origin | None = None

    @property
    def cursor(self) -> Cursor:
        """The place right after this record, in this node's log."""
        return Cursor(self.seq, self.log_id)

    @property
    def time(self) -> datetime:
        """``ts_ms`` in UTC."""
        return datetime.fromtimestamp(self.ts_ms / 1000, UTC)

    def data_as(self, shape: type[T]) -> T:
        """``data`` as a struct, dataclass, list[int], ... Raises msgspec.ValidationError."""
        return msgspec.convert(self.data, shape)


class Tombstone(Struct, frozen=True):
    """Records that this reader should have had and cannot: told once, in order; the cursor is past them.

    ``reason``: ttl, cap, mixed, lost, source_trim, recreated (what follows is from the beginning of another log).
    ``missed``: how many records at most.
    """

    topic: str
    log_id: str
    gap_from: int
    gap_to: int
    reason: str
    missed: int
    origin: GapOrigin | None = None

    @property
    def cursor(self) -> Cursor:
        """The place right after the gap."""
        return Cursor(0 if self.reason == "recreated" else self.gap_to, self.log_id)


class Page(Struct, frozen=True):
    """Records after a cursor. ``tombstones`` (of a single topic one at most) come before ``records``; ``cursor`` is
    after all of it.

    ``lag``: seqs between ``cursor`` and the head. A page may be empty and not caught up: go on. Many topics have no
    ``head_seq`` and no ``earliest_seq``: 0.
    """

    records: tuple[Record, ...]
    tombstones: tuple[Tombstone, ...]
    cursor: Cursor
    caught_up: bool
    lag: int
    head_seq: int = 0
    earliest_seq: int = 0


class Row(Struct, rename={word: f"${word}" for word in ("seq", "node", "tag", "origin", "topic")} | {"ts_ms": "$ts"}):
    """A record as a node writes it. ``topic``: where several were asked for."""

    seq: int
    ts_ms: int = 0
    node: str = ""
    data: Any = None
    tag: str | None = None
    meta: Any = None
    origin: Origin | None = None
    topic: str | None = None

    def record(self, topic: str, log_id: str) -> Record:
        """The same for users."""
        data = payload(self.data)
        return Record(
            self.topic or topic, log_id, self.seq, self.ts_ms, self.node, data, self.tag, self.meta, self.origin
        )


class Gap(Struct, rename={"origin": "$origin"}):
    """A tombstone as a node writes it."""

    gap_from: int
    gap_to: int
    reason: str
    missed_estimate: int = 0
    origin: GapOrigin | None = None
    topic: str | None = None

    def tombstone(self, topic: str, log_id: str) -> Tombstone:
        """The same for users."""
        missed = self.missed_estimate
        return Tombstone(self.topic or topic, log_id, self.gap_from, self.gap_to, self.reason, missed, self.origin)


class _Page(Struct):
    records: list[Row]
    caught_up: bool
    lag: int = 0
    next_from_seq: int = 0
    head_seq: int = 0
    earliest_seq: int = 0
    log_id: str = ""
    tombstone: Gap | None = None
    next_cursor: str = ""
    tombstones: tuple[Gap, ...] = ()


def page(topic: str, answer: Answer) -> Page:
    """An answer of ``diff``. Raises ProtocolViolation when it is none."""
    told = answer.read_as(_Page)
    log_id = told.log_id
    gaps = told.tombstones if told.tombstone is None else (told.tombstone,)
    return Page(
        tuple(row.record(topic, log_id) for row in told.records),
        tuple(gap.tombstone(topic, log_id) for gap in gaps),
        Cursor(told.next_from_seq, log_id, many=told.next_cursor),
        told.caught_up,
        told.lag,
        told.head_seq,
        told.earliest_seq,
    )
