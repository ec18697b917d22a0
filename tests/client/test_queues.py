"""Lease queues through the library: one worker at a time, leases kept alive, everything back when a worker goes."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from mirrord import Client, Draft, Job
from mirrord.errors import InvalidRequest, NotAQueue, PeerUnreachable, TopicNotFound

from ..conformance.daemon import Daemon
from .loops import under_both


@under_both
async def test_claim_ack_nack(url: str, name: str) -> None:
    """Given out once, gone when acknowledged, back when not; a lease that is lost is told."""
    async with Client(url) as client:
        queue = client.queue(name)
        assert await queue.create(lease_ms=60_000)
        await queue.send(1, Draft(2, tag="t", meta={"m": 1}), 3)
        jobs = await queue.claim("w", max_jobs=2)
        assert [(job.data, job.tag, job.meta, job.deliveries) for job in jobs] == [
            (1, None, None, 1),
            (2, "t", {"m": 1}, 1),
        ]
        assert await jobs[0].ack()
        assert not await jobs[0].ack()
        assert await jobs[1].nack()
        again = await queue.claim("v", max_jobs=10)
        assert sorted((job.data, job.deliveries) for job in again) == [(2, 2), (3, 1)]
        was_ms = again[0].deadline_ms
        assert await again[0].extend(120_000)
        assert again[0].deadline_ms > was_ms
        assert not await jobs[1].extend(120_000)
        assert jobs[1].lost is False  # it was given back by hand
        assert await queue.ack(*again) == []
        assert await queue.ack(again[0]) == [again[0]]
        counts = await queue.counts()
        assert (counts.ready, counts.in_flight, counts.dead_lettered, counts.home) == (0, 0, 0, "solo")


@under_both
async def test_a_worker_gets_what_comes(url: str, name: str) -> None:
    """Jobs that are there and jobs that come later, never more at once than asked for, each acknowledged once."""
    async with Client(url) as client:
        queue = client.queue(name)
        await queue.create()
        await queue.send(*range(5))
        done: list[int] = []
        at_once = most = 0

        async def handle(job: Job) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            async with job:
                await anyio.lowlevel.checkpoint()
                done.append(job.data)
                at_once -= 1

        async with queue.worker("w", max_jobs=3) as worker, anyio.create_task_group() as tasks:
            for i in range(20):
                if i == 5:
                    await queue.send(*range(5, 20))
                tasks.start_soon(handle, await anext(worker))
        assert sorted(done) == list(range(20))
        assert most <= 3
        assert (await queue.counts()).ready == 0


@under_both
async def test_leases_live_as_long_as_the_worker(url: str, name: str) -> None:
    """A job that takes much longer than its lease stays its worker's; when the worker leaves, it is free at once."""
    async with Client(url) as client:
        queue = client.queue(name)
        await queue.create(lease_ms=1500)  # a busy machine may stand still for a good part of it
        await queue.send("long")
        async with queue.worker("w") as worker:
            job = await anext(worker)
            first_ms = job.deadline_ms
            while job.deadline_ms < first_ms + 2000:
                assert await queue.claim("thief") == []
        assert job.lost
        async with queue.worker("next") as worker:
            taken = await anext(worker)
            assert taken.deliveries == 2
            assert not await job.ack()
            assert await taken.ack()


@under_both
async def test_a_job_whose_block_raises_goes_back(url: str, name: str) -> None:
    """`async with job`: acknowledged at its end, given back when it raises; after too often it is a dead letter."""
    async with Client(url) as client:
        queue = client.queue(name)
        await queue.create(max_deliveries=2, dead_letter=f"{name}-dead")
        await queue.send("bad", "good")
        seen: list[tuple[str, int]] = []

        async def work(job: Job) -> None:
            async with job:
                seen.append((job.data, job.deliveries))
                if job.data == "bad":
                    raise ZeroDivisionError

        async with queue.worker() as worker:
            for _ in range(3):
                job = await anext(worker)
                if job.data == "bad":
                    with pytest.raises(ZeroDivisionError):
                        await work(job)
                else:
                    await work(job)
            dead = client.topic(f"{name}-dead").follow(wait_for_topic=True, on_gap=print)
            assert (await anext(dead)).data == "bad"
        assert sorted(seen) == [("bad", 1), ("bad", 2), ("good", 1)]


@under_both
async def test_a_worker_survives_the_daemon(mortal: Daemon, name: str) -> None:
    """kill -9 under a worker: what it held is lost and comes again, what it had acknowledged does not."""
    async with Client(mortal.url) as client:
        queue = client.queue(name)
        await queue.create(durability="fsync")
        await queue.send(*range(6))
        async with queue.worker("w", max_jobs=2) as worker:
            for wanted in (0, 1):
                job = await anext(worker)
                assert job.data == wanted
                assert await job.ack()
            held = await anext(worker)
            await anyio.to_thread.run_sync(mortal.kill)
            await anyio.to_thread.run_sync(mortal.start)
            rest: list[Any] = []
            while len(rest) < 4:
                job = await anext(worker)
                if job is not held and await job.ack():
                    rest.append(job.data)
            assert held.lost
            assert not await held.ack()
        assert sorted(rest) == [2, 3, 4, 5]


@under_both
async def test_what_is_no_queue_is_told(url: str, name: str) -> None:
    """A log, a name without a topic, a node that is not there: by name, to the one who takes jobs."""
    async with Client(url) as client:
        await client.topic(name).append(1)
        with pytest.raises(NotAQueue):
            await client.queue(name).claim("w")
        with pytest.raises(NotAQueue):
            await client.queue(name).counts()
        async with client.queue(name).worker() as worker:
            with pytest.raises(NotAQueue):
                await anext(worker)
        with pytest.raises(TopicNotFound):
            await client.queue(name + "-no").worker().__aenter__()
        with pytest.raises(InvalidRequest):
            await anext(client.queue(name).worker())
    async with Client("http://127.0.0.1:9", give_up_after_s=0.3) as client:
        with pytest.raises(PeerUnreachable):
            await client.queue(name).worker().__aenter__()


@under_both
async def test_a_queue_of_another_home(pair: list[Daemon], name: str) -> None:
    """Claims at a mirror are passed on to the home, also those of its workers; jobs that are sent there get there."""
    fra, iad = pair
    topic = f"m:{name}"
    async with Client(fra.url) as at_fra, Client(iad.url) as at_iad:
        await at_fra.queue(topic).create()
        await at_fra.queue(topic).send("a")
        await anext(at_iad.topic(topic).follow(wait_for_topic=True))
        mirror = at_iad.queue(topic)
        jobs = await mirror.claim("w")
        assert [job.data for job in jobs] == ["a"]
        assert await jobs[0].ack()
        async with mirror.worker("v") as worker:
            await mirror.send("b")
            job = await anext(worker)
            assert job.data == "b"
            assert await job.ack()
        assert (await at_fra.topic(topic).state()).count == 0


@under_both
async def test_a_queue_that_goes_is_told(url: str, name: str) -> None:
    """Dropped under a worker: it ends by name, not by trying for ever."""
    async with Client(url) as client:
        queue = client.queue(name)
        await queue.create()
        await queue.send(1)
        async with queue.worker() as worker:
            assert await (await anext(worker)).ack()
            assert await client.topic(name).drop()
            with pytest.raises(TopicNotFound):
                await anext(worker)
