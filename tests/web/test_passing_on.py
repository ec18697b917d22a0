"""Calls for a queue whose home is another node: what of a request goes there, and how a stream from there ends."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mirrord.clock import SystemClock
from mirrord.config.load import parse
from mirrord.errors import HomeUnreachable, PeerUnreachable
from mirrord.links.peer import Peer
from mirrord.node import Node, Outside
from mirrord.queues.home import Call, Reply
from mirrord.storage.inline import InlineJournal
from mirrord.storage.life import Surroundings
from mirrord.storage.memory import MemoryStore
from mirrord.web.message import ClientGone, Request, Stream
from mirrord.web.routes.queues import call_of
from mirrord.web.routes.streams.work import work as work_of

PAIR = """
[nodes.fra]
listen = "127.0.0.1:1"
[nodes.iad]
listen = "127.0.0.1:2"
[topics.jobs]
type = "queue"
home = "fra"
"""
EVENT = b'id: 1\nevent: job\ndata: {"data":1}\n\n'


def work(query: str, **headers: bytes) -> Request:
    """A request for jobs of ``here``."""
    named = {name.encode(): value for name, value in headers.items()}
    return Request(path="/v0/topics/here/work", query=query, headers=named)


def test_a_call_goes_on_under_the_name_that_the_home_knows() -> None:
    """The same arguments, for the topic as it is called there."""
    call = call_of(work("node=w%26x&max=2"), "there")
    assert (call.method, call.target) == ("GET", b"/v0/topics/there/work?node=w%26x&max=2")
    assert call_of(work(""), "there").target == b"/v0/topics/there/work"


def test_no_url_between_nodes_holds_a_key() -> None:
    """``?token=`` becomes a header; of several the first, and a header that was sent wins, as at the gate."""
    for query in ("token=k&node=w", "node=w&%74oken=k", "node=w&token=k&token=z"):
        call = call_of(work(query), "there")
        assert call.target == b"/v0/topics/there/work?node=w"
        assert call.headers[b"authorization"] == b"Bearer k"
    assert call_of(work("token=k", authorization=b"Bearer h"), "there").headers[b"authorization"] == b"Bearer h"


class Fra:
    """The home: says these pieces, and then nothing more, or is lost."""

    def __init__(self, *pieces: bytes, lost: bool = False) -> None:
        self._pieces, self._lost = pieces, lost

    async def call(self, _: Call) -> Reply:
        raise AssertionError("a stream is not called")

    @asynccontextmanager
    async def stream(self, _: Call) -> AsyncIterator[Reply]:
        yield Reply(200, b"text/event-stream", b"", (), self._said())

    async def _said(self) -> AsyncGenerator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._lost:
            raise HomeUnreachable("fra is lost")
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Nothing is open."""


class Heard:
    """A client that takes all, or is gone."""

    def __init__(self, *, gone: bool = False) -> None:
        self.said: list[bytes] = []
        self._gone = gone

    async def send(self, buffers: Sequence[bytes]) -> None:
        if self._gone:
            raise ClientGone("it hung up")
        self.said += buffers

    def send_now(self, buffers: Sequence[bytes]) -> bool:
        raise AssertionError(f"not here: {buffers!r}")

    async def drained(self) -> None:
        """It always is."""

    def unacknowledged(self) -> int:
        return 0

    def low_latency(self, unsent_bytes: int) -> None:
        """It always is."""


class _Mark:
    """A start mark that nobody wrote."""

    def look(self) -> Surroundings:
        return Surroundings("boot", 1, 1, None)

    def write(self, _: bytes) -> None:
        """Nobody reads it."""


def _no_peer(_: object) -> Peer:
    raise PeerUnreachable


@asynccontextmanager
async def iad(fra: Fra) -> AsyncIterator[tuple[Node, Stream]]:
    """The node between, and the stream that it answers with."""
    outside = Outside(
        clock=SystemClock(), rng=random.Random(1), store=MemoryStore(), journal=InlineJournal, start_mark=_Mark(),
        peer_at=_no_peer, note=lambda *_, **__: None, home_at=lambda _name, _url: fra,
    )  # fmt: skip
    node = Node(parse(PAIR), "iad", outside)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.live)
        await node.registry.ensure("jobs", node.registry.declared_over("jobs"))
        answer = await work_of(node, Request(path="/v0/topics/jobs/work", query="node=w"), "jobs")
        assert isinstance(answer, Stream)
        yield node, answer
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("pieces", "told"), [((EVENT,), True), ((EVENT, EVENT[:20]), False), ((), True)])
async def test_last_words_come_between_two_events(pieces: tuple[bytes, ...], told: bool) -> None:
    """The node between stops: what the home has said whole is passed on, and nobody takes our words for the rest of an
    event that it has not."""
    client = Heard()
    async with iad(Fra(*pieces)) as (node, stream), trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, client)
        await wait_all_tasks_blocked()
        assert client.said == list(pieces)
        node.draining = True
        node.drain_bell.ring()
    assert [b"server_shutting_down" in words for words in client.said[len(pieces) :]] == [True] * told


async def test_a_home_that_is_lost_is_named() -> None:
    """The client learns whom to blame, and that it may come again."""
    client = Heard()
    async with iad(Fra(EVENT, lost=True)) as (_, stream):
        await stream.write(client)
    assert b'"code":503' in client.said[1]
    assert b'"reason":"home_unreachable"' in client.said[1]


async def test_a_client_that_is_gone_is_just_that() -> None:
    """Not a fault among others: whoever serves the connection knows it by its class."""
    async with iad(Fra(EVENT)) as (_, stream):
        with pytest.raises(ClientGone):
            await stream.write(Heard(gone=True))
