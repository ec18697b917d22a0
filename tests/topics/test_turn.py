"""One turn: what it takes, what it refuses, and the vector that comes of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs

from mirrord.errors import HashMismatch, ProtocolViolation
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Copy, Draft, Via
from mirrord.records.gap import Cover
from mirrord.records.record import records, vias
from mirrord.records.strand import Position
from mirrord.storage.memory import MemoryStore
from mirrord.storage.store import PutGap, PutPack, PutStrand, PutVector
from mirrord.topics.log.arrival import Arrival
from mirrord.topics.log.log import Log
from mirrord.topics.log.turn import Sizes, Turn
from mirrord.topics.messages import Fork

from .rig import ME, Origin, draft, log_of, turn_of


def known(origin: Origin, log: Log | None = None) -> Log:
    """A log to which the origin's strand was introduced."""
    log = log if log is not None else log_of()
    Arrival(turn_of(log)).introduce(origin.descriptor)
    return log


def slowly() -> float:
    return 0.0


def commit(turn: Turn, store: MemoryStore) -> None:
    store.commit(turn.finish(slowly), sync=True)
    turn.settle()


def texts(store: MemoryStore) -> list[str]:
    found: list[str] = []
    for pack in store.packs(1, 1, 1 << 30):
        for at, _, header in chunks.chunks_in(pack.body):
            found += [str(r.data) for r in records(pack.body, at, header)]
    return found


# ---- own records


def test_own_records_are_numbered_without_holes() -> None:
    """Seqs and oseqs run on over calls, turns and pieces; a call's records stand together."""
    log, store = log_of(), MemoryStore()
    turn = turn_of(log)
    assert turn.append(batches_of([draft("1"), draft("2")])) == (1, 2)
    assert turn.append(batches_of([draft("3")])) == (3, 3)
    commit(turn, store)
    turn = turn_of(log)
    assert turn.append(batches_of([draft("4")])) == (4, 4)
    commit(turn, store)
    assert texts(store) == ["1", "2", "3", "4"]
    (strand,) = log.strands.values()
    assert (strand.durable_last, log.head, log.count) == (4, 4, 4)
    assert ME.wrote(strand.descriptor)


def appended(log: Log, *drafts: Draft, now_ms: int = 1000) -> None:
    """A whole turn of one append."""
    turn = turn_of(log, now_ms=now_ms)
    turn.append(batches_of(drafts))
    turn.finish(slowly)


def test_time_never_runs_backwards_in_a_strand() -> None:
    """The machine's clock may step; a strand's times do not."""
    log = log_of()
    appended(log, draft(), now_ms=2000)
    turn = turn_of(log, now_ms=1000)
    turn.append(batches_of([draft()]))
    (change,) = [c for c in turn.finish(slowly) if isinstance(c, PutVector)]
    assert change.row.ts == 2000


def test_what_is_appended_in_one_turn_shares_a_chunk() -> None:
    """Writers that waited together cost their peers one chunk, and each still gets its own seqs; a chunk of a link in
    between keeps the order of the log."""
    log = log_of()
    turn = turn_of(log)
    assert [turn.append(batches_of(some)) for some in ([draft("1")], [draft("2"), draft("3")])] == [(1, 1), (2, 3)]
    turn.finish(slowly)
    (pack,) = turn.packs
    assert [(header[chunks.COUNT], header[chunks.FIRST]) for _, _, header in chunks.chunks_in(pack.body)] == [(3, 1)]
    assert (log.head, log.count, log.bytes) == (3, 3, 3)


def test_a_chunk_is_of_writers_or_of_routers() -> None:
    """Only copies tell where they came from: a reader of the chunk finds it for all of its records or for none."""
    log, store = log_of(), MemoryStore()
    turn = turn_of(log)
    copy = Copy(Raw(b"2"), via=Via(("orders",), 5, 9, "r"))
    for some in ([draft("1")], [copy], [draft("3")]):
        turn.append(batches_of(some))
    commit(turn, store)
    (pack,) = store.packs(1, 1, 1 << 30)
    assert [vias(pack.body, at, header) for at, _, header in chunks.chunks_in(pack.body)] == [[], [copy.via], []]
    assert texts(store) == ["1", "2", "3"]


def test_a_large_append_becomes_several_chunks_with_one_chain() -> None:
    """One chunk never fills a frame; the pieces chain, so every node checks them all."""
    log, store = log_of(), MemoryStore()
    turn = turn_of(log)
    assert turn.append(batches_of([draft('"' + "x" * 100_000 + '"') for _ in range(7)])) == (1, 7)
    commit(turn, store)
    headers = [h for pack in store.packs(1, 1, 1 << 30) for _, _, h in chunks.chunks_in(pack.body)]
    assert [h[chunks.FIRST] for h in headers] == [1, 3, 5, 7]
    for before, after in pairwise(headers):
        assert after[chunks.PREV_HASH] == before[chunks.HASH]


def test_a_new_strand_tells_which_of_ours_came_before() -> None:
    """``after`` informs of the strand that a former life left, with its hash."""
    log = log_of()
    appended(log, draft(), draft())
    (old,) = log.strands.values()
    log.own = None
    appended(log, draft())
    new = log.own
    assert new is not None
    assert new.descriptor.after == (old.descriptor.strand, 2, old.hash)


# ---- what links bring


def test_chunks_of_peers_are_kept_byte_for_byte() -> None:
    """Law 11: what came is what is stored, in the order in which it came."""
    origin, store = Origin(5), MemoryStore()
    log = known(origin)
    turn = turn_of(log)
    bodies = origin.write(3) + origin.write(1)
    applied = Arrival(turn).apply(bodies)
    assert (applied.taken, applied.known, applied.moved) == (4, 0, ((5, 4),))
    commit(turn, store)
    assert b"".join(p.body for p in store.packs(1, 1, 1 << 30)) == bodies
    assert log.strands[5].durable == origin.ends[-1]


def test_what_is_known_is_skipped_and_counted() -> None:
    """At-least-once on the line, exactly once in the log: also when a frame overlaps what is there."""
    origin = Origin(5)
    log = known(origin)
    first, second = origin.write(2), origin.write(3)
    Arrival(turn_of(log)).apply(first)
    applied = Arrival(turn_of(log)).apply(first + second)
    assert (applied.known, applied.taken, log.head) == (2, 3, 5)


def test_what_is_ahead_is_never_applied() -> None:
    """A hole is never jumped over, whoever sends; the link is told where we stand."""
    origin = Origin(5)
    log = known(origin)
    _, second = origin.write(2), origin.write(3)
    applied = Arrival(turn_of(log)).apply(second)
    assert (applied.taken, applied.ahead, log.strands[5].last, log.head) == (0, (5,), 0, 0)


def test_another_content_at_one_place_is_a_fork_and_names_both() -> None:
    """Never overwritten, never skipped: the strand halts, with both positions; other strands go on."""
    origin, twin, other = Origin(5), Origin(5), Origin(6)
    log = known(other, known(origin))
    Arrival(turn_of(log)).apply(origin.write(2))
    twin.write(1)
    twin_last = twin.write(2)
    applied = Arrival(turn_of(log)).apply(twin_last + other.write(1))
    assert applied.forks == (Fork(5, origin.ends[-1], Position(3, twin.ends[-1].hash)),)
    assert applied.moved == ((6, 1),)
    assert log.strands[5].last == 2


def test_a_repeat_that_ends_at_our_head_with_another_hash_is_a_fork() -> None:
    """The rewound writer that wrote the same numbers again is found at its first repeat."""
    origin, twin = Origin(5), Origin(5, ts=1_600_000_000_001)
    log = known(origin)
    Arrival(turn_of(log)).apply(origin.write(2))
    applied = Arrival(turn_of(log)).apply(twin.write(2))
    assert [f.theirs for f in applied.forks] == [twin.ends[-1]]


def test_a_broken_chain_is_a_fork_before_anything_is_applied() -> None:
    """The chain check: a chunk that names another hash before it does not follow, however well numbered."""
    origin, twin = Origin(5), Origin(5, ts=1_600_000_000_001)
    log = known(origin)
    Arrival(turn_of(log)).apply(origin.write(2))
    twin.write(2)
    applied = Arrival(turn_of(log)).apply(twin.write(1))
    assert [(f.mine, f.theirs) for f in applied.forks] == [(origin.ends[1], Position(2, twin.ends[1].hash))]
    assert (applied.taken, log.head) == (0, 2)


def test_chunks_before_their_descriptor_are_a_violation() -> None:
    """Every record belongs to a strand whose origin is known."""
    with pytest.raises(ProtocolViolation, match="before its descriptor"):
        Arrival(turn_of(log_of())).apply(Origin(5).write())


def test_a_wrong_hash_keeps_what_came_before_and_nothing_after() -> None:
    """Bit rot on the line stops the frame there."""
    origin, store = Origin(5), MemoryStore()
    log = known(origin)
    good, bad = origin.write(2), bytearray(origin.write(2))
    bad[-1] ^= 1
    turn = turn_of(log)
    with pytest.raises(HashMismatch):
        Arrival(turn).apply(good + bytes(bad))
    commit(turn, store)
    assert (log.strands[5].durable, log.head) == (origin.ends[1], 2)


def test_kinds_that_this_version_does_not_know_are_refused() -> None:
    """What a later version adds must not be taken for records, nor pretended to be followed."""
    origin = Origin(5)
    log = known(origin)
    packed, _, _ = encode(5, 1, origin.descriptor.id_hash, 7, batches_of([draft()]), kind=2)
    turn = turn_of(log)
    with pytest.raises(ProtocolViolation, match="kind"):
        Arrival(turn).apply(packed)
    assert log.head == 0
    assert not [c for c in turn.finish(slowly) if isinstance(c, PutPack)]


def test_our_own_open_strand_is_extended_by_nobody_else() -> None:
    """Whoever extends it proves that our store was put back: named, not applied."""
    log = log_of()
    appended(log, draft())
    own = log.own
    assert own is not None
    packed, _, _ = encode(own.descriptor.strand, 2, own.hash or b"", 7, batches_of([draft()]))
    applied = Arrival(turn_of(log)).apply(packed)
    assert (applied.mine, applied.taken, own.last) == ((own.descriptor.strand,), 0, 1)


def test_a_strand_is_described_once() -> None:
    """The same again is fine, another one is a violation; a strand of ours that we never opened is one too."""
    origin = Origin(5)
    log = known(origin)
    Arrival(turn_of(log)).introduce(origin.descriptor)
    with pytest.raises(ProtocolViolation, match="another way"):
        Arrival(turn_of(log)).introduce(structs.replace(origin.descriptor, origin="elsewhere"))
    with pytest.raises(ProtocolViolation, match="never opened"):
        Arrival(turn_of(log)).introduce(
            structs.replace(origin.descriptor, strand=6, origin_id=ME.origin_id, life=ME.life)
        )
    Arrival(turn_of(log)).introduce(structs.replace(origin.descriptor, strand=7, origin_id=ME.origin_id))
    assert sorted(log.strands) == [5, 7]


def test_strands_of_a_topic_are_bounded() -> None:
    """A peer cannot fill the memory with strands that nobody wrote."""
    log = log_of()
    turn = turn_of(log, sizes=Sizes(64 << 10, 3))
    for number in range(1, 4):
        Arrival(turn).introduce(Origin(number).descriptor)
    with pytest.raises(ProtocolViolation, match="max_strands_per_topic"):
        Arrival(turn).introduce(Origin(4).descriptor)


# ---- covers


def cover(origin: Origin, first: int, last: int, reason: str = "expired", **hashes: bytes | None) -> Cover:
    told = {"prev_hash": origin.ends[0].hash, "hash": b"e" * 16} | hashes
    return Cover(origin.number, first, last, reason, told["prev_hash"], told["hash"])


def test_a_loss_takes_one_seq_and_what_was_wanted_none() -> None:
    """Readers see a loss once, in order; the vector moves over the whole range either way."""
    for reason, seqs in (("expired", 1), ("evicted", 1), ("lost", 1), ("filtered", 0), ("deleted", 0), ("erased", 0)):
        origin = Origin(5)
        log = known(origin)
        turn = turn_of(log)
        assert Arrival(turn).cover(cover(origin, 1, 9, reason)).taken == 1
        (put,) = [c for c in turn.finish(slowly) if isinstance(c, PutGap)]
        assert (log.head, log.count, log.strands[5].last) == (seqs, 0, 9)
        assert (put.gap.seq_from, put.gap.seq_to) == (seqs, seqs)
        assert log.strands[5].whole_from == 10


def test_a_cover_of_what_is_known_does_nothing() -> None:
    """Late covers of what has come meanwhile are counted as known."""
    origin = Origin(5)
    log = known(origin)
    turn = turn_of(log)
    Arrival(turn).apply(origin.write(4))
    commit(turn, MemoryStore())
    turn = turn_of(log)
    assert Arrival(turn).cover(cover(origin, 2, 4)).known == 3
    assert turn.finish(slowly) == []


def test_a_cover_ahead_is_not_applied() -> None:
    """A cover behind a hole would hide the hole."""
    origin = Origin(5)
    log = known(origin)
    assert Arrival(turn_of(log)).cover(cover(origin, 3, 9)).ahead == (5,)
    assert log.strands[5].last == 0


def test_a_cover_with_another_hash_before_it_is_a_fork() -> None:
    """A cover chains like a chunk."""
    origin = Origin(5)
    log = known(origin)
    applied = Arrival(turn_of(log)).cover(cover(origin, 1, 9, prev_hash=b"x" * 16))
    assert [f.theirs for f in applied.forks] == [Position(0, b"x" * 16)]
    assert log.strands[5].last == 0


def test_a_cover_that_began_before_our_head_covers_the_rest() -> None:
    """The log came further while the cover was held back: only what is still missing is covered."""
    origin = Origin(5)
    log = known(origin)
    Arrival(turn_of(log)).apply(origin.write(4))
    turn = turn_of(log)
    Arrival(turn).cover(cover(origin, 1, 9))
    (put,) = [c for c in turn.finish(slowly) if isinstance(c, PutGap)]
    assert (put.gap.first, put.gap.last, put.gap.prev_hash) == (5, 9, origin.ends[-1].hash)


def test_after_a_cover_without_a_hash_the_chain_is_adopted() -> None:
    """Null is applied and shown as unverified; the next chunk's own word is taken."""
    origin = Origin(5)
    log = known(origin)
    origin.write(9)
    Arrival(turn_of(log)).cover(cover(origin, 1, 9, hash=None))
    assert log.strands[5].hash is None
    assert Arrival(turn_of(log)).apply(origin.write(1)).taken == 1
    assert log.strands[5].hash == origin.ends[-1].hash


def test_covers_of_strands_that_nobody_described_are_a_violation() -> None:
    """Like chunks."""
    with pytest.raises(ProtocolViolation):
        Arrival(turn_of(log_of())).cover(Cover(5, 1, 2, "lost", None, None))


# ---- packs


def test_packs_are_cut_where_they_are_full() -> None:
    """A pack holds whole chunks up to its size; seqs run on without holes; all strands stand as they came."""
    one, two = Origin(5), Origin(6)
    log = known(two, known(one))
    turn = turn_of(log, sizes=Sizes(1000, 100))
    store = MemoryStore()
    turn.append(batches_of([draft("0")]))
    for origin in (one, two, one, two, one):
        Arrival(turn).apply(origin.write(4, pad=50))
    turn.append(batches_of([draft("9")]))
    commit(turn, store)
    packs = store.packs(1, 1, 1 << 30)
    assert len(packs) > 2
    assert all(len(p.body) <= 1000 for p in packs)
    assert all(len(one.body) + len(two.body) > 1000 for one, two in pairwise(packs[:-1]))
    assert [p.seq for p in packs] == [1, *[p.last + 1 for p in packs[:-1]]]
    assert packs[-1].last == log.head == 22
    assert sum(p.records for p in packs) == log.count == 22
    assert sum(p.bytes for p in packs) == log.bytes
    assert texts(store)[0] == "0"
    assert texts(store)[-1] == "9"


def test_a_turn_that_changes_nothing_commits_nothing() -> None:
    """Repeats cost no write."""
    origin = Origin(5)
    log, store = known(origin), MemoryStore()
    packed = origin.write(2)
    turn = turn_of(log)
    Arrival(turn).apply(packed)
    commit(turn, store)
    turn = turn_of(log)
    Arrival(turn).apply(packed)
    assert turn.finish(slowly) == []


def test_a_descriptor_is_stored_with_the_first_thing_of_its_strand() -> None:
    """In one transaction: a store never has records of a strand that it does not know."""
    origin = Origin(5)
    log, store = known(origin), MemoryStore()
    turn = turn_of(log)
    Arrival(turn).apply(origin.write())
    assert sum(isinstance(c, PutStrand) for c in turn.finish(slowly)) == 1
    turn.settle()
    turn = turn_of(log)
    Arrival(turn).apply(origin.write())
    assert not any(isinstance(c, PutStrand) for c in turn.finish(slowly))
    turn = turn_of(log_of())
    Arrival(turn).introduce(origin.descriptor)
    assert turn.finish(slowly) == []
    store.close()


def test_the_ceiling_is_raised_with_a_sync_whoever_brought_the_records() -> None:
    """No seq above the synced ceiling is ever readable."""
    origin = Origin(5)
    log = known(origin)
    turn = turn_of(log)
    Arrival(turn).apply(origin.write(3))
    turn.finish(slowly)
    assert (turn.sync, log.ceiling >= log.head + 4096) == (True, True)
    turn = turn_of(log)
    Arrival(turn).apply(origin.write(3))
    turn.finish(slowly)
    assert turn.sync is False


# ---- every interleaving


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_every_interleaving_gives_each_record_exactly_once(data: st.DataObject) -> None:
    """Promise 2: several links bring several strands, repeat themselves and overtake each other in any way; each record
    is in the log once, in its strand's order, and the vector is the longest prefix that arrived without a hole."""
    origins = [Origin(5), Origin(6), Origin(7)]
    log, store = log_of(), MemoryStore()
    for origin in origins:
        known(origin, log)
        for _ in range(data.draw(st.integers(1, 5))):
            origin.write(data.draw(st.integers(1, 3)))
    pieces = [(o, i) for o in origins for i in range(len(o.chunks))]
    have: dict[int, int] = {o.number: 0 for o in origins}  # chunks of each strand, by the rule in its plainest form
    for _ in range(data.draw(st.integers(1, 12))):
        turn = turn_of(log, sizes=Sizes(data.draw(st.sampled_from([200, 64 << 10])), 100))
        for _ in range(data.draw(st.integers(1, 3))):
            frame = data.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=6))
            Arrival(turn).apply(b"".join(o.chunks[i] for o, i in frame))
            for o, i in frame:
                have[o.number] += have[o.number] == i
        commit(turn, store)
    told = texts(store)
    assert len(told) == len(set(told)) == log.head
    for origin in origins:
        end = origin.ends[have[origin.number]]
        assert log.strands[origin.number].durable == end
        mine = [t for t in told if t.startswith(f'"there {origin.number}/')]
        assert mine == [origin.text(n) for n in range(1, end.oseq + 1)]
