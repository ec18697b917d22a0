"""The intake: frames reach their topics in order, a lone one at once, and a link holds no more than it may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mirrord.actors.mailbox import Envelope, Mailbox
from mirrord.errors import MirrordError, ProtocolViolation
from mirrord.links.inlet.inlet import Inlet
from mirrord.links.inlet.intake import MOST_WAITING, OUTSTANDING, Intake
from mirrord.links.wire import Chunks, CoverIs, StrandIs
from mirrord.topics.messages import Applied, Apply


class Local:
    """A topic, as far as the intake sees it: a mailbox that the test answers from."""

    def __init__(self, name: str) -> None:
        self.topic, self.mailbox = name, Mailbox[Apply]()
        self.came: list[bytes] = []
        self._open: list[Envelope[Apply]] = []

    def leave(self, chunks: bytes) -> Envelope[Apply]:
        self.came.append(chunks)
        envelope = self.mailbox.put(Apply(chunks))
        self._open.append(envelope)
        return envelope

    def answer(self, error: MirrordError | None = None) -> None:
        """Settle the oldest that is open."""
        envelope = self._open.pop(0)
        if error is None:
            envelope.answer(Applied(taken=1))
        else:
            envelope.refuse(error)


class Prompt(Local):
    """One that decides where it is asked."""

    def leave(self, chunks: bytes) -> Envelope[Apply]:
        envelope = super().leave(chunks)
        self.answer()
        return envelope


class Brought:
    """Stands where the link's inlet does: topics by number; 9 is refused here."""

    def __init__(self) -> None:
        self.topics: dict[int, Local] = {1: Local("one"), 2: Local("two"), 3: Prompt("three")}
        self.introduced: list[bytes] = []
        self.done: list[str] = []

    def local(self, no: int) -> Local | None:
        return self.topics.get(no)

    async def introduce(self, header: StrandIs) -> None:
        self.introduced.append(header.descriptor)

    async def hand_over(self, topic: Local, chunks: bytes, lacks: str) -> Envelope[Apply]:
        return topic.leave(chunks + lacks.encode())

    def offered(self, header: CoverIs) -> None:
        self.done.append(f"cover {header.first}")

    def applied(self, name: str, _: Applied) -> None:
        self.done.append(name)


@asynccontextmanager
async def intake_of(brought: Brought, room_bytes: int = 1 << 20) -> AsyncIterator[Intake]:
    """With its two tasks."""
    intake = Intake(cast(Inlet, brought), room_bytes, lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.apply)
        nursery.start_soon(intake.settle)
        yield intake
        nursery.cancel_scope.cancel()


async def test_a_topics_frames_keep_their_order() -> None:
    """Whatever is under way: chunks, then the descriptor of another strand, then its chunks, then a cover."""
    brought = Brought()
    one = brought.topics[1]
    async with intake_of(brought) as intake, trio.open_nursery() as nursery:

        async def bring() -> None:
            await intake.put(Chunks(1), b"a")
            await intake.put(StrandIs(1, b"strand"), b"")
            await intake.put(Chunks(1), b"b")
            await intake.put(CoverIs(1, 5, 7, 9, "expired"), b"")

        nursery.start_soon(bring)
        await wait_all_tasks_blocked()
        assert (one.came, brought.introduced, brought.done) == ([b"a", b"b"], [b"strand"], [])
        one.answer()
        await wait_all_tasks_blocked()
        assert brought.done == ["one"]
        one.answer()
        await wait_all_tasks_blocked()
        assert brought.done == ["one", "one", "cover 7"]


async def test_a_lone_frame_waits_for_no_other_topic() -> None:
    """A record that comes alone is in its topic before the reader goes on, however much of another is in line."""
    brought = Brought()
    async with intake_of(brought) as intake:
        for _ in range(2):
            assert await intake.put(Chunks(1), b"bulk")
        assert not await intake.put(Chunks(3), b"lone")
        assert brought.done == ["three"]
        assert not intake.busy


async def test_what_is_refused_here_is_left_out() -> None:
    """Chunks of a topic that this node does not take cost nothing and hold nothing up."""
    brought = Brought()
    async with intake_of(brought) as intake:
        assert not await intake.put(Chunks(9), b"a")
        assert await intake.put(StrandIs(1, b"strand"), b"")
        await wait_all_tasks_blocked()
        assert not await intake.put(Chunks(9), b"b")
        assert brought.done == []


async def test_few_frames_are_under_way() -> None:
    """More would bring no speed, and all that comes next would wait behind them: the reader stops, and says so."""
    brought, put = Brought(), list[int]()
    async with intake_of(brought) as intake, trio.open_nursery() as nursery:

        async def bring() -> None:
            for number in range(20):
                await intake.put(Chunks(1), b"%d" % number)
                put.append(number)

        nursery.start_soon(bring)
        await wait_all_tasks_blocked()
        assert len(brought.topics[1].came) <= OUTSTANDING + 2  # one is settled, one stands before the settler's line
        assert len(put) <= OUTSTANDING + 2 + MOST_WAITING
        assert intake.busy
        for _ in range(20):
            brought.topics[1].answer()
            await wait_all_tasks_blocked()
        assert brought.topics[1].came == [b"%d" % number for number in range(20)]
        assert not intake.busy


async def test_a_link_holds_no_more_bytes_than_it_may() -> None:
    """``[mirroring] buffer_bytes``: what is received and not yet applied; a frame that is larger goes alone."""
    brought, one = Brought(), b"x" * 600
    async with intake_of(brought, room_bytes=1000) as intake, trio.open_nursery() as nursery:

        async def bring() -> None:
            for body in (one, one, b"y" * 5000, one):
                await intake.put(Chunks(1), body)

        nursery.start_soon(bring)
        for came in (600, 600, 5000, 600):
            await wait_all_tasks_blocked()
            assert len(brought.topics[1].came.pop()) == came
            assert brought.topics[1].came == []
            brought.topics[1].answer()
        await wait_all_tasks_blocked()
        assert not intake.busy


@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_refusal_ends_the_feed(ahead: int) -> None:
    """What a topic refuses chunks with comes out where the link hears it, whether they stood in line or not."""
    brought = Brought()
    with pytest.RaisesGroup(ProtocolViolation):
        async with intake_of(brought) as intake:
            for _ in range(ahead + 1):
                await intake.put(Chunks(1), b"a")
            await wait_all_tasks_blocked()
            for _ in range(ahead):
                brought.topics[1].answer()
            brought.topics[1].answer(ProtocolViolation("a frame ends inside a chunk header"))
            await wait_all_tasks_blocked()
