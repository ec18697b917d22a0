"""Where reader groups stand at other nodes: control chunks of content ``group`` tell, per group, how far it is done
with each strand. Every node keeps what it heard of a group, joined by the highest, as a mark: of MOST_GROUPS groups of
a topic, those that were told of last.

The content is a JSON object: ``{"group": name, "vector": {strand (16 hex digits): oseq}}``. A vector only grows, and
one content tells of the strands in which it grew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nsmallest
from typing import Protocol

import msgpack
import msgspec
from msgspec import Struct

from ..errors import ProtocolViolation
from ..names import is_topic
from ..storage.store import PutMark, marks_of_log

GROUP = "group"
MOST_GROUPS = 100_000  # of one topic: as many as it can have at once
Vector = dict[int, int]  # strand -> oseq: done with everything up to it


class MarkReads(Protocol):
    """The read that hearing of a group needs."""

    def mark(self, reader: str) -> bytes | None: ...


class _Told(Struct):
    group: str
    vector: dict[str, int]


_told = msgspec.json.Decoder(_Told).decode
_encode = msgspec.json.Encoder().encode


def tell(group: str, vector: Mapping[int, int]) -> tuple[str, bytes]:
    """The control content that tells a group's vector."""
    return GROUP, _encode(_Told(group, {f"{strand:016x}": oseq for strand, oseq in vector.items()}))


def elsewhere(tid: int) -> str:
    """What the marks begin with that hold where groups stand at other nodes."""
    return f"{marks_of_log(tid)}elsewhere/"


def told_of(text: str | bytes) -> tuple[str, Vector]:
    """The group that a content tells of, and its vector. Raises ProtocolViolation when it cannot be."""
    try:
        told = _told(text)
        vector = {int(strand, 16): oseq for strand, oseq in told.vector.items()}
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolViolation("a control chunk does not tell where a group stands") from error
    if not is_topic(told.group) or not all(0 < oseq < 1 << 53 and 0 <= n < 1 << 64 for n, oseq in vector.items()):
        raise ProtocolViolation("a control chunk tells a group's place that cannot be")
    return told.group, vector


def mark_of(tid: int, group: str) -> str:
    """The mark that holds what was heard of a group."""
    return f"{elsewhere(tid)}{group}/"


def raised(mark: str, packed: bytes | None, vector: Vector, at_ms: int) -> PutMark:
    """The mark with what it held, and this, told at that moment."""
    before_ms, before = _unpacked(packed) if packed else (0, {})
    return PutMark(mark, msgpack.packb([max(before_ms, at_ms), raise_to(before, vector)]))


def raise_to(vector: Vector, more: Mapping[int, int]) -> Vector:
    """Both, joined by the highest."""
    return vector | {strand: max(oseq, vector.get(strand, 0)) for strand, oseq in more.items()}


def heard(store: MarkReads, tid: int, group: str) -> Vector:
    """How far somebody elsewhere is done with each strand, as far as that came here."""
    packed = store.mark(mark_of(tid, group))
    return _unpacked(packed)[1] if packed else {}


def longest_silent(marks: Iterable[tuple[str, bytes]], most: int) -> list[str]:
    """Of marks of ``elsewhere`` the names of those that were told of least lately, at most so many."""
    return [name for _, name in nsmallest(most, ((_unpacked(kept)[0], name) for name, kept in marks))]


def _unpacked(packed: bytes) -> tuple[int, Vector]:
    """When the group was told of last (ms), and its vector. Marks of before this told no time."""
    kept = msgpack.unpackb(packed, strict_map_key=False)
    return (0, kept) if isinstance(kept, dict) else (kept[0], kept[1])
