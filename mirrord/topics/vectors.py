"""Where reader groups stand at other nodes: control chunks of content ``group`` tell, per group, how far it is done
with each strand. Every node keeps what it heard of a group, joined by the highest, as a mark.

The content is a JSON object: ``{"group": name, "vector": {strand (16 hex digits): oseq}}``. A vector only grows, and
one content tells of the strands in which it grew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgpack
import msgspec
from msgspec import Struct

from ..errors import ProtocolViolation
from ..names import is_topic
from ..storage.store import PutMark, marks_of_log

GROUP = "group"
Vector = dict[int, int]  # strand -> oseq: done with everything up to it


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
    """The mark that holds what was heard of a group. One that ends in a strand held what that strand told last."""
    return f"{elsewhere(tid)}{group}/"


def raised(mark: str, packed: bytes | None, vector: Vector) -> PutMark:
    """The mark with what it held, and this."""
    return PutMark(mark, msgpack.packb(raise_to(_unpacked(packed) if packed else {}, vector)))


def raise_to(vector: Vector, more: Mapping[int, int]) -> Vector:
    """Both, joined by the highest."""
    return vector | {strand: max(oseq, vector.get(strand, 0)) for strand, oseq in more.items()}


def _unpacked(packed: bytes) -> Vector:
    vector: Vector = msgpack.unpackb(packed, strict_map_key=False)
    return vector


def joined(tid: int, marks: Iterable[tuple[str, bytes]]) -> dict[str, Vector]:
    """By group, how far somebody is done with each strand."""
    found: dict[str, Vector] = {}
    for key, packed in marks:
        group = key[len(elsewhere(tid)) :].rpartition("/")[0]
        found[group] = raise_to(found.get(group, {}), _unpacked(packed))
    return found
