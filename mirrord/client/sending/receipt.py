"""What a producer gives for each record: the promise of its seq."""

from __future__ import annotations

from collections.abc import Generator

import anyio

from ...errors import MirrordError


class Receipt:
    """What ``send`` gives back. ``await receipt`` is the record's seq once the node has kept it, or raises.

    ``seq`` is None as long as that is not known.
    """

    __slots__ = ("_settled", "error", "seq", "told")

    def __init__(self) -> None:
        self.seq: int | None = None
        self.error: MirrordError | None = None
        self.told = False  # somebody was given the error
        self._settled: anyio.Event | None = None

    def __await__(self) -> Generator[object, object, int]:
        return self.wait().__await__()

    async def wait(self) -> int:
        """The record's seq, once the node has kept it. Raises what the node names, or Unacknowledged."""
        if not self.is_settled:
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()
        if self.seq is None:
            self.told = True
            raise self.error or MirrordError("a receipt was settled with nothing")
        return self.seq

    @property
    def is_settled(self) -> bool:
        """Whether the record's fate is known, or is known to be unknown."""
        return self.seq is not None or self.error is not None

    def settle(self, seq: int | None, error: MirrordError | None = None) -> None:
        """Kept under this seq, or not kept because of the error."""
        self.seq, self.error = seq, error
        if self._settled is not None:
            self._settled.set()
