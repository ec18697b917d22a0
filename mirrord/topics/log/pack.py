"""Building a pack: the storage row that holds consecutive chunks of a topic's log. Private to the node."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.chunk import COUNT, FIRST, KIND, RECORDS, TEXT_LEN, TS_LAST, Header
from ...records.run import Run
from ...storage.store import MANY_TAGS, Pack, Part, PutPack


class PackBuilder:
    """Chunks on their way into one pack."""

    __slots__ = ("bodies", "many", "parts", "records", "seq", "size", "tags", "text", "ts")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.bodies: list[bytes | memoryview] = []
        self.size = self.records = self.text = self.ts = 0
        self.parts: list[Part] = []
        self.tags: dict[str, None] = {}
        self.many = False

    def add(self, sid: int, piece: bytes | memoryview, header: Header, tags: Sequence[str] | None) -> None:
        """Put a chunk at the end."""
        first, count = header[FIRST], header[COUNT]
        last = first + count - 1
        parts = self.parts
        if parts and parts[-1].sid == sid and parts[-1].last == first - 1:
            parts[-1] = Part(sid, parts[-1].first, last)
        else:
            parts.append(Part(sid, first, last))
        self.bodies.append(piece)
        self.size += len(piece)
        self.text += header[TEXT_LEN]
        if header[TS_LAST] > self.ts:
            self.ts = header[TS_LAST]
        if header[KIND] == RECORDS:
            self.records += count
        if tags is None:
            self.many = True
        elif tags:
            self.tags.update(dict.fromkeys(tags))

    def add_run(self, sid: int, piece: memoryview, run: Run) -> None:
        """Put many chunks of one strand at the end, at once."""
        last, parts = run.first + run.records - 1, self.parts
        if parts and parts[-1].sid == sid and parts[-1].last == run.first - 1:
            parts[-1] = Part(sid, parts[-1].first, last)
        else:
            parts.append(Part(sid, run.first, last))
        self.bodies.append(piece)
        self.size += len(piece)
        self.text += run.text_bytes
        self.records += run.records
        self.ts = max(self.ts, run.ts_last)
        if run.tags is None:
            self.many = True
        else:
            self.tags.update(run.tags)

    def close(self, tid: int) -> PutPack:
        """The pack as it is committed."""
        last = self.seq + self.records - 1
        body = b"".join(self.bodies)
        tags = (MANY_TAGS,) if self.many else tuple(self.tags)
        return PutPack(
            Pack(tid, self.seq, last, self.records, self.text, self.ts, body), tuple(self.parts), tags
        )
