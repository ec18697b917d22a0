"""Who sleeps to a deadline is woken at it, by one task for all; what nobody waits for any more does not pile up."""

from __future__ import annotations

from math import inf

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from mirrord.actors.alarms import SPARE, Alarms, alarms
from mirrord.actors.bell import Bell, Ear


async def test_a_deadline_wakes_at_its_time(autojump_clock: MockClock) -> None:
    """Nothing waits without a deadline: where no bell rings the wait ends by itself, exactly then."""
    assert await Ear().wait_until(20.0) == []
    assert autojump_clock.current_time() == 20.0


async def test_a_deadline_that_is_past_wakes_at_once(autojump_clock: MockClock) -> None:
    """A poll that may not wait does not, and a feed that is late with its heartbeat goes on."""
    assert await Ear().wait_until(-1.0) == []
    assert autojump_clock.current_time() == 0


async def test_a_ring_before_the_deadline_is_told(autojump_clock: MockClock) -> None:
    """No ring is lost to a deadline, and the alarm that was set for the first wait wakes no later one."""
    bell = Bell()
    ear = bell.attach(Ear(), "orders")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ring_at, 3.0, bell)
        assert await ear.wait_until(5.0) == ["orders"]
    assert autojump_clock.current_time() == 3.0
    assert await ear.wait_until(10.0) == []
    assert autojump_clock.current_time() == 10.0
    ear.close()


async def test_deadlines_of_many_are_kept_in_their_order(autojump_clock: MockClock) -> None:
    """One task serves all sleepers: one that comes later with an earlier deadline is woken first."""
    woken: list[tuple[float, float]] = []

    async def sleep_until(deadline: float) -> None:
        await Ear().wait_until(deadline)
        woken.append((deadline, autojump_clock.current_time()))

    async with trio.open_nursery() as nursery:
        for deadline in (7.0, 3.0, 9.0, 1.0):
            nursery.start_soon(sleep_until, deadline)
            await wait_all_tasks_blocked()
    assert woken == [(1.0, 1.0), (3.0, 3.0), (7.0, 7.0), (9.0, 9.0)]


async def test_an_ear_that_sleeps_to_one_deadline_again_and_again_sets_one_alarm(autojump_clock: MockClock) -> None:
    """A feed sends thousands of records between two heartbeats: its deadline costs nothing then."""
    bell = Bell()
    ear = bell.attach(Ear())
    async with trio.open_nursery() as nursery:
        for at in range(1, 100):
            nursery.start_soon(_ring_at, at / 10, bell)
        for _ in range(99):
            assert await ear.wait_until(20.0)
    assert (len(alarms()), autojump_clock.current_time()) == (1, 9.9)
    ear.close()


async def test_a_cancelled_wait_leaves_nobody_to_be_woken(autojump_clock: MockClock) -> None:
    """A client that goes away takes its task with it: neither a ring nor an alarm may look for it."""
    bell = Bell()
    ear = bell.attach(Ear())
    with trio.move_on_after(1) as scope:
        await ear.wait_until(2.0)
    assert scope.cancelled_caught
    bell.ring()
    await trio.sleep(5)
    assert (ear.take(), autojump_clock.current_time()) == ([None], 6.0)


async def test_ears_that_were_closed_do_not_pile_up(autojump_clock: MockClock) -> None:
    """Nothing grows without a bound: answered long polls leave few alarms behind, whatever their deadlines."""
    bell = Bell()
    for _ in range(10 * SPARE):
        ear = bell.attach(Ear())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ear.wait_until, 1e6)
            await wait_all_tasks_blocked()
            bell.ring()
        ear.close()
    assert len(alarms()) <= 2 * SPARE
    assert autojump_clock.current_time() == 0


class _Sleeper:
    """What an ear is to the alarms."""

    def __init__(self) -> None:
        self.alarm_at = inf
        self.called: list[float] = []

    def alarm(self, now: float) -> None:
        """Remember the call."""
        self.called.append(now)


@given(st.lists(st.tuples(st.sampled_from(["set", "forget", "call"]), st.integers(0, 3), st.integers(1, 40))))
def test_every_alarm_is_called_once_at_its_time(steps: list[tuple[str, int, int]]) -> None:
    """However they are set, set sooner and forgotten: each is called when its time has come, not before, and once."""
    clock, sleepers, due, called = 0.0, [_Sleeper() for _ in range(4)], dict[int, float](), dict[int, int]()
    all_alarms = Alarms()
    for step, who, span in steps:
        sleeper = sleepers[who]
        if step == "set" and clock + span < sleeper.alarm_at:
            all_alarms.set(clock + span, sleeper)
            due[who] = clock + span
        elif step == "forget" and who in due:
            all_alarms.forget(sleeper)
            del due[who]
        elif step == "call":
            clock += span
            all_alarms._call(clock)
            for other in [other for other, at in due.items() if at <= clock]:
                del due[other]
                called[other] = called.get(other, 0) + 1
        assert [len(one.called) for one in sleepers] == [called.get(i, 0) for i in range(4)]
        assert all(one.alarm_at == due.get(i, inf) for i, one in enumerate(sleepers))
        assert len(all_alarms) <= 2 * (len(due) + SPARE) + 1


async def _ring_at(at: float, bell: Bell) -> None:
    await trio.sleep_until(at)
    bell.ring()
