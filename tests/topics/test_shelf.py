"""The warm tail: recent packs in memory, bounded, and never with a hole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrord.storage.store import Pack
from mirrord.topics.log.shelf import JOINED, SMALL_BYTES, Shelf


def pack(tid: int, seq: int, last: int, size: int = 10) -> Pack:
    return Pack(tid, seq, last, last - seq + 1, size, 0, (b"%d." % seq).ljust(size, b".")[:size])


def test_what_is_there_is_read_from_where_it_is_asked() -> None:
    """From the pack that holds the seq, as much as fits; nothing behind the head."""
    shelf = Shelf(1000)
    packs = [pack(1, 1, 3), pack(1, 4, 4), pack(1, 9, 12)]
    for p in packs:
        shelf.put(p)
    assert shelf.read(1, 2, 1000) == packs
    assert shelf.read(1, 4, 1) == packs[1:2]
    assert shelf.read(1, 5, 1000) == packs[2:]
    assert shelf.read(1, 13, 1000) == []
    assert shelf.read(2, 1, 1000) is None


def test_what_came_first_goes_first() -> None:
    """Bounded over all topics; what went is asked of the store. Small packs in a row go together."""
    shelf = Shelf(3 * SMALL_BYTES)
    for i in range(1, 5):
        shelf.put(pack(1, i, i, SMALL_BYTES))
    assert shelf.read(1, 1, 99) is None
    assert [p.seq for p in shelf.read(1, 2, 1 << 20) or []] == [2, 3, 4]
    assert shelf.used_bytes == 3 * SMALL_BYTES
    shelf = Shelf(40)
    for tid, seq in ((1, 1), (2, 1), (1, 2), (1, 3), (2, 2)):
        shelf.put(pack(tid, seq, seq))
    assert (shelf.read(1, 3, 99), shelf.used_bytes) == (None, 20)
    assert [p.seq for p in shelf.read(2, 1, 99) or []] == [1, 2]


def test_a_cleared_topic_leaves_room() -> None:
    """A dropped log is forgotten at once, with its bytes."""
    shelf = Shelf(30)
    shelf.put(pack(1, 1, 1))
    shelf.put(pack(2, 1, 1))
    shelf.clear(1)
    assert (shelf.read(1, 1, 99), shelf.used_bytes) == (None, 10)
    shelf.put(pack(1, 1, 1))
    assert shelf.used_bytes == 20


def test_small_packs_in_a_row_become_one() -> None:
    """Who reads the tail pays by packs; a hole in the seqs is never closed, and what is joined is evicted as one."""
    shelf = Shelf(JOINED * 10)
    for seq in range(1, JOINED + 1):
        shelf.put(pack(1, seq, seq))
    (one,) = shelf.read(1, 1, 1 << 20) or []
    assert (one.seq, one.last, one.records, one.bytes, len(one.body)) == (1, JOINED, JOINED, JOINED * 10, JOINED * 10)
    shelf.put(pack(2, 1, 1))
    assert (shelf.read(1, 1, 1), shelf.used_bytes) == (None, 10)
    for seq in (1, *range(5, 4 + JOINED)):
        shelf.put(pack(3, seq, seq, 1))
    assert [p.seq for p in shelf.read(3, 1, 1 << 20) or []] == [1, *range(5, 4 + JOINED)]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 20)), max_size=90), st.integers(1, 400))
def test_an_answer_is_the_log_or_nothing(steps: list[tuple[int, int, int]], room: int) -> None:
    """Whatever was put and evicted: what is read is just what the log has from there, or "ask the store"."""
    shelf = Shelf(room)
    logs: dict[int, list[Pack]] = {tid: [] for tid in (1, 2, 3)}
    for tid, count, size in steps:
        at = logs[tid][-1].last + 1 if logs[tid] else 1
        logs[tid].append(pack(tid, at, at + count - 1, size))
        shelf.put(logs[tid][-1])
        assert shelf.used_bytes <= room
    for tid, log in logs.items():
        for seq in range(1, (log[-1].last if log else 0) + 1):
            found = shelf.read(tid, seq, 1 << 20)
            if found is not None:
                assert b"".join(p.body for p in found).endswith(b"".join(p.body for p in log if p.last >= seq))
                assert (found[0].seq <= seq, sum(p.records for p in found)) == (True, log[-1].last - found[0].seq + 1)


STEPS = st.tuples(st.sampled_from(("put", "put", "put", "put", "hole", "trim", "clear")), st.integers(1, 2))


@given(st.lists(STEPS, max_size=200), st.integers(1, 2000))
def test_whatever_goes_the_rest_is_the_log(steps: list[tuple[str, int]], room: int) -> None:
    """Holes, trims and drops between the packs, in any order: the rows that go leave nothing out, and no byte of them
    is counted for ever."""
    shelf = Shelf(room)
    logs: dict[int, list[Pack]] = {1: [], 2: []}
    for what, tid in steps:
        log = logs[tid]
        if what == "trim":
            del log[: len(log) // 2]
            shelf.trim(tid, log[0].seq if log else 1)
        elif what == "clear":
            log.clear()
            shelf.clear(tid)
        else:
            seq = log[-1].last + (2 if what == "hole" else 1) if log else 1
            log.append(pack(tid, seq, seq))
            shelf.put(log[-1])
        assert shelf.used_bytes <= room
    for tid, log in logs.items():
        for i, p in enumerate(log):
            found = shelf.read(tid, p.seq, 1 << 20)
            if found is not None:
                assert b"".join(f.body for f in found).endswith(b"".join(later.body for later in log[i:]))
        shelf.clear(tid)
    assert shelf.used_bytes == 0


def test_what_the_store_let_go_is_forgotten() -> None:
    """A reader or feed must not be given from memory what is gone from the disk; the room comes back at once."""
    shelf = Shelf(1 << 20)
    packs = [Pack(1, seq, seq, 1, 1, 1, b"x" * 100) for seq in range(1, 11)]
    for pack in packs:
        shelf.put(pack)
    shelf.put(Pack(2, 1, 1, 1, 1, 1, b"y" * 50))
    for before in (1, 4, 4, 9):
        shelf.trim(1, before)
        assert shelf.used_bytes == (11 - max(before, 1)) * 100 + 50
    assert shelf.read(1, 8, 1) is None
    found = shelf.read(1, 9, 1 << 20)
    assert found is not None
    assert [pack.seq for pack in found] == [9, 10]
    shelf.trim(1, 99)
    assert (shelf.used_bytes, shelf.read(1, 9, 1), len(shelf.read(2, 1, 1) or ())) == (50, None, 1)
