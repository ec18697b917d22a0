"""The producer: batches, order, back-pressure, exactly once over a kill -9, and what it tells when it cannot."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from mirrord import Client, Receipt, Topic
from mirrord.errors import InvalidRequest, PeerUnreachable, RecordTooLarge, TopicFull, Unacknowledged

from ..conformance.daemon import Daemon
from .loops import under_both


async def everything(topic: Topic) -> list[Any]:
    """All that is readable in it now."""
    found: list[Any] = []
    page = await topic.read(limit=1000)
    while True:
        found += [record.data for record in page.records]
        if page.caught_up:
            return found
        page = await topic.read(page.cursor, limit=1000)


@under_both
async def test_records_arrive_in_order_in_few_batches(url: str, name: str) -> None:
    """A thousand sends are a handful of appends, in the order of the sends; each receipt knows its seq."""
    async with Client(url) as client:
        topic = client.topic(name)
        async with topic.producer(linger_ms=200, batch_records=300) as producer:
            receipts = [await producer.send(i, tag=f"t{i % 3}", meta={"i": i}) for i in range(1000)]
            await producer.flush()
            assert producer.waiting == 0
            assert [receipt.seq for receipt in receipts] == list(range(1, 1001))
        assert await everything(topic) == list(range(1000))
        page = await topic.read(limit=1000)
        assert len({record.ts_ms for record in page.records}) <= 8
        assert (page.records[4].tag, page.records[4].meta) == ("t1", {"i": 4})


@under_both
async def test_leaving_waits_for_the_last_record(url: str, name: str) -> None:
    """What was handed over before the end of the block is kept at its end, without a flush and however long the
    linger is."""
    async with Client(url) as client:
        async with client.topic(name).producer(linger_ms=60_000) as producer:
            receipt = await producer.send("last")
        assert await receipt == 1
        assert await everything(client.topic(name)) == ["last"]
        with pytest.raises(InvalidRequest):
            await producer.send("after")


@under_both
async def test_a_block_that_raises_sends_what_it_had(url: str, name: str) -> None:
    """The error of the block comes out as it is, and records handed over before it are not dropped."""
    async with Client(url) as client:

        async def block() -> None:
            async with client.topic(name).producer() as producer:
                await producer.send(1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await block()
        assert await everything(client.topic(name)) == [1]


@under_both
async def test_a_full_buffer_makes_senders_wait(url: str, name: str) -> None:
    """No more than the bound waits in memory, whatever is handed over, and nothing of it is lost or turned round."""
    async with Client(url) as client:
        topic = client.topic(name)
        most = 0
        async with topic.producer(linger_ms=1, batch_records=5, waiting_records=10) as producer:
            for i in range(200):
                await producer.send(i)
                most = max(most, producer.waiting)
        assert most <= 10 + 5
        assert await everything(topic) == list(range(200))


@under_both
async def test_many_tasks_may_send(url: str, name: str) -> None:
    """Each task's records stay in its order, and every receipt is of its own record."""
    async with Client(url) as client:
        topic = client.topic(name)
        seqs: dict[int, tuple[int, int]] = {}
        async with topic.producer(waiting_records=7, batch_records=4) as producer, anyio.create_task_group() as tasks:

            async def one(who: int) -> None:
                for i in range(20):
                    receipt = await producer.send([who, i])
                    seqs[await receipt] = (who, i)

            for who in range(5):
                tasks.start_soon(one, who)
        found = await everything(topic)
        assert [list(seqs[seq]) for seq in range(1, 101)] == found
        for who in range(5):
            assert [i for one, i in found if one == who] == list(range(20))


@under_both
async def test_a_record_that_is_refused_fails_alone(url: str, name: str) -> None:
    """Too large for the node: its receipt says so, its neighbours are kept, flush tells what nobody took."""
    async with Client(url) as client:
        topic = client.topic(name)
        async with topic.producer(linger_ms=500) as producer:
            receipts = [await producer.send("x" * 5000 if i in (3, 7) else i) for i in range(10)]
            with pytest.raises(RecordTooLarge):
                await receipts[3]
            with pytest.raises(RecordTooLarge):
                await producer.flush()
            await producer.flush()
            late = await producer.send("late")
        assert await late == 9
        assert await everything(topic) == [0, 1, 2, 4, 5, 6, 8, 9, "late"]


@under_both
async def test_a_lasting_failure_halts(url: str, name: str) -> None:
    """A full topic: what waits fails with that, and so does sending on; nothing is sent out of turn afterwards."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.create(cap_records=3, discard="reject")

        async def block() -> None:
            async with topic.producer(linger_ms=0, batch_records=1) as producer:
                receipts = [await producer.send(i) for i in range(5)]
                with pytest.raises(TopicFull):
                    await receipts[4]
                with pytest.raises(TopicFull):
                    await producer.send("more")
                with pytest.raises(TopicFull):
                    await producer.flush()
                assert [receipt.seq for receipt in receipts] == [1, 2, 3, None, None]
                await producer.send("and more")

        with pytest.raises(TopicFull):
            await block()
        assert await everything(topic) == [0, 1, 2]


@under_both
async def test_leaving_a_dead_node_ends(name: str) -> None:
    """Nobody there: the end of the block comes within the client's patience and says so; no receipt hangs."""
    receipts: list[Receipt] = []
    async with Client("http://127.0.0.1:9", give_up_after_s=0.3) as client:
        with pytest.raises(PeerUnreachable):
            async with client.topic(name).producer() as producer:
                receipts.append(await producer.send(1))
    with pytest.raises(PeerUnreachable):
        await receipts[0]


@under_both
async def test_a_cancelled_producer_ends_at_once(name: str) -> None:
    """Cancelled, it does not wait for a node that is not there; the receipts say that nothing is known."""
    receipts: list[Receipt] = []
    async with Client("http://127.0.0.1:9") as client:
        with anyio.CancelScope() as scope:
            async with client.topic(name).producer() as producer:
                receipts.append(await producer.send(1))
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
    with pytest.raises(Unacknowledged):
        await receipts[0]


@under_both
async def test_each_once_in_order_over_kills(mortal: Daemon, name: str) -> None:
    """The daemon is killed -9 and started again in the middle of the stream, twice: every record is there once,
    in the order of the sends, under the seq that its receipt told."""
    kills = random.Random(name).sample(range(100, 2900), 2)
    one_by_one = anyio.Lock()

    async def kill_and_start() -> None:
        async with one_by_one:
            await anyio.to_thread.run_sync(mortal.kill)
            await anyio.to_thread.run_sync(mortal.start)

    async with Client(mortal.url) as client, anyio.create_task_group() as tasks:
        topic = client.topic(name)
        receipts = []
        async with topic.producer(batch_records=20, waiting_records=100) as producer:
            for i in range(3000):
                receipts.append(await producer.send(i))
                if i in kills:
                    tasks.start_soon(kill_and_start)
        assert [receipt.seq is None for receipt in receipts].count(True) == 0
        assert await everything(topic) == list(range(3000))
        page = await topic.read(after=(await receipts[2000]) - 1, limit=1)
        assert page.records[0].data == 2000
