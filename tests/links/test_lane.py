"""Lanes: what one caller gets of one topic is decided by its vector alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirrord.links.feeds.lane import Lane, Piece
from mirrord.links.wire import At, Chunks, CoverIs, ForkIs, StrandIs
from mirrord.records import chunk as chunks
from mirrord.records.strand import Identity
from mirrord.topics.messages import Append, Apply, Configure, DropTopic, Introduce
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
                    found += [(header[chunks.STRAND], r.oseq) for r in chunks.records(body, at, header)]
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
        await topic.mailbox.ask(Append([draft()]))
        own = topic.own_strand
        assert own is not None
        assert told(flow(lane)) == [(5, 3), (5, 4), (5, 5), (own.descriptor.strand, 1)]


async def test_what_the_caller_wrote_itself_is_never_sent_back() -> None:
    """Echo suppression: by its present life. What an earlier life of it wrote is sent, so it gets back what it lost."""
    present, earlier = Origin(5, "caller"), Origin(6, "caller")
    for origin, life in ((present, CALLER.life), (earlier, b"e" * 16)):
        from msgspec import structs

        origin.descriptor = structs.replace(origin.descriptor, origin_id=CALLER.origin_id, life=life)
        origin.ends[0] = type(origin.ends[0])(0, origin.descriptor.id_hash)
        origin.write(2)
    async with topic_of(present, earlier) as (topic, _):
        assert told(flow(lane_of(topic))) == [(6, 1), (6, 2)]


async def test_a_skipped_strand_rests_until_it_is_placed() -> None:
    """What another link brings is not sent here; a later position takes it up from there."""
    one, two = Origin(5), Origin(6)
    for origin in (one, two):
        for _ in range(3):
            origin.write(1)
    async with topic_of(one, two) as (topic, _):
        lane = lane_of(topic)
        lane.skip([5])
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
        await topic.mailbox.ask(Append([draft(), draft()]))
        own = topic.own_strand
        assert own is not None
        number = own.descriptor.strand
        for vector, proof in (
            ([(number, 3, b"x" * 16)], number),
            ([(number, 2, own.durable_hash)], None),
            ([(number, 2, b"x" * 16)], number),
            ([(5, 99, b"x" * 16)], None),
        ):
            lane = Lane(1, topic, CALLER)
            lane.place(vector)
            assert lane.proves_rewind(vector) == proof


async def test_moves_are_told_once() -> None:
    """A heartbeat tells what changed since the last one, and the digest is that of all that was told."""
    one = Origin(5)
    one.write(2)
    async with topic_of(one) as (topic, _):
        lane = lane_of(topic)
        assert [t[:2] for t in lane.info().vector] == [(5, 2)]
        before = lane.digest
        assert lane.moves() == []
        await topic.mailbox.ask(Apply(one.write(1)))
        assert [(m[1], m[2]) for m in lane.moves()] == [(5, 3)]
        assert lane.moves() == []
        assert lane.digest != before


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
