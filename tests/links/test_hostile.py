"""Peers that lie: each is refused or cut off by name, nothing of it is applied, and the other links go on."""
# ruff: noqa: ARG001, ARG002, ASYNC110 -- the clock of a test is an argument of it; it jumps, so asking again is no
# waiting

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import count
from random import Random

import pytest
import trio
from msgspec import structs
from trio.testing import MockClock

from mirrord.config.load import parse
from mirrord.links.frames import frame
from mirrord.links.inlet import directory, hearing
from mirrord.links.link import Link
from mirrord.links.state import LinkState
from mirrord.links.switchboard import Switchboard
from mirrord.links.wire import (
    Chunks,
    CoverIs,
    FeedRequest,
    Frame,
    Head,
    Hello,
    NeedClosed,
    Refused,
    StrandIs,
    Told,
    TopicInfo,
    Topics,
    decode_request,
)
from mirrord.records.batch import batches_of
from mirrord.topics.messages import Append
from mirrord.topics.registry import Registry

from ..topics.rig import ME, Origin, Rig, draft

CONFIG = """
[cluster]
name = "shop"
[nodes.here]
listen = "127.0.0.1:4001"
data_dir = "data/here"
[nodes.bad]
listen = "127.0.0.1:4002"
data_dir = "data/bad"
[nodes.good]
listen = "127.0.0.1:4003"
data_dir = "data/good"
[[links]]
from = "bad"
pull = "here"
topics = ["orders"]
[[links]]
from = "good"
pull = "here"
topics = ["orders"]
"""

Script = Callable[[FeedRequest], list[bytes]]


def said(*frames: tuple[Frame, bytes] | Frame) -> list[bytes]:
    """Frames as bytes."""
    found: list[bytes] = []
    for item in frames:
        header, body = item if isinstance(item, tuple) else (item, b"")
        found.append(b"".join(frame(header, [body] if body else [])))
    return found


def hello(node: str, **other: object) -> Hello:
    return structs.replace(Hello(1, node, node.encode().ljust(16), b"k" * 16, 0, b"t" * 16, 1), **other)


def orders(*origins: Origin) -> Topics:
    vector = [(o.number, o.ends[-1].oseq, o.ends[-1].hash, 1, 0) for o in origins]
    return Topics("there", [TopicInfo(1, "orders", b"l" * 8, "log", 0, "disk", 9, 9, 90, vector)])


class Scripted:
    """A peer that says what the test wrote down, and then nothing more."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[FeedRequest] = []
        self.more = trio.Event()  # set: a sign of life comes behind the script, or the fault
        self.fault: Exception | None = None
        self.silent = False  # nothing comes at all
        self.behind: list[bytes] = []  # what comes after the script, one for each ``more``
        self.round_trip_s = 0.0

    @asynccontextmanager
    async def feed(self, request: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        self.requests.append(decode_request(request))
        async with aclosing(self._frames(self.script(self.requests[-1]))) as frames:
            yield frames

    async def _frames(self, frames: list[bytes]) -> AsyncGenerator[bytes, None]:
        if self.silent:
            await trio.sleep_forever()
        for data in frames:
            yield data
        for data in self.behind:
            await self.more.wait()
            self.more = trio.Event()
            yield data
        await self.more.wait()
        if self.fault is not None:
            raise self.fault
        yield said(Refused("topic-type", "a sign of life", "other"))[0]
        await trio.sleep_forever()

    async def change(self, feed_no: int, change: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class World:
    """This node between a bad peer and a good one."""

    def __init__(self, bad: Script, config: str = CONFIG) -> None:
        self.rig, self.config = Rig(), config
        self.rig.max_topics = 0
        self.origin = Origin(77, "good")
        self.origin.write(3)
        self.bad, self.good = Scripted(bad), Scripted(self._behave)
        self.rewound: list[str] = []

    def _behave(self, _: FeedRequest) -> list[bytes]:
        return said(
            hello("good"), orders(), StrandIs(1, self.origin.descriptor.encode()), (Chunks(1), self.origin.chunks[0])
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[tuple[Link, Registry]]:
        async with self.rig.run() as registry:
            board = Switchboard(
                parse(self.config), self.rig.life, self.rig.clock, Random(1), registry,
                lambda plan: self.bad if plan.peer == "bad" else self.good, self.rewound.append,
            )  # fmt: skip
            board.start(self.rig.supervisor)
            self.links = board.links
            yield board.links["bad"], registry

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            while not holds():
                await trio.sleep(0.01)

    async def good_goes_on(self, registry: Registry) -> None:
        await self.until(lambda: registry.known("orders") is not None)
        topic = await registry.find("orders")
        await self.until(lambda: 77 in topic.strands and topic.strands[77].durable_last == 3)
        assert topic.count == 3, "only the good peer's records are there"
        assert self.rig.deaths == []


EVIL = Origin(5, "evil")
EVIL.write(2)
SPOILED = EVIL.chunks[0][:-1] + b"~"
DESCRIBED = StrandIs(1, EVIL.descriptor.encode())
OURS = structs.replace(EVIL.descriptor, origin_id=ME.origin_id, life=ME.life)

CASES: dict[str, tuple[list[bytes], str, str]] = {
    "another node answers": (said(hello("other")), "refused", "wrong-node"),
    "our origin id": (said(hello("bad", origin_id=ME.origin_id)), "refused", "duplicate-node"),
    "another protocol": (said(hello("bad", proto=9)), "refused", "too-old"),
    "another cluster": (said(Refused("wrong-cluster", "no")), "refused", "wrong-cluster"),
    "a refusal with an odd word": (said(Refused("because", "no")), "refused", "because"),
    "garbage": ([b"HTTP is not spoken here" * 9], "unreachable", "length"),
    "an endless header": ([b"\xff\xff\xff\x00\x00\x00\x00\x00"], "unreachable", "length"),
    "an endless body": ([b"\x01\x00\x00\x00\xff\xff\xff\xff"], "unreachable", "length"),
    "bad text": ([b"\x06\x00\x00\x00\x00\x00\x00\x00\x81\xa1f\xa2\xff\xff"], "unreachable", "cannot be read"),
    "nesting without end": (
        [(60_000).to_bytes(4, "little") + bytes(4) + b"\x91" * 60_000],
        "unreachable",
        "cannot be read",
    ),
    "topics before hello": (said(orders()), "unreachable", "before hello"),
    "records before hello": (said((Chunks(1), EVIL.chunks[0])), "unreachable", "before hello"),
    "a second hello": (said(hello("bad"), hello("bad")), "unreachable", "second hello"),
    "a chunk before its descriptor": (
        said(hello("bad"), orders(), (Chunks(1), EVIL.chunks[0])),
        "unreachable",
        "descriptor",
    ),
    "a chunk with a wrong hash": (said(hello("bad"), orders(), DESCRIBED, (Chunks(1), SPOILED)), "unreachable", "hash"),
    "half a chunk": (said(hello("bad"), orders(), DESCRIBED, (Chunks(1), EVIL.chunks[0][:90])), "unreachable", "chunk"),
    "no descriptor at all": (said(hello("bad"), orders(), StrandIs(1, b"noise")), "unreachable", "descriptor"),
    "a cover of a strand that nobody described": (
        said(hello("bad"), orders(), CoverIs(1, 99, 1, 5, "lost")),
        "unreachable",
        "cover",
    ),
    "a cover without an end": (
        said(hello("bad"), orders(), DESCRIBED, CoverIs(1, 5, 1, 1 << 60, "lost")),
        "unreachable",
        "cover",
    ),
    "a digest that does not add up": (said(hello("bad"), orders(EVIL), Head(0, 12345)), "unreachable", "digest"),
}


@pytest.mark.parametrize("case", list(CASES))
async def test_a_lie_costs_only_its_own_link(case: str, autojump_clock: MockClock) -> None:
    """The link says why, in a word; nothing of the lie is applied; the other peer's records arrive."""
    script, word, reason = CASES[case]
    world = World(lambda _: script)
    async with world.run() as (link, registry):
        await world.good_goes_on(registry)
        await world.until(lambda: any(n["action"] == "lost" for n in link.inlet.notes))
        await world.until(lambda: link.state().word == word)
        told = f"{link.state().reason} {[n['detail'] for n in link.inlet.notes]}"
        assert reason in told
        topic = await registry.find("orders")
        assert topic.strands.get(5) is None or topic.strands[5].durable_last == 0


async def test_a_forged_strand_of_ours_is_never_applied(autojump_clock: MockClock) -> None:
    """A strand of our present life that we do not know proves a rewind, or is forged: taken note of, not taken in."""
    world = World(lambda _: said(hello("bad"), orders(), StrandIs(1, OURS.encode()), (Chunks(1), EVIL.chunks[0])))
    async with world.run() as (_, registry):
        await world.good_goes_on(registry)
        await world.until(lambda: bool(world.rewound))
        assert "unknown here" in world.rewound[0]
        assert 5 not in (await registry.find("orders")).strands


async def test_more_of_our_own_open_strand_is_never_applied(autojump_clock: MockClock) -> None:
    """Nobody else writes in our name."""
    world = World(lambda _: said(hello("bad"), orders()))
    async with world.run() as (_, registry):
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(Append(batches_of([draft()])))
        own = topic.own_strand
        assert own is not None
        twin = Origin(own.descriptor.strand)
        twin.ends.append(own.durable)
        world.bad.script = lambda _: said(hello("bad"), orders(), (Chunks(1), twin.write(1)))
        world.links["bad"].restart("test")
        await world.until(lambda: any("our own open strand" in r for r in world.rewound))
        assert own.durable_last == 1


async def test_a_peer_that_always_refuses_is_asked_ever_more_rarely(autojump_clock: MockClock) -> None:
    """An answer that is a refusal is no contact: back-off grows, and its retry_after is kept."""
    world = World(lambda _: said(Refused("unknown-peer", "no", None, 5.0)))
    async with world.run():
        await trio.sleep(300)
        assert 5 <= len(world.bad.requests) <= 61


async def test_a_peer_that_asks_for_closed_strands_again_and_again_is_cut_off(autojump_clock: MockClock) -> None:
    """Asked once, it is told at once; asked again, it waits its turn like all who break the protocol."""
    world = World(lambda _: said(NeedClosed()))
    async with world.run() as (link, _):
        await trio.sleep(60)
        assert len(world.bad.requests) < 100
        assert link.state().word == "unreachable"


async def test_a_peer_that_tells_and_does_not_send_is_told_as_stalled(autojump_clock: MockClock) -> None:
    """ "Running" means moving: also for the first who asks, however long after."""
    world = World(lambda _: said(hello("bad"), orders(EVIL)))
    async with world.run() as (link, _):
        await world.until(lambda: link.facts.hello)
        await trio.sleep(1.5)
        world.rig.clock.now_ms += 6000
        assert link.state() == LinkState("stalled", "waiting for the peer to send")


async def test_a_paused_link_stays_paused(autojump_clock: MockClock) -> None:
    """Also when it was waiting to try again, and when a new life restarts all links."""
    world = World(lambda _: said(Refused("busy", "later")))
    async with world.run() as (link, _):
        await world.until(lambda: link.state().word == "refused")
        link.pause()
        await trio.sleep(1)
        count = len(world.bad.requests)
        link.restart("a new life began")
        await trio.sleep(120)
        assert len(world.bad.requests) == count
        link.resume()
        assert link.state() == LinkState("connecting")
        await world.until(lambda: len(world.bad.requests) > count)


async def test_a_link_that_died_is_not_counted_on(autojump_clock: MockClock) -> None:
    """Its next life has no feed yet, whatever the one before had: others bring its strands meanwhile."""
    world = World(lambda _: said(hello("bad"), orders()))
    async with world.run() as (link, _):
        await world.until(lambda: link.line.up)
        world.bad.silent = True
        world.bad.fault = ValueError("nobody foresaw it")
        world.bad.more.set()
        await world.until(lambda: bool(world.rig.deaths) and len(world.bad.requests) == 2)
        assert not link.line.up
        assert link.state() == LinkState("connecting")
        world.bad.silent, world.bad.fault = False, None
        await world.until(lambda: link.line.up)


async def test_since_tells_of_the_state(autojump_clock: MockClock) -> None:
    """``since_ms`` is the age of what stands beside it, from the first try on; ordering what is so already changes
    nothing."""
    world = World(lambda _: said(hello("bad"), orders()))
    world.bad.silent = True
    async with world.run() as (link, _):
        began_at = world.rig.clock.monotonic()
        await world.until(lambda: bool(world.bad.requests))
        assert (link.state().word, link.facts.since) == ("connecting", began_at)
        world.bad.silent = False
        link.restart("now it answers")
        await world.until(lambda: link.facts.hello)
        for order in (link.pause, link.resume):
            world.rig.clock.now_ms += 3000
            order()
            assert link.facts.since == world.rig.clock.monotonic()
            since = link.facts.since
            world.rig.clock.now_ms += 1000
            order()
            assert link.facts.since == since
        await world.until(lambda: link.facts.hello)


async def test_a_machine_that_stood_still_costs_no_more_than_the_feed(autojump_clock: MockClock) -> None:
    """A stopped process finds deadlines in the past: the peer may be silent by then, the link is not dead."""
    world = World(lambda _: said(hello("bad"), orders()))
    async with world.run() as (link, _):
        await world.until(lambda: link.facts.hello)
        await trio.sleep(1)
        world.rig.clock.now_ms += 1000
        world.bad.more.set()
        await trio.sleep(1)
        world.rig.clock.now_ms += 20_000
        await world.until(lambda: any("no byte came" in n["detail"] for n in link.inlet.notes))
        assert world.rig.deaths == []


async def test_a_slow_opening_is_no_long_way(autojump_clock: MockClock) -> None:
    """However long a peer took to answer: that it falls silent is noticed as fast as ever, since what an answer waited
    for is not the line."""
    world = World(lambda _: [])

    def after_a_while(_: FeedRequest) -> list[bytes]:
        world.rig.clock.now_ms += 9000
        return said(hello("bad"), orders())

    world.bad.script = after_a_while
    async with world.run() as (link, _):
        await world.until(lambda: link.facts.hello)
        await world.until(lambda: any("no byte came for 5 s" in n["detail"] for n in link.inlet.notes))


async def test_a_chunk_on_its_way_is_progress(autojump_clock: MockClock) -> None:
    """Over a slow line a large one takes minutes: a link is not stalled while bytes of it come, heartbeats are none."""
    whole = b"".join(said((Chunks(1), EVIL.chunks[0])))
    world = World(lambda _: said(hello("bad"), orders(EVIL), DESCRIBED))
    world.bad.behind = [whole[:20], *(whole[at : at + 1] for at in range(20, 30))]
    async with world.run() as (link, _):
        await world.until(lambda: link.facts.hello)
        for _ in range(11):
            assert link.state().word == "catching-up"
            world.rig.clock.now_ms += 4000
            world.bad.more.set()
            await trio.sleep(0.1)
        world.rig.clock.now_ms += 6000
        assert link.state().word == "stalled"


def topics(event: str, *told: tuple[int, str], vector: Sequence[Told] = ()) -> Topics:
    return Topics(event, [TopicInfo(n, name, b"l" * 8, "log", 0, "disk", 9, 9, 90, list(vector)) for n, name in told])


WORDS: dict[str, tuple[str, list[bytes]]] = {
    "positions": (
        "positions",
        said(hello("bad"), topics("there", (1, "orders"), vector=[(n, 1, None, 1, 0) for n in range(1, 100)])),
    ),
    "topics": ("topics", said(hello("bad"), topics("there", *((n, f"orders:{n}") for n in range(1, 99))))),
    "numbers of one topic": ("topics", said(hello("bad"), topics("there", *((n, "orders") for n in range(1, 99))))),
    "topics that come and go": (
        "topics",
        said(
            hello("bad", topics=0),
            *(topics(event, (n, f"orders:{n}")) for n in range(1, 99) for event in ("created", "deleted")),
        ),
    ),
}


@pytest.mark.parametrize("case", list(WORDS))
async def test_words_without_end_do_not_fill_the_memory(
    case: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a peer tells is counted, whatever topic it is of, and whether that is there any more."""
    monkeypatch.setattr(hearing, "MOST_POSITIONS", 50)
    monkeypatch.setattr(directory, "MOST_TOPICS", 50)
    what, script = WORDS[case]
    world = World(lambda _: script, CONFIG.replace('"orders"', '"orders*"'))
    async with world.run() as (link, registry):
        await world.good_goes_on(registry)
        await world.until(lambda: any(f"more than 50 {what}" in n["detail"] for n in link.inlet.notes))
        await world.until(lambda: len(world.bad.requests) > 5)
        assert len(link.line.sides) <= 2 * 50 + 1


async def test_topics_that_come_and_go_cost_no_more_than_those_that_are_there(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer may make and drop topics for years: each hello says which there are, and the others are forgotten."""
    monkeypatch.setattr(directory, "MOST_TOPICS", 50)
    days = count()

    def another_day(_: FeedRequest) -> list[bytes]:
        day = next(days)
        names = [(n, f"orders:{day}-{n}") for n in range(1, 31)]
        return said(hello("bad", topics=30), topics("there", *names), topics("created", (99, f"orders:{day}-99")))

    world = World(another_day, CONFIG.replace('"orders"', '"orders*"'))
    async with world.run() as (link, _):
        for _ in range(5):
            await world.until(lambda: link.facts.hello and len(link.line.sides) == 31)
            assert {name.partition("-")[0] for name in link.line.sides} == {f"orders:{len(world.bad.requests) - 1}"}
            link.restart("the next day")
            await world.until(lambda: not link.facts.hello)
        assert world.rig.deaths == []
