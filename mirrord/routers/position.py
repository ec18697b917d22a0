"""Where a router stands: committed in one transaction with the copies that brought it there."""

from __future__ import annotations

from collections.abc import Mapping

import msgpack
from msgspec import Struct

DEFINED, ROUTED = "router/", "routed/"  # marks: the definition, and the position


class Position(Struct, frozen=True):
    """A router's place. Everything up to ``seq`` of the source's log was copied or passed over."""

    seq: int = 0
    copied: int = 0  # records, since the router was made
    missed: int = 0  # records that the source lost before they were copied
    life: int = 0  # the life of the node's store in which old copies were last looked for
    dest_seq: int = 0  # the destination's log was looked through for them up to here
    known: Mapping[int, int] = {}  # strand of the source -> oseq up to which it was copied or passed over before

    def encode(self) -> bytes:
        """As stored."""
        packed: bytes = msgpack.packb(
            [self.seq, self.copied, self.missed, self.life, self.dest_seq, list(self.known.items())]
        )
        return packed

    @classmethod
    def decode(cls, packed: bytes) -> Position:
        """Back from the store."""
        seq, copied, missed, life, dest_seq, known = msgpack.unpackb(packed)[:6]
        return cls(seq, copied, missed, life, dest_seq, dict(known))
