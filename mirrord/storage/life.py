"""Lives: whether the store that a node finds at its start is the one that it left (design/3-replication.md §3.1).

The store records ``{life, boot id, device and inode of the database, start id}``; the start id is drawn anew at each
start and also kept in a boot-scoped file outside the data directory. If all is as recorded the life goes on (kill -9).
Anything else (reboot, copied directory, restored or overwritten file, unreadable) begins a new life. There is no
clean-shutdown mark. A life that began for any reason but a new boot id alone also makes new log ids.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

import msgpack
from msgspec import Struct

from ..records.strand import Identity
from .store import Change, PutMeta, Store

META_LIFE, META_ORIGIN = "life", "origin_id"


class Surroundings(Struct, frozen=True):
    """What a start finds around its store."""

    boot_id: str
    device: int
    inode: int
    start_id: bytes | None  # of the boot-scoped file; None when it is not there or unreadable


class LifeRecord(Struct, frozen=True):
    """What the store remembers of the last start."""

    life: bytes
    number: int  # 1, 2, 3, ... of this store; informs, and tells topics how many lives they slept through
    log_ids_since: int  # the newest life that made new log ids
    boot_id: str
    device: int
    inode: int
    start_id: bytes
    born_ms: int = 0  # wall clock when the newest life began that was no mere reboot
    starts: int = 1  # starts since then: with ``born_ms``, what orders the sights that peers have of this node

    def encode(self) -> bytes:
        """As stored."""
        packed: bytes = msgpack.packb(
            [
                self.life,
                self.number,
                self.log_ids_since,
                self.boot_id,
                self.device,
                self.inode,
                self.start_id,
                self.born_ms,
                self.starts,
            ]
        )
        return packed

    @classmethod
    def decode(cls, packed: bytes) -> LifeRecord:
        """Back from the store."""
        return cls(*msgpack.unpackb(packed)[:9])


class StartMark(Protocol):
    """The boot-scoped place of the start id, and what surrounds the store."""

    def look(self) -> Surroundings: ...

    def write(self, start_id: bytes) -> None:
        """Keep the start id for the next start. A failure to do so only costs a new life then."""
        ...


def why_new(record: LifeRecord | None, found: Surroundings) -> str | None:
    """Why a new life begins, or None when the life goes on. ``reboot`` is the only reason that keeps log ids."""
    if record is None:
        return "first start"
    moved = (record.device, record.inode) != (found.device, found.inode)
    if moved:
        return "the database is another file"
    if record.boot_id != found.boot_id:
        return "reboot"
    if found.start_id is None:
        return "the start mark is gone"
    return None if found.start_id == record.start_id else "the database was put back"


def next_record(
    record: LifeRecord | None, reason: str | None, found: Surroundings, rng: Random, now_ms: int
) -> LifeRecord:
    """The record of this start."""
    start_id = rng.randbytes(16)
    here = (found.boot_id, found.device, found.inode, start_id)
    if record is None:
        return LifeRecord(rng.randbytes(16), 1, 1, *here, now_ms, 1)
    if reason is None:
        return LifeRecord(record.life, record.number, record.log_ids_since, *here, record.born_ms, record.starts + 1)
    number = record.number + 1
    if reason == "reboot":
        return LifeRecord(rng.randbytes(16), number, record.log_ids_since, *here, record.born_ms, record.starts + 1)
    return LifeRecord(rng.randbytes(16), number, number, *here, _born_after(record, now_ms), 1)


def _born_after(record: LifeRecord, now_ms: int) -> int:
    """Later than before, even when the clock was put back meanwhile."""
    return max(now_ms, record.born_ms + 1)


class Life:
    """The node's present life. Changes only by ``begin_anew``; everybody who must know holds this object."""

    def __init__(self, name: str, origin_id: bytes, record: LifeRecord, reason: str | None) -> None:
        self.name, self.origin_id, self.record = name, origin_id, record
        self.reason = reason  # why it began at this start; None: it went on

    @property
    def identity(self) -> Identity:
        """Who the node is now."""
        return Identity(self.name, self.origin_id, self.record.life)

    def needs_log_id(self, life_no: int) -> bool:
        """Whether a topic last born in that life must make a new log id now."""
        return life_no < self.record.log_ids_since

    def begin_anew(self, reason: str, rng: Random, now_ms: int) -> LifeRecord:
        """The record of a new life while running (a peer proved a rewind); commit it, then ``take`` it."""
        old, number = self.record, self.record.number + 1
        self.reason = reason
        here = (old.boot_id, old.device, old.inode, old.start_id)
        return LifeRecord(rng.randbytes(16), number, number, *here, _born_after(old, now_ms), 1)

    def take(self, record: LifeRecord) -> None:
        """The record is durable: live it."""
        self.record = record


def wake(store: Store, mark: StartMark, name: str, rng: Random, now_ms: int) -> Life:
    """Judge what was found, and commit the record of this start with a full sync, before any listener opens.

    Raises StorageFailed when it cannot be committed: then the node must not start.
    """
    packed, origin = store.meta(META_LIFE), store.meta(META_ORIGIN)
    record = LifeRecord.decode(packed) if packed else None
    found = mark.look()
    reason = why_new(record, found)
    fresh = next_record(record, reason, found, rng, now_ms)
    origin_id = origin or rng.randbytes(16)
    changes: list[Change] = [PutMeta(META_LIFE, fresh.encode()), PutMeta(META_ORIGIN, origin_id)]
    store.commit(changes, sync=True)
    mark.write(fresh.start_id)
    return Life(name, origin_id, fresh, reason)
