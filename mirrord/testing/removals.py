"""Deletes in a run: who removed what, and what must hold of it from then on."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from msgspec import Struct

from ..errors import MirrordError
from ..topics.messages import Delete, Deleted, Erase, Erased
from ..topics.read.face import View
from ..topics.read.reading import read
from ..topics.topic import Topic
from .faults import Fault
from .world.story import Place, Story

if TYPE_CHECKING:
    from .world.place import Place as NodesPlace

ANSWER_S = 5.0
SHARE = 0.3  # of what is readable goes at once
ON_ITS_WAY_S = 1.0  # a frame that was cut before the delete stood may take so long to be sent
VIEW = View(limit=1000, max_bytes=1 << 20, origin=True)

_json = msgspec.json.Decoder(dict[str, Any]).decode


class Readable(Struct, frozen=True):
    """A record as a reader of a node sees it."""

    seq: int
    text: str
    place: Place


async def remove(place: NodesPlace, story: Story, fault: Fault, topics: tuple[str, ...]) -> None:
    """Delete some records of one topic of a node: ``erase`` travels, ``remove`` and ``front`` are of this node."""
    rng = Random(f"{fault}")
    node, name = place.node, rng.choice(topics)
    topic = node.registry.known(name) if node is not None else None
    if topic is None or not topic.ready.is_set():
        return
    there = _readable(topic)
    chosen = [record for record in there if rng.random() < SHARE] if fault.kind != "front" else there[: len(there) // 3]
    if not chosen:
        return
    story.let_go |= {record.text for record in chosen}  # whether or not an answer comes
    if fault.kind == "erase":
        story.ordered |= {record.place for record in chosen}
    with place.bound(ANSWER_S):
        try:
            gone = await _ask(topic, fault.kind, [record.seq for record in chosen])
        except MirrordError as error:
            story.note("not removed", place.name, name, error.code)
            return
        for record in chosen:
            if record.seq in gone:
                story.remove(place.name, record.place, everywhere=fault.kind == "erase")
        story.counts["removed"] += len(gone)
        story.note("removed", place.name, name, fault.kind, sorted(gone))


def place_of(record: dict[str, Any]) -> Place:
    """Where a record that a reader is shown has its place in its strand."""
    origin = record["$origin"]
    return int(origin["strand"], 16), int(origin["oseq"])


def _readable(topic: Topic) -> list[Readable]:
    found: list[Readable] = []
    cursor, caught_up = topic.floor, False
    while not caught_up:
        page = read(topic, cursor, None, VIEW)
        cursor, caught_up = page.next_from_seq, page.caught_up
        shown = map(_json, (text.encode() for text in page.records))
        found += [Readable(record["$seq"], f'"{record["data"]}"', place_of(record)) for record in shown]
    return found


async def _ask(topic: Topic, kind: str, seqs: list[int]) -> set[int]:
    if kind == "front":
        told: Deleted = await topic.mailbox.ask(Delete(before_seq=seqs[-1] + 1))
        return set(seqs) if told.until >= seqs[-1] else set()
    erased: Erased = await topic.mailbox.ask(Erase(tuple(seqs), travels=kind == "erase"))
    return set(erased.seqs)


def check_sent(story: Story, node: str, records: list[Place]) -> None:
    """What a node sends to a peer holds nothing that was deleted there."""
    removed = story.removed.get(node, {})
    for record in records:
        if record in removed and trio.current_time() - removed[record] > ON_ITS_WAY_S:
            story.fail("always_deleted_never_served", f"{node} sends {record}, which was deleted there")
