"""The queue's task: what is committed before it is told, what outlives a crash at every moment, who is woken."""

# ruff: noqa: ARG001 -- pytest-trio takes the clock from the arguments; `usefixtures` would leave the real one
from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mirrord.actors.bell import Ear
from mirrord.errors import ActorDied, ChunkCorrupt, HomeUnreachable, NotReady, StorageFailed, TopicNotFound
from mirrord.queues.leasing.messages import Worker
from mirrord.queues.queues import first_number
from mirrord.storage.inline import InlineJournal
from mirrord.storage.journal import Journal
from mirrord.storage.life import LifeRecord
from mirrord.storage.memory import MemoryStore
from mirrord.storage.memory.store import Fault
from mirrord.storage.store import Pack
from mirrord.topics.messages import Configure, Delete, Erase

from ..topics.rig import Clock, config
from .rig import QueueRig, texts


class Killed(BaseException):
    """kill -9."""


class Mortal(MemoryStore):
    """Kills the process at its n-th moment of a commit."""

    def __init__(self) -> None:
        super().__init__(self._witness_of)
        self.left = -1

    def _witness_of(self, _moment: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


async def _until_killed(rig: QueueRig, work: Any) -> bool:
    """Whether the work came to its end before the kill."""
    done = False
    try:
        async with rig.queueing():
            await work()
            done = True
    except* (Killed, ActorDied):  # who waits for the commit that the kill falls into may hear of it first
        assert isinstance(rig.store, Mortal)
        assert rig.store.left <= 0
        done = False
    return done


class Worker2:
    """Takes what there is: acks what is even, gives back what is odd, and remembers what it was told."""

    def __init__(self, rig: QueueRig) -> None:
        self.rig = rig
        self.acked: set[str] = set()
        self.again: list[str] = []

    async def drain(self) -> None:
        """Until nothing is left. Leases of before run out meanwhile."""
        while (await self.rig.records("jobs")) or self.rig.counts[1]:
            given = await self.rig.claim(3)
            self.again += [text for text in texts(given) if text in self.acked]
            for one, text in zip(given, texts(given), strict=True):
                if int(text) % 2:
                    await self.rig.nack(one.job.seq, delay_ms=100)
                elif (await self.rig.ack(one.job.seq, numbers=(one.number,))).done:
                    self.acked.add(text)
            await trio.sleep(0.25)


@pytest.mark.parametrize("durable", [False, True])
async def test_a_crash_at_every_commit(durable: bool, autojump_clock: MockClock) -> None:
    """Small-scope exhaustion of claim, ack, nack and dead letter: whatever moment the process dies at, nothing that was
    acknowledged comes again, and what was delivered too often is among the dead letters exactly once."""
    moments = 0
    while True:
        moments += 1
        store = Mortal()
        rig = QueueRig(store, max_deliveries=2, dead_letter="dead", leases_durable=durable)
        async with rig.queueing():
            await rig.append("1", "2", "3")
        worker = Worker2(rig)
        store.left = moments
        if await _until_killed(rig, worker.drain):
            break
        store.left = -1
        assert await _until_killed(rig, worker.drain), "the second life does the rest"
        async with rig.queueing():
            dead = [record["data"] for record in await rig.records("dead")]
            assert sorted(dead) == sorted(set(dead)), f"doubled, killed at {moments}"
            assert set(dead) | worker.acked >= {"1", "3"} | worker.acked
            assert not worker.again, f"acknowledged and delivered again, killed at {moments}"
            assert set(dead) >= {"1", "3"}
            assert not set(dead) & worker.acked
            assert rig.counts[:2] == (0, 0)
            left = [name.rpartition("/")[2] for name, _ in store.marks("topic/1/queue/")]
            assert left in ([], ["dead_lettered"]), f"marks of what is gone, killed at {moments}"
    assert moments > (20 if durable else 8)


async def test_leases_are_lost_by_default(autojump_clock: MockClock) -> None:
    """After a restart everything is claimable, and a lease of before settles nothing."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a", "b")
        (old,) = await rig.claim()
        await rig.nack(old.job.seq, delay_ms=50_000)
        (old,) = await rig.claim(node="w")
    async with rig.queueing():
        assert rig.counts == (2, 0, 0)
        given = await rig.claim(2)
        assert [(one.job.seq, one.deliveries) for one in given] == [(1, 1), (2, 1)]
        assert (await rig.ack(old.job.seq, numbers=(old.number,))).done == 0
        assert (await rig.ack(old.job.seq, numbers=(given[1].number,))).done == 1


async def test_durable_leases_go_on(autojump_clock: MockClock) -> None:
    """Leases, their deadlines, deliveries and delays outlive the process, with the same numbers."""
    rig = QueueRig(leases_durable=True)
    async with rig.queueing():
        await rig.append("held", "delayed", "back", "long", "fresh")
        held, delayed, back, long = await rig.claim(4)
        await rig.nack(delayed.job.seq, delay_ms=3000)
        await rig.nack(back.job.seq)
        await rig.extend(long.job.seq, lease_ms=60_000)
    async with rig.queueing():
        assert rig.counts == (2, 2, 0)
        again = await rig.claim(9, node="x")
        assert [(text, one.deliveries) for text, one in zip(texts(again), again, strict=True)] == [
            ("back", 2), ("fresh", 1),
        ]  # fmt: skip
        await trio.sleep(1.5)
        assert texts(await rig.claim(9, node="y")) == ["held", "back", "fresh"]
        await trio.sleep(1.6)
        assert "delayed" in texts(await rig.claim(9, node="z", lease_ms=90_000))
        assert (await rig.ack(held.job.seq, numbers=(held.number,))).done == 0
        assert (await rig.ack(long.job.seq, numbers=(long.number,))).done == 1
    async with rig.queueing():
        assert "long" not in [record["data"] for record in await rig.records("jobs")]


def test_lease_numbers_are_never_given_twice() -> None:
    """Not after a restart, nor in a new life: a worker of before must not pass for one of now."""
    lives = [(1, 1), (1, 2), (1, 900_000), (2, 1), (2, 2), (3, 1)]
    firsts = [first_number(LifeRecord(b"", number, 1, "", 1, 1, b"", 0, starts)) for number, starts in lives]
    assert firsts[0] == 0
    assert firsts == sorted(set(firsts))
    assert min(b - a for a, b in pairwise(firsts)) >= 1 << 32


async def test_a_durable_lease_is_on_the_disk_before_it_is_told(autojump_clock: MockClock) -> None:
    """A disk that refuses: the claim is refused, the record comes later, with the same count of deliveries."""
    store = MemoryStore()
    rig = QueueRig(store, leases_durable=True)
    async with rig.queueing():
        await rig.append("a")
        store.fail_next(Fault.EIO)
        with pytest.raises(StorageFailed):
            await rig.claim()
        store.heal()
        assert await rig.claim() == []
        await trio.sleep(1.1)
        (given,) = await rig.claim()
        assert given.deliveries == 1


async def test_an_ack_that_the_disk_refuses_is_none(autojump_clock: MockClock) -> None:
    """The caller hears of it, the lease stands, and the ack can be repeated."""
    store = MemoryStore()
    rig = QueueRig(store)
    async with rig.queueing():
        await rig.append("a")
        (given,) = await rig.claim(lease_ms=60_000)
        store.fail_next(Fault.EIO, sticky=True)
        with pytest.raises(StorageFailed):
            await rig.ack(1)
        store.mend()
        store.heal()
        assert rig.counts == (0, 1, 0)
        assert (await rig.ack(1, numbers=(given.number,))).done == 1


async def test_acks_that_come_together_are_one_commit(autojump_clock: MockClock) -> None:
    """Many callers share a transaction."""
    rig = QueueRig(durability="fsync")
    async with rig.queueing():
        await rig.append(*map(str, range(100)))
        await rig.claim(100, lease_ms=60_000)
        before = rig.journal.statistics().turns
        async with trio.open_nursery() as nursery:
            for seq in range(1, 101):
                nursery.start_soon(rig.ack, seq)
        assert rig.topic.count == 0
        assert rig.journal.statistics().turns - before <= 3


# ---- streams -------------------------------------------------------------------------------------


async def _next(worker: Worker, within_s: float = 10.0) -> list[str]:
    ear = worker.bell.attach(Ear())
    with trio.fail_after(within_s):
        while not (given := worker.take()):
            await ear.wait()
    ear.close()
    return texts(given)


async def test_streams_are_woken_not_polled(autojump_clock: MockClock) -> None:
    """By a record, by an ack, by the end of another's lease, by a delay that is over: each at its moment."""
    rig = QueueRig()
    async with rig.queueing():
        worker = await rig.attach(2, lease_ms=60_000)
        await rig.append("a", "b", "c")
        assert await _next(worker) == ["a", "b"]
        await wait_all_tasks_blocked()
        assert worker.take() == []
        await rig.ack(1)
        assert await _next(worker) == ["c"]
        await rig.append("d")
        assert texts(await rig.claim(node="other")) == ["d"]
        await rig.ack(2)
        began = trio.current_time()
        assert await _next(worker) == ["d"]
        assert 0.9 < trio.current_time() - began < 1.1, "the other's lease ran out"
        await rig.nack(4, delay_ms=700)
        began = trio.current_time()
        assert await _next(worker) == ["d"]
        assert 0.6 < trio.current_time() - began < 0.8


async def test_a_full_stream_gets_more_when_its_own_lease_runs_out(autojump_clock: MockClock) -> None:
    """A worker that forgot a job is not starved by it for ever."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a", "b")
        worker = await rig.attach(1)
        assert await _next(worker) == ["a"]
        assert await _next(worker, 1.5) == ["a"]
        await rig.ack(1)
        assert await _next(worker) == ["b"]


@pytest.mark.parametrize("journal", [InlineJournal, Journal])
async def test_an_ack_makes_room_for_the_next_job(journal: type[Journal]) -> None:
    """Also where the ack's commit stands the moment that it is asked for: no stream waits for something else to
    happen."""
    rig = QueueRig()
    rig.journals, rig.clock = journal, Clock()
    async with rig.queueing():
        await rig.append("a", "b", "c")
        worker = await rig.attach(1, lease_ms=600_000)
        for seq, text in enumerate("abc", 1):
            assert await _next(worker) == [text]
            assert (await rig.ack(seq)).done == 1


@pytest.mark.parametrize("durable", [False, True])
async def test_what_is_asked_alone_is_decided_where_it_is_asked(durable: bool) -> None:
    """Claims and settlements give the same answers that the queue's own task gives, whoever decides."""
    rig = QueueRig(leases_durable=durable, max_deliveries=2, dead_letter="dead")
    rig.journals, rig.clock = Journal, Clock()
    async with rig.queueing():
        await rig.append("a", "b")
        (first,) = await rig.claim()
        assert (await rig.claim(node="other"))[0].job.seq == 2
        assert (await rig.ack(1, node="other")).skipped == [1]
        assert (await rig.nack(2, node="other")).done == 1
        (again,) = await rig.claim(node="other")
        assert (again.number, again.deliveries) == (first.number + 2, 2)
        assert (await rig.extend(1, lease_ms=5000)).deadlines.keys() == {1}
        done = await rig.ack(1, numbers=(first.number,))
        assert (done.done, done.ready, done.in_flight) == (1, 0, 1)
        await rig.nack(2, node="other")
        assert await rig.claim() == []
        await rig.queues.buried(rig.topic)
        assert [record["data"] for record in await rig.records("dead")] == ["b"]
        assert rig.counts == (0, 0, 1)


async def test_what_has_expired_is_not_given_out() -> None:
    """Also to somebody who asks alone, when nothing has let go of it yet."""
    rig = QueueRig(ttl_ms=5000)
    rig.journals, rig.clock = Journal, Clock()
    async with rig.queueing():
        await rig.append("a")
        (given,) = await rig.claim()
        await rig.nack(given.job.seq)
        rig.clock.now_ms += 6000
        assert await rig.claim() == []


class Unreadable(MemoryStore):
    """Does not give out packs while ``rotten``."""

    rotten = False

    def packs(self, tid: int, seq: int, max_bytes: int) -> list[Pack]:
        if self.rotten:
            raise ChunkCorrupt("rotten")
        return super().packs(tid, seq, max_bytes)


async def test_a_claim_that_meets_a_fault_half_way_takes_nothing_along() -> None:
    """What it had drawn before something could not be read is claimable again."""
    store = Unreadable()
    rig = QueueRig(store)
    rig.journals, rig.clock = Journal, Clock()
    async with rig.queueing():
        await rig.append("a")
        (given,) = await rig.claim()
        await rig.nack(given.job.seq)
        await rig.append("b")
        rig.shelf.clear(rig.topic.tid)
        store.rotten = True
        with pytest.raises(ChunkCorrupt):
            await rig.claim(2)
        store.rotten = False
        assert sorted(texts(await rig.claim(2))) == ["a", "b"]


async def test_a_stream_that_ends_gives_back_at_once(autojump_clock: MockClock) -> None:
    """Also what was still on its way to it."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a", "b", "c")
        worker = await rig.attach(2, lease_ms=60_000)
        other = await rig.attach(3, node="other")
        await _next(other)
        rig.detach(worker)
        assert sorted(await _next(other)) == ["a", "b"]
        rig.detach(worker)
        await wait_all_tasks_blocked()
        assert rig.counts == (0, 3, 0)


async def test_streams_take_turns(autojump_clock: MockClock) -> None:
    """Who was served goes behind the others: single records do not all go to the first stream."""
    rig = QueueRig()
    async with rig.queueing():
        workers = [await rig.attach(10, node=name) for name in "abc"]
        for i in range(6):
            await rig.append(str(i))
            await wait_all_tasks_blocked()
        assert [texts(worker.take()) for worker in workers] == [["0", "3"], ["1", "4"], ["2", "5"]]


async def test_claims_gather_no_longer_than_the_node_allows(autojump_clock: MockClock) -> None:
    """``[limits] max_jitter_ms`` cuts what a topic says."""
    rig = QueueRig(claim_jitter_ms=5000)
    rig.most_jitter_ms = 20
    async with rig.queueing():
        await rig.append("0")
        began = trio.current_time()
        assert len(await rig.claim(1)) == 1
        assert 0.02 <= trio.current_time() - began < 0.03


async def test_gathered_claims_share(autojump_clock: MockClock) -> None:
    """Whoever comes within the window takes part, each with its own lease time; nobody waits longer than the window."""
    rig = QueueRig(claim_jitter_ms=500)
    async with rig.queueing():
        await rig.append(*map(str, range(5)))
        found: dict[str, Any] = {}

        async def claim(name: str, after_s: float, most: int, lease_ms: int) -> None:
            await trio.sleep(after_s)
            found[name] = await rig.claim(most, node=name, lease_ms=lease_ms)
            found[name + " at"] = trio.current_time()

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, "first", 0.0, 10, 1000)
            nursery.start_soon(claim, "second", 0.4, 1, 9000)
            nursery.start_soon(claim, "third", 0.45, 10, 1000)
            nursery.start_soon(claim, "late", 0.6, 10, 1000)
        assert [len(found[name]) for name in ("first", "second", "third", "late")] == [2, 1, 2, 0]
        assert round(found["first at"] - began, 1) == round(found["third at"] - began, 1) == 0.5
        assert round(found["late at"] - began, 1) == 1.1
        assert found["second"][0].deadline - found["first"][0].deadline == 8000


# ---- home, lives, ends ---------------------------------------------------------------------------


async def test_only_the_home_grants(autojump_clock: MockClock) -> None:
    """A node that is not the home refuses, and streams end when the home goes elsewhere."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a", "b")
        worker = await rig.attach(1)
        await _next(worker)
        await rig.topic.mailbox.ask(Configure(config(type="queue", home="there"), put=True))
        with pytest.raises(HomeUnreachable) as caught:
            await rig.claim()
        assert caught.value.detail == {"home": "there"}
        assert isinstance(worker.fault, HomeUnreachable)
        with pytest.raises(HomeUnreachable):
            rig.queues.home(rig.topic)
        await rig.topic.mailbox.ask(Configure(config(type="queue"), put=True))
        assert texts(await rig.claim()) == ["b"]


async def test_a_home_that_lost_its_store_waits_for_what_peers_can_tell(autojump_clock: MockClock) -> None:
    """In a new life nothing is granted until the peers have told what was settled; in the same life at once."""
    rig = QueueRig()
    rig.unsure = ["jobs"]
    async with rig.queueing():
        await rig.append("a")
        assert texts(await rig.claim()) == ["a"]
    rig.life.reason = "reboot"
    async with rig.queueing():
        with pytest.raises(NotReady):
            await rig.claim()
        worker = await rig.attach(1)
        await trio.sleep(3)
        assert worker.take() == []
        rig.unsure.clear()
        assert await _next(worker, 2) == ["a"]


async def test_what_goes_otherwise_ends_its_lease(autojump_clock: MockClock) -> None:
    """Deleted by somebody else: the stream has room again at the next look, and the counters follow."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a", "b", "c")
        worker = await rig.attach(2, lease_ms=60_000)
        await _next(worker)
        await rig.topic.mailbox.ask(Delete(before_seq=3))
        assert rig.counts == (1, 0, 0)
        assert await _next(worker) == ["c"]


@pytest.mark.parametrize("dead_letter", [None, "dead"])
async def test_what_goes_otherwise_is_noticed_beside_settlements(dead_letter: str | None) -> None:
    """A settlement that stands, and that nobody was told of yet, is not taken for a record that went by itself, nor the
    other way round: whoever looks in between, counts stay right."""
    rig = QueueRig(durability="fsync", max_deliveries=1, dead_letter=dead_letter)
    rig.journals, rig.clock = Journal, Clock()
    async with rig.queueing():
        await rig.append("a", "b", "c")
        await rig.claim(3, lease_ms=60_000)
        settled = trio.Event()

        async def settle() -> None:
            if dead_letter is None:
                await rig.ack(1)
            else:
                await rig.nack(1)
                await rig.claim()
                await rig.queues.buried(rig.topic)
            settled.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle)
            while not settled.is_set():
                assert sum(rig.counts[:2]) in (2, 3)
                await trio.lowlevel.checkpoint()
        await rig.topic.mailbox.ask(Erase((2,)))
        assert rig.counts[:2] == (0, 1)


async def test_a_deleted_queue_ends_and_a_new_one_begins(autojump_clock: MockClock) -> None:
    """Streams are told; leases and marks of the old log are none of the new one's."""
    rig = QueueRig(leases_durable=True)
    async with rig.queueing():
        await rig.append("a", "b")
        worker = await rig.attach(1)
        await _next(worker)
        await rig.registry.delete("jobs", if_empty=False, forget=False)
        await wait_all_tasks_blocked()
        assert isinstance(worker.fault, TopicNotFound)
        rig.topic, _ = await rig.registry.ensure("jobs", rig.config)
        await rig.append("new")
        assert rig.counts == (1, 0, 0)
        (given,) = await rig.claim()
        assert (texts([given]), given.deliveries) == (["new"], 1)
    async with rig.queueing():
        assert rig.counts == (0, 1, 0)


async def test_a_dead_letter_that_was_not_kept_stays_a_job(autojump_clock: MockClock) -> None:
    """Also where the topic of dead letters acknowledges before it has written: the disk refuses, nothing is lost."""
    rig = QueueRig(max_deliveries=1, dead_letter="dead")
    async with rig.queueing():
        await rig.registry.ensure("dead", config(durability="memory"))
        await rig.append("a")
        (given,) = await rig.claim()
        await rig.nack(given.job.seq)
        rig.store.fail_next(Fault.EIO, sticky=True)
        assert await rig.claim() == []
        await wait_all_tasks_blocked()
        assert len(await rig.records("jobs")) == 1
        rig.store.mend()
        rig.store.heal()
        await trio.sleep(2)
        assert await rig.claim() == []
        await wait_all_tasks_blocked()
        assert ([r["data"] for r in await rig.records("dead")], await rig.records("jobs")) == (["a"], [])


async def test_a_late_goodbye_ends_no_other_stream(autojump_clock: MockClock) -> None:
    """A stream that the queue has ended says goodbye when its client has read the last words; by then another one may
    have its number in the new queue."""
    rig = QueueRig()
    async with rig.queueing():
        old = await rig.attach(1)
        await rig.registry.delete("jobs", if_empty=False, forget=False)
        rig.topic, _ = await rig.registry.ensure("jobs", rig.config)
        new = await rig.attach(1)
        assert new.claimant.stream == old.claimant.stream
        rig.detach(old)
        await rig.append("a")
        assert await _next(new) == ["a"]


async def test_a_queue_that_ended_is_forgotten(autojump_clock: MockClock) -> None:
    """Topics come and go: a node keeps nothing of a queue whose topic was deleted, but that its lease numbers were
    given out."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a")
        (given,) = await rig.claim()
        await rig.registry.delete("jobs", if_empty=False, forget=False)
        await wait_all_tasks_blocked()
        assert len(rig.queues) == 0
        rig.topic, _ = await rig.registry.ensure("jobs", rig.config)
        await rig.append("a")
        (again,) = await rig.claim()
        assert again.number > given.number


async def test_the_wall_clock_may_step(autojump_clock: MockClock) -> None:
    """Leases go by the clock that never steps: an hour forth or back ends and lengthens none."""
    rig = QueueRig()
    async with rig.queueing():
        await rig.append("a")
        (given,) = await rig.claim()
        for step_ms in (3_600_000, -7_200_000):
            rig.clock.now_ms += step_ms
            assert rig.counts == (0, 1, 0)
        assert (await rig.ack(1, numbers=(given.number,))).done == 1


async def test_the_table_of_leases_is_bounded(autojump_clock: MockClock) -> None:
    """Beyond [limits] max_leases nothing fresh is given out, until something is done."""
    rig = QueueRig()
    rig.most_leases = 3
    async with rig.queueing():
        await rig.append(*"abcdef")
        assert texts(await rig.claim(9, lease_ms=60_000)) == ["a", "b", "c"]
        assert await rig.claim(9) == []
        await rig.ack(2)
        assert texts(await rig.claim(9)) == ["d"]
