"""Reader groups through the library: shared among consumers, until committed, over crashes of either side."""

from __future__ import annotations

import anyio
import pytest

from mirrord import Client, Delivery, Tombstone
from mirrord.errors import GroupNotFound, InvalidRequest

from ..conformance.daemon import Daemon
from .loops import under_both


@under_both
async def test_what_is_committed_does_not_come_again(url: str, name: str) -> None:
    """In order, to one consumer; what it leaves uncommitted comes first when it is back under its name."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append(*range(5), tag="t")
        group = topic.group("mailer")
        async with group.reader("me", page_records=2) as reader:
            taken = [await anext(reader) for _ in range(4)]
            assert [d.data for d in taken] == [0, 1, 2, 3]
            assert [d.record.tag for d in taken] == ["t"] * 4
            assert await taken[0].commit()
            assert not await taken[0].commit()
            assert await reader.commit(taken[1], taken[2]) == 2
            state = await group.state()
            assert (state.cursor, state.pending, state.lag, state.committed_to) == (4, 1, 1, 3)
            assert [(c.consumer, c.pending) for c in state.consumers] == [("me", 1)]
        async with group.reader("me") as reader:
            again = [await anext(reader) for _ in range(2)]
            assert [d.data for d in again] == [3, 4]
            assert await reader.commit(*again) == 2
        assert (await group.state()).pending == 0


@under_both
async def test_consumers_share_the_records(url: str, name: str) -> None:
    """Each record goes to one of them, all records to somebody; another group gets them all over again."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append(*range(40))
        seen: list[int] = []

        async def consume() -> None:
            async with topic.group("g").reader(page_records=3) as reader:
                async for delivery in reader:
                    seen.append(delivery.data)
                    assert await delivery.commit()
                    if len(seen) == 40:
                        tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(consume)
        assert sorted(seen) == list(range(40))
        async with topic.group("other").reader() as reader:
            assert [(await anext(reader)).data for _ in range(40)] == list(range(40))


@under_both
async def test_what_somebody_leaves_goes_to_others(url: str, name: str) -> None:
    """Idle for long enough, a record is taken over; who had it first can commit it no more."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append("x")
        group = topic.group("g")
        async with group.reader("slow", min_idle_ms=100) as slow, group.reader("quick", min_idle_ms=100) as quick:
            held = await anext(slow)
            taken = await anext(quick)
            assert taken.data == "x"
            assert not await held.commit()
            assert await taken.commit()


@under_both
async def test_where_a_group_begins_and_goes(url: str, name: str) -> None:
    """At the end if asked, elsewhere by seek, nowhere after drop; a group that is not there is named."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append("old")
        group = topic.group("g")
        with pytest.raises(GroupNotFound):
            await group.state()
        async with group.reader(start="latest") as reader, anyio.create_task_group() as tasks:

            async def later() -> None:
                with anyio.fail_after(20):
                    while "g" not in await topic.groups():
                        await topic.read()
                await topic.append("new")

            tasks.start_soon(later)
            assert (await anext(reader)).data == "new"
        await group.seek("earliest")
        async with group.reader() as reader:
            assert (await anext(reader)).data == "old"
        await group.seek(1)
        async with group.reader() as reader:
            assert (await anext(reader)).data == "new"
        assert await group.drop()
        assert not await group.drop()
        with pytest.raises(InvalidRequest):
            await anext(group.reader())


@under_both
async def test_a_group_is_told_of_gaps(url: str, name: str) -> None:
    """Records that went before anybody got them show as a tombstone."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.create(cap_records=2)
        await topic.append(0)
        gaps: list[Tombstone] = []
        async with topic.group("g").reader(on_gap=gaps.append) as reader:
            assert await (await anext(reader)).commit()
            for i in range(1, 5):
                await topic.append(i)
            assert [(await anext(reader)).data for _ in range(2)] == [3, 4]
        assert [(gap.gap_from, gap.gap_to, gap.reason) for gap in gaps] == [(2, 3, "cap")]


@under_both
async def test_a_group_survives_a_kill(mortal: Daemon, name: str) -> None:
    """kill -9 of the daemon under a reader: what was committed does not come again, what was not does, once."""
    async with Client(mortal.url) as client:
        topic = client.topic(name)
        await topic.append(*range(20))
        done: list[int] = []
        async with topic.group("g").reader("me", page_records=4) as reader:
            for _ in range(6):
                delivery = await anext(reader)
                assert await delivery.commit()
                done.append(delivery.data)
            await anyio.to_thread.run_sync(mortal.kill)
            await anyio.to_thread.run_sync(mortal.start)
            held: list[Delivery] = []
            while len(done) + len(held) < 20:
                held.append(await anext(reader))
            assert await reader.commit(*held) == len(held)
            done += [delivery.data for delivery in held]
        assert sorted(done) == list(range(20))
        assert (await topic.group("g").state()).pending == 0


@under_both
async def test_what_waited_too_long_is_not_handed_out(url: str, name: str) -> None:
    """Records that a reader fetched and did not get to are another's by now: it passes over them."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append("a", "b")
        group = topic.group("g")
        async with group.reader("slow", min_idle_ms=200) as slow, group.reader("quick", min_idle_ms=200) as quick:
            assert (await anext(slow)).data == "a"
            taken = [await anext(quick) for _ in range(2)]
            assert await quick.commit(*taken) == 2
            await topic.append("c")
            assert (await anext(slow)).data == "c"
