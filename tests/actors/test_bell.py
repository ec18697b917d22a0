"""Bells carry no data; what is rung after attaching is never missed."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from mirrord.actors.bell import Bell, Ear


async def test_what_rang_after_attaching_is_never_missed() -> None:
    """Take the ear, read, then sleep: a ring in between wakes at once (law 4)."""
    bell = Bell()
    ear = bell.attach(Ear(), "orders")
    bell.ring()
    bell.ring()
    assert await ear.wait() == ["orders"]
    with trio.move_on_after(0) as scope:
        await ear.wait()
    assert scope.cancelled_caught


async def test_one_ear_hears_many_bells() -> None:
    """A feed serves a thousand topics with one ear: it learns which of them rang, each once, in order."""
    bells = {name: Bell() for name in "abc"}
    ear = Ear()
    for name, bell in bells.items():
        bell.attach(ear, name)
    for name in "cabca":
        bells[name].ring()
    assert ear.take() == ["c", "a", "b"]
    assert ear.take() == []


async def test_many_ears_hear_one_bell() -> None:
    """Each listener wakes by itself."""
    bell, heard = Bell(), []

    async def listen(name: str) -> None:
        ear = bell.attach(Ear())
        try:
            await ear.wait()
            heard.append(name)
        finally:
            ear.close()

    async with trio.open_nursery() as nursery:
        for name in ("x", "y", "z"):
            nursery.start_soon(listen, name)
        await wait_all_tasks_blocked()
        assert bell.ears == 3
        bell.ring()
    assert sorted(heard) == ["x", "y", "z"]
    assert bell.ears == 0


async def test_a_closed_ear_leaves_every_bell() -> None:
    """Listeners that went away cost nothing."""
    first, second, ear = Bell(), Bell(), Ear()
    first.attach(ear, 1)
    second.attach(ear, 2)
    second.attach(ear, 3)
    ear.close()
    assert (first.ears, second.ears) == (0, 0)
    second.ring()
    assert ear.take() == []


async def test_an_ear_forgets_the_bells_that_it_left() -> None:
    """A feed outlives many topics: coming and going of bells leaves nothing behind in its ear."""
    ear = Ear()
    for _ in range(100):
        bell = Bell()
        bell.attach(ear, "orders")
        bell.attach(ear, "orders")
        bell.detach(ear, "orders")
    assert not ear._bells


async def test_an_ear_sleeps_through_what_it_does_not_heed() -> None:
    """A feed does not wake for records that its caller has written itself."""
    wakes: list[list[object]] = []
    ear = Ear(lambda token: token != "echo")

    async def listen() -> None:
        while True:
            wakes.append(list(await ear.wait()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for token in ("echo", "news", "echo"):
            await wait_all_tasks_blocked()
            ear.hear(token)
        await wait_all_tasks_blocked()
        assert wakes == [["news"]]
        nursery.cancel_scope.cancel()


@given(st.lists(st.sampled_from(["ring a", "ring b", "take"])))
def test_nothing_is_heard_twice_and_nothing_is_missed(steps: list[str]) -> None:
    """Whatever the order of ringing and taking, each take tells just what rang since the last."""
    bells = {"a": Bell(), "b": Bell()}
    ear = Ear()
    for name, bell in bells.items():
        bell.attach(ear, name)
    since: list[str] = []
    for step in [*steps, "take"]:
        if step == "take":
            assert ear.take() == list(dict.fromkeys(since))
            since = []
        else:
            bells[step[-1]].ring()
            since.append(step[-1])
