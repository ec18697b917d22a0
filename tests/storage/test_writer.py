"""The writer's decisions under a clock that the test moves."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from mirrord.errors import DiskFull, StorageFailed, StoreCorrupt
from mirrord.storage.memory import Fault, MemoryStore
from mirrord.storage.store import Change, DropMark, DropPack, PutMark
from mirrord.storage.turns import Turn
from mirrord.storage.writer import JournalSettings, Writer


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def wall_ms(self) -> int:
        return int(self.now * 1_000)

    def monotonic(self) -> float:
        return self.now


class Bench:
    """A writer over a memory store."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = MemoryStore(pack_bytes=100)
        self.writer = Writer(self.store, self.clock, JournalSettings(first_wait_ms=100, longest_wait_ms=400))

    def put(self, *changes: Change, sync: bool = False, urgent: bool = True) -> Turn:
        turn = Turn(changes, sync=sync, urgent=urgent, size=1)
        turn.came_s = self.clock.now
        self.writer.put(turn)
        return turn

    def step(self) -> list[str]:
        """What became of each turn."""
        return [type(error).__name__ if error else "ok" for _, error in self.writer.step()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_waits_shares_a_transaction_and_a_sync(bench: Bench) -> None:
    """Ten turns of which one asks for a sync cost one commit and one sync."""
    for at in range(10):
        bench.put(PutMark(str(at), b""), sync=at == 5)
    assert bench.step() == ["ok"] * 10
    assert (bench.writer.tally.commits, bench.writer.tally.syncs, bench.writer.tally.turns) == (1, 1, 10)
    assert bench.store.unsynced == 0


def test_one_bad_turn_does_not_spoil_the_others(bench: Bench) -> None:
    """A turn that contradicts the store is refused alone."""
    bench.put(PutMark("a", b""))
    bench.put(DropPack(1, 1, 1), PutMark("bad", b""))
    bench.put(PutMark("b", b""))
    assert bench.step() == ["ok", "StoreCorrupt", "ok"]
    assert [reader for reader, _ in bench.store.marks("")] == ["a", "b"]


def test_an_unsynced_commit_is_synced_in_time(bench: Bench) -> None:
    """``disk_sync_ms`` after the first commit without sync one with sync follows, turns or not."""
    assert bench.writer.deadline() == inf
    bench.put(PutMark("a", b""))
    bench.step()
    bench.clock.now += 0.6
    bench.put(PutMark("b", b""))
    bench.step()
    assert bench.writer.tally.syncs == 0
    bench.clock.now += 0.4
    assert bench.writer.deadline() <= bench.clock.now
    bench.step()
    assert (bench.writer.tally.syncs, bench.store.unsynced) == (1, 0)


def test_under_load_the_sync_rides_on_a_turn(bench: Bench) -> None:
    """Where turns keep coming no commit is made for the sync alone."""
    bench.put(PutMark("a", b""))
    bench.step()
    bench.clock.now += 1.0
    bench.put(PutMark("b", b""))
    bench.step()
    assert (bench.writer.tally.commits, bench.writer.tally.syncs) == (2, 1)


def test_a_failed_disk_is_tried_again_with_growing_waits(bench: Bench) -> None:
    """While broken, turns are refused at once and attempts to heal are few; it recovers without a turn."""
    bench.store.fail_next(Fault.EIO, written=True, sticky=True)
    bench.put(PutMark("a", b""))
    assert bench.step() == ["StorageFailed"]
    attempts = []
    for _ in range(20):
        due = bench.writer.deadline()
        if due > bench.clock.now:
            attempts.append(round(due - bench.clock.now, 3))
            bench.put(PutMark("a", b""))
            assert bench.step() == ["StorageFailed"]
            bench.clock.now = due
        bench.step()
    assert attempts[:5] == [0.1, 0.2, 0.4, 0.4, 0.4]
    bench.store.mend()
    bench.clock.now = bench.writer.deadline()
    bench.step()
    bench.put(PutMark("b", b""))
    assert bench.step() == ["ok"]
    assert bench.store.marks("") == [("b", b"")]


def test_a_failed_sync_is_not_tried_in_a_circle(bench: Bench) -> None:
    """After a refused sync the next attempt waits as long as the first did."""
    bench.put(PutMark("a", b""))
    bench.step()
    bench.clock.now += 1.0
    bench.store.fail_next(Fault.EIO)
    bench.step()
    assert bench.writer.tally.failures == 1
    bench.step()
    bench.step()
    assert bench.writer.deadline() > bench.clock.now
    assert (bench.writer.tally.failures, bench.writer.tally.syncs) == (1, 0)
    bench.clock.now += 1.0
    bench.step()
    assert bench.store.unsynced == 0


def test_a_full_disk_lets_the_rest_of_the_group_pass(bench: Bench, record_at: Any) -> None:
    """A group that meets the end of the disk is tried turn by turn: deletes pass, appends hear DiskFull."""
    bench.store.fail_next(Fault.ENOSPC, sticky=True)
    bench.put(DropMark("a"))
    bench.put(record_at(1))
    bench.put(PutMark("b", b""))
    assert bench.step() == ["ok", "DiskFull", "ok"]
    assert bench.store.state == "full"


def test_idle_work_waits_for_a_pause(bench: Bench, record_at: Any) -> None:
    """Packs are merged some time after the last turn, and then nothing is due any more."""
    bench.put(*(record_at(seq, b"x" * 30) for seq in range(1, 10)), sync=True)
    bench.step()
    assert len(bench.store.packs(1, 1, 1 << 20)) == 9
    while (due := bench.writer.deadline()) < inf:
        assert due <= bench.clock.now + 1.0
        bench.clock.now = max(due, bench.clock.now)
        bench.step()
    assert [pack.records for pack in bench.store.packs(1, 1, 1 << 20)] == [3, 3, 1, 1, 1]


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("written", [False, True])
def test_the_memory_store_refuses_whole(fault: Fault, written: bool) -> None:
    """Before or after the write, EIO or ENOSPC: nothing of it is kept, and once means once."""
    store = MemoryStore()
    store.fail_next(fault, written=written)
    with pytest.raises(DiskFull if fault is Fault.ENOSPC else StorageFailed):
        store.commit([PutMark("a", b"")], sync=True)
    assert store.marks("") == []
    store.commit([PutMark("b", b"")], sync=True)
    assert store.marks("") == [("b", b"")]


def test_a_witness_can_kill_around_a_commit() -> None:
    """A simulator that dies before a commit finds nothing of it, one that dies after finds all of it."""

    class PowerCut(BaseException):
        pass

    for moment, kept in (("before", []), ("after", [("a", b"")])):

        def witness(now: str, moment: str = moment) -> None:
            if now == moment:
                raise PowerCut

        store = MemoryStore(witness)
        with pytest.raises(PowerCut):
            store.commit([PutMark("a", b"")], sync=True)
        store.crash(0)
        assert store.marks("") == kept


def test_corrupt_is_no_storage_failure() -> None:
    """The writer tells a turn at fault from a disk at fault by the class of the error."""
    assert not issubclass(StoreCorrupt, StorageFailed)
    assert issubclass(DiskFull, StorageFailed)
