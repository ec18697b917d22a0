"""The journal, on its thread and inline: the same promises to those who give it turns."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from mirrord.clock import SystemClock
from mirrord.errors import ActorDied, ShuttingDown, StorageFailed, StoreCorrupt, Throttled
from mirrord.storage.inline import InlineJournal
from mirrord.storage.journal import AT_ONCE_BYTES, SETTLED_AT_ONCE, Journal
from mirrord.storage.memory import Fault, MemoryStore
from mirrord.storage.sqlite import Settings, SqliteStore, open_sqlite
from mirrord.storage.store import DropPack, PutMark
from mirrord.storage.turns import Turn
from mirrord.storage.writer import JournalSettings, Writer


@pytest.fixture(params=[Journal, InlineJournal])
def kind(request: pytest.FixtureRequest) -> type[Journal]:
    kind: type[Journal] = request.param
    return kind


def mark(name: str, *, sync: bool = False, size: int = 1) -> Turn:
    return Turn([PutMark(name, b"")], sync=sync, urgent=True, size=size)


@asynccontextmanager
async def running(journal: Journal) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        with trio.fail_after(30):
            yield
            await journal.aclose()


class GatedStore(MemoryStore):
    """A memory store whose commits wait at a gate, so that a test decides what waits meanwhile."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        super().__init__(self._pass)

    @property
    def log_work_due(self) -> bool:
        """This disk makes everybody wait, so nothing is committed on the event loop."""
        return True

    def _pass(self, moment: str) -> None:
        if moment == "before":
            self.entered.release()
            assert self.gate.acquire(timeout=30)


async def test_a_commit_is_there_when_it_is_answered(kind: type[Journal], tmp_path: Path) -> None:
    """Answered means readable, on a real store too."""
    store = open_sqlite(tmp_path, Settings(ballast_bytes=0))
    journal = kind(store, SystemClock())
    async with running(journal):
        for at in range(20):
            await journal.commit([PutMark(str(at), b"")], sync=at % 2 == 0, urgent=True, size=1)
            assert store.mark(str(at)) == b""
        told = journal.statistics()
    assert (told.turns, told.commits, told.state, told.waiting) == (20, 20, "ok", 0)
    assert told.syncs >= 10
    store.close()


class WitnessStore(MemoryStore):
    """Tells which threads committed to it."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        super().__init__(lambda moment: self.threads.append(threading.get_ident()) if moment == "before" else None)


async def test_a_lone_small_turn_needs_no_thread() -> None:
    """While nothing else is open a small turn is committed where it was submitted, and settled at once; a large one and
    one with a sync on a disk whose syncs nobody has timed go to the thread."""
    store = WitnessStore()
    journal = Journal(store, SystemClock())
    async with running(journal):
        here = threading.get_ident()
        lone = mark("lone")
        journal.submit(lone)
        assert lone.settled
        assert store.threads == [here]
        for turn in (mark("large", size=AT_ONCE_BYTES + 1), mark("synced", sync=True)):
            journal.submit(turn)
            assert not turn.settled
            await turn.wait()
        assert here not in store.threads[1:]


async def test_turns_behind_another_share_its_wait() -> None:
    """What comes while a turn is open stands in line behind it: nothing overtakes on the event loop."""
    store = WitnessStore()
    journal = Journal(store, SystemClock())
    async with running(journal):
        first, second = mark("first", sync=True), mark("second")
        journal.submit(first)
        journal.submit(second)
        assert not second.settled
        await second.wait()
        assert first.settled


async def test_what_comes_together_commits_together(kind: type[Journal]) -> None:
    """Many tasks that write at once share transactions."""
    journal = kind(MemoryStore(), SystemClock())
    async with running(journal), trio.open_nursery() as nursery:
        for at in range(100):
            changes = [PutMark(str(at), b"")]
            nursery.start_soon(partial(journal.commit, changes, sync=True, urgent=True, size=1))
    told = journal.statistics()
    assert told.turns == 100
    assert told.commits < 50


async def test_turns_that_wait_for_the_disk_share_the_next_commit() -> None:
    """While one commit is in the disk's hands others gather; a cancelled waiter's turn is committed too."""
    store = GatedStore()
    journal = Journal(store, SystemClock())
    async with running(journal):
        first = mark("first")
        journal.submit(first)
        await trio.to_thread.run_sync(store.entered.acquire)
        turns = [mark(str(at)) for at in range(5)]
        for turn in turns:
            journal.submit(turn)
        with trio.CancelScope() as scope:
            scope.cancel()
            await turns[0].wait()
        assert scope.cancelled_caught
        store.gate.release(10)
        for turn in turns:
            await turn.wait()
        assert journal.statistics().commits == 2
    assert len(store.marks("")) == 6


async def test_every_waiter_hears_of_the_failure_and_the_next_commit_works(kind: type[Journal]) -> None:
    """EIO once: all turns of the group are refused; the disk works again, and so does the journal."""
    store = MemoryStore()
    journal = kind(store, SystemClock())
    store.fail_next(Fault.EIO, written=True)
    async with running(journal):
        with pytest.raises(StorageFailed):
            await journal.commit([PutMark("a", b"")], sync=True, urgent=True, size=1)
        await journal.commit([PutMark("b", b"")], sync=True, urgent=True, size=1)
    assert store.marks("") == [("b", b"")]
    assert journal.statistics().failures == 1


async def test_it_recovers_by_itself(kind: type[Journal], store: SqliteStore, disk: Any, record_at: Any) -> None:
    """A disk that is broken for a while: refused at once meanwhile, healed in the background, no restart."""
    journal = kind(store, SystemClock(), JournalSettings(first_wait_ms=1, longest_wait_ms=2))
    disk.fail("sync", sticky=True)
    async with running(journal):
        with pytest.raises(StorageFailed):
            await journal.commit([record_at(1)], sync=True, urgent=True, size=1)
        assert journal.statistics().state == "failed"
        with pytest.raises(StorageFailed):
            await journal.commit([record_at(1)], sync=False, urgent=True, size=1)
        disk.mend()
        while journal.statistics().state == "failed":
            await trio.lowlevel.checkpoint()
        await journal.commit([record_at(1)], sync=True, urgent=True, size=1)
    assert len(store.packs(1, 1, 1)) == 1


async def test_a_turn_at_fault_is_refused_alone(kind: type[Journal]) -> None:
    """Its neighbours in the same transaction are committed."""
    store = MemoryStore()
    journal = kind(store, SystemClock())
    bad = Turn([DropPack(1, 1, 1)], sync=False, urgent=True, size=1)
    good = [mark("a"), mark("b")]
    for turn in (good[0], bad, good[1]):
        journal.submit(turn)  # before it runs, so that they form one group
    async with running(journal):
        with pytest.raises(StoreCorrupt):
            await bad.wait()
        for turn in good:
            await turn.wait()
    assert [name for name, _ in store.marks("")] == ["a", "b"]


async def test_flush_and_close_leave_nothing_unsynced(kind: type[Journal]) -> None:
    """What was submitted unwaited is on the disk after flush and after close; then nothing is taken."""
    store = MemoryStore()
    journal = kind(store, SystemClock())
    async with running(journal):
        journal.submit(mark("a"))
        await journal.flush()
        assert (store.unsynced, store.mark("a")) == (0, b"")
        journal.submit(mark("b"))
    assert (store.unsynced, store.mark("b")) == (0, b"")
    with pytest.raises(ShuttingDown):
        journal.submit(mark("c"))


async def test_an_idle_journal_closes_at_once(kind: type[Journal]) -> None:
    """A node that is told to stop stops: its journal does not first sleep out its longest wait."""
    for _ in range(20):  # whether its thread sleeps already at the close is chance
        journal = kind(MemoryStore(), SystemClock(), JournalSettings(tidy_ms=0))
        async with running(journal):
            await journal.commit([PutMark("a", b"")], sync=True, urgent=True, size=1)


async def test_cancelling_it_refuses_what_waits(kind: type[Journal]) -> None:
    """A node that is stopped hard: nobody waits for ever."""
    store = MemoryStore()
    journal = kind(store, SystemClock())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        await journal.commit([PutMark("a", b"")], sync=False, urgent=True, size=1)
        nursery.cancel_scope.cancel()
        turn = mark("late")
        journal.submit(turn)
    assert turn.settled
    assert (turn.error is None) == (store.mark("late") is not None)
    with pytest.raises(ShuttingDown):
        journal.submit(mark("c"))


async def test_if_it_dies_its_waiters_hear_so(kind: type[Journal]) -> None:
    """A fault of our own comes out of ``run``, for the supervisor; nobody waits for a dead journal."""

    def breaks(_: str) -> None:
        raise RuntimeError("a bug")

    journal = kind(MemoryStore(breaks), SystemClock())
    turn = mark("a")
    with pytest.raises((RuntimeError, ExceptionGroup)):  # noqa: PT012 -- the whole life of the journal
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            journal.submit(turn)
            await trio.sleep_forever()
    assert isinstance(turn.error, ActorDied | ShuttingDown)


async def test_too_much_that_waits_is_refused() -> None:
    """Memory is bounded: when the disk cannot keep up, new turns are refused with when to try again."""
    store = GatedStore()
    journal = Journal(store, SystemClock(), JournalSettings(waiting_bytes=100))
    async with running(journal):
        journal.submit(mark("huge", size=1_000))  # one turn alone is always taken
        with pytest.raises(Throttled) as caught:
            journal.submit(mark("b", size=60))
        assert caught.value.retry_after_s == 1.0
        store.gate.release(10)
        await journal.flush()
        journal.submit(mark("c", size=60))
    assert [name for name, _ in store.marks("")] == ["c", "huge"]


async def test_the_inline_journal_repeats_itself(mock_clock: trio.testing.MockClock) -> None:
    """Under a simulated clock it needs no thread and no real time: the sync comes at its simulated moment."""
    mock_clock.autojump_threshold = 0
    store = MemoryStore()
    journal = InlineJournal(store, TrioClock())
    async with running(journal):
        begin = trio.current_time()
        await journal.commit([PutMark("a", b"")], sync=False, urgent=True, size=1)
        assert (store.unsynced, trio.current_time()) == (1, begin)
        await trio.sleep(0.99)
        assert store.unsynced == 1
        await trio.sleep(0.02)
        assert store.unsynced == 0


async def test_the_inline_journal_commits_a_lone_turn_where_it_was_submitted() -> None:
    """As the real one does: so the simulator meets that way too, and its kills are met on it."""
    store = MemoryStore()
    journal = InlineJournal(store, SystemClock())
    async with running(journal):
        lone = mark("lone")
        journal.submit(lone)
        assert lone.settled
        assert store.mark("lone") == b""


class TrioClock:
    """The clock of the simulated loop."""

    def wall_ms(self) -> int:
        return int(trio.current_time() * 1_000)

    def monotonic(self) -> float:
        return trio.current_time()


async def test_who_waits_for_a_low_priority_is_woken_after_those_of_a_high_one() -> None:
    """Of many topics that were committed together, the readers of the important ones run first."""
    store = GatedStore()
    journal = Journal(store, SystemClock())
    seen: list[int] = []

    async def read(priority: int) -> None:
        await journal.commit([PutMark(str(priority), b"")], sync=False, urgent=True, size=1, priority=priority)
        seen.append(priority)

    async with running(journal), trio.open_nursery() as nursery:
        nursery.start_soon(read, 1000)
        await trio.to_thread.run_sync(store.entered.acquire)
        for priority in range(-1000, 1000, 20):
            nursery.start_soon(read, priority)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            store.gate.release()
    assert len(seen) == 101
    places = {priority: place for place, priority in enumerate(seen)}
    assert all(abs(place - at) < SETTLED_AT_ONCE for at, place in enumerate(places[p] for p in sorted(seen)[::-1]))


class Dozing(Writer):
    """Its thread is held up between looking at what is due and going to sleep for it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.looked, self.go_on = threading.Event(), threading.Event()

    def deadline(self) -> float:
        found = super().deadline()
        if threading.current_thread() is not threading.main_thread():
            self.looked.set()
            assert self.go_on.wait(timeout=30)
        return found


async def test_what_is_committed_while_the_thread_falls_asleep_is_synced_in_time() -> None:
    """The thread saw that nothing was due, then the event loop commits, then the thread sleeps: it must be woken, or
    the sync that class `disk` promises within a second would come with the next turn, whenever that is."""
    settings = JournalSettings(disk_sync_ms=10)
    journal = Journal(MemoryStore(), SystemClock(), settings)
    writer = journal._writer = Dozing(journal._store, journal._clock, settings)
    async with running(journal):
        await trio.to_thread.run_sync(writer.looked.wait)
        turn = mark("lone")
        journal.submit(turn)
        assert turn.settled
        writer.go_on.set()
        with trio.fail_after(20):
            while not journal.statistics().syncs:
                await trio.lowlevel.checkpoint()
