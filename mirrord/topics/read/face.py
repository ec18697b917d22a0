"""The JSON face of a log: a page of records as ``POST /diff`` answers it. Payloads are copied as the text they came in.

Written as strings, not as objects: a page of a thousand records is one join.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from ...errors import ChunkCorrupt
from ...records.chunk import COUNT, FIRST, KIND, RECORDS, STRAND, TS_FIRST, chunks_in, rows
from ...records.gap import TOMBSTONE_WORDS
from ...storage.store import Gap, Pack

_quote = msgspec.json.Encoder().encode


def quote(text: str) -> str:
    """A JSON string."""
    return _quote(text).decode()


class View(Struct, frozen=True):
    """What a reader asked to see."""

    limit: int
    max_bytes: int
    skip_nodes: frozenset[str] = frozenset()
    tags: bool = False
    meta: bool = True
    data: bool = True
    origin: bool = False


class Face(Struct):
    """How one strand shows: its origin's name, and that name as JSON."""

    origin: str
    strand_hex: str

    @property
    def node_json(self) -> str:
        """The origin's name, quoted."""
        return quote(self.origin)


class Page(Struct):
    """A page under way: the records as JSON text, how far it came, and why it stopped."""

    cursor: int
    records: list[str]
    size: int = 0
    scanned: int = 0
    full: bool = False

    def add_pack(self, pack: Pack, floor: int, until: int, view: View, faces: dict[int, Face]) -> None:
        """Records of the pack above the cursor and the floor and not beyond ``until``, as far as the page has room."""
        seq, body = pack.seq, pack.body
        for at, _, header in chunks_in(body):
            if header[KIND] != RECORDS:
                continue
            count = header[COUNT]
            if seq + count - 1 > max(self.cursor, floor):
                face = faces[header[STRAND]]
                after, found = max(self.cursor, floor), rows(body, at, header)
                try:
                    self._add_rows(found, seq, header[FIRST], header[TS_FIRST], after, until, view, face)
                except (TypeError, ValueError) as error:
                    raise ChunkCorrupt(f"{face.strand_hex}/{header[FIRST]} holds a record of another shape") from error
                if self.full:
                    return
            seq += count
        if not self.full:
            self.cursor = max(self.cursor, min(pack.last, until))

    def _add_rows(
        self,
        found: list[list[Any]],
        seq: int,
        oseq: int,
        ts: int,
        after: int,
        until: int,
        view: View,
        face: Face,
    ) -> None:
        """Locals, not attributes, in here: a page is a thousand times round, and this is what a page costs."""
        skip, node_json, texts = view.skip_nodes, face.node_json, self.records
        cursor, size, scanned, room = self.cursor, self.size, self.scanned, view.limit - len(texts)
        with_tags, with_origin, with_data, with_meta = view.tags, view.origin, view.data, view.meta
        begin, most = max(0, after + 1 - seq), view.max_bytes
        for i, (delta, tag, label, meta, data) in enumerate(found[begin:] if begin else found, begin):
            if seq + i > until or not room:
                self.full = True
                break
            scanned += 1
            if skip and (label in skip or face.origin in skip):
                cursor = seq + i
                continue
            who = node_json if label is None else quote(label)
            extra = ""
            if with_tags and tag is not None:
                extra = f',"$tag":{quote(tag)}'
            if with_origin:
                extra += f',"$origin":{{"node":{node_json},"strand":"{face.strand_hex}","oseq":{oseq + i}}}'
            if with_data:
                extra += f',"data":{data if type(data) is str else binary(data)}'
            if with_meta and meta is not None:
                extra += f',"meta":{meta}'
            text = f'{{"$seq":{seq + i},"$ts":{ts + delta},"$node":{who}{extra}}}'
            size += len(text)
            if size > most and texts:
                self.full = True
                break
            cursor = seq + i
            room -= 1
            texts.append(text)
        self.cursor, self.size, self.scanned = cursor, size, scanned


def binary(data: object) -> str:
    """Opaque bytes, as JSON shows them."""
    return '{"$bin":"' + b64encode(data if isinstance(data, bytes) else b"").decode() + '"}'


def tombstone(gap_from: int, gap_to: int, reason: str, missed: int, earliest: int, head: int, origin: str = "") -> str:
    """A loss that readers are told of."""
    word = TOMBSTONE_WORDS.get(reason, reason)
    return (
        f'{{"gap_from":{gap_from},"gap_to":{gap_to},"reason":"{word}","missed_estimate":{missed},'
        f'"earliest_seq":{earliest},"head_seq":{head}{origin}}}'
    )


def gap_tombstone(gap: Gap, face: Face | None, head: int) -> str:
    """A gap in the middle of the log: one seq of its own when it came over a link, many when a life lost its tail."""
    missed = gap.last - gap.first + 1
    origin = ""
    if face is not None:
        where = f'"strand":"{face.strand_hex}","oseq_from":{gap.first},"oseq_to":{gap.last}'
        origin = f',"$origin":{{"node":{face.node_json},{where}}}'
    return tombstone(gap.seq_from, gap.seq_to, gap.reason, missed, gap.seq_to + 1, head, origin)


def join(records: Iterable[str]) -> str:
    """The array of records."""
    return "[" + ",".join(records) + "]"
