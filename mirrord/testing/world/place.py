"""One simulated node's place in the world: its disk, its machine, its process that comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random

import trio

from ...config.model import Config
from ...config.topology import links_of
from ...errors import MirrordError, PeerUnreachable
from ...links.wire import decode_change, decode_request
from ...node import Node, Outside
from ...records.strand import Descriptor
from ...storage.inline import InlineJournal
from ...storage.life import META_LIFE, LifeRecord
from ...storage.memory.store import Fault as DiskFault
from ...storage.memory.store import Snapshot
from ...storage.store import Change
from .clients import Follower
from .clock import SimClock, SimMark
from .disk import Killed, SimDisk, new_strands, of_a_kill
from .echo import Echo
from .net import FakeNet
from .story import Story
from .stream import Gone, Stream

TRY_AGAIN_S = 0.3


class Place:
    """``node`` is there while the process lives. The disk, the mark and the clock stay."""

    def __init__(self, name: str, config: Config, net: FakeNet, story: Story, rng: Random, topics: list[str]) -> None:
        self.name, self.config, self._net, self._story = name, config, net, story
        self._rng = rng
        self.clock = SimClock(rng.randint(-2000, 2000))
        self.mark = SimMark()
        self.watchers: list[Callable[[Place, SimDisk, Sequence[Change]], None]] = []
        self.disk = SimDisk(self._watch)
        self.node: Node | None = None
        self.follower = Follower(self, story, topics)
        self.has_power = self.never_lived = True
        self.is_clone = False
        self.up_since = self.down_since = 0.0
        self.copy: Snapshot | None = None
        self.disk_fault: tuple[DiskFault, bool] | None = None  # sticky: what, and whether it comes after the writing
        self._calls: dict[trio.CancelScope, None] = {}
        self._nursery: trio.Nursery | None = None
        self._wanted = False
        self._ended = trio.Event()
        self._ended.set()

    # ---- the process ------------------------------------------------------------------------------------------------

    def begin(self, nursery: trio.Nursery) -> None:
        """Start, and start again after a death at a commit, until ``kill``."""
        self._wanted, self.has_power, self._ended = True, True, trio.Event()
        self.never_lived = False
        nursery.start_soon(self._live)

    async def _live(self) -> None:
        try:
            while self._wanted:
                await self._one_process()
                if self._wanted:
                    await trio.sleep(TRY_AGAIN_S * self._rng.uniform(0.2, 1.0))
        finally:
            self._ended.set()

    async def _one_process(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._find_disk()
                node = Node(self.config, self.name, self._outside())
                await nursery.start(node.live)
                self._note_start(node)
                nursery.start_soon(self.follower.follow, node)
        except* Killed:
            self._story.note("killed", self.name)
            if self.node is None:  # between the record of its start and the mark of it: the next cannot trust them
                self._story.strike(self.name, "start")
        except* MirrordError as errors:  # the disk refuses to take the life's record: the node must not start
            self._story.note("not started", self.name, type(errors.exceptions[0]).__name__)
        finally:
            self.node, self._nursery = None, None
            if not self.is_clone:  # peers refused it all the while: they counted on nothing from here
                self.down_since = trio.current_time()
            self._net.disconnect(self.name, silently=not self.has_power)
            for scope in self._calls:
                scope.cancel()

    def _find_disk(self) -> None:
        """What the start finds is what the disk has; if that is broken it still is."""
        self.disk.crash(None)
        if self.disk_fault is not None:
            self.disk.fail_next(self.disk_fault[0], written=self.disk_fault[1], sticky=True)

    def _note_start(self, node: Node) -> None:
        self.node, self.up_since = node, trio.current_time()
        self._net.disconnect(self.name, silently=False)  # a fresh kernel, or process, knows no old connections

    async def kill(self) -> None:
        """kill -9, and wait until nothing of it runs."""
        self._wanted = False
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        await self._ended.wait()

    def _outside(self) -> Outside:
        return Outside(
            clock=self.clock, rng=self._rng, store=self.disk, journal=InlineJournal, start_mark=self.mark,
            peer_at=lambda plan: self._net.peer(self.name, plan.peer), note=self._note,
        )  # fmt: skip

    def _note(self, action: str, *, exc: BaseException | None = None, **facts: object) -> None:
        self._story.note(self.name, action, *(f"{key}={value}" for key, value in facts.items()))
        if exc is not None and not isinstance(exc, MirrordError) and not of_a_kill(exc):
            self._story.fail("always_no_unnamed_fault", f"{self.name} {action}: {type(exc).__name__}: {exc}")

    def _watch(self, disk: SimDisk, changes: Sequence[Change]) -> None:
        for packed in new_strands(changes):
            descriptor = Descriptor.decode(packed)
            self._story.descriptors[descriptor.strand] = descriptor
        for watcher in self.watchers:
            watcher(self, disk, changes)

    # ---- what the network asks --------------------------------------------------------------------------------------

    def pulls_from(self, source: str) -> bool:
        """Whether its file has a link from there."""
        return any(plan.peer == source for plan in links_of(self.config, self.name))

    @property
    def answers(self) -> bool:
        """Whether somebody listens."""
        return self.node is not None

    def serve(self, request: bytes, stream: Stream) -> None:
        """Serve a feed, for as long as this process lives: what it leaves open then is the network's to break off."""
        if self._nursery is not None and self.node is not None:
            self._nursery.start_soon(self._pump, self.node, request, stream)

    async def _pump(self, node: Node, request: bytes, stream: Stream) -> None:
        asked = decode_request(request)
        try:
            await node.feeds.serve(asked, Echo(self.name, asked, self._story, stream))
            stream.end()
        except Gone:
            stream.break_off("the peer let go")
        except MirrordError as error:  # the web server ends the answer there
            stream.break_off(f"the answer ended: {error.code}")
        self._net.forget(stream)

    async def change(self, feed_no: int, change: bytes) -> None:
        """As the route does it, in this process: if that dies, no answer comes."""
        node, nursery = self.node, self._nursery
        if node is None or nursery is None:
            raise PeerUnreachable(f"{self.name}: connection refused")
        asked = decode_change(change)
        found: list[MirrordError | None] = []
        done = trio.Event()

        async def carry_out() -> None:
            try:
                await node.feeds.change(feed_no, asked)
                found.append(None)
            except MirrordError as error:
                found.append(error)
            finally:
                done.set()

        nursery.start_soon(carry_out)
        await done.wait()
        if not found:
            raise PeerUnreachable(f"{self.name}: the connection was reset")
        if found[0] is not None:
            raise found[0]

    # ---- what clients ask -------------------------------------------------------------------------------------------

    @contextmanager
    def bound(self, seconds: float) -> Iterator[None]:
        """A client's call: it ends when the process does, perhaps of this very call, and after so long."""
        scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self._calls[scope] = None
        try:
            with suppress(Killed), scope:
                yield
        finally:
            del self._calls[scope]

    # ---- what befalls it --------------------------------------------------------------------------------------------

    def lose_tail(self, share: float) -> None:
        """Power was lost: of the commits that were not synced only the first ``share`` survive."""
        self.disk.crash(int(share * self.disk.unsynced))
        self.mark.boot()

    def wipe(self) -> None:
        """An empty disk, and no memory of another one."""
        self.disk = SimDisk(self._watch)
        self.mark.another_file()
        self.is_clone = False

    def rewind(self) -> None:
        """The machine goes back to the copy, and does not know it."""
        if self.copy is not None:
            self.disk.restore(self.copy)
            packed = self.disk.meta(META_LIFE)
            if packed is not None:
                self.mark.rewind(LifeRecord.decode(packed))

    def judge_log_id(self, topic: str, before: str, after: str, seen_at: float) -> None:
        """A reader that saw one log id at ``seen_at`` finds this one now: it changes just when it must."""
        since = [(at, how) for at, who, how in self._story.struck if who == self.name]
        may = any(at >= seen_at for at, how in since if how not in ("power", "memory", "clock"))
        newest = next(
            (how for at, how in reversed(since) if at > seen_at and how not in ("power", "delete", "clock")), ""
        )
        must = newest in ("backup", "clone", "wipe")
        may = may or any(how == "memory" for _, how in since)
        if before != after and not may:
            self._story.fail("always_log_id_kept", f"{self.name} {topic}: {before} became {after}")
        if before == after and must:
            what = f"{self.name} {topic}: still {after} after its store was put back"
            self._story.fail("always_log_id_renewed", what)
