"""Mailboxes: the only door into an actor."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mirrord.actors.mailbox import Envelope, Mailbox
from mirrord.errors import ActorDied, StorageFailed, Throttled


async def test_messages_are_taken_in_the_order_in_which_they_came() -> None:
    """Per-source FIFO begins here: what was put first is taken first, in batches of at most so many."""
    box: Mailbox[int] = Mailbox()
    for i in range(10):
        box.put(i)
    assert [e.message for e in await box.batch(4)] == [0, 1, 2, 3]
    assert [e.message for e in await box.batch(100)] == [4, 5, 6, 7, 8, 9]


async def test_an_asker_gets_its_own_answer() -> None:
    """Answers find who asked, in whatever order they are given; the first answer counts."""
    box: Mailbox[int] = Mailbox()
    got: dict[int, Any] = {}

    async def ask(i: int) -> None:
        got[i] = await box.ask(i)

    async with trio.open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(ask, i)
        await wait_all_tasks_blocked()
        for envelope in reversed(await box.batch(10)):
            envelope.answer(envelope.message * 10)
            envelope.answer("another")
            envelope.refuse(StorageFailed())
    assert got == {i: i * 10 for i in range(5)}
    assert box.statistics().open == 0


async def test_who_sleeps_inside_is_woken_by_a_message() -> None:
    """An empty box costs nothing, and a message is never left lying beside a sleeping actor."""
    box: Mailbox[str] = Mailbox()
    taken: list[str] = []

    async def inside() -> None:
        taken.extend(e.message for e in await box.batch(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(inside)
        await wait_all_tasks_blocked()
        assert taken == []
        box.put("a")
        box.put("b")
    assert taken == ["a", "b"]


async def test_a_full_box_refuses_at_once() -> None:
    """Nobody waits without a deadline, and nothing grows without a bound; links are bounded by their own
    window."""
    box: Mailbox[int] = Mailbox(room=2)
    box.put(1)
    box.put(2)
    with pytest.raises(Throttled) as refusal:
        await box.ask(3)
    assert refusal.value.retry_after_s
    box.put(4, bounded_elsewhere=True)
    assert [e.message for e in await box.batch(10)] == [1, 2, 4]
    box.put(5)
    assert box.statistics().waiting == 1


async def test_a_refusal_is_raised_at_every_asker_anew() -> None:
    """One error refuses many: each gets a copy, so tracebacks do not pile up on one object."""
    box: Mailbox[int] = Mailbox()
    error = StorageFailed("the disk", {"free": 0}, 2.0)
    raised: list[StorageFailed] = []

    async def ask() -> None:
        try:
            await box.ask(1)
        except StorageFailed as met:
            raised.append(met)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        for envelope in await box.batch(10):
            envelope.refuse(error)
    assert len({id(e) for e in [*raised, error]}) == 4
    assert {(str(e), e.retry_after_s) for e in raised} == {("the disk", 2.0)}
    assert error.__traceback__ is None


async def test_a_cancelled_asker_leaves_its_message() -> None:
    """Who gave up waiting does not take back what it asked for: the record is written all the same."""
    box: Mailbox[str] = Mailbox()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.ask, "kept")
            await wait_all_tasks_blocked()
            scope.cancel()
    (envelope,) = await box.batch(10)
    envelope.answer("nobody listens")
    assert envelope.message == "kept"
    assert box.statistics().open == 0


async def test_a_reader_that_was_cancelled_is_not_woken() -> None:
    """A dead actor's sleep leaves nothing behind: the next life takes what came."""
    box: Mailbox[int] = Mailbox()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.batch, 1)
            await wait_all_tasks_blocked()
            scope.cancel()
    box.put(7)
    assert [e.message for e in await box.batch(1)] == [7]


async def test_nobody_waits_for_a_dead_actor() -> None:
    """All open asks are refused at a death, those that were taken and those that still waited."""
    box: Mailbox[int] = Mailbox()
    taken, waiting = box.put(1), box.put(2)
    assert [e.message for e in await box.batch(1)] == [1]
    box.refuse_all(ActorDied("it fell"))
    for envelope in (taken, waiting):
        with pytest.raises(ActorDied, match="it fell"):
            await envelope.wait()
    assert (box.statistics().waiting, box.statistics().open) == (0, 0)


async def test_an_answer_that_is_there_is_not_waited_for() -> None:
    """Waiting for what has been answered returns at once."""
    box: Mailbox[int] = Mailbox()
    envelope = box.put(1)
    (inside,) = await box.batch(1)
    inside.answer("now")
    assert await envelope.wait() == "now"
    assert box.statistics().handled == 1


@pytest.mark.parametrize("later", [False, True])
async def test_what_is_taken_at_once_is_open_only_until_its_answer(later: bool) -> None:
    """Where the actor sleeps and decides a lone message at once: mostly with its answer, which nobody waits for."""
    box: Mailbox[int] = Mailbox()
    taken: list[Envelope[int]] = []

    def at_once(envelope: Envelope[int]) -> bool:
        taken.append(envelope)
        if not later:
            envelope.answer("there")
        return True

    box.at_once = at_once
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.batch, 1)
        await wait_all_tasks_blocked()
        left = box.put(1)
        assert (left.done, box.statistics().open) == (not later, int(later))
        taken[0].answer("there")
        assert await left.wait() == "there"
        assert (box.statistics().open, box.statistics().waiting, box.statistics().handled) == (0, 0, 1)
        assert await box.ask(2) == "there" if not later else True
        nursery.cancel_scope.cancel()


async def test_who_insists_waits_while_there_is_too_much(autojump_clock: MockClock) -> None:
    """And is served once there is room again, in place of a refusal."""
    box: Mailbox[int] = Mailbox(room=1)
    box.put(0)

    async def serve_later() -> None:
        await trio.sleep(1.0)
        for served in range(2):
            for envelope in await box.batch(1):
                envelope.answer(served)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_later)
        assert await box.insist(7, 5.0) == 1
    assert autojump_clock.current_time() < 5.0


async def test_who_insists_is_refused_in_the_end(autojump_clock: MockClock) -> None:
    """A wait has an end: then it is the refusal that it would have been at once."""
    box: Mailbox[int] = Mailbox(room=1)
    box.put(0)
    with pytest.raises(Throttled):
        await box.insist(7, 5.0)
    assert autojump_clock.current_time() == pytest.approx(5.0)


async def test_insisting_does_not_help_against_a_limit() -> None:
    """A limit of the configuration stays: its refusal is passed on at once."""
    box: Mailbox[int] = Mailbox()

    async def refuse() -> None:
        for envelope in await box.batch(1):
            envelope.refuse(Throttled.beyond("max_total_bytes", 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(Throttled) as caught:
            await box.insist(7, 5.0)
    assert caught.value.detail == {"limit": "max_total_bytes", "max": 1}
