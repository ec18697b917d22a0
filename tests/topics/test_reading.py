"""Reading: pages, tombstones at the front and in the middle, filters, and bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrord.errors import ChunkCorrupt
from mirrord.records.batch import batches_of, encode
from mirrord.records.gap import Cover
from mirrord.topics.erasure.masks import Masks
from mirrord.topics.log.shelf import JOINED
from mirrord.topics.messages import Append, Apply, ApplyCover, Erase, Introduce
from mirrord.topics.read import reading
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read
from mirrord.topics.topic import Topic

from .rig import Origin, Rig, config, draft


def page(topic: Topic, after: int = 0, log_id: str | None = None, **view: Any) -> dict[str, Any]:
    shown = View(**({"limit": 1000, "max_bytes": 1 << 20} | view))
    found: dict[str, Any] = json.loads(read(topic, after, log_id, shown).body(topic, lambda: 0.0))
    return found


def seqs(found: dict[str, Any]) -> list[int]:
    return [r["$seq"] for r in found["records"]]


async def test_pages_follow_each_other_without_hole_or_repeat() -> None:
    """A reader that walks with any page size sees every record once, in order."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        for _ in range(7):
            await topic.mailbox.ask(Append(batches_of([draft(), draft(), draft()])))
        for limit in (1, 2, 5, 100):
            after, found = 0, []
            while True:
                told = page(topic, after, limit=limit)
                assert len(told["records"]) <= limit
                found += seqs(told)
                after = told["next_from_seq"]
                if told["caught_up"]:
                    break
            assert found == list(range(1, 22))


async def test_a_page_is_bounded_in_bytes_but_never_empty_for_it() -> None:
    """One record larger than the budget goes alone: nobody is stuck before it."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft('"' + "x" * 500 + '"') for _ in range(4)])))
        assert seqs(page(topic, max_bytes=10)) == [1]
        assert seqs(page(topic, 1, max_bytes=1300)) == [2, 3]


async def test_what_was_sent_is_shown_as_it_was_sent() -> None:
    """Payloads are copied as text: numbers keep their digits, keys their order."""
    rig = Rig()
    text = '{"b": 1.10, "a": 12345678901234567890}'
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft(text, tag="t", node="till")])))
        shown = View(10, 1 << 20, tags=True, origin=True)
        body = read(topic, 0, None, shown).body(topic, lambda: 0.0).decode()
        assert text in body
        (record,) = json.loads(body)["records"]
        assert (record["$tag"], record["$node"], record["$origin"]["node"]) == ("t", "till", "here")


async def test_a_cursor_of_another_log_or_beyond_the_head_begins_anew() -> None:
    """Only the log id decides ``recreated``; it is told once and reading goes on from the front."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft(), draft()])))
        for told in (page(topic, 1, "00" * 8), page(topic, 9)):
            assert told["tombstone"]["reason"] == "recreated"
            assert seqs(told) == [1, 2]
        assert page(topic, 1, topic.log_id_hex)["tombstone"] is None


async def test_a_front_that_went_is_told_once_and_exactly() -> None:
    """Loss by retention is a typed gap in the answer: from, to, how many, and why."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(cap_records=3))
        for _ in range(8):
            await topic.mailbox.ask(Append(batches_of([draft()])))
        told = page(topic, 2)
        tombstone = told["tombstone"]
        assert (tombstone["gap_from"], tombstone["gap_to"], tombstone["missed_estimate"]) == (3, 5, 3)
        assert (tombstone["reason"], told["earliest_seq"], seqs(told)) == ("cap", 6, [6, 7, 8])
        assert page(topic, 5)["tombstone"] is None


async def test_a_gap_that_goes_with_the_front_counts_for_what_it_stood_for() -> None:
    """A gap that came over a link is one seq here, and a thousand records: a reader behind it is told how many."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(cap_records=3))
        await topic.mailbox.ask(Introduce(origin.descriptor))
        origin.write(1000)
        await topic.mailbox.ask(ApplyCover(Cover(5, 1, 1000, "evicted", origin.ends[0].hash, origin.ends[1].hash)))
        for _ in range(5):
            await topic.mailbox.ask(Append(batches_of([draft()])))
        told = page(topic, 0)["tombstone"]
        assert (told["gap_from"], told["gap_to"], told["missed_estimate"]) == (1, 3, 1002)
        assert page(topic, 1)["tombstone"]["missed_estimate"] == 2


async def test_losses_in_the_middle_are_told_one_a_page_and_in_order() -> None:
    """Two gaps are two tombstones; no record moves over one."""
    rig, origin = Rig(), Origin(5)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        told: list[Any] = []
        for _ in range(2):
            await topic.mailbox.ask(Apply(origin.write(1)))
            origin.write(4)
            before, at = origin.ends[-2:]
            lost = Cover(5, before.oseq + 1, at.oseq, "expired", before.hash, at.hash)
            await topic.mailbox.ask(ApplyCover(lost))
        after = 0
        for _ in range(6):
            found = page(topic, after)
            if found["tombstone"]:
                told.append(found["tombstone"]["gap_from"])
            told += [f"r{n}" for n in seqs(found)]
            after = found["next_from_seq"]
        assert told == ["r1", 2, "r3", 4]


async def test_a_node_filter_drops_on_label_and_on_origin_and_moves_the_cursor() -> None:
    """Echo-free reading: what a node wrote is not shown to it, and it is not asked to read it again."""
    rig, origin = Rig(), Origin(5, "there")
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Append(batches_of([draft(), draft(node="till")])))
        await topic.mailbox.ask(Apply(origin.write(2)))
        assert seqs(page(topic, skip_nodes=frozenset({"there"}))) == [1, 2]
        assert seqs(page(topic, skip_nodes=frozenset({"till"}))) == [1, 3, 4]
        found = page(topic, skip_nodes=frozenset({"here", "there"}))
        assert (seqs(found), found["next_from_seq"], found["caught_up"]) == ([], 4, True)


async def test_a_filter_that_drops_all_looks_at_so_many_records_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """One page never holds the node up; the cursor moves, so the next page goes on behind."""
    monkeypatch.setattr(reading, "MOST_SCANNED", 10)
    monkeypatch.setattr(reading, "READ_BYTES", 1)
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        for _ in range(50):
            await topic.mailbox.ask(Append(batches_of([draft()])))
        found = page(topic, skip_nodes=frozenset({"here"}))
        assert (found["next_from_seq"], found["caught_up"]) == (JOINED, False)  # what lies together is looked at whole


@pytest.mark.parametrize("row", [b"\x94\x00\xc0\xc0\xc0", b"\x95\xa1x\xc0\xc0\xc0\xa11", b"\xc1\xc1\xc1"])
async def test_a_chunk_whose_records_are_none_is_named_and_stops_no_writer(row: bytes) -> None:
    """A hostile origin can seal nonsense: readers get a named error, writers and limits go on living."""
    rig, origin = Rig(), Origin(5)
    packed, digest, _ = encode(5, 1, origin.descriptor.id_hash, 7, batches_of([draft()]))
    evil = bytearray(packed[16:84] + row)
    evil[44:48] = len(row).to_bytes(4, "little")
    from xxhash import xxh3_128_digest

    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config(cap_records=2))
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(xxh3_128_digest(bytes(evil)) + bytes(evil)))
        assert topic.head == 1
        with pytest.raises(ChunkCorrupt):
            page(topic)
        for _ in range(4):
            await topic.mailbox.ask(Append(batches_of([draft()])))
        assert topic.head == 5
    assert digest
    assert rig.deaths == []


async def test_a_page_without_deletes_asks_nothing_of_single_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """What deletes cost is paid where something is deleted: no mask is looked up in a log without any."""
    asked: list[int] = []
    within = Masks.within

    def counted(masks: Masks, first: int, last: int) -> int:
        asked.append(last - first)
        return within(masks, first, last)

    monkeypatch.setattr(Masks, "within", counted)
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        for _ in range(5):
            await topic.mailbox.ask(Append(batches_of([draft() for _ in range(200)])))
        assert len(page(topic)["records"]) == 1000
        assert asked == []
        await topic.mailbox.ask(Erase((500,)))
        asked.clear()
        assert len(page(topic)["records"]) == 999
        assert len(asked) <= 5  # once a pack
