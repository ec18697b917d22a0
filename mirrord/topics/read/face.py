"""The JSON face of a log: records as ``POST /diff`` and the streams show them. Payloads are copied as the text they
came in.

Written as strings, not as objects, and column by column: what all records of a chunk share is decided once for the
chunk, so that a page of a thousand plain records is one comprehension and one join.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from ...records.gap import TOMBSTONE_WORDS
from ...records.selector import Selector
from ...storage.store import Gap

_quote = msgspec.json.Encoder().encode


def quote(text: str) -> str:
    """A JSON string."""
    return _quote(text).decode()


_label = lru_cache(maxsize=1024)(quote)  # node labels and tags: few texts, many records


class View(Struct, frozen=True):
    """What a reader asked to see."""

    limit: int
    max_bytes: int
    skip_nodes: frozenset[str] = frozenset()
    tags: bool = False
    meta: bool = True
    data: bool = True
    origin: bool = False
    match: Selector | None = None
    named: bool = False  # records carry $topic


class Face(Struct):
    """How one strand shows: its origin's name, and that name as JSON."""

    origin: str
    strand_hex: str

    @property
    def node_json(self) -> str:
        """The origin's name, quoted."""
        return quote(self.origin)


class Column(Struct, frozen=True):
    """What the records of one chunk share: whose they are, when they were committed (ms), and the oseq that a record
    has more than its seq (which may be negative). ``lead`` stands before each: its topic, or nothing."""

    face: Face
    ts: int
    oseq_ahead: int
    lead: str = ""


Row = Sequence[Any]  # [ts_delta_ms, tag, node, meta, data], as records/record.py reads it


def texts(seqs: Sequence[int], rows: Sequence[Row], column: Column, view: View) -> list[str]:
    """Each record of one chunk as a JSON object. Raises TypeError or ValueError for rows of another shape."""
    deltas, tags, labels, metas, datas = zip(*rows, strict=True)
    node, ts, lead, count = column.face.node_json, column.ts, column.lead, len(rows)
    if set(map(type, datas)) != {str}:
        datas = tuple([data if type(data) is str else binary(data) for data in datas])
    bare = labels.count(None) == count and not any(deltas)
    with_meta = view.meta and metas.count(None) != count
    with_tags = view.tags and tags.count(None) != count
    if bare and view.data and not (with_meta or with_tags or view.origin):
        middle = f',"$ts":{ts},"$node":{node},"data":'
        return [f'{{{lead}"$seq":{seq}{middle}{data}}}' for seq, data in zip(seqs, datas, strict=True)]
    nodes = [node if label is None else _label(label) for label in labels]
    begun = zip(seqs, deltas, nodes, strict=True)
    parts: list[Iterable[str]] = [
        [f'{{{lead}"$seq":{seq},"$ts":{ts + delta},"$node":{who}' for seq, delta, who in begun]
    ]
    if with_tags:
        parts.append(["" if tag is None else f',"$tag":{_label(tag)}' for tag in tags])
    if view.origin:
        who, ahead = f',"$origin":{{"node":{node},"strand":"{column.face.strand_hex}","oseq":', column.oseq_ahead
        parts.append([f"{who}{seq + ahead}}}" for seq in seqs])
    if view.data:
        parts.append([f',"data":{data}' for data in datas])
    if with_meta:
        parts.append(["" if meta is None else f',"meta":{meta}' for meta in metas])
    parts.append("}" * count)
    return list(map("".join, zip(*parts, strict=True)))


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
    origin = ""
    if face is not None:
        where = f'"strand":"{face.strand_hex}","oseq_from":{gap.first},"oseq_to":{gap.last}'
        origin = f',"$origin":{{"node":{face.node_json},{where}}}'
    return tombstone(gap.seq_from, gap.seq_to, gap.reason, gap.missed, gap.seq_to + 1, head, origin)


def join(records: Iterable[str]) -> str:
    """The array of records."""
    return "[" + ",".join(records) + "]"
