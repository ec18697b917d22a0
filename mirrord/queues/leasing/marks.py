"""What a queue keeps on disk besides its records: durable leases, records on their way to the dead letters, a count.

Marks are named ``topic/TID/queue/LOG/KIND/SEQ``: those of another log of the topic (deleted, put back) are of no use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgpack
from msgspec import Struct

from ...storage.store import Change, DropMark, PutMark, marks_of_log
from .leases import Lease


class Kept(Struct):
    """What was found at a birth."""

    leases: list[Lease]  # ``until_ms`` in wall time; number 0: a delay
    moved: list[int]  # copied to the dead letters, not yet deleted
    dead_lettered: int
    stale: list[Change]  # marks of earlier logs


class Marks:
    """The names and bytes of one queue's marks."""

    def __init__(self, tid: int, log_id_hex: str) -> None:
        self.prefix = prefix(tid)
        self._log = f"{self.prefix}{log_id_hex}/"

    def lease(self, lease: Lease, until_wall_ms: int) -> PutMark:
        """A lease (number 0: a delay) that is to outlive a restart."""
        packed: bytes = msgpack.packb([lease.node, lease.number, until_wall_ms, lease.deliveries])
        return PutMark(f"{self._log}lease/{lease.seq}", packed)

    def no_leases(self, seqs: Iterable[int]) -> Iterator[DropMark]:
        """They ended."""
        return (DropMark(f"{self._log}lease/{seq}") for seq in seqs)

    def moved(self, seqs: Iterable[int]) -> tuple[Change, ...]:
        """Committed with the copies: these are among the dead letters."""
        return tuple(PutMark(f"{self._log}moved/{seq}", b"") for seq in seqs)

    def gone(self, seqs: Iterable[int], dead_lettered: int) -> tuple[Change, ...]:
        """Committed with the deletion of what was moved."""
        seqs = tuple(seqs)
        return (
            *self.not_moved(seqs),
            *self.no_leases(seqs),
            PutMark(f"{self._log}dead_lettered", msgpack.packb(dead_lettered)),
        )

    def not_moved(self, seqs: Iterable[int]) -> Iterator[DropMark]:
        """Forget that they were."""
        return (DropMark(f"{self._log}moved/{seq}") for seq in seqs)

    def read(self, marks: Iterable[tuple[str, bytes]]) -> Kept:
        """All marks under ``prefix``, as they were found."""
        kept = Kept([], [], 0, [])
        for name, value in marks:
            kind, _, seq = name.removeprefix(self._log).partition("/")
            if not name.startswith(self._log):
                kept.stale.append(DropMark(name))
            elif kind == "lease":
                node, number, until_ms, deliveries = msgpack.unpackb(value)
                kept.leases.append(Lease(int(seq), node, number, until_ms, deliveries))
            elif kind == "moved":
                kept.moved.append(int(seq))
            else:
                kept.dead_lettered = msgpack.unpackb(value)
        return kept


def prefix(tid: int) -> str:
    """What all marks of a topic's queue begin with. They go with the log."""
    return f"{marks_of_log(tid)}queue/"
