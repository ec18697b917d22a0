"""Where reader groups stand at other nodes: control chunks of content ``group`` tell, per group, how far it is done
with each strand. Every node keeps the last word of each strand that tells, as a mark.

The content is a JSON object: ``{"group": name, "vector": {strand (16 hex digits): oseq}}``. A vector only grows.
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


def heard(tid: int, teller: int, text: str | bytes) -> PutMark:
    """What a strand tells of a group, to be kept. Raises ProtocolViolation when it cannot be."""
    try:
        told = _told(text)
        vector = {int(strand, 16): oseq for strand, oseq in told.vector.items()}
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolViolation("a control chunk does not tell where a group stands") from error
    if not is_topic(told.group) or not all(0 < oseq < 1 << 53 and 0 <= n < 1 << 64 for n, oseq in vector.items()):
        raise ProtocolViolation("a control chunk tells a group's place that cannot be")
    return PutMark(f"{elsewhere(tid)}{told.group}/{teller:016x}", msgpack.packb(vector))


def joined(tid: int, marks: Iterable[tuple[str, bytes]]) -> dict[str, Vector]:
    """By group, how far somebody is done with each strand."""
    found: dict[str, Vector] = {}
    for key, packed in marks:
        vector = found.setdefault(key[len(elsewhere(tid)) :].rpartition("/")[0], {})
        for strand, oseq in msgpack.unpackb(packed, strict_map_key=False).items():
            vector[strand] = max(oseq, vector.get(strand, 0))
    return found
