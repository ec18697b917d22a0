"""Random histories of appends, deletes, caps and restarts, against a log that is a plain dict."""

from __future__ import annotations

import json
from typing import Any

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrord.records.batch import batches_of
from mirrord.records.selector import Selector, selector
from mirrord.topics.deletion import delete
from mirrord.topics.messages import Append, Configure, Erase
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read
from mirrord.topics.topic import Topic

from .rig import Rig, config, draft

TAGS = (None, "a", "a:1", "b")
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(st.sampled_from(TAGS), min_size=1, max_size=8)),
    st.tuples(st.just("append"), st.lists(st.sampled_from(TAGS), min_size=1, max_size=8)),
    st.tuples(st.just("erase"), st.sets(st.integers(1, 60), max_size=8)),
    st.tuples(st.just("travel"), st.sets(st.integers(1, 60), max_size=8)),
    st.tuples(st.just("before"), st.integers(0, 60)),
    st.tuples(st.just("match"), st.sampled_from(["a", "a*", "b", "*"])),
    st.tuples(st.just("both"), st.integers(0, 60)),
    st.tuples(st.just("cap"), st.integers(0, 12)),
    st.tuples(st.just("merge"), st.none()),
    st.tuples(st.just("restart"), st.none()),
)


class Model:
    """What is live, by seq; why other seqs are not, matters only where readers are told."""

    def __init__(self) -> None:
        self.live: dict[int, str | None] = {}
        self.head = self.cap = self.evicted = 0

    def append(self, tags: list[str | None]) -> None:
        for tag in tags:
            self.head += 1
            self.live[self.head] = tag
        self.trim()

    def trim(self) -> None:
        while self.cap and len(self.live) > self.cap:
            self.evicted = min(self.live)
            del self.live[self.evicted]

    def delete(self, before: int | None, match: Selector | None) -> int:
        meant = [
            seq
            for seq, tag in self.live.items()
            if (before is None or seq < before) and (match is None or match.matches(tag))
        ]
        for seq in meant:
            del self.live[seq]
        return len(meant)


async def take(topic: Topic, model: Model, step: str, value: Any) -> None:
    match step:
        case "append":
            model.append(value)
            await topic.mailbox.ask(Append(batches_of([draft("12", tag=tag) for tag in value])))
        case "erase" | "travel":
            live = tuple(sorted(seq for seq in value if seq in model.live))
            erased = await topic.mailbox.ask(Erase(tuple(value), travels=step == "travel"))
            assert erased.seqs == live
            model.live = {seq: tag for seq, tag in model.live.items() if seq not in live}
        case "before" | "match" | "both":
            before = None if step == "match" else value
            meant = None if step == "before" else selector("a*" if step == "both" else value)
            assert (await delete(topic, before, meant)).records == model.delete(before, meant)
        case "cap":
            model.cap = value
            await topic.mailbox.ask(Configure(config(cap_records=value), put=True))
            model.trim()


def check(topic: Topic, model: Model) -> None:
    assert (topic.head, topic.count, topic.bytes) == (model.head, len(model.live), 2 * len(model.live))
    for after in {0, model.evicted, max(0, model.evicted - 1), model.head}:
        found: list[int] = []
        cursor, told = after, None
        while True:
            page = read(topic, cursor, None, View(limit=3, max_bytes=1 << 20))
            told = told or page.tombstone
            found += [json.loads(record)["$seq"] for record in page.records]
            cursor = page.next_from_seq
            if page.caught_up:
                break
        assert found == sorted(seq for seq in model.live if seq > after)
        assert (told is not None) == (after < model.evicted)
        if told is not None:
            assert json.loads(told)["gap_to"] == model.evicted


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
@example([("append", [None] * 11), ("append", [None]), ("append", [None]), ("erase", {1, 12}), ("before", 13)])
def test_any_history_leaves_what_the_model_has(history: list[tuple[str, Any]]) -> None:
    """Counts, bytes, pages and tombstones are those of the plain log after every step, across merges of packs and
    kill -9; and at the end nothing is stored of what is wholly gone."""

    async def run() -> None:
        rig, model = Rig(), Model()
        rest = list(history)
        while True:
            async with rig.run() as registry:
                topic, _ = await registry.ensure("orders")
                check(topic, model)
                while rest:
                    step, value = rest.pop(0)
                    if step == "restart":
                        break
                    if step == "merge":
                        rig.store._pack_bytes = 300
                        while rig.store.tidy():
                            pass
                        continue
                    await take(topic, model, step, value)
                    check(topic, model)
                else:
                    for pack in rig.store.packs(topic.tid, 1, 1 << 30):
                        assert any(pack.seq <= seq <= pack.last for seq in model.live) or pack.last <= topic.floor
                    return

    trio.run(run)
