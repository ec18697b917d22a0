"""Event streams over topics in memory, and clients that read them, stall, hang up and come back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from msgspec import Raw

from mirrord.errors import MirrordError
from mirrord.records.batch import batches_of
from mirrord.records.draft import Draft
from mirrord.streams.cursor import EventId, parse_event_id
from mirrord.streams.dialect import SSE
from mirrord.streams.eventstream import EventStream
from mirrord.streams.fans import Fans
from mirrord.streams.place import Place
from mirrord.streams.session import Session
from mirrord.streams.streams import From, StreamRules, Streams
from mirrord.streams.watcher import Pace, Prefix, Watcher
from mirrord.topics.messages import Append
from mirrord.topics.read.face import View
from mirrord.topics.registry import Registry

from ..topics.rig import Rig

RULES = StreamRules(0, 300.0, 0, 0, 10)
VIEW = View(limit=3, max_bytes=10_000)
PACE = Pace(15.0, 30.0)


class Pipe:
    """A client's side of a connection. ``stalled``: it takes nothing but what is under way."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.whole = b""
        self.broken = False
        self.taken: Callable[[], None] = lambda: None  # called when it is handed something
        self._open = trio.Event()
        self._open.set()

    @property
    def stalled(self) -> bool:
        return not self._open.is_set()

    def stall(self) -> None:
        if not self.stalled:
            self._open = trio.Event()

    def go_on(self) -> None:
        self._open.set()

    def send_now(self, buffers: Sequence[bytes]) -> bool:
        if self.broken:
            raise OSError("the client is gone")
        assert not (self.stalled and self.pieces and self.pieces[-1] == b"left"), "put before it was drained"
        self.pieces += buffers
        self.whole += b"".join(buffers)
        self.taken()
        if self.stalled:
            self.pieces.append(b"left")
        return not self.stalled

    async def drained(self) -> None:
        await self._open.wait()
        if self.pieces and self.pieces[-1] == b"left":
            self.pieces.pop()

    def events(self) -> list[dict[str, Any]]:
        """All events that came: name, id, data."""
        return [_event(block) for block in self.whole.decode().split("\n\n")[:-1] if "data: " in block]


def _event(block: str) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    return {"name": fields["event"], "id": fields.get("id", ""), "data": json.loads(fields["data"])}


class Viewer:
    """One session and its client, which handles events one by one and remembers the id of the last."""

    def __init__(self, stage: Stage, session: Session, *, strong: bool = False) -> None:
        self.stage, self.session, self._strong = stage, session, strong
        self.handled: list[dict[str, Any]] = []
        self.last: str | None = None
        self.pipe = Pipe()
        self.over: MirrordError | None = None
        self.watcher: Watcher
        self._scope: trio.CancelScope | None = None
        self._seen = 0
        self.ended: BaseException | str | None = None

    def connect(self) -> None:
        """A new stream, from the last event that was handled."""
        self.pipe, self._seen, self.ended = Pipe(), 0, None
        self.stage.nursery.start_soon(self._stream, parse_event_id(self.last) if self.last else None)

    async def _stream(self, last: EventId | None) -> None:
        streams = self.stage.streams
        outlet = EventStream(self.pipe, self.session)
        self.watcher = watcher = Watcher(streams.ground, outlet, SSE, self.stage.pace, lambda: self.over)
        outlet.places = watcher.places
        streams.sessions.began(self.session, watcher.places)
        with trio.CancelScope() as self._scope:
            try:
                for text in self.session.prefixes:
                    watcher.watch_prefix(Prefix(text, self.session.view))
                for name, start in self.session.begin(last).items():
                    topic = await streams.registry.find(name)
                    watcher.watch(Place(topic, self.session.view, start.seq, start.log_id, self._strong))
                await watcher.run()
                self.ended = "over"
            except (MirrordError, OSError) as error:
                self.ended = error
            finally:
                watcher.close()
                streams.sessions.ended(self.session, watcher.places, streams.now_s())

    def handle(self, most: int = 1000) -> None:
        """Take the next events that came."""
        fresh = self.pipe.events()[self._seen : self._seen + most]
        self._seen += len(fresh)
        for event in fresh:
            self.handled.append(event)
            self.last = event["id"] or self.last

    async def hang_up(self) -> None:
        """What came and was not handled is lost."""
        if self._scope is not None:
            self._scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    def records(self) -> list[tuple[str, int, Any]]:
        """(topic, seq, data) of all records that were handled, in order."""
        return [
            (event["data"]["topic"], record["$seq"], record["data"])
            for event in self.handled
            if event["name"] == "record"
            for record in event["data"]["records"]
        ]


class Stage:
    """Topics, streams and their viewers in one nursery."""

    def __init__(self, rig: Rig, registry: Registry, nursery: trio.Nursery, pace: Pace) -> None:
        self.rig, self.registry, self.nursery, self.pace = rig, registry, nursery, pace
        self.syncs = 0
        self.sync_fault: MirrordError | None = None
        self.meanwhile: Callable[[], None] = lambda: None  # called while something is synced
        self.fans = Fans(rig.clock, self._sync)
        self.streams = Streams(registry, self.fans, rig.clock, Random(1), RULES)

    async def _sync(self) -> None:
        await trio.lowlevel.checkpoint()
        self.syncs += 1
        self.meanwhile()
        if self.sync_fault is not None:
            raise self.sync_fault

    async def append(self, name: str, *data: Any, tag: str | None = None) -> None:
        topic, _ = await self.registry.ensure(name)
        await topic.mailbox.ask(Append(batches_of([Draft(Raw(json.dumps(one).encode()), tag=tag) for one in data])))

    async def viewer(self, *names: str, view: View = VIEW, strong: bool = False, tail: bool = False) -> Viewer:
        """A session of these topics and prefixes, not yet connected."""
        wanted = {name: From(tail=tail) for name in names}
        session, _ = await self.streams.watch(
            wanted, lenient=False, owner=None, view=view, heartbeat_ms=15_000, strong=strong
        )
        return Viewer(self, session, strong=strong)

    async def crowd(self, count: int, *names: str) -> list[Viewer]:
        """So many viewers of the same, caught up."""
        viewers = [await self.viewer(*names) for _ in range(count)]
        for viewer in viewers:
            viewer.connect()
        await settled()
        return viewers


@asynccontextmanager
async def stage(rig: Rig | None = None, pace: Pace = PACE) -> AsyncIterator[Stage]:
    """One run of a node's streams."""
    rig = rig or Rig()
    async with rig.run() as registry, trio.open_nursery() as nursery:
        here = Stage(rig, registry, nursery, pace)
        rig.supervisor.keep(here.fans)
        await settled()
        yield here
        nursery.cancel_scope.cancel()


async def settled() -> None:
    """Everything that is under way has come about, rests of fans included."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.2)
    await trio.testing.wait_all_tasks_blocked()
