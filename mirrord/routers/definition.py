"""What a router is: its two topics, which records, how copies look. From a request, the file, or the store."""

from __future__ import annotations

from typing import Any, Literal

import msgpack
from msgspec import Struct

from ..config.model import Forward, RouterConfig
from ..errors import InvalidRequest
from ..names import check_topic
from ..records.selector import Selector, selector

Guarantee = Literal["at_least_once", "exactly_once"]
GUARANTEES: tuple[Guarantee, ...] = ("at_least_once", "exactly_once")


class Definition(Struct, frozen=True):
    """One router. ``guarantee`` is kept as it was sent; every router copies exactly once."""

    name: str
    source: str
    dest: str
    selector: Selector | None = None  # None: every record
    preserve_node: bool = True
    preserve_tag: bool = True
    allow_cycle: bool = False
    guarantee: Guarantee = "at_least_once"
    backfill: bool = False
    forward: Forward = "all"
    declared: bool = False  # the file says so: requests cannot change it

    def __post_init__(self) -> None:
        check_topic(self.source)
        check_topic(self.dest)
        if self.source == self.dest:
            raise InvalidRequest("dest must be another topic than source", {"field": "dest"})

    def as_json(self) -> dict[str, Any]:
        """As answers show it."""
        return {
            "router": self.name,
            "source": self.source,
            "dest": self.dest,
            "preserve_node": self.preserve_node,
            "preserve_tag": self.preserve_tag,
            "filter": self.selector.as_json() if self.selector is not None else None,
            "allow_cycle": self.allow_cycle,
            "guarantee": self.guarantee,
            "backfill": self.backfill,
            "forward": self.forward,
            "declared": self.declared,
        }

    def encode(self) -> bytes:
        """As stored."""
        packed: bytes = msgpack.packb(self.as_json())
        return packed

    @classmethod
    def decode(cls, packed: bytes) -> Definition:
        """Back from the store."""
        kept = msgpack.unpackb(packed)
        name, match = kept.pop("router"), kept.pop("filter")
        return cls(name=name, selector=selector(match) if match is not None else None, **kept)


def of_file(name: str, table: RouterConfig) -> Definition:
    """A ``[routers.NAME]`` table, whose ``forward`` is decided."""
    return Definition(
        name=name,
        source=table.source,
        dest=table.dest,
        selector=selector(list(table.filter)) if table.filter else None,
        preserve_node=table.preserve_node,
        preserve_tag=table.preserve_tag,
        allow_cycle=table.allow_cycle,
        backfill=table.backfill,
        forward=table.forward or "all",
        declared=True,
    )
