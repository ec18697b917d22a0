"""Retention: caps count live records, what goes leaves a trail, and places in it stay comparable."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from mirrord.config.topic import TopicConfig
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of
from mirrord.records.record import records
from mirrord.records.strand import Position
from mirrord.storage.memory import MemoryStore
from mirrord.topics.log import retention
from mirrord.topics.log.decisions import Decisions
from mirrord.topics.log.places import INSIDE, contradicts, hash_at
from mirrord.topics.log.turn import Sizes
from mirrord.topics.messages import Apply, Configure, DropTopic, Introduce
from mirrord.topics.quota import Quota

from .rig import ME, Origin, config, draft, life_of, log_of, sources_of

NOW = 1_700_000_000_000


class Kept:
    """A log that is kept in a store in memory, turn by turn, with its limits enforced."""

    def __init__(self, limits: TopicConfig, *, pack_bytes: int = 64 << 10) -> None:
        self.log, self.store = log_of(limits), MemoryStore()
        self.sizes = Sizes(pack_bytes, 100)

    def turn(self, *messages: object, now_ms: int = NOW, own: int = 0) -> None:
        decide = Decisions(self.store, life_of(ME), self.sizes, sources_of(self.log), Quota())
        turn = decide.begin(self.log, now_ms)
        for message in messages:
            decide.on(message)  # type: ignore[arg-type]
        if own:
            turn.append(batches_of([draft() for _ in range(own)]))
        decide.let_go(self.oldest_ts)
        self.store.commit(turn.finish(lambda: 0.0), sync=True)
        turn.settle()

    def oldest_ts(self) -> int:
        packs = self.store.packs(1, self.log.floor + 1, 1)
        return retention.oldest_ts(packs[0], self.log.floor) if packs and self.log.count else 0

    def live(self) -> list[tuple[int, int, int]]:
        """``(seq, time, text bytes)`` of what readers can see, counted record by record."""
        found: list[tuple[int, int, int]] = []
        for pack in self.store.packs(1, 1, 1 << 30):
            seq = pack.seq
            for at, _, header in chunks.chunks_in(pack.body):
                for record in records(pack.body, at, header):
                    if seq > self.log.floor:
                        found.append((seq, record.ts, len(record.data) + len(record.meta or "")))
                    seq += 1
        return found


def exact(kept: Kept) -> None:
    """Count and bytes are what a count of the live records gives."""
    live = kept.live()
    assert (kept.log.count, kept.log.bytes) == (len(live), sum(size for _, _, size in live))


def test_a_cap_keeps_just_the_newest_records() -> None:
    """The floor moves record by record, also inside a chunk; what is dropped is whole packs."""
    origin, kept = Origin(5), Kept(config(cap_records=5))
    kept.turn(Introduce(origin.descriptor), Apply(origin.write(4)))
    kept.turn(Apply(origin.write(4)))
    assert (kept.log.floor, kept.log.count) == (3, 5)
    exact(kept)
    assert [p.seq for p in kept.store.packs(1, 1, 1 << 30)] == [1, 5]
    kept.turn(Apply(origin.write(1)))
    assert kept.log.floor == 4
    assert [p.seq for p in kept.store.packs(1, 1, 1 << 30)] == [5, 9]
    exact(kept)


def test_a_cap_in_bytes_counts_the_text_of_what_is_live() -> None:
    """Bytes are the JSON text that the writer sent."""
    origin, kept = Origin(5), Kept(config(cap_bytes=100))
    kept.turn(Introduce(origin.descriptor))
    for _ in range(30):
        kept.turn(Apply(origin.write(2)))
        exact(kept)
        assert kept.log.bytes <= 100


def test_what_is_too_old_goes() -> None:
    """TTL counts from the origin's commit time, wherever the record is."""
    origin, kept = Origin(5, ts=NOW), Kept(config(ttl_ms=1000))
    kept.turn(Introduce(origin.descriptor), Apply(origin.write(2, ts=NOW)))
    kept.turn(Apply(origin.write(3, ts=NOW + 600)), now_ms=NOW + 600)
    kept.turn(now_ms=NOW + 1000)
    assert kept.log.count == 5
    kept.turn(now_ms=NOW + 1001)
    assert (kept.log.floor, kept.log.count) == (2, 3)
    kept.turn(now_ms=NOW + 1601)
    assert (kept.log.floor, kept.log.count, kept.log.bytes) == (5, 0, 0)


def test_records_of_the_same_turn_go_too() -> None:
    """A frame larger than the cap leaves the cap, not the frame."""
    origin, kept = Origin(5), Kept(config(cap_records=3), pack_bytes=300)
    kept.turn(Introduce(origin.descriptor), *[Apply(origin.write(2)) for _ in range(6)], own=1)
    assert (kept.log.floor, kept.log.count) == (10, 3)
    exact(kept)


def test_a_log_that_follows_a_dropped_one_is_trimmed_from_its_beginning() -> None:
    """Where the oldest pack ended before the delete says nothing of the next log: its space is given back too."""
    kept, drop = Kept(config(cap_records=2)), DropTopic(forget=False, if_empty=False)
    for _ in range(9):
        kept.turn(own=2)
    kept.turn(drop)
    kept.turn(Configure(config(cap_records=2), put=False))
    for _ in range(4):
        kept.turn(own=2)
    assert [pack.seq for pack in kept.store.packs(1, 1, 1 << 30)] == [7]
    exact(kept)


def test_what_comes_behind_a_delete_in_one_turn_is_not_measured_by_the_log_before() -> None:
    """Its packs still lie in the store while the turn is decided, and go with its commit."""
    origin, kept = Origin(5), Kept(config(cap_records=3))
    kept.turn(Introduce(origin.descriptor), own=3)
    kept.turn(DropTopic(forget=False, if_empty=False), Apply(origin.write(4)))
    exact(kept)
    kept.turn(now_ms=NOW + 1)
    assert (kept.log.floor, kept.log.head, kept.log.count) == (1, 4, 3)
    exact(kept)


def test_a_long_log_is_trimmed_in_several_turns_and_never_too_far() -> None:
    """One turn looks at so many packs; what a turn brings must not be taken for what stands right behind them."""
    origin, kept = Origin(5), Kept(config())
    kept.turn(Introduce(origin.descriptor))
    for _ in range(300):
        kept.turn(Apply(origin.write()))
    kept.log.about = structs.replace(kept.log.about, config=config(cap_records=10))
    kept.turn(Apply(origin.write()))
    exact(kept)
    assert kept.log.count >= 10
    kept.turn(Apply(origin.write()))
    assert kept.log.count == 10
    exact(kept)


def test_a_dropped_range_keeps_its_hashes_and_inner_ends() -> None:
    """Hashes outlive bodies: every place in what went can still be compared with a peer's, so a fork in it is found."""
    origin, kept = Origin(5), Kept(config(cap_records=2), pack_bytes=400)
    kept.turn(Introduce(origin.descriptor))
    for count in (3, 1, 4, 2, 2):
        kept.turn(Apply(origin.write(count)))
    strand = kept.log.strands[5]
    (gap,) = kept.store.gaps(1, strand.sid, 1, 10)
    assert (gap.first, gap.last, gap.reason) == (1, 10, "evicted")
    assert (gap.prev_hash, gap.hash) == (origin.ends[0].hash, origin.ends[4].hash)
    assert strand.durable_whole_from == 11
    for end in origin.ends:
        assert hash_at(strand, 1, end.oseq, kept.store) == end.hash
    assert hash_at(strand, 1, 2, kept.store) is None
    assert contradicts(strand, 1, Position(4, b"x" * 16), kept.store)
    assert not contradicts(strand, 1, Position(4, origin.ends[2].hash), kept.store)


def test_a_place_inside_one_of_our_chunks_is_no_place() -> None:
    """Positions stand at chunk boundaries, which are the same everywhere: anything else is a fork."""
    origin, kept = Origin(5), Kept(config())
    kept.turn(Introduce(origin.descriptor), Apply(origin.write(2) + origin.write(3)), Apply(origin.write(2)))
    strand = kept.log.strands[5]
    for oseq in range(9):
        found = hash_at(strand, 1, oseq, kept.store)
        end = next((e for e in origin.ends if e.oseq == oseq), None)
        assert found == (end.hash if end else INSIDE if oseq < 7 else None)
    assert contradicts(strand, 1, Position(4, b"x" * 16), kept.store)
    assert not contradicts(strand, 1, Position(99, b"x" * 16), kept.store)
    assert not contradicts(strand, 1, Position(5, None), kept.store)


def test_a_pack_of_several_strands_leaves_a_trail_of_each() -> None:
    """What goes with a pack is told strand by strand, with the hash around every run."""
    one, two = Origin(5), Origin(6)
    body = one.write(2) + two.write(1) + one.write(3) + two.write(4)
    trails = {t.strand: t for t in retention.trails(body)}
    assert {n: (t.first, t.last, t.prev_hash, t.hash) for n, t in trails.items()} == {
        o.number: (1, 5, o.ends[0].hash, o.ends[-1].hash) for o in (one, two)
    }


def test_no_limits_no_work() -> None:
    """A topic without limits lets nothing go."""
    origin, kept = Origin(5), Kept(config())
    kept.turn(Introduce(origin.descriptor), Apply(origin.write(5)), now_ms=NOW + 10**12)
    assert (kept.log.floor, kept.log.count) == (0, 5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_count_and_bytes_stay_exact(data: st.DataObject) -> None:
    """Whatever comes, in whatever packs, under whatever limits: what is told as live is what is live, the caps hold,
    nothing that may stay has gone, and every chunk end of every strand stays comparable."""
    cap, size = data.draw(st.integers(0, 8)), data.draw(st.sampled_from([0, 60, 200]))
    ttl = data.draw(st.sampled_from([0, 500]))
    kept = Kept(
        config(cap_records=cap, cap_bytes=size, ttl_ms=ttl), pack_bytes=data.draw(st.sampled_from([250, 64 << 10]))
    )
    origins = [Origin(5), Origin(6)]
    kept.turn(*[Introduce(o.descriptor) for o in origins])
    now = NOW
    for _ in range(data.draw(st.integers(1, 14))):
        now += data.draw(st.sampled_from([0, 100, 400]))
        frame = [
            Apply(data.draw(st.sampled_from(origins)).write(data.draw(st.integers(1, 4)), ts=now))
            for _ in range(data.draw(st.integers(0, 3)))
        ]
        kept.turn(*frame, now_ms=now, own=data.draw(st.integers(0, 2)))
        exact(kept)
        live = kept.live()
        assert not cap or len(live) <= cap
        assert not size or kept.log.bytes <= size
        if ttl and live:
            assert now - live[0][1] <= ttl
        if not (cap or size or ttl):
            assert len(live) == kept.log.head
    for origin in origins:
        for end in origin.ends:
            assert hash_at(kept.log.strands[origin.number], 1, end.oseq, kept.store) == end.hash


def test_a_trail_is_bounded() -> None:
    """A topic that lets go for years does not keep a hash of every chunk that it ever had in one row."""
    origin, kept = Origin(5), Kept(config(cap_records=1))
    kept.turn(Introduce(origin.descriptor))
    for _ in range(retention.ENDS_BYTES // 24 + 50):
        kept.turn(Apply(origin.write()))
    gaps = kept.store.gaps(1, kept.log.strands[5].sid, 1, 100)
    assert len(gaps) == 2
    assert all(len(gap.ends) <= retention.ENDS_BYTES for gap in gaps)
    assert gaps[0].last + 1 == gaps[1].first
