"""Who may commit on the event loop: one small turn, while the writer has nothing else to do (decision 0022)."""

from __future__ import annotations

from math import inf

import pytest
import trio
import trio.testing

from mirrord.errors import ActorDied
from mirrord.storage.inline import InlineJournal
from mirrord.storage.journal import AT_ONCE_BYTES, QUICK_SYNC_MS, SLOW_MS, SLOW_SHARE, Journal
from mirrord.storage.memory import Fault, MemoryStore

from .test_journal import mark, running


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def wall_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s


class Disk(MemoryStore):
    """A store whose commits take as long as it is told, and that may have work to do on its log."""

    takes_s = 0.0
    busy = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(self._delay)
        self._clock = clock

    def _delay(self, moment: str) -> None:
        if moment == "before":
            self._clock.now_s += self.takes_s

    @property
    def log_work_due(self) -> bool:
        return self.busy


class Scene:
    """A journal that runs inline, at rest."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.disk = Disk(self.clock)
        self.journal = InlineJournal(self.disk, self.clock)

    def is_free(self, *, sync: bool = False) -> bool:
        """Whether the desk is given just now."""
        given = self.journal.take_desk(sync=sync)
        if given:
            self.journal.leave_desk()
        return given


async def test_nobody_writes_before_the_journal_runs_nor_after() -> None:
    """What is submitted before waits in line; afterwards nothing is taken."""
    scene = Scene()
    assert not scene.is_free()
    async with running(scene.journal):
        assert scene.is_free()
    assert not scene.is_free()


async def test_nothing_overtakes_what_waits() -> None:
    """A turn stands in line, such as one that drops what the turn before it has put: the loop lets it go first."""
    scene = Scene()
    async with running(scene.journal):
        large = mark("large", size=AT_ONCE_BYTES + 1)
        scene.journal.submit(large)
        assert not scene.is_free()
        await large.wait()
        assert scene.is_free()


async def test_a_store_that_failed_or_has_work_to_do_is_left_to_the_thread() -> None:
    """Healing, and beginning the write-ahead log anew, take as long as the disk takes."""
    scene = Scene()
    async with running(scene.journal):
        scene.disk.busy = True
        assert not scene.is_free()
        scene.disk.busy = False
        scene.disk.fail_next(Fault.EIO, sticky=True)
        scene.journal.submit(mark("refused"))
        assert scene.disk.failed
        scene.journal._wake()
        await trio.testing.wait_all_tasks_blocked()
        assert scene.journal._writer.deadline() > scene.clock.now_s  # it is to be healed later
        assert not scene.is_free()
        scene.disk.mend()
        scene.disk.heal()
        assert scene.is_free()


async def test_what_is_due_goes_first() -> None:
    """Lone turns without end do not put off the sync that class `disk` promises."""
    scene = Scene()
    async with running(scene.journal):
        scene.journal.submit(mark("lone"))
        assert scene.is_free()
        scene.clock.now_s += 1.0
        assert not scene.is_free()
        scene.journal._wake()
        with trio.fail_after(30):
            while not scene.is_free():
                await trio.lowlevel.checkpoint()
        assert scene.journal.statistics().syncs == 1


async def test_a_slow_disk_is_left_alone_for_a_while() -> None:
    """The event loop stands still for about a twentieth of the time at most."""
    scene = Scene()
    async with running(scene.journal):
        scene.disk.takes_s = 2 * SLOW_MS / 1e3
        scene.journal.submit(mark("slow"))
        scene.journal._writer._tidy_at = inf  # nothing else is due
        scene.clock.now_s += (SLOW_SHARE - 2) * scene.disk.takes_s
        assert not scene.is_free()
        scene.clock.now_s += 2 * scene.disk.takes_s
        assert scene.is_free()


@pytest.mark.parametrize(("fsync_ms", "quick"), [(0.0, False), (QUICK_SYNC_MS / 2, True), (QUICK_SYNC_MS, False)])
async def test_a_sync_is_waited_for_where_this_disk_is_known_to_be_quick(fsync_ms: float, quick: bool) -> None:
    """0: nobody has timed one."""
    scene = Scene()
    async with running(scene.journal):
        scene.journal._writer.tally.fsync_ms = fsync_ms
        assert scene.is_free(sync=True) is quick
        assert scene.is_free()


async def test_turns_of_one_round_share_a_commit() -> None:
    """Better on the thread together than here one after the other."""
    scene = Scene()
    async with running(scene.journal):
        turns = [mark(name) for name in "abc"]
        for turn in turns:
            scene.journal.submit(turn)
        assert [turn.settled for turn in turns] == [True, False, False]
        for turn in turns:
            await turn.wait()
        assert scene.journal.statistics().commits == 2


@pytest.mark.parametrize("kind", [Journal, InlineJournal])
@pytest.mark.parametrize("taken", [True, False])
async def test_a_fault_on_the_event_loop_ends_the_journal(kind: type[Journal], taken: bool) -> None:
    """Whoever submitted hears of it at once, nothing more is committed by anybody, and ``run`` ends with the fault.
    ``taken``: whether the desk was before, as topics do."""

    def breaks(_: str) -> None:
        raise RuntimeError("a bug")

    journal = kind(MemoryStore(breaks), Clock())
    turn = mark("a")
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 -- the whole life of the journal
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            await trio.testing.wait_all_tasks_blocked()
            assert not taken or journal.take_desk(sync=False)
            with pytest.raises(RuntimeError, match="a bug"):
                journal.submit(turn)
            if taken:
                journal.leave_desk()
            assert not journal.take_desk(sync=False)
            with trio.fail_after(30):
                await trio.sleep_forever()
    assert caught.group_contains(RuntimeError, match="a bug")
    assert isinstance(turn.error, ActorDied)
