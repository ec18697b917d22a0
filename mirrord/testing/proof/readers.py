"""Promises to readers: who reads a log from its first seq to its head is shown, or told of, everything in it, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ...records.gap import CONTROL, VOLUNTARY
from ...topics.erasure.sight import contents_of
from ...topics.read.face import View
from ...topics.read.reading import read
from ...topics.topic import Topic
from ..world.story import Story
from .logs import Finding

VIEW = View(limit=100, max_bytes=1 << 20, origin=True)
ALL = 1 << 40

_json = msgspec.json.Decoder(dict[str, Any]).decode


def check_reading(node: str, topic: Topic) -> Iterator[Finding]:
    """Each record once, and each gap that nobody wanted once, as a tombstone that tells its range."""
    shown, told = _read_all(topic)
    deleted = _deleted(topic)
    for number, strand in topic.strands.items():
        where, name = f"{node} {topic.topic} {number:016x}", f"{number:016x}"
        gaps = topic.reads.gaps(topic.tid, strand.sid, 1, ALL)
        hidden = {oseq for gap in gaps for oseq in range(gap.first, gap.last + 1)} | deleted.get(number, set())
        for oseq in range(1, strand.durable_last + 1):
            if shown[name, oseq] != (oseq not in hidden):
                yield "always_shown_once", f"{where}/{oseq} is shown {shown[name, oseq]} times"
        for gap in gaps:
            if gap.reason not in VOLUNTARY and gap.reason != CONTROL and told[name, gap.first, gap.last] != 1:
                times = told[name, gap.first, gap.last]
                yield "always_gaps_told", f"{where}: {gap.first}..{gap.last} {gap.reason} is told {times} times"


def check_places(story: Story, shown: Mapping[str, Mapping[str, Mapping[int, str]]]) -> Iterator[Finding]:
    """Where an answer said that records are, readers of that log found them, if anything. ``shown`` is by node, log id
    and seq."""
    for told in story.told.values():
        node = told.write.node
        for log_id, first_seq in told.places:
            there = shown[node].get(log_id.hex(), {}) if log_id not in story.rewound.get(node, ()) else {}
            for seq, text in enumerate(told.write.texts, first_seq):
                if seq in there and there[seq] != text.strip('"'):
                    yield "always_where_acked", f"{node}: {text} was acknowledged at {seq}, where {there[seq]} is"


def _deleted(topic: Topic) -> dict[int, set[int]]:
    """By strand, the oseqs that lie there and are deleted."""
    found: dict[int, set[int]] = {}
    for pack in topic.reads.packs(topic.tid, 1, ALL):
        contents = contents_of(pack)
        for seq in range(pack.seq, pack.last + 1):
            if topic.gone(seq, seq):
                strand, oseq = contents.place(seq)
                found.setdefault(strand, set()).add(oseq)
    return found


def _read_all(topic: Topic) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int, int]]]:
    shown: Counter[tuple[str, int]] = Counter()
    told: Counter[tuple[str, int, int]] = Counter()
    cursor, caught_up = 0, False
    while not caught_up:
        page = read(topic, cursor, topic.log_id_hex, VIEW)
        cursor, caught_up = page.next_from_seq, page.caught_up
        for text in page.records:
            origin = _json(text.encode())["$origin"]
            shown[origin["strand"], origin["oseq"]] += 1
        origin = _json(page.tombstone.encode()).get("$origin") if page.tombstone else None
        if origin is not None:
            told[origin["strand"], origin["oseq_from"], origin["oseq_to"]] += 1
    return shown, told
