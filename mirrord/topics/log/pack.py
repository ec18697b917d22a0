"""Making a pack: the storage row that holds consecutive chunks of a topic's log. Private to the node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...storage.packing import merge
from ...storage.store import MANY_TAGS, Part, PutPack


def joined(puts: Sequence[PutPack]) -> PutPack:
    """Packs that lie one behind the other, as one."""
    tags = dict.fromkeys([tag for put in puts for tag in put.tags])
    parts = _joined_parts([part for put in puts for part in put.parts])
    return PutPack(merge([put.pack for put in puts]), parts, (MANY_TAGS,) if MANY_TAGS in tags else tuple(tags))


def _joined_parts(found: Iterable[Part]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for part in found:
        if parts and parts[-1].sid == part.sid and parts[-1].last == part.first - 1:
            parts[-1] = Part(part.sid, parts[-1].first, part.last)
        else:
            parts.append(part)
    return tuple(parts)
