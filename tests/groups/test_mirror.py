"""Groups that are mirrored: what is told, when, and what becomes of what others tell."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.errors import ProtocolViolation, StorageFailed
from mirrord.groups.messages import Read
from mirrord.groups.mirror import TELL_EVERY_MS, without_origin
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Draft
from mirrord.records.gap import CONTROL
from mirrord.records.record import records
from mirrord.records.strand import Position
from mirrord.storage.memory import Fault, MemoryStore
from mirrord.topics import vectors
from mirrord.topics.erasure import orders
from mirrord.topics.messages import Apply, Configure, Introduce
from mirrord.topics.topic import Topic

from ..topics.rig import Origin, config
from .rig import VIEW, GroupRig, seqs


class MirroredRig(GroupRig):
    """One topic with its own records and those of an origin elsewhere."""

    async def begin(self, *, own: int = 3, theirs: int = 4) -> None:
        self.topic: Topic
        self.topic, _ = await self.registry.ensure("t", config(mirror_groups=True))
        self.there = Origin(77)
        await self.topic.mailbox.ask(Introduce(self.there.descriptor))
        await self.append(*("1" * own))
        await self.topic.mailbox.ask(Apply(self.there.write(theirs)))

    async def come_back(self) -> None:
        self.topic = await self.registry.find("t")

    async def hear(self, vector: dict[int, int], group: str = "g") -> None:
        """The origin's node tells where its group stands."""
        content, text = vectors.tell(group, vector)
        at = self.there.ends[-1]
        packed, digest, _ = encode(
            self.there.number, at.oseq + 1, at.hash or b"", self.there.ts, batches_of([Draft(Raw(text), tag=content)]),
            chunks.CONTROL,
        )  # fmt: skip
        self.there.ends.append(Position(at.oseq + 1, digest))
        await self.topic.mailbox.ask(Apply(packed))

    def told(self) -> list[dict[str, Any]]:
        """What this node told its peers, oldest first."""
        own = self.topic.own_strand
        gaps = self.store.gaps(self.topic.tid, own.sid, 1, 100) if own is not None else []
        controls = [gap.ends for gap in gaps if gap.reason == CONTROL]
        return [json.loads(r.data) for c in controls for r in records(c, 0, chunks.header_at(c, 0))]

    @property
    def own(self) -> int:
        assert self.topic.own_strand is not None
        return self.topic.own_strand.descriptor.strand

    def later(self) -> None:
        self.clock.now_ms += TELL_EVERY_MS


async def test_a_group_tells_how_far_it_is_done_with_each_strand() -> None:
    """Up to the first record that is not committed, whoever wrote the records; and only when it came further."""
    async with MirroredRig().opened() as rig:
        assert isinstance(rig, MirroredRig)
        await rig.begin()
        await rig.read()
        rig.later()
        await rig.commit(1, 2, 4)
        assert rig.told() == [{"group": "g", "vector": {f"{rig.own:016x}": 2}}]
        rig.later()
        await rig.commit(6)
        assert len(rig.told()) == 1
        await rig.commit(3, 5)
        assert rig.told()[1:] == [{"group": "g", "vector": {f"{rig.own:016x}": 3, f"{77:016x}": 3}}]


async def test_the_last_word_is_told_in_the_end(autojump_clock: trio.testing.MockClock) -> None:  # noqa: ARG001
    """Within a second a group tells once; what it had to say then is told when the second is over, unasked."""
    async with MirroredRig().opened() as rig:
        assert isinstance(rig, MirroredRig)
        await rig.begin(own=5, theirs=1)
        await rig.read()
        rig.later()
        for seq in (1, 2, 3):
            await rig.commit(seq)
        assert [told["vector"][f"{rig.own:016x}"] for told in rig.told()] == [1]
        rig.later()
        await trio.sleep(2)
        assert [told["vector"][f"{rig.own:016x}"] for told in rig.told()] == [1, 3]


async def test_what_is_told_is_committed_with_it() -> None:
    """A place that was not committed is told to nobody, and one that was is told once, over kill -9 too."""
    rig = MirroredRig()
    async with rig.opened():
        await rig.begin()
        await rig.read()
        rig.later()
        rig.store.fail_next(Fault.EIO)
        with pytest.raises(StorageFailed):
            await rig.commit(1, 2)
        rig.store.heal()
        assert rig.told() == []
        rig.later()
        await rig.commit(1, 2)
        assert len(rig.told()) == 1
    async with rig.opened():
        rig.topic = await rig.registry.find("t")
        await rig.state()
        rig.later()
        await rig.state()
        assert len(rig.told()) == 1


async def test_what_others_are_done_with_is_not_handed_out() -> None:
    """Neither what nobody here had yet, nor what somebody here holds; the rest comes."""
    async with MirroredRig().opened() as rig:
        assert isinstance(rig, MirroredRig)
        await rig.begin()
        assert seqs(await rig.read("ann", limit=4)) == [1, 2, 3, 4]
        await rig.hear({rig.own: 2, 77: 2})
        assert (await rig.state()).pending == 1
        page = await rig.read("bob")
        assert seqs(page) == [6, 7]
        assert "$origin" not in page.records[0]
        assert (await rig.commit(1, 2, 3)).skipped == [1, 2]


async def test_others_words_survive_and_only_grow() -> None:
    """Words are joined, also those of one node about different strands; a group that nobody uses here yet knows them
    when it is made."""
    rig = MirroredRig()
    async with rig.opened():
        await rig.begin()
        await rig.hear({77: 1}, "late")
        await rig.hear({77: 3}, "late")
        await rig.hear({rig.own: 2}, "late")
        await rig.hear({rig.own: 1}, "other")
    async with rig.opened():
        handed = await rig.groups.ask("t", Read("late", "ann", VIEW))
        assert seqs(handed) == [3, 7]


async def test_a_topic_without_the_key_tells_and_hears_nothing() -> None:
    """Groups are of one node unless somebody wants otherwise."""
    async with MirroredRig().opened() as rig:
        assert isinstance(rig, MirroredRig)
        await rig.begin()
        await rig.hear({77: 4})
        rig.topic, _ = await rig.registry.ensure("t")
        await rig.topic.mailbox.ask(Configure(config(), put=True))
        assert seqs(await rig.read()) == [1, 2, 3, 4, 5, 6, 7]
        rig.later()
        await rig.commit(1, 2, 3, 4, 5, 6, 7)
        assert rig.told() == []


async def test_of_too_many_groups_those_of_which_nobody_tells_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node keeps of other nodes' groups is bounded, however many names were used; who is told of stays."""
    monkeypatch.setattr(orders, "MOST_GROUPS", 10)
    rig = MirroredRig()
    for lives in range(3):
        async with rig.opened():
            await (rig.begin() if not lives else rig.come_back())
            for i in range(20):
                rig.there.ts += 1
                await rig.hear({77: 2}, "kept")
                await rig.hear({77: 1}, f"g{lives}-{i}")
            marks = [mark for mark, _ in rig.store.marks(vectors.elsewhere(rig.topic.tid))]
            assert len(marks) <= 10
            assert {vectors.mark_of(rig.topic.tid, name) for name in ("kept", f"g{lives}-19")} <= {*marks}
    assert vectors.heard(rig.store, rig.topic.tid, "kept") == {77: 2}


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"group":"-","vector":{}}', '{"group":"g","vector":{"x":1}}', '{"group":"g","vector":{"1":0}}'],
)
def test_what_cannot_be_a_place_is_refused(text: str) -> None:
    """A peer that tells nonsense is named, and nothing of it is kept."""
    with pytest.raises(ProtocolViolation):
        vectors.told_of(text)


@given(st.dictionaries(st.integers(0, 5), st.dictionaries(st.integers(0, 3), st.integers(1, 99)), max_size=4))
def test_words_are_joined_by_the_highest(told: dict[int, dict[int, int]]) -> None:
    """However many tell, a strand is done up to the furthest of them."""
    store = MemoryStore()
    for at_ms, vector in enumerate(told.values()):
        group, heard = vectors.told_of(vectors.tell("g", vector)[1])
        mark = vectors.mark_of(1, group)
        store.commit([vectors.raised(mark, store.mark(mark), heard, at_ms)], sync=False)
    every = {n for vector in told.values() for n in vector}
    best = {n: max(vector.get(n, 0) for vector in told.values()) for n in every}
    assert vectors.heard(store, 1, "g") == best


@given(st.text(), st.none() | st.text(max_size=9))
def test_taking_the_origin_out_leaves_the_rest(data: str, tag: str | None) -> None:
    """Whatever the payload says, also when it speaks of origins itself."""
    origin = '"$origin":{"node":"a","strand":"1","oseq":1}'
    tags = f',"$tag":{json.dumps(tag)}' if tag is not None else ""
    rest = f',"data":{json.dumps([data, {"$origin": {"x": data}}], separators=(",", ":"))}}}'
    assert without_origin(f'{{"$seq":1{tags},{origin}{rest}') == f'{{"$seq":1{tags}{rest}'
