"""Clients of simulated nodes: writers that remember what they were told, and a follower that reads all that it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio
from msgspec import Raw, Struct
from xxhash import xxh3_128_digest

from ...actors.bell import Ear
from ...errors import ActorDied, MirrordError, NotReady, ShuttingDown
from ...node import Node
from ...records.batch import batches_of
from ...records.draft import Draft
from ...topics.messages import Append, Appended, Key
from ...topics.read.face import View
from ...topics.read.reading import Found, read
from ...topics.topic import Topic
from ..plan import Write
from ..removals import place_of
from .story import Story, Told

if TYPE_CHECKING:
    from .place import Place

VIEW = View(limit=40, max_bytes=1 << 20, origin=True)
ANSWER_S = 8.0  # a client gives up after so long
LOOK_S = 0.5

_json = msgspec.json.Decoder(dict[str, Any]).decode


async def write(place: Place, story: Story, plan: Write) -> None:
    """Send one write as often as it says."""
    told = story.told[plan.number] = Told(plan, began=trio.current_time())
    for turn in range(plan.tries):
        if turn:
            await trio.sleep(plan.pause_s)
        await _try(place, story, told)
    told.ended = trio.current_time()


async def _try(place: Place, story: Story, told: Told) -> None:
    plan, node = told.write, place.node
    if node is None:
        return
    answered = False
    with place.bound(ANSWER_S):
        try:
            topic, done = await _append(node, plan)
            answered = True
            told.acked_at = min(told.acked_at, trio.current_time())
            told.places.append((topic.about.log_id, done.first_seq))
            story.note("acked", plan.node, plan.topic, plan.number, done.first_seq, done.last_seq)
        except (ActorDied, ShuttingDown, NotReady) as error:
            story.note("unknown", plan.node, plan.number, error.code)
        except MirrordError as error:
            told.refused = answered = True
            story.note("refused", plan.node, plan.number, error.code)
    told.unknown = told.unknown or not answered


async def _append(node: Node, plan: Write) -> tuple[Topic, Appended]:
    drafts = [Draft(Raw(text.encode())) for text in plan.texts]
    key = Key(f"key {plan.number}", xxh3_128_digest(repr(plan.texts).encode())) if plan.tries > 1 else None
    topic, _ = await node.registry.ensure(plan.topic)
    return topic, await topic.mailbox.ask(Append(batches_of(drafts), key))


class Cursor(Struct):
    """Where the follower stands in one topic of one node."""

    log_id: str = ""
    seq: int = 0
    seen_at: float = 0.0


class Follower:
    """Reads one node's topics for ever, over restarts; what it saw must never turn out otherwise."""

    def __init__(self, place: Place, story: Story, topics: list[str]) -> None:
        self._place, self._story = place, story
        self.cursors = {topic: Cursor() for topic in topics}
        self.shown: dict[str, dict[int, str]] = {}  # by log id: seq and text

    async def follow(self, node: Node) -> None:
        """Read until the node ends: whenever it rings, and now and then."""
        ear = node.registry.bell.attach(Ear())
        heard: dict[int, Topic] = {}
        try:
            while True:
                for name in self.cursors:
                    topic = node.registry.known(name)
                    if topic is not None and topic.ready.is_set():
                        if id(topic) not in heard:
                            heard[id(topic)] = topic
                            topic.bell.attach(ear)
                        self._read_on(topic)
                with trio.move_on_after(LOOK_S):
                    await ear.wait()
        finally:
            ear.close()

    def _read_on(self, topic: Topic) -> None:
        cursor = self.cursors[topic.topic]
        while True:
            found = read(topic, cursor.seq, cursor.log_id or None, VIEW)
            self._take(topic, cursor, found)
            if found.caught_up:
                return

    def _take(self, topic: Topic, cursor: Cursor, found: Found) -> None:
        where = f"{self._place.name} {topic.topic}"
        log_id = topic.log_id_hex
        if cursor.log_id:
            self._place.judge_log_id(topic.topic, cursor.log_id, log_id, cursor.seen_at)
        expected = cursor.seq + 1
        if found.tombstone is not None:
            told = _json(found.tombstone.encode())
            if told["reason"] == "recreated":
                expected = found.earliest if found.records else found.next_from_seq + 1
            elif not told["gap_from"] <= expected <= told["gap_to"]:
                self._story.fail("always_tombstones_in_order", f"{where}: {told} at cursor {cursor.seq}")
            else:
                expected = told["gap_to"] + 1
            self._story.note("tombstone", where, told["reason"], told["gap_from"], told["gap_to"])
        shown = self.shown.setdefault(log_id, {})
        for text in found.records:
            record = _json(text.encode())
            expected = self._show(where, log_id, shown, record, _behind_deleted(topic, expected, record["$seq"]))
            if place_of(record) in self._story.removed.get(self._place.name, {}):
                self._story.fail("always_deleted_stays_so", f"{where}: {record} was deleted there")
        expected = _behind_deleted(topic, expected, found.next_from_seq + 1)
        if found.next_from_seq + 1 != expected:
            self._story.fail("always_dense", f"{where}: cursor goes to {found.next_from_seq}, read to {expected - 1}")
        cursor.log_id, cursor.seq, cursor.seen_at = log_id, found.next_from_seq, trio.current_time()

    def _show(self, where: str, log_id: str, shown: dict[int, str], record: dict[str, Any], expected: int) -> int:
        seq, text = int(record["$seq"]), str(record["data"])
        if seq != expected:
            self._story.fail("always_dense", f"{where}: seq {seq} where {expected} should be")
        before = shown.setdefault(seq, text)
        if before != text and bytes.fromhex(log_id) not in self._story.rewound.get(self._place.name, set()):
            self._story.fail("always_seq_never_reused", f"{where}: seq {seq} was {before}, is {text}")
        shown[seq] = text
        return seq + 1


def _behind_deleted(topic: Topic, seq: int, until: int) -> int:
    """Where reading goes on when what is deleted in between is passed in silence."""
    while seq < until and not topic.is_live(seq):
        seq += 1
    return seq
