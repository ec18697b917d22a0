"""Lanes: what one caller gets of one topic is decided by its vector alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mirrord.errors import ChunkCorrupt
from mirrord.links.feeds.lane import Lane
from mirrord.links.frames import Piece
from mirrord.links.wire import At, Chunks, CoverIs, ForkIs, StrandIs, StrippedIs
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of
from mirrord.records.record import records
from mirrord.records.strand import Identity
from mirrord.storage.store import DropPack, PutPack
from mirrord.topics.log.places import hash_at
from mirrord.topics.log.shelf import JOINED
from mirrord.topics.messages import Append, Apply, Configure, Delete, DropTopic, Erase, Introduce
from mirrord.topics.registry import Registry
from mirrord.topics.topic import Topic

from ..topics.rig import Origin, Rig, config, draft

CALLER = Identity("caller", b"c" * 16, b"k" * 16)


def flow(lane: Lane, budget: int = 1 << 20) -> list[Piece]:
    """All that the lane sends until it has nothing more."""
    found: list[Piece] = []
    while pieces := lane.next(budget):
        found += pieces
        assert len(found) < 10_000
    return found


def told(pieces: list[Piece]) -> list[object]:
    """Records as ``strand/oseq``, covers as ranges, in the order in which they were sent."""
    found: list[object] = []

    for piece in pieces:
        match piece.header:
            case Chunks():
                body = b"".join(piece.body)
                for at, _, header in chunks.chunks_in(body):
                    found += [(header[chunks.STRAND], r.oseq) for r in records(body, at, header)]
            case CoverIs() as cover:
                found.append((cover.strand, cover.first, cover.last, cover.reason))
    return found


@asynccontextmanager
async def topic_of(*origins: Origin, limits: dict[str, object] | None = None) -> AsyncIterator[tuple[Topic, Registry]]:
    async with Rig().run() as registry:
        topic, _ = await registry.ensure("orders", config(**(limits or {})))
        for origin in origins:
            await topic.mailbox.ask(Introduce(origin.descriptor))
            for packed in origin.chunks:
                await topic.mailbox.ask(Apply(packed))
        yield topic, registry


def callers(number: int, life: bytes = CALLER.life) -> Origin:
    """A strand that the caller wrote."""
    origin = Origin(number, "caller")
    origin.descriptor = replace(origin.descriptor, origin_id=CALLER.origin_id, life=life)
    origin.ends[0] = type(origin.ends[0])(0, origin.descriptor.id_hash)
    return origin


def lane_of(topic: Topic, vector: list[At] | None = None) -> Lane:
    lane = Lane(1, topic, CALLER)
    lane.place(vector or [])
    return lane


def at(origin: Origin, chunk: int) -> At:
    end = origin.ends[chunk]
    return (origin.number, end.oseq, end.hash)


async def test_an_empty_caller_gets_everything_once_and_packs_as_they_lie() -> None:
    """Chunks go out as the bytes of the store; descriptors go before them."""
    one, two = Origin(5), Origin(6)
    for _ in range(3):
        one.write(2)
        two.write(1)
    async with topic_of(one, two) as (topic, _):
        pieces = flow(lane_of(topic))
        assert told(pieces) == [(5, n) for n in range(1, 7)] + [(6, n) for n in range(1, 4)]
        bodies = [b for p in pieces for b in p.body]
        assert b"".join(bodies) == b"".join(one.chunks + two.chunks)
        assert any(b is p.body for b in bodies for p in topic.packs(1, 1 << 20))
        first_chunk = next(i for i, p in enumerate(pieces) if isinstance(p.header, Chunks))
        assert sum(isinstance(p.header, StrandIs) for p in pieces[:first_chunk]) == 2


async def test_what_comes_later_is_sent_when_it_is_there() -> None:
    """A caught-up caller gets just what is new."""
    one = Origin(5)
    one.write(2)
    async with topic_of(one) as (topic, _):
        lane = lane_of(topic, [at(one, 1)])
        assert flow(lane) == []
        await topic.mailbox.ask(Apply(one.write(3)))
        await topic.mailbox.ask(Append(batches_of([draft()])))
        own = topic.own_strand
        assert own is not None
        assert told(flow(lane)) == [(5, 3), (5, 4), (5, 5), (own.descriptor.strand, 1)]


async def test_a_caller_that_does_not_know_its_own_strand_is_told_of_it_once() -> None:
    """It was put back, and so was this node, which gets the strand from others only while the feed runs: nothing else
    would prove it to the caller, whose store would stand still."""
    present, known = callers(5), callers(6)
    for origin in (present, known):
        origin.write(2)
    async with topic_of(known) as (topic, _):
        lane = lane_of(topic, [at(known, 1)])
        assert flow(lane) == []
        await topic.mailbox.ask(Introduce(present.descriptor))
        await topic.mailbox.ask(Apply(present.chunks[0]))
        assert not lane.passes_by()
        assert [piece.header for piece in flow(lane)] == [StrandIs(1, present.descriptor.encode())]
        await topic.mailbox.ask(Apply(present.write(1)))
        assert lane.passes_by()
        assert flow(lane) == []


async def test_what_the_caller_wrote_itself_is_never_sent_back() -> None:
    """Echo suppression: by its present life. What an earlier life of it wrote is sent, so it gets back what it lost."""
    present, earlier = callers(5), callers(6, b"e" * 16)
    for origin in (present, earlier):
        origin.write(2)
    async with topic_of(present, earlier) as (topic, _):
        assert told(flow(lane_of(topic))) == [(6, 1), (6, 2)]


async def test_a_feed_need_not_wake_for_what_its_caller_wrote() -> None:
    """What comes and is of no use to the caller is passed by, once nothing was left to send; what is of use is not, and
    neither is anything before the caller has been sent what it lacks."""
    echo, other = callers(5), Origin(6)
    other.write(1)
    async with topic_of(echo, other) as (topic, _):
        lane = lane_of(topic)
        assert not lane.passes_by()
        assert told(flow(lane)) == [(6, 1)]
        await topic.mailbox.ask(Apply(echo.write(2)))
        assert lane.has_more
        assert lane.passes_by()
        assert not lane.has_more
        await topic.mailbox.ask(Apply(echo.write(1)))
        await topic.mailbox.ask(Apply(other.write(2)))
        assert not lane.passes_by()
        assert told(flow(lane)) == [(6, 2), (6, 3)]
        lane.place([at(other, 1)])
        assert not lane.passes_by()


async def test_a_skipped_strand_rests_until_it_is_placed() -> None:
    """What another link brings is not sent here; a later position takes it up from there."""
    one, two = Origin(5), Origin(6)
    for origin in (one, two):
        for _ in range(3):
            origin.write(1)
    async with topic_of(one, two) as (topic, _):
        lane = lane_of(topic)
        lane.standings.skip([5])
        assert told(flow(lane)) == [(6, 1), (6, 2), (6, 3)]
        assert lane.place([at(one, 1)]) == []
        assert told(flow(lane)) == [(5, 2), (5, 3)]


async def test_what_is_gone_is_covered_and_then_waited_for() -> None:
    """A range that retention took is answered with its reason and hashes; what follows waits for the caller's word."""
    one = Origin(5)
    for _ in range(6):
        one.write(2)
    async with topic_of(one, limits={"cap_records": 4}) as (topic, _):
        lane = lane_of(topic, [at(one, 1)])
        (cover,) = [p.header for p in flow(lane) if isinstance(p.header, CoverIs)]
        assert (cover.first, cover.last, cover.reason) == (3, 8, "evicted")
        assert (cover.prev_hash, cover.hash) == (one.ends[1].hash, one.ends[4].hash)
        lane.place([at(one, 4)])
        assert told(flow(lane)) == [(5, 9), (5, 10), (5, 11), (5, 12)]


async def test_a_position_that_contradicts_ours_halts_that_strand_only() -> None:
    """Both ends compare: the fork is told with both positions, and everything else goes on."""
    one, two = Origin(5), Origin(6)
    one.write(2)
    one.write(2)
    two.write(1)
    async with topic_of(one, two) as (topic, _):
        lane = Lane(1, topic, CALLER)
        assert lane.place([(5, 2, b"x" * 16)]) == [ForkIs(1, 5, (4, one.ends[2].hash), (2, b"x" * 16))]
        assert told(flow(lane)) == [(6, 1)]
        assert lane.place([(5, 3, b"x" * 16)])
        assert lane.place([at(one, 1)]) == []
        assert told(flow(lane)) == [(5, 3), (5, 4)]


async def test_a_caller_inside_a_chunk_without_a_hash_is_told_too() -> None:
    """No strand stands still in silence."""
    one = Origin(5)
    one.write(4)
    async with topic_of(one) as (topic, _):
        lane = lane_of(topic, [(5, 2, None)])
        pieces = flow(lane)
        assert [p.header for p in pieces if isinstance(p.header, ForkIs)] == [
            ForkIs(1, 5, (4, one.ends[1].hash), (2, None))
        ]
        assert told(pieces) == []


async def test_a_topic_made_anew_is_served_anew() -> None:
    """After a DELETE the old seqs mean nothing: what was lost is covered, what is new is sent."""
    one = Origin(5)
    one.write(2)
    async with topic_of(one) as (topic, _):
        lane = lane_of(topic)
        assert told(flow(lane)) == [(5, 1), (5, 2)]
        await topic.mailbox.ask(DropTopic(forget=False, if_empty=False))
        await topic.mailbox.ask(Configure(config(), put=False))
        await topic.mailbox.ask(Apply(one.write(1)))
        assert told(flow(lane)) == [(5, 3)]
        assert told(flow(lane_of(topic))) == [(5, 1, 2, "deleted")]


async def test_a_caller_above_our_head_in_our_own_strand_proves_a_rewind() -> None:
    """Only our present strand proves it; a foreign strand above ours is normal: we pull."""
    one = Origin(5)
    one.write(2)
    async with topic_of(one) as (topic, _):
        await topic.mailbox.ask(Append(batches_of([draft(), draft()])))
        own = topic.own_strand
        assert own is not None
        number = own.descriptor.strand
        told: list[tuple[At, int | None]] = [
            ((number, 3, b"x" * 16), number),
            ((number, 2, own.durable_hash), None),
            ((number, 2, b"x" * 16), number),
            ((5, 99, b"x" * 16), None),
        ]
        for at, proof in told:
            lane = Lane(1, topic, CALLER)
            lane.place([at])
            assert lane.standings.proves_rewind([at]) == proof


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
async def test_any_caller_gets_exactly_what_it_lacks(data: st.DataObject) -> None:
    """Whatever it has, in whatever pieces it is served, and however often it changes its mind: per strand the caller
    gets
    every record behind its position once and in order, or a cover for it, and nothing else."""
    origins = [Origin(5), Origin(6)]
    cap = data.draw(st.sampled_from([0, 0, 3, 6]))
    async with topic_of(*origins, limits={"cap_records": cap}) as (topic, _):
        for _ in range(data.draw(st.integers(1, 10))):
            origin = data.draw(st.sampled_from(origins))
            await topic.mailbox.ask(
                Apply(origin.write(data.draw(st.integers(1, 3)), pad=data.draw(st.sampled_from([0, 200]))))
            )
        stand = {o.number: o.ends[data.draw(st.integers(0, len(o.chunks)))].oseq for o in origins}
        lane = lane_of(topic, [(o.number, stand[o.number], None) for o in origins])
        budget = data.draw(st.sampled_from([1, 400, 1 << 20]))
        for _ in range(40):
            for item in told(flow(lane, budget)):
                number, first = item[0], item[1]  # type: ignore[index]
                assert first == stand[number] + 1
                stand[number] = item[2] if len(item) == 4 else first  # type: ignore[arg-type, index]
            lane.place([(o.number, stand[o.number], None) for o in origins])
        assert stand == {o.number: o.ends[-1].oseq for o in origins}


# ---- deleted records


def chunks_of(pieces: list[Piece]) -> list[tuple[str, int, int, int]]:
    """Why they lack something, strand, first oseq and what is missing, of each chunk that was sent."""
    found: list[tuple[str, int, int, int]] = []
    for piece in pieces:
        if isinstance(piece.header, Chunks):
            body = b"".join(piece.body)
            for at, _, header in chunks.chunks_in(body):
                missing = chunks.missing(body, at, header)
                found.append((piece.header.lacks, header[chunks.STRAND], header[chunks.FIRST], missing))
    return found


async def test_what_is_deleted_here_is_not_sent_and_what_is_left_only_when_it_is_asked_for() -> None:
    """Another node may have the chunk whole. Until the caller knows better the strand rests, others go on; then the
    chunks come without the deleted records, and nothing of those is on the wire."""
    one, two = Origin(5), Origin(6)
    one.write(2)
    one.write(3)
    one.write(1)
    two.write(1)
    async with topic_of(one, two) as (topic, _):
        await topic.mailbox.ask(Erase((4,)))
        lane = lane_of(topic)
        pieces = flow(lane)
        assert chunks_of(pieces) == [("", 5, 1, 0), ("", 6, 1, 0)]
        assert [p.header for p in pieces if isinstance(p.header, StrippedIs)] == [StrippedIs(1, 5, 3, 5)]
        assert flow(lane) == []
        lane.place([at(one, 1)])
        lane.standings.take([(5, 5)])
        pieces = flow(lane)
        assert chunks_of(pieces) == [("deleted", 5, 3, 0b010), ("", 5, 6, 0)]
        assert told(pieces) == [(5, 3), (5, 5), (5, 6)]
        assert not any(one.text(4).encode() in bytes(body) for piece in pieces for body in piece.body)


async def test_what_travelling_deletions_took_is_left_out_at_once() -> None:
    """Nobody has more: there is nothing to wait for."""
    one = Origin(5)
    one.write(2)
    one.write(2)
    async with topic_of(one) as (topic, registry):
        await topic.mailbox.ask(Erase((1, 3, 4), travels=True))
        own = topic.own_strand
        assert own is not None
        order, *rest = chunks_of(flow(lane_of(topic)))
        assert order == ("", own.descriptor.strand, 1, 0)
        assert rest == [("erased", 5, 1, 0b01), ("erased", 5, 3, 0b11)]  # the warm tail has what the store let go
        registry._ground.shelf.clear(topic.tid)
        pieces = flow(lane_of(topic))
        assert chunks_of(pieces)[1:] == [("erased", 5, 1, 0b01)]
        assert told(pieces)[-1] == (5, 3, 4, "erased")


async def test_of_what_nothing_is_left_is_covered() -> None:
    """Whole chunks that are deleted, in a pack of which something lives, are told as one range with its hashes."""
    one = Origin(5)
    body = b"".join(one.write(2) for _ in range(4))
    async with topic_of() as (topic, _):
        await topic.mailbox.ask(Introduce(one.descriptor))
        await topic.mailbox.ask(Apply(body))
        await topic.mailbox.ask(Erase((3, 4, 5, 6)))
        lane = lane_of(topic)
        pieces = flow(lane)
        assert told(pieces) == [(5, 1), (5, 2), (5, 3, 6, "deleted")]
        (cover,) = [p.header for p in pieces if isinstance(p.header, CoverIs)]
        assert (cover.prev_hash, cover.hash) == (one.ends[1].hash, one.ends[3].hash)
        lane.place([at(one, 3)])
        assert told(flow(lane)) == [(5, 7), (5, 8)]


async def test_a_front_that_was_deleted_is_not_served_although_its_pack_lies_there() -> None:
    """The floor may lie inside a pack; what is below it is gone for peers too, where a person deleted it."""
    one = Origin(5)
    body = b"".join(one.write(2) for _ in range(4))
    async with topic_of() as (topic, _):
        await topic.mailbox.ask(Introduce(one.descriptor))
        await topic.mailbox.ask(Apply(body))
        await topic.mailbox.ask(Delete(6))
        pieces = flow(lane_of(topic))
        assert told(pieces) == [(5, 1, 4, "deleted")]
        lane = lane_of(topic, [at(one, 2)])
        assert [p.header for p in flow(lane) if isinstance(p.header, StrippedIs)] == [StrippedIs(1, 5, 5, 6)]


async def test_control_chunks_are_sent_in_the_order_of_their_strand() -> None:
    """They lie beside the packs, and come between the records that were written before and after them."""
    async with topic_of() as (topic, _):
        for i in range(4):
            await topic.mailbox.ask(Append(batches_of([draft(str(i)), draft(str(i))])))
            await topic.mailbox.ask(Erase((topic.head,), travels=True))
        own = topic.own_strand
        assert own is not None
        assert own.durable_last == 12
        lane = lane_of(topic)
        sent = [(lacks, first) for lacks, _, first, _ in chunks_of(flow(lane))]
        assert sent == [(lacks, 3 * i + place) for i in range(4) for lacks, place in (("erased", 1), ("", 3))]
        await topic.mailbox.ask(Erase((1,), travels=True))
        assert [(lacks, first) for lacks, _, first, _ in chunks_of(flow(lane))] == [("", 13)]
        await topic.mailbox.ask(Append(batches_of([draft("x")])))
        assert [(lacks, first) for lacks, _, first, _ in chunks_of(flow(lane))] == [("", 14)]
        there = hash_at(own, topic.tid, 12, topic.reads)
        assert isinstance(there, bytes)
        late = lane_of(topic, [(own.descriptor.strand, 12, there)])
        assert [(lacks, first) for lacks, _, first, _ in chunks_of(flow(late))] == [("", 13), ("", 14)]


async def test_a_frame_that_is_full_inside_a_pack_ends_there() -> None:
    """Control chunks take room too, so a frame may be full before the packs that were fetched for it are through: the
    rest of a pack comes before the next pack. A chunk that is passed would be told as lost though it lies there."""
    async with topic_of() as (topic, _):
        for turn in range(3 * JOINED - 10):  # two packs of many chunks, and many of one
            await topic.mailbox.ask(Append(batches_of([draft()] * (1 + turn % 3))))
            if turn % 5 == 4:
                await topic.mailbox.ask(Erase((topic.head - 3,), travels=True))
        own = topic.own_strand
        assert own is not None
        for budget in range(1, 12_000, 61):
            found = flow(lane_of(topic), budget)
            assert [piece.header for piece in found if isinstance(piece.header, CoverIs)] == [], budget
            bodies = [b"".join(p.body) for p in found if isinstance(p.header, Chunks)]
            ends = [header for body in bodies for _, _, header in chunks.chunks_in(body)]
            behind = [1] + [one[chunks.FIRST] + one[chunks.COUNT] for one in ends]
            assert behind == [*(one[chunks.FIRST] for one in ends), own.durable_last + 1]


async def test_what_a_pack_should_hold_is_not_told_as_lost() -> None:
    """A store that is damaged says so by name: a caller that believed "lost" would never ask anybody for it again."""
    rig, origin = Rig(), Origin(5)
    first, second = origin.write(2), origin.write(3)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config())
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(first + second))
        (pack,) = topic.packs(1, 1 << 20)
        (part,) = rig.store.parts_of_pack(topic.tid, 1)
        rig.store.commit([DropPack(topic.tid, 1, 5), PutPack(replace(pack, body=second), (part,))], sync=True)
        rig.shelf.clear(topic.tid)
        with pytest.raises(ChunkCorrupt):
            flow(lane_of(topic))


async def test_what_the_store_has_lost_is_told_as_far_as_it_reaches() -> None:
    """Up to what can be read again, and no further."""
    rig, origin = Rig(), Origin(5)
    first, second = origin.write(2), origin.write(3)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders", config())
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(first))
        await topic.mailbox.ask(Apply(second))
        rig.store.commit([DropPack(topic.tid, 1, 2)], sync=True)
        rig.shelf.clear(topic.tid)
        lane = lane_of(topic)
        assert told(flow(lane)) == [(5, 1, 2, "lost")]
        lane.place([at(origin, 1)])
        assert told(flow(lane)) == [(5, 3), (5, 4), (5, 5)]
