"""A topic's groups as they live: committed with the topic, read back after a death, gone with the log."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import trio

from mirrord.errors import GroupNotFound, InvalidRequest, MirrordError, StorageFailed, Throttled, TopicNotFound
from mirrord.groups import keeper, texts
from mirrord.groups.messages import After, Drop, ListGroups, Read, Seek, Tell
from mirrord.groups.turn import Bounds
from mirrord.storage.inline import InlineJournal
from mirrord.storage.journal import Journal
from mirrord.storage.memory import Fault, MemoryStore
from mirrord.storage.store import PutMark, marks_of_log
from mirrord.topics.messages import Commit as CommitMarks
from mirrord.topics.messages import Configure, Delete, Erase
from mirrord.topics.read.face import View

from ..topics.rig import Clock, config
from .rig import VIEW, GroupRig, seqs, times


async def test_each_record_goes_to_one_consumer() -> None:
    """Members of a group share the records; another group sees all of them."""
    async with GroupRig().opened() as rig:
        await rig.append("1", "2", "3")
        assert seqs(await rig.read("ann", limit=2)) == [1, 2]
        handed = await rig.read("bob")
        assert (seqs(handed), handed.cursor, handed.caught_up) == ([3], 3, True)
        assert seqs(await rig.read("ann")) == []
        other = await rig.groups.ask("t", Read("other", "ann", VIEW))
        assert seqs(other) == [1, 2, 3]


async def test_what_is_committed_never_comes_again_and_the_rest_does() -> None:
    """The promise of a group over kill -9: committed is done, handed out and not committed comes again."""
    rig = GroupRig()
    async with rig.opened():
        await rig.append("1", "2", "3", "4")
        await rig.read("ann", limit=3)
        assert (await rig.commit(2)).committed == 1
    async with rig.opened():
        assert seqs(await rig.read("bob")) == [4]
        reclaimed = await rig.reclaim("bob", of="ann")
        assert (seqs(reclaimed), times(reclaimed)) == ([1, 3], [2, 2])
        assert (await rig.commit(1, 3, 4, consumer="bob")).committed == 3
    async with rig.opened():
        assert (await rig.state()).pending == 0
        assert seqs(await rig.read("ann", min_idle_ms=0)) == []


async def test_only_what_a_consumer_still_holds_can_be_committed() -> None:
    """After another one took a record over, the first one's commit says skipped and changes nothing."""
    async with GroupRig().opened() as rig:
        await rig.append("1", "2")
        await rig.read("ann")
        await rig.reclaim("bob")
        done = await rig.commit(1, 2, 3)
        assert (done.committed, done.skipped, done.pending) == (0, [1, 2, 3], 2)
        done = await rig.commit(1, 1, consumer="bob")
        assert (done.committed, done.skipped) == (1, [1])
        assert (await rig.commit(consumer="bob", up_to=99)).committed == 1


async def test_who_took_over_is_known_after_a_crash() -> None:
    """The one who held the records before cannot commit them then, whoever handed them on and how."""
    rig = GroupRig()
    async with rig.opened():
        await rig.append("1", "2")
        await rig.read("ann")
        assert seqs(await rig.reclaim("bob")) == [1, 2]
        assert times(await rig.read("eve", limit=1, min_idle_ms=0)) == [3]
    async with rig.opened():
        assert (await rig.commit(1, 2)).skipped == [1, 2]
        assert (await rig.commit(1, 2, consumer="bob")).skipped == [1]
        assert (await rig.commit(1, consumer="eve")).committed == 1


async def test_a_group_that_is_deleted_as_it_is_read_stays_deleted() -> None:
    """Both in one turn: what the read changed is not stored behind the deletion."""
    rig = GroupRig()
    async with rig.opened():
        await rig.append("1", "2")
        await rig.read(limit=1)
        (kept,) = rig.groups
        for asked in [kept.mailbox.put(message) for message in (Read("g", "bob", VIEW), Drop("g"))]:
            await asked.wait()
    async with rig.opened():
        with pytest.raises(GroupNotFound):
            await rig.state()


async def test_a_refused_commit_hands_nothing_out() -> None:
    """Who was told that the disk refuses holds nothing; what was committed before stands."""
    rig = GroupRig()
    async with rig.opened():
        await rig.append("1", "2", "3")
        await rig.read(limit=1)
        rig.store.fail_next(Fault.EIO, sticky=True)
        with pytest.raises(StorageFailed):
            await rig.read()
        rig.store.mend()
        rig.store.heal()
        assert (await rig.state()).pending == 1
        rig.store.fail_next(Fault.EIO, sticky=True)
        with pytest.raises(StorageFailed):
            await rig.commit(1)
        rig.store.mend()
        rig.store.heal()
        assert (await rig.commit(1)).committed == 1
        assert seqs(await rig.read()) == [2, 3]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_at_every_commit(moment: str) -> None:
    """Killed right before or right after any commit: what a consumer was told is committed stays so, what it holds
    comes again, and no record is skipped."""
    for fatal in range(1, 40):
        told = _Told()
        store, armed = _store_that_dies(fatal, moment)
        rig = GroupRig(store)
        died = await _work(rig, told, armed)
        rig = GroupRig(store)
        async with rig.opened():
            left = set(seqs(await rig.read("eve", min_idle_ms=0)))
            assert not left & told.committed
            assert left | told.committed | told.trying == set(range(1, 13))
        if not died:
            assert fatal > 10
            return
    raise AssertionError("the work never ended")


class _Told:
    def __init__(self) -> None:
        self.committed: set[int] = set()
        self.trying: set[int] = set()


def _store_that_dies(fatal: int, moment: str) -> tuple[MemoryStore, list[int]]:
    counted = [0]
    armed: list[int] = []

    def witness(now: str) -> None:
        if armed and now == moment:
            counted[0] += 1
            if counted[0] == fatal:
                armed.clear()
                raise KeyboardInterrupt

    return MemoryStore(witness), armed


async def _work(rig: GroupRig, told: _Told, armed: list[int]) -> bool:
    """Read and commit twelve records in small steps; whether it was killed."""
    try:
        async with rig.opened():
            await rig.append(*map(str, range(12)))
            armed.append(1)
            while got := seqs(await rig.read("ann", limit=5)):
                told.trying = set(got[::2])
                assert (await rig.commit(*got[::2])).committed == len(got[::2])
                told.committed |= told.trying
                told.trying = set()
            for seq in seqs(await rig.reclaim("bob")):
                told.trying = {seq}
                await rig.commit(seq, consumer="bob")
                told.committed.add(seq)
            told.trying = set()
    except (KeyboardInterrupt, BaseExceptionGroup):
        return True
    return False


async def test_a_keeper_that_dies_reads_its_marks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that nobody expected costs one refusal, and no place."""
    async with GroupRig().opened() as rig:
        await rig.append("1", "2")
        await rig.read(limit=1)

        def wrong(*_: Any) -> Any:
            raise ValueError("a fault")

        with monkeypatch.context() as patch:
            patch.setattr(keeper, "GroupTurn", wrong)
            with pytest.raises(Exception, match="a fault"):
                await rig.read()
        assert seqs(await rig.read()) == [2]
        assert [death.actor for death in rig.deaths] == ["groups:t"]


class _FaultyClock(Clock):
    """Fails once, at the call that it is told, whoever asks it."""

    calls = 0

    def wall_ms(self) -> int:
        self.calls -= 1
        if not self.calls:
            raise RuntimeError("the clock fell off the wall")
        return super().wall_ms()


@pytest.mark.parametrize("journal", [InlineJournal, Journal])
async def test_whoever_dies_at_whatever_moment_the_keeper_knows_what_is_stored(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
    journal: type[Journal],
) -> None:
    """The topic or the keeper falls over anywhere in its turn: neither does so with a commit of its own on its way, so
    what the next life reads back is all that there is, and what a later one reads is the same."""
    for moment in range(1, 30):
        rig = GroupRig()
        rig.journals, rig.clock = journal, _FaultyClock()
        async with rig.opened():
            await rig.append("1", "2", "3", "4")
            assert seqs(await rig.read(limit=3)) == [1, 2, 3]
            rig.clock.calls = moment
            for step in (rig.commit(1, 2), rig.read("bob", limit=1), rig.append("5")):
                with suppress(MirrordError, RuntimeError):
                    await step
            fell, rig.clock.calls = rig.clock.calls <= 0, 0
            await trio.sleep(30)
            before = await rig.state()
        async with rig.opened():
            assert await rig.state() == before
            left = seqs(await rig.read("eve", min_idle_ms=0))
            assert 4 in left
            assert min(left) > before.committed_to
        if not fell:
            assert moment > 5
            return
    raise AssertionError("the turns never ended")


async def test_a_keeper_ends_when_nobody_uses_it(autojump_clock: trio.testing.MockClock) -> None:  # noqa: ARG001
    """What is not used costs neither a task nor memory, and is there again at the next use."""
    async with GroupRig().opened() as rig:
        await rig.append("1", "2")
        await rig.read(limit=1)
        assert [k.name for k in rig.groups] == ["groups:t"]
        await trio.sleep(keeper.IDLE_S + 1)
        assert list(rig.groups) == []
        assert "groups:t" not in {actor["name"] for actor in rig.supervisor.statistics()}
        assert seqs(await rig.read()) == [2]
        assert (await rig.state()).pending == 2


async def test_a_request_that_comes_as_a_keeper_ends_is_answered(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    """Whoever asks in the very moment gets an answer, not the end of the one asked."""
    async with GroupRig().opened() as rig:
        await rig.append("1")
        for _ in range(30):
            assert (await rig.read()).cursor == 1
            await trio.sleep(keeper.IDLE_S)


# ---- what becomes of the log -------------------------------------------------------------------------


async def test_a_topic_takes_its_groups_along() -> None:
    """A group of a deleted topic says so, and a topic made anew has none: nothing of it is skipped or committed."""
    async with GroupRig().opened() as rig:
        await rig.append("1", "2", "3")
        await rig.read()
        tid = (await rig.registry.find("t")).tid
        await rig.registry.delete("t", if_empty=False, forget=False)
        assert rig.store.marks(marks_of_log(tid)) == []
        with pytest.raises(TopicNotFound):
            await rig.read()
        await rig.append("4")
        handed = await rig.read()
        assert (seqs(handed), handed.created, handed.tombstone) == ([1], True, None)
        with pytest.raises(GroupNotFound):
            await rig.groups.ask("t", Tell("nobody"))


async def test_a_place_in_a_log_that_is_gone_is_not_committed() -> None:
    """What was decided against a log that was deleted meanwhile is refused, and nothing of it is kept."""
    async with GroupRig().opened() as rig:
        await rig.append("1")
        topic = await rig.registry.find("t")
        mark = PutMark(f"{marks_of_log(topic.tid)}group/g", b"x")
        await topic.mailbox.ask(CommitMarks((mark,), topic.log_id_hex))
        with pytest.raises(TopicNotFound):
            await topic.mailbox.ask(CommitMarks((PutMark(mark.reader, b"y"),), "00" * 8))
        assert rig.store.mark(mark.reader) == b"x"


async def test_a_topic_that_was_forgotten_has_another_keeper() -> None:
    """Forgetting ends the topic itself; the groups of the one made anew are of that one."""
    async with GroupRig().opened() as rig:
        await rig.append("1", "2")
        await rig.read()
        await rig.registry.delete("t", if_empty=False, forget=True)
        await rig.append("3")
        assert seqs(await rig.read()) == [1]


async def test_a_group_goes_on_in_a_new_life() -> None:
    """After a restored backup marks and log are of one moment, so the group goes on where both are; seqs of the lost
    tail are told as lost."""
    rig = GroupRig()
    async with rig.opened():
        await rig.append("1", "2", "3")
        await rig.read(limit=2)
        await rig.commit(1)
    rig.new_life(log_ids=True)
    async with rig.opened():
        await rig.append("4")
        handed = await rig.read()
        assert seqs(handed)[:1] == [3]
        told = handed.tombstone or (await rig.read()).tombstone
        assert json.loads(told or "null")["reason"] == "lost"
        assert (await rig.state()).cursor > 3


async def test_an_ephemeral_topic_forgets_its_groups_with_its_records() -> None:
    """Groups live where the log lives, and nothing of them stays on disk."""
    rig = GroupRig()
    async with rig.opened():
        await rig.registry.ensure("t", config(durability="ephemeral"))
        await rig.append("1", "2")
        await rig.read(limit=1)
        assert rig.store.marks("") == []
        assert seqs(await rig.read()) == [2]
    async with rig.opened():
        await rig.append("3")
        assert (await rig.read()).created


async def test_losses_show_once_and_nothing_waits_for_what_is_gone() -> None:
    """Records that were pending and are deleted or evicted leave it, and the next answer names them; what nobody had
    yet is a tombstone."""
    async with GroupRig().opened() as rig:
        topic, _ = await rig.registry.ensure("t")
        await rig.append(*"12345678")
        await rig.read(limit=4)
        await topic.mailbox.ask(Erase((2,)))
        assert [(c.consumer, c.pending) for c in (await rig.state()).consumers] == [("ann", 3)]
        await topic.mailbox.ask(Configure(config(cap_records=3), put=True))
        told = await rig.state()
        assert (told.pending, told.committed_to) == (0, 4)
        handed = await rig.read("bob")
        assert handed.gone == [2, 1, 3, 4]
        assert (json.loads(handed.tombstone or "null")["gap_to"], seqs(handed)) == (5, [6, 7, 8])
        assert (await rig.read("bob")).gone == []
        await topic.mailbox.ask(Delete(before_seq=8))
        reclaimed = await rig.reclaim("ann")
        assert (seqs(reclaimed), reclaimed.gone) == ([8], [6, 7])


# ---- places and bounds -------------------------------------------------------------------------------


async def test_where_a_group_begins() -> None:
    """At what is retained, at the end, or after a seq; never where nothing can be."""
    async with GroupRig().opened() as rig:
        await rig.append(*"12345")
        await (await rig.registry.find("t")).mailbox.ask(Configure(config(cap_records=3), put=True))
        starts: list[Any] = ["earliest", "latest", After(4), After(0)]
        for number, start in enumerate(starts):
            handed = await rig.groups.ask("t", Read(f"g{number}", "ann", VIEW, start=start))
            assert seqs(handed) == [[3, 4, 5], [], [5], [3, 4, 5]][number]
            assert (handed.tombstone is not None) == (number == 3)
        with pytest.raises(InvalidRequest):
            await rig.groups.ask("t", Read("far", "ann", VIEW, start=After(6)))


async def test_seek_lets_go_of_everything() -> None:
    """Who moves a group decides what comes next, for all of its consumers."""
    async with GroupRig().opened() as rig:
        await rig.append(*"123")
        await rig.read()
        sought = await rig.groups.ask("t", Seek("g", After(1)))
        assert (sought.cursor, sought.dropped, sought.created) == (1, 3, False)
        assert (await rig.commit(1)).skipped == [1]
        assert seqs(await rig.read("bob")) == [2, 3]
        assert (await rig.groups.ask("t", Seek("new", "latest"))).created


async def test_every_table_has_a_bound() -> None:
    """Groups, consumers and pending records: at the bound a refusal names the limit, and committing makes room."""
    rig = GroupRig()
    rig.bounds = Bounds(groups=2, consumers=2, pending=4)
    async with rig.opened():
        await rig.append(*"123456789")
        assert seqs(await rig.read("ann", limit=1)) == [1]
        assert seqs(await rig.read("bob")) == [2, 3, 4]
        for consumer, limit in (("cyd", "max_consumers_per_group"), ("ann", "max_pending_per_group")):
            with pytest.raises(Throttled) as refused:
                await rig.read(consumer)
            assert refused.value.detail == {"limit": limit, "max": {"c": 2, "a": 4}[consumer[0]]}
        await rig.commit(2, 3, consumer="bob")
        assert seqs(await rig.read("ann")) == [5, 6]
        await rig.groups.ask("t", Read("second", "ann", VIEW))
        with pytest.raises(Throttled):
            await rig.groups.ask("t", Read("third", "ann", VIEW))
        assert await rig.groups.ask("t", Drop("second"))
        assert not await rig.groups.ask("t", Drop("second"))
        assert [g.group for g in await rig.groups.ask("t", ListGroups("", "", 9))] == ["g"]


async def test_scattered_records_are_taken_over_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes, many holes: each call takes what fits, the cursor leads on, and every record comes once."""
    monkeypatch.setattr(texts, "MOST_READS", 8)
    monkeypatch.setattr(texts, "SMALL_HOLE", 8)
    async with GroupRig().opened() as rig:
        await rig.append(*(json.dumps("x" * 40 + str(i)) for i in range(900)))
        got = seqs(await rig.read("ann", limit=900))
        await rig.commit(*(seq for seq in got if seq % 9))
        rig.clock.now_ms += 1000
        found: list[int] = []
        after = pages = 0
        while pages == 0 or after:
            page = await rig.reclaim("bob", 1000, after=after)
            found, after, pages = found + seqs(page), page.next_after, pages + 1
        assert found == [seq for seq in got if seq % 9 == 0]
        assert pages == 13


async def test_bytes_bound_an_answer() -> None:
    """A page ends at max_bytes and holds one record at least, new ones and those taken over alike."""
    async with GroupRig().opened() as rig:
        await rig.append(*(json.dumps("x" * 1000) for _ in range(6)))
        small = View(limit=100, max_bytes=2500)
        assert seqs(await rig.groups.ask("t", Read("g", "ann", small))) == [1, 2]
        assert seqs(await rig.groups.ask("t", Read("g", "ann", View(limit=100, max_bytes=1)))) == [3]
        rig.clock.now_ms += 10
        again = await rig.groups.ask("t", Read("g", "bob", small, min_idle_ms=10))
        assert seqs(again)[:2] == [1, 2]
        assert sum(map(len, again.records)) < 4000


async def test_a_poll_learns_when_something_becomes_idle() -> None:
    """Who waits with min_idle_ms must look again when the next pending record is old enough."""
    async with GroupRig().opened() as rig:
        await rig.append("1")
        await rig.read()
        handed = await rig.read("bob", min_idle_ms=500)
        assert (seqs(handed), handed.next_idle_ms) == ([], rig.clock.now_ms + 500)
        rig.clock.now_ms += 500
        assert seqs(await rig.read("bob", min_idle_ms=500)) == [1]
