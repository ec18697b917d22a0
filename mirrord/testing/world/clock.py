"""Virtual time as a node sees it, and what surrounds its store at a start."""

from __future__ import annotations

import trio

from ...storage.life import LifeRecord, Surroundings

EPOCH_MS = 1_750_000_000_000


class SimClock:
    """Wall time is virtual time with an offset of the node's own, which may be stepped."""

    def __init__(self, offset_ms: int) -> None:
        self.offset_ms = offset_ms

    def wall_ms(self) -> int:
        return EPOCH_MS + self.offset_ms + int(trio.current_time() * 1000)

    def monotonic(self) -> float:
        return trio.current_time()


class SimMark:
    """The boot-scoped place of the start id; boots and files change when the world says so."""

    def __init__(self) -> None:
        self._boots = self._files = 1  # so far: no number comes twice
        self._boot, self._inode = 1, 1
        self._start_id: bytes | None = None

    def look(self) -> Surroundings:
        return Surroundings(f"boot {self._boot}", 1, self._inode, self._start_id)

    def write(self, start_id: bytes) -> None:
        self._start_id = start_id

    def boot(self) -> None:
        """The machine was started anew: what is boot-scoped is gone."""
        self._boots += 1
        self._boot = self._boots
        self._start_id = None

    def another_file(self) -> None:
        """The database is not the file that it was."""
        self._files += 1
        self._inode = self._files

    def rewind(self, record: LifeRecord) -> None:
        """The whole machine went back to where this was the last start, and does not know it."""
        self._boot, self._inode = int(record.boot_id.removeprefix("boot ")), record.inode
        self._start_id = record.start_id
