"""Strands: what one origin wrote to one topic in one life. Positions in them, and the descriptor that names them."""

from __future__ import annotations

import msgpack
from msgspec import Struct
from xxhash import xxh3_128_digest

from ..errors import ProtocolViolation

STRAND_BITS = 63  # so that a strand id fits SQLite's signed integer


class Position(Struct, frozen=True):
    """A place in a strand, always at a chunk boundary: the oseq and the chain hash there (None: not known)."""

    oseq: int
    hash: bytes | None


class Descriptor(Struct, frozen=True, array_like=True):
    """What a strand is; immutable; travels before the strand's first chunk or cover on each connection.

    ``after`` is the origin's strand before this one, as far as the origin knew it: ``(strand, oseq, hash)``. It informs
    and is not enforced.
    """

    strand: int
    topic: str
    origin_id: bytes
    origin: str
    life: bytes
    after: tuple[int, int, bytes] | None = None

    def encode(self) -> bytes:
        """Canonical bytes: the same on every node, for ever."""
        packed: bytes = msgpack.packb(
            [
                self.strand,
                self.topic,
                self.origin_id,
                self.origin,
                self.life,
                list(self.after) if self.after else None,
            ]
        )
        return packed

    @property
    def id_hash(self) -> bytes:
        """What the first chunk of the strand has as its ``prev_hash``."""
        return xxh3_128_digest(self.encode())

    @classmethod
    def decode(cls, packed: bytes) -> Descriptor:
        """Raises ProtocolViolation when the bytes are no descriptor."""
        try:
            strand, topic, origin_id, origin, life, after = msgpack.unpackb(packed)[:6]
            descriptor = cls(strand, topic, origin_id, origin, life, tuple(after) if after else None)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise ProtocolViolation("a strand descriptor cannot be read") from error
        if not descriptor.is_sound():
            raise ProtocolViolation("a strand descriptor cannot be true")
        return descriptor

    def is_sound(self) -> bool:
        """Whether every field is of its type and size."""
        after = self.after
        return (
            isinstance(self.strand, int)
            and 0 < self.strand < 1 << STRAND_BITS
            and isinstance(self.topic, str)
            and 0 < len(self.topic) <= 255
            and isinstance(self.origin_id, bytes)
            and len(self.origin_id) == 16
            and isinstance(self.origin, str)
            and 0 < len(self.origin) <= 63
            and isinstance(self.life, bytes)
            and len(self.life) == 16
            and (
                after is None
                or (
                    len(after) == 3
                    and isinstance(after[0], int)
                    and isinstance(after[1], int)
                    and isinstance(after[2], bytes)
                )
            )
        )


class Identity(Struct, frozen=True):
    """Who a node is: its name, its origin id (for ever) and its present life."""

    name: str
    origin_id: bytes
    life: bytes

    def wrote(self, descriptor: Descriptor) -> bool:
        """Whether this node in its present life writes that strand (so nobody may send it back)."""
        return descriptor.origin_id == self.origin_id and descriptor.life == self.life
