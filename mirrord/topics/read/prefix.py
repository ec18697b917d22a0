"""Reading many topics behind one cursor: all that a prefix such as ``chat:*`` means. A page goes on behind the topic at
which the page before it ended, so that a busy topic does not keep the others from their reader.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct, field, structs

from ...errors import InvalidRequest
from . import reading
from .face import View
from .reading import LogReads, read

_encode = msgspec.json.Encoder().encode


class PrefixCursor(Struct, frozen=True):
    """Where a reader stands: seq and log id by topic; a topic that is not there was not read yet. ``after``: the topic
    behind which the next page begins. ``begin``: the seq that topics not read yet are read from."""

    at: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    after: str = ""
    begin: int = 0

    def encode(self) -> str:
        """As its reader keeps it."""
        return urlsafe_b64encode(_encode(self)).rstrip(b"=").decode()


_cursor = msgspec.json.Decoder(PrefixCursor)


def parse_prefix_cursor(text: str) -> PrefixCursor:
    """Raises InvalidRequest for what no prefix read of mirrord gave out."""
    try:
        found = _cursor.decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequest("cursor is not one that a prefix read gave out; begin without it") from error
    if found.begin < 0 or any(seq < 0 for seq, _ in found.at.values()):
        raise InvalidRequest("cursor is not one that a prefix read gave out; begin without it")
    return found


class FoundMany(Struct):
    """One page over many topics. ``tombstones`` are JSON objects, each with its topic."""

    records: list[str]
    tombstones: list[str]
    cursor: PrefixCursor
    lag: int
    caught_up: bool
    scanned: int = 0

    @property
    def worth_telling(self) -> bool:
        """Whether a long poll must not wait on."""
        return bool(self.records or self.tombstones) or not self.caught_up

    def body(self, pattern: str, topics: int, total_ms: Callable[[], float]) -> bytes:
        """The answer of ``POST /v0/topics/:prefix*/diff``."""
        return (
            f'{{"topic":"{pattern}","topics":{topics},"records":[{",".join(self.records)}],'
            f'"next_cursor":"{self.cursor.encode()}","caught_up":{"true" if self.caught_up else "false"},'
            f'"tombstones":[{",".join(self.tombstones)}],"lag":{self.lag},'
            f'"performance":{{"server_total_ms":{total_ms():.3f},"records_scanned":{self.scanned}}}}}'
        ).encode()


def read_many(logs: Sequence[LogReads], cursor: PrefixCursor, view: View) -> FoundMany:
    """The page behind the cursor. ``logs`` in the order of their names. Raises ChunkCorrupt."""
    names = [log.topic for log in logs]
    turn = bisect_right(names, cursor.after)
    at = {name: cursor.at[name] for name in names if name in cursor.at}
    found = FoundMany([], [], cursor, 0, False)
    size, after = 0, cursor.after
    for log in (*logs[turn:], *logs[:turn]):
        seq, log_id = at.get(log.topic, (cursor.begin, log.log_id_hex))
        if seq == log.head and log_id == log.log_id_hex:
            continue
        room = view.limit - len(found.records)
        if room <= 0 or size >= view.max_bytes or found.scanned >= reading.MOST_SCANNED:
            break
        page = read(log, seq, log_id, structs.replace(view, limit=room, max_bytes=view.max_bytes - size, named=True))
        at[log.topic], after = (page.next_from_seq, log.log_id_hex), log.topic
        found.records += page.records
        found.scanned += page.scanned
        size += sum(map(len, page.records))
        if page.tombstone is not None:
            found.tombstones.append(f'{{"topic":"{log.topic}",{page.tombstone[1:]}')
    behind = [_behind(log, at.get(log.topic, (cursor.begin, log.log_id_hex))) for log in logs]
    found.lag, found.caught_up = sum(behind), not any(behind)
    found.cursor = PrefixCursor(dict(sorted(at.items())), after, cursor.begin)
    return found


def _behind(log: LogReads, place: tuple[int, str]) -> int:
    seq, log_id = place
    return log.head if log_id != log.log_id_hex or seq > log.head else log.head - seq
