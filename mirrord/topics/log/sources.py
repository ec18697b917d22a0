"""Where new numbers come from: small ones for the store, random ones for strands and log ids."""

from __future__ import annotations

from random import Random


class Sources:
    """Shared by all topics of a node. A number burned by a failed commit is harmless."""

    def __init__(self, last_tid: int, last_sid: int, rng: Random) -> None:
        self._tid, self._sid, self._rng = last_tid, last_sid, rng

    def tid(self) -> int:
        """A small number for a topic, unique in the store."""
        self._tid += 1
        return self._tid

    def sid(self) -> int:
        """A small number for a strand of a topic, unique in the store."""
        self._sid += 1
        return self._sid

    def strand(self) -> int:
        """A strand id: 63 random bits, never 0."""
        return self._rng.getrandbits(63) or 1

    def log_id(self) -> bytes:
        """One life of a topic's log on this node: 8 random bytes."""
        return self._rng.randbytes(8)
