"""The world: places, net and clients together, carrying out a plan in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import trio

from ...config.load import parse
from ...config.model import Config
from ...errors import MirrordError
from ...storage.memory.store import Fault as DiskFault
from ...storage.writer import JournalSettings
from ...topics.log.log import Identities
from ..faults import Fault
from ..graphs import Link, configuration, queues, routers
from ..plan import COPIES, DISK, LINE, REMOVALS, Plan, Write, number_of
from ..removals import remove
from .clients import write
from .disk import SimDisk
from .gaps import GapWatch
from .net import FakeNet
from .place import Place
from .story import Story

PATIENCE_MS = 3000
SYNC_S = JournalSettings().disk_sync_ms / 1000 + 0.1  # by then what was acknowledged in class disk is synced
SETTINGS = {
    "mirroring": {
        "heartbeat_ms": 250,
        "backoff_min_ms": 50,
        "backoff_max_ms": 1000,
        "settle_ms": 500,
        "max_frame_bytes": 4096,
        "buffer_bytes": 65536,
    },
    "store": {"pack_bytes": 4096, "control_chunks": 2},
}


class World:
    """One run's nodes. ``nursery`` holds everything that lives."""

    def __init__(self, plan: Plan, story: Story) -> None:
        self.plan, self.story = plan, story
        topics = [name for name, _ in plan.topics]
        config = self._file()
        self.net = FakeNet(plan.nodes, Random(f"net {plan.seed}"))
        self.places = {
            name: Place(name, config, self.net, story, Random(f"{name} {plan.seed}"), topics) for name in plan.nodes
        }
        watch = GapWatch(self.places, plan.links, self.net, story, PATIENCE_MS / 1000)
        for place in self.places.values():
            place.watchers += [watch.look, self._see_what_goes]
            self.net.hosts[place.name] = place
        self._turns = {name: trio.Lock() for name in plan.nodes}  # one stroke of fate at a time for each node
        self._nursery: trio.Nursery | None = None
        self._clients: trio.Nursery | None = None

    def _file(self, *, without: Link | None = None) -> Config:
        """The file of all nodes, or one that lacks a link."""
        plan, pulls = self.plan, [link for link in self.plan.links if link != without]
        text = configuration(plan.nodes, pulls, plan.topics, plan.caps, SETTINGS, PATIENCE_MS)
        return parse(text + routers(plan.sources, COPIES) + queues(plan.home))

    # ---- the plan ---------------------------------------------------------------------------------------------------

    async def carry_out(self, nursery: trio.Nursery) -> None:
        """Start the nodes, then write and break as planned, then mend everything."""
        self._nursery = nursery
        late = dict(self.plan.late)
        for name, place in self.places.items():
            if name not in late:
                place.begin(nursery)
        steps: list[tuple[float, int, Callable[[], None]]] = []

        def at(when: float, do: Callable[[], None]) -> None:
            steps.append((when, len(steps), do))

        for each in self.plan.writes:
            at(each.at, lambda each=each: self._write(each))  # type: ignore[misc]
        for fault in self.plan.faults:
            self._plan_fault(fault, at)
        for name, when in late.items():
            at(when, lambda name=name: self.places[name].begin(nursery))  # type: ignore[misc]
        async with trio.open_nursery() as self._clients:
            for when, _, do in sorted(steps):
                await trio.sleep_until(when)
                do()
        await trio.sleep_until(max(self.plan.heal_at, trio.current_time()))
        await self._mend()

    def _plan_fault(self, fault: Fault, at: Callable[[float, Callable[[], None]], None]) -> None:
        if fault.kind in LINE:
            at(fault.at, lambda: self.net.begin(fault))
            at(fault.until, lambda: self.net.end(fault))
        else:
            at(fault.at, lambda: self._strike(fault))

    def _write(self, plan: Write) -> None:
        assert self._clients is not None
        self._clients.start_soon(write, self.places[plan.node], self.story, plan)

    def _strike(self, fault: Fault) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._befall, fault)

    async def _befall(self, fault: Fault) -> None:
        place = self.places[fault.node]
        self.story.note("fault", fault)
        async with self._turns[fault.node]:
            if fault.kind in DISK:
                await self._break_disk(place, fault)
            elif fault.kind in ("kill-before", "kill-after"):
                place.disk.kill_at(fault.kind.removeprefix("kill-"), int(fault.amount))
            elif fault.kind.startswith("copy for"):
                place.copy = place.disk.snapshot()
            elif fault.kind == "clock":
                place.clock.offset_ms += int(fault.amount * 1000)
                self.story.strike(place.name, "clock")
            elif fault.kind in REMOVALS:
                await remove(place, self.story, fault, tuple(name for name, _ in self.plan.topics))
            elif fault.kind == "delete":
                await self._delete(place, fault.amount)
            elif fault.kind == "unlink":
                await self._unlink(place, fault)
            else:
                await self._die(place, fault)

    # ---- disks ------------------------------------------------------------------------------------------------------

    async def _break_disk(self, place: Place, fault: Fault) -> None:
        if fault.kind in ("eio", "eio-written"):
            place.disk.fail_next(DiskFault.EIO, written=fault.kind == "eio-written")
            return
        place.disk_fault = (DiskFault.ENOSPC if fault.kind == "full" else DiskFault.EIO, fault.amount < 0.5)
        place.disk.fail_next(place.disk_fault[0], written=place.disk_fault[1], sticky=True)
        await trio.sleep(max(0.0, fault.until - trio.current_time()))
        place.disk_fault = None
        place.disk.mend()

    # ---- deaths -----------------------------------------------------------------------------------------------------

    async def _die(self, place: Place, fault: Fault) -> None:
        if place.never_lived:
            return
        place.has_power = fault.kind not in ("power", "memory", "clone")
        await place.kill()
        before = place.disk.texts() if fault.kind != "kill" else set()
        self._change(place, fault)
        if fault.kind != "kill" and not (fault.kind in ("backup", "memory") and place.copy is None):
            self.story.strike(place.name, fault.kind)
            self.story.lost |= {text for text in self._lost(before) if self._may_go(place, fault.kind, text)}
        await trio.sleep(max(0.0, fault.until - trio.current_time()))
        assert self._nursery is not None
        place.begin(self._nursery)

    async def _unlink(self, place: Place, fault: Fault) -> None:
        """A node is started anew with a file that lacks a link, and later with the whole file."""
        if place.never_lived:
            return
        assert self._nursery is not None
        for config in (self._file(without=(fault.node, fault.peer)), self._file()):
            await place.kill()
            place.config = config
            place.begin(self._nursery)
            await trio.sleep(max(0.0, fault.until - trio.current_time()))

    def _change(self, place: Place, fault: Fault) -> None:
        match fault.kind:
            case "power":
                place.lose_tail(fault.amount)
            case "wipe":
                place.wipe()
            case "backup" if place.copy is not None:
                place.disk.restore(place.copy)
                place.mark.another_file()
            case "memory" if place.copy is not None:
                self.story.rewound.setdefault(place.name, set()).update(_log_ids(place.disk))
                place.rewind()
                self.story.rewound[place.name].update(_log_ids(place.disk))
            case "clone":
                names = [name for name in self.places if name != place.name]
                victim = self.places[names[int(fault.amount * len(names))]]
                place.disk.restore(victim.disk.snapshot())
                place.mark.another_file()
                place.is_clone = True

    def _lost(self, before: set[str]) -> set[str]:
        """What no disk holds any more."""
        return before - {text for place in self.places.values() for text in place.disk.texts()}

    def _may_go(self, place: Place, kind: str, text: str) -> bool:
        """Whether a node's loss may take a record: a loss of power nothing that this very node has on its disk."""
        told = self.story.told.get(number_of(text))
        if kind != "power" or told is None or told.write.node != place.name:
            return True
        if dict(self.plan.topics)[told.write.topic] == "fsync":
            return not told.acked
        refused = any(fault.kind in DISK for fault in self.plan.faults)
        return refused or place.down_since - told.acked_at < SYNC_S  # a process that was killed syncs no more

    async def _delete(self, place: Place, amount: float) -> None:
        topic = self.plan.topics[int(amount * len(self.plan.topics))][0]
        node = place.node
        if node is None:
            return
        with place.bound(5.0):
            self.story.strike(place.name, "delete")
            try:
                await node.registry.delete(topic, if_empty=False, forget=False)
            except MirrordError as error:
                self.story.note("not deleted", place.name, topic, error.code)
            self.story.strike(place.name, "delete")

    def _see_what_goes(self, _place: Place, disk: SimDisk, _changes: object) -> None:
        """Texts that a commit takes out of a log."""
        self.story.let_go |= disk.gone

    async def _mend(self) -> None:
        """No more faults: disks work, lines are fair, every node runs, and clones were wiped by their operator."""
        self.story.note("heal")
        for name, place in self.places.items():
            async with self._turns[name]:
                place.disk.disarm()
                if place.is_clone:
                    await place.kill()
                    before = place.disk.texts()
                    place.wipe()
                    self.story.strike(name, "wipe")
                    self.story.lost |= self._lost(before)
                    assert self._nursery is not None
                    place.begin(self._nursery)


def _log_ids(disk: SimDisk) -> set[bytes]:
    return {Identities.decode(row.blob).log_id for row in disk.topics()}
