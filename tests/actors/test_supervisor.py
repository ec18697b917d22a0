"""Dying is allowed, half-knowing is not: what happens around a death."""
# ruff: noqa: ARG001 -- pytest-trio takes the clock of a test from its arguments

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mirrord.actors.mailbox import Mailbox
from mirrord.actors.restart import RestartPolicy
from mirrord.actors.supervisor import Death, Supervisor, shielded
from mirrord.errors import ActorDied


class TrioClock:
    """Both clocks follow trio's, which jumps to the next deadline when everybody sleeps."""

    def wall_ms(self) -> int:
        return int(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return trio.current_time()


class Worker:
    """An actor that does what the test says, life by life."""

    def __init__(self, name: str, each_life: Callable[[int], Awaitable[None]]) -> None:
        self.name = name
        self.mailbox: Mailbox[str] = Mailbox()
        self.lives = 0
        self._each_life = each_life

    async def live(self) -> None:
        self.lives += 1
        await self._each_life(self.lives)


async def die(_: int) -> None:
    raise ValueError("by design")


async def live_on(_: int) -> None:
    await trio.sleep_forever()


@pytest.fixture
def deaths() -> list[Death]:
    return []


@pytest.fixture
async def supervisor(nursery: trio.Nursery, deaths: list[Death]) -> Supervisor:
    found = Supervisor(TrioClock(), Random(1), lambda death, _: deaths.append(death))
    await nursery.start(found.run)
    return found


async def test_a_death_refuses_open_asks_at_once(supervisor: Supervisor, deaths: list[Death]) -> None:
    """Who asked a dead actor hears so in the same moment, not after a timeout."""
    go = trio.Event()

    async def die_when_told(_: int) -> None:
        await worker.mailbox.batch(1)
        await go.wait()
        raise ValueError("in the middle of a turn")

    worker = Worker("topic:x", die_when_told)
    supervisor.keep(worker)
    taken, waiting = worker.mailbox.put("taken"), worker.mailbox.put("waiting")
    await wait_all_tasks_blocked()
    go.set()
    for envelope in (taken, waiting):
        with pytest.raises(ActorDied, match="topic:x died: ValueError: in the middle"):
            await envelope.wait()
    assert [(d.actor, d.error) for d in deaths] == [("topic:x", "ValueError: in the middle of a turn")]


async def test_the_next_life_takes_what_came_meanwhile(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    """A death is not the end: whoever asks afterwards is answered by the next life."""

    async def die_once(life: int) -> None:
        if life == 1:
            raise ValueError
        for envelope in await worker.mailbox.batch(10):
            envelope.answer(life)
        await trio.sleep_forever()

    worker = Worker("w", die_once)
    supervisor.keep(worker)
    await wait_all_tasks_blocked()
    assert await worker.mailbox.ask("hello") == 2


async def test_waits_between_lives_grow_and_are_bounded(
    supervisor: Supervisor, deaths: list[Death], autojump_clock: MockClock
) -> None:
    """An actor that always dies costs ever less, down to one life in ten seconds."""
    supervisor.keep(Worker("w", die))
    await trio.sleep(40)
    waits = [d.lives_again_s for d in deaths]
    for place, wait in enumerate(waits[:7]):
        assert 0.05 * 2**place <= wait <= 0.1 * 2**place
    assert max(waits) <= 10.0


async def test_five_deaths_a_minute_make_the_node_unwell(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    """The node says that it is not ready, and why, as long as the last minute holds five deaths."""

    async def die_five_times(life: int) -> None:
        if life <= 5:
            raise ValueError(f"life {life}")
        await trio.sleep_forever()

    supervisor.keep(Worker("w", die_five_times))
    supervisor.keep(Worker("healthy", live_on))
    await trio.sleep(10)
    assert supervisor.unwell() == ["w keeps dying: ValueError: life 5"]
    await trio.sleep(60)
    assert supervisor.unwell() == []


async def test_one_actor_dies_alone(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    """A death touches nobody else."""
    healthy = Worker("healthy", live_on)
    supervisor.keep(healthy)
    supervisor.keep(Worker("sick", die))
    await trio.sleep(60)
    assert healthy.lives == 1


async def test_an_ended_actor_is_gone_and_its_askers_are_refused(supervisor: Supervisor) -> None:
    """``end`` returns when the actor has stopped; its name is free again, and nobody waits for it."""
    worker = Worker("w", live_on)
    supervisor.keep(worker)
    await wait_all_tasks_blocked()
    envelope = worker.mailbox.put("too late")
    await supervisor.end("w")
    with pytest.raises(ActorDied):
        await envelope.wait()
    await supervisor.end("w")
    await supervisor.end("never was")
    supervisor.keep(Worker("w", live_on))
    assert [told["name"] for told in supervisor.statistics()] == ["w"]


async def test_an_actor_can_be_ended_between_two_lives(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    """Also one that is dead just now."""
    worker = Worker("w", die)
    supervisor.keep(worker)
    await wait_all_tasks_blocked()
    await supervisor.end("w")
    assert supervisor.statistics() == []
    await trio.sleep(60)
    assert worker.lives == 1


async def test_an_actor_that_returns_is_done(supervisor: Supervisor, deaths: list[Death]) -> None:
    """Returning is no death."""

    async def finish(_: int) -> None:
        await trio.lowlevel.checkpoint()

    supervisor.keep(Worker("w", finish))
    await wait_all_tasks_blocked()
    assert supervisor.statistics() == []
    assert deaths == []


async def test_a_name_is_kept_once(supervisor: Supervisor) -> None:
    """Two actors of one name would both believe themselves to be the one writer."""
    supervisor.keep(Worker("w", live_on))
    with pytest.raises(ValueError, match="lives already"):
        supervisor.keep(Worker("w", live_on))


async def test_the_tree_tells_states_and_deaths(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    """Whatever can be stuck has numbers (law 10)."""

    async def die_once(life: int) -> None:
        if life == 1:
            raise ValueError("once")
        await trio.sleep_forever()

    worker = Worker("w", die_once)
    supervisor.keep(worker)
    await wait_all_tasks_blocked()
    assert supervisor.statistics()[0]["state"] == "dead"
    await trio.sleep(1)
    worker.mailbox.put("x")
    (told,) = supervisor.statistics()
    assert (told["state"], told["deaths"], told["last_error"]) == ("alive", 1, "ValueError: once")
    assert told["mailbox"]["waiting"] == 1


async def test_a_fault_of_one_connection_stays_its_own() -> None:
    """What is not worth an actor is noted and goes no further; cancellation passes."""
    noted: list[BaseException] = []
    error = await shielded(noted.append, die, 1)
    assert noted == [error]
    assert await shielded(noted.append, trio.lowlevel.checkpoint) is None
    with trio.CancelScope() as scope:
        scope.cancel()
        await shielded(noted.append, trio.sleep_forever)
    assert scope.cancelled_caught
    assert len(noted) == 1


def test_restarts_are_arithmetic_over_deaths() -> None:
    """Old deaths are forgotten: after a quiet minute the first wait is short again."""
    policy, rng = RestartPolicy(), Random(7)
    waits = [policy.died(float(t), rng) for t in range(10)]
    assert all(waits[i] <= min(10.0, 0.1 * 2**i) for i in range(10))
    assert policy.too_often(9.0)
    assert not policy.too_often(66.0)
    assert policy.died(200.0, rng) <= 0.1
    assert len(policy.deaths) == 1
