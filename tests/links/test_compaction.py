"""Control chunks are said anew in few: whoever comes when, and from wherever it pulls, it hears all that was said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import msgspec
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrord.client.comparison import Digest, StrandDigest, compare
from mirrord.links.feeds.lane import Lane
from mirrord.links.wire import At, Chunks, CoverIs, ForkIs, StrandIs
from mirrord.records.batch import batches_of
from mirrord.records.gap import CONTROL, ERASED, Cover
from mirrord.records.strand import Descriptor, Identity
from mirrord.topics import vectors
from mirrord.topics.log.turn import Sizes
from mirrord.topics.messages import Append, Apply, ApplyCover, Commit, Erase, Introduce
from mirrord.topics.read.digest import digest_of
from mirrord.topics.read.face import View
from mirrord.topics.read.reading import read
from mirrord.topics.registry import Registry
from mirrord.topics.topic import Topic

from ..topics.rig import Rig, draft

MOST = 3
Places = set[tuple[int, int]]


class Member:
    """One node: its store outlives its process, and its lives its disk."""

    def __init__(self, name: str, disk: int = 0) -> None:
        self.name, self.disk = name, disk
        me = Identity(name, f"{name}{disk}".encode().ljust(16, b"."), f"{name}{disk}".encode().ljust(16, b"_"))
        self.rig = Rig(me=me, sizes=Sizes(600, 1000, 4096, MOST, 1 << 20))


def standing(topic: Topic) -> list[At]:
    return [(n, s.durable_last, s.durable_hash) for n, s in topic.strands.items() if s.stored]


async def pull(puller: Topic, source: Topic, me: Identity, frames: int = 1 << 30) -> bool:
    """Take what the source sends, at most so many frames; whether it has nothing more."""
    while True:
        lane = Lane(1, source, me, goes_on=frames % 2 == 0)
        assert lane.place(standing(puller)) == []
        pieces = [piece for _ in range(64) for piece in lane.next(700)]
        if not pieces:
            return True
        for piece in pieces:
            header, body = piece.header, b"".join(piece.body)
            assert not isinstance(header, ForkIs)
            if isinstance(header, StrandIs):
                await puller.mailbox.ask(Introduce(Descriptor.decode(header.descriptor)))
                continue
            if isinstance(header, Chunks):
                assert not (await puller.mailbox.ask(Apply(body, lacks=header.lacks))).forks
            elif isinstance(header, CoverIs):
                cover = Cover(header.strand, header.first, header.last, header.reason, header.prev_hash, header.hash)
                applied = await puller.mailbox.ask(ApplyCover(cover))
                assert (header.reason, applied.forks) == (ERASED, ())
                assert not (header.goes_on and applied.ahead)
            frames -= 1
            if not frames:
                return False


def readable(topic: Topic) -> dict[tuple[int, int], int]:
    """Place and local seq of every record that a reader is shown."""
    found: dict[tuple[int, int], int] = {}
    cursor, caught_up = 0, False
    while not caught_up:
        page = read(topic, cursor, None, View(limit=100, max_bytes=1 << 20, origin=True))
        for text in page.records:
            record = json.loads(text)
            found[int(record["$origin"]["strand"], 16), record["$origin"]["oseq"]] = record["$seq"]
        cursor, caught_up = page.next_from_seq, page.caught_up
    return found


def controls(topic: Topic) -> Iterator[tuple[str, int]]:
    """Origin and size of every control chunk that is kept."""
    for strand in topic.strands.values():
        for gap in topic.reads.gaps(topic.tid, strand.sid, 1, 1 << 20):
            if gap.reason == CONTROL:
                yield strand.descriptor.origin, len(gap.ends)


class Cluster:
    """Nodes without links: who pulls what from whom, and when, is told step by step."""

    def __init__(self) -> None:
        self.members = [Member(name) for name in "abc"]
        self.written: Places = set()
        self.gone: Places = set()
        self.done: dict[str, vectors.Vector] = {}

    async def topic(self, registry: Registry) -> Topic:
        return (await registry.ensure("orders"))[0]

    async def take(self, member: Member, step: str, value: Any) -> None:
        async with member.rig.run() as registry:
            topic = await self.topic(registry)
            match step:
                case "append":
                    before = set(readable(topic))
                    for _ in range(value):
                        await topic.mailbox.ask(Append(batches_of([draft("1")])))
                    self.written |= set(readable(topic)) - before
                case "erase":
                    there = sorted(readable(topic).items(), key=lambda item: item[1])
                    for place, seq in [item for i, item in enumerate(there) if i in value]:
                        await topic.mailbox.ask(Erase((seq,), travels=True))
                        self.gone.add(place)
                case "group":
                    told = {n: min(value, s.durable_last) for n, s in topic.strands.items() if s.durable_last}
                    for strand, oseq in told.items():
                        await topic.mailbox.ask(Commit((), None, (vectors.tell("g", {strand: oseq}),)))
                    if told:
                        self.done["g"] = vectors.raise_to(self.done.get("g", {}), told)
                case "pull":
                    other, frames = value
                    source = self.members[other % 3]
                    if source is not member:
                        async with source.rig.run() as there:
                            await pull(topic, await self.topic(there), member.rig.life.identity, frames)

    async def everybody_pulls(self) -> None:
        for _ in range(3):
            for member in self.members:
                for other in range(3):
                    await self.take(member, "pull", (other, 1 << 30))


nodes = st.integers(0, 2)
steps = st.one_of(
    st.tuples(nodes, st.just("append"), st.integers(1, 6)),
    st.tuples(nodes, st.just("erase"), st.sets(st.integers(0, 9), min_size=1, max_size=6)),
    st.tuples(nodes, st.just("erase"), st.sets(st.integers(0, 9), min_size=1, max_size=6)),
    st.tuples(nodes, st.just("group"), st.integers(1, 20)),
    st.tuples(nodes, st.just("pull"), st.tuples(nodes, st.integers(1, 8))),
    st.tuples(nodes, st.just("pull"), st.tuples(nodes, st.integers(1, 8))),
    st.tuples(nodes, st.just("life"), st.none()),
    st.tuples(nodes, st.just("wipe"), st.none()),
)


async def take_all(history: list[tuple[int, str, Any]]) -> Cluster:
    cluster = Cluster()
    for node, step, value in history:
        member = cluster.members[node]
        if step == "life":
            member.rig.new_life()
        elif step == "wipe":
            await cluster.everybody_pulls()  # else what only this node had is lost, and is to be nowhere
            cluster.members[node] = Member(member.name, member.disk + 1)
        else:
            await cluster.take(member, step, value)
    await cluster.everybody_pulls()
    return cluster


@settings(max_examples=150, deadline=None)
@example(  # what came stripped is told on as erased, though the order had not come when its pack went
    [(0, "append", 6), (0, "wipe", None), (2, "append", 1), (2, "erase", {0, 2, 4}), (0, "pull", (2, 7))]
)
@given(st.lists(steps, max_size=30))
def test_whoever_pulls_when_hears_all_that_was_said(history: list[tuple[int, str, Any]]) -> None:
    """Nodes write, erase, tell of groups, begin new lives, lose their disks, and pull from each other a few frames at a
    time; so they stand before, in and behind what was said anew. In the end each shows what was written and not
    erased, and so does a newcomer that pulls from one of them alone; and all of them prove equal."""

    async def run() -> None:
        cluster = await take_all(history)
        digests: list[Digest] = []
        newcomers = [Member("z", disk) for disk in range(3)]
        for newcomer, source in zip(newcomers, cluster.members, strict=True):
            async with source.rig.run() as there, newcomer.rig.run() as here:
                await pull(await cluster.topic(here), await cluster.topic(there), newcomer.rig.life.identity)
        for member in (*cluster.members, *newcomers):
            async with member.rig.run() as registry:
                topic = await cluster.topic(registry)
                assert set(readable(topic)) == cluster.written - cluster.gone
                told = await digest_of(topic, {}, deep=True, rest=trio.lowlevel.checkpoint)
                digests.append(Digest("orders", msgspec.convert(told, tuple[StrandDigest, ...])))
                if member.name == "z":
                    assert len(topic.reads.marks(vectors.elsewhere(topic.tid))) == len(cluster.done)
                    assert {g: vectors.heard(topic.reads, topic.tid, g) for g in cluster.done} == cluster.done

        for one, other in combinations(digests, 2):
            assert compare(one, other) == []

    trio.run(run)
