"""The composition root: configuration in, living node out. The one file that builds things and joins them.

What a node needs of the world comes in as ``Outside``: in a daemon the real clock, disk and peers, in the simulator
seeded ones. Start order is floor order: store, life, journal, topics, links; then the web server above opens its door.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from random import Random
from typing import Any

import trio
from msgspec import Struct, to_builtins

from .actors.bell import Bell
from .actors.rounds import Crowd
from .actors.supervisor import Death, Supervisor
from .clock import Clock
from .config.model import Config
from .config.routers import routers_of
from .config.topology import LinkPlan, declared, links_of, mirrored, pulled_by, topology_hash
from .errors import HomeUnreachable, MirrordError
from .groups.groups import Groups
from .groups.turn import Bounds
from .links.feeds.feed import FeedRules
from .links.feeds.feeds import Feeds
from .links.peer import Peer
from .links.switchboard import Switchboard
from .queues.ground import Ground as QueueGround
from .queues.home import Home, no_way
from .queues.queues import Queues
from .routers.definition import of_file
from .routers.ground import Ground as RouterGround
from .routers.routers import Routers
from .storage.journal import Journal
from .storage.life import META_LIFE, Life, StartMark, wake
from .storage.store import PutMeta
from .storage.writer import WritableStore
from .streams.fans import Fans
from .streams.streams import StreamRules, Streams
from .topics.ground import Ground
from .topics.log.shelf import Shelf
from .topics.log.sources import Sources
from .topics.log.turn import Sizes
from .topics.quota import Quota
from .topics.registry import Registry

Note = Callable[..., None]
BEGIN_AGAIN_S = 0.5  # a life whose record the disk refused


class Outside(Struct, frozen=True):
    """The seams: everything that a node takes from the world around it."""

    clock: Clock
    rng: Random
    store: WritableStore
    journal: Callable[[WritableStore, Clock], Journal]
    start_mark: StartMark
    peer_at: Callable[[LinkPlan], Peer]
    note: Note  # note("action", key=value, ...): one structured line per fact
    home_at: Callable[[str, str], Home] = no_way  # the way to another node (name, url) that grants a queue's leases


class Node:
    """One node of a configuration. ``live`` runs it; its parts may be used from ``started`` on."""

    def __init__(self, config: Config, name: str, outside: Outside) -> None:
        self.config, self.name, self._outside = config, name, outside
        self.clock = outside.clock
        self.life: Life = wake(outside.store, outside.start_mark, name, outside.rng, outside.clock.wall_ms())
        self.journal = outside.journal(outside.store, outside.clock)
        self.supervisor = Supervisor(outside.clock, outside.rng, self._died)
        self.settled = trio.Event()
        self.draining = False
        self.drain_bell = Bell()  # long polls answer at once
        self.started_at = outside.clock.monotonic()
        self._rewound_by: str | None = None
        self._rewind = trio.Event()
        self.registry = self._make_registry()
        self.groups = self._make_groups()
        self.switchboard = Switchboard(
            config, self.life, outside.clock, outside.rng, self.registry, outside.peer_at, self._on_rewound
        )
        self.routers = self._make_routers()
        self.queues = self._make_queues()
        self.streams = self._make_streams()
        self.feeds = Feeds(
            self._feed_rules(), self.registry, self.life, outside.clock, self.switchboard.gossip, self._on_rewound
        )

    def _make_registry(self) -> Registry:
        outside, limits, config = self._outside, self.config.limits, self.config
        last_tid, last_sid = outside.store.top_ids()
        ground = Ground(
            self.life, outside.clock, outside.store, self.journal, Shelf(config.store.warm_tail_bytes),
            Sources(last_tid, last_sid, outside.rng),
            Sizes(config.store.pack_bytes, limits.max_strands_per_topic or 1 << 62, config.store.trail_bytes,
                  config.store.control_chunks, config.store.control_bytes),
            self.settled, Crowd(self.journal.rounds), Quota(limits.max_total_bytes),
        )  # fmt: skip
        wants = [want for plan in links_of(config, self.name) for want in plan.wants]
        return Registry(
            ground, self.supervisor, lambda topic: declared(config, self.name, topic),
            lambda topic: any(want.source_name(topic) is not None for want in wants),
            limits.max_topics, limits.max_mailbox,
        )  # fmt: skip

    def _make_groups(self) -> Groups:
        limits = self.config.limits
        bounds = Bounds(limits.max_groups_per_topic, limits.max_consumers_per_group, limits.max_pending_per_group)
        return Groups(self.registry, self.supervisor, self.clock, bounds, limits.max_mailbox)

    def _make_routers(self) -> Routers:
        outside, limits = self._outside, self.config.limits
        patience_ms = max((plan.gap_patience_ms for plan in links_of(self.config, self.name)), default=0)
        ground = RouterGround(
            self.life, outside.clock, outside.store, self.journal, self.registry,
            self.switchboard.old_holders, 2 * patience_ms / 1000, limits.max_router_hops,
        )  # fmt: skip
        declared = {name: of_file(name, table) for name, table in routers_of(self.config, self.name).items()}
        return Routers(ground, self.supervisor, declared, limits.max_routers, limits.router_wait_ms)

    def _make_streams(self) -> Streams:
        outside, limits = self._outside, self.config.limits
        fans = Fans(outside.clock, self.journal.flush)
        rules = StreamRules(
            limits.max_watch_sessions, limits.session_ttl_ms / 1000, limits.max_sse, limits.max_sse_per_key,
            limits.max_prefix_topics,
        )  # fmt: skip
        return Streams(self.registry, fans, outside.clock, outside.rng, rules)

    def _make_queues(self) -> Queues:
        limits, patience_s = self.config.limits, self.config.mirroring.home_patience_ms / 1000
        ground = QueueGround(
            self.name, frozenset(self.config.nodes), self.life, self.clock, self.registry,
            limits.max_leases, limits.max_jitter_ms, limits.max_mailbox,
            lru_cache(4096)(partial(mirrored, self.config, self.name)),
            lambda topic: bool(self.switchboard.behind(topic, patience_s)),
        )  # fmt: skip
        return Queues(ground, self.supervisor, self._home)

    def _home(self, name: str) -> Home:
        """The way to another node. Raises HomeUnreachable when the file does not name it."""
        node = self.config.nodes.get(name)
        if node is None:
            raise HomeUnreachable(f"{name}, which grants the leases, is not in this node's file", {"home": name})
        via = {plan.peer: plan.url for plan in links_of(self.config, self.name)}
        return self._outside.home_at(name, via.get(name, node.url))

    def _feed_rules(self) -> FeedRules:
        config = self.config
        return FeedRules(
            config.cluster, topology_hash(config), frozenset(config.nodes) - {self.name},
            config.mirroring.max_frame_bytes, config.mirroring.heartbeat_ms, config.limits.max_peers,
        )  # fmt: skip

    # ---- life ------------------------------------------------------------------------------------

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled or ``stop``. Raises what the journal dies of: a node without a writer must not live."""
        self._outside.note(
            "node_started",
            node=self.name,
            life=self.life.record.number,
            new_life=self.life.reason or "",
            origin=self.life.origin_id.hex(),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(self.journal.run)
            await nursery.start(self.supervisor.run)
            self.registry.boot()
            self.supervisor.keep(self.registry)
            self.supervisor.keep(self.streams.fans)
            self.routers.boot()
            self.supervisor.keep(self.routers)
            self.switchboard.start(self.supervisor)
            nursery.start_soon(self.queues.boot)
            nursery.start_soon(self._settle)
            nursery.start_soon(self._begin_lives)
            task_status.started()

    async def _settle(self) -> None:
        """Peers that answer within a second tell their positions in our strands before the first append."""
        if self.life.reason is None:
            await self.switchboard.settle(self.config.mirroring.settle_ms / 1000)
        self.settled.set()

    def drain(self) -> None:
        """Nothing new is begun: long polls answer at once, feeds end with a word."""
        self.draining = self.feeds.draining = True
        self.drain_bell.ring()
        self.feeds.end_all("draining")

    async def stop(self) -> None:
        """Let go in the order upside down: links and feeds, then what waits in the journal, synced."""
        self.drain()
        with trio.move_on_after(5.0):
            for link in self.switchboard.links.values():
                await self.supervisor.end(link.name)
            await self.switchboard.aclose()
            await self.queues.aclose()
        await self.journal.aclose()
        self._outside.note("node_stopped", node=self.name)

    def _died(self, death: Death, error: BaseException) -> None:
        self._outside.note(
            "actor_died",
            actor=death.actor,
            error=death.error,
            lives_again_s=round(death.lives_again_s, 3),
            exc=error,
        )

    def note_fault(self, error: BaseException) -> None:
        """A connection met a fault that nobody named."""
        self._outside.note("connection_fault", error=f"{type(error).__name__}: {error}", exc=error)

    # ---- lives -----------------------------------------------------------------------------------

    def _on_rewound(self, evidence: str) -> None:
        """A peer proved that our store was put back. Further proofs of the same life are not needed."""
        if self._rewound_by is None:
            self._rewound_by = evidence
            self._rewind.set()

    async def _begin_lives(self) -> None:
        while True:
            await self._rewind.wait()
            evidence = self._rewound_by or ""
            self._outside.note("life_rewound", evidence=evidence)
            try:
                await self._begin_life(evidence)
            except MirrordError as error:  # the disk refuses: the proof stands, and nobody may bring it again
                self._outside.note("life_not_begun", error=str(error))
                await trio.sleep(BEGIN_AGAIN_S)
                continue
            self._rewind = trio.Event()
            self._rewound_by = None

    async def _begin_life(self, evidence: str) -> None:
        record = self.life.begin_anew(evidence, self._outside.rng, self.clock.wall_ms())
        await self.journal.commit([PutMeta(META_LIFE, record.encode())], sync=True, urgent=True, size=256)
        self.life.take(record)
        await self.registry.begin_life()
        self.feeds.end_all("draining")
        self.switchboard.begin_life()

    # ---- for people ------------------------------------------------------------------------------

    def unwell(self) -> list[str]:
        """Why the node is not ready; empty when it is."""
        reasons = self.supervisor.unwell()
        state = self.journal.statistics().state
        if state != "ok":
            reasons.append(f"storage is {state}")
        if self.draining:
            reasons.append("the node is draining")
        return reasons

    def topology(self) -> dict[str, Any]:
        """``GET /v0/topology``."""
        config = self.config
        return {
            "cluster": config.cluster,
            "node": self.name,
            "origin_id": self.life.origin_id.hex(),
            "life": self.life.record.number,
            "nodes": {name: {"url": node.url} for name, node in config.nodes.items()},
            "links": [
                {"peer": plan.peer, "url": plan.url, "topics": [_want(w) for w in plan.wants], "on_gap": plan.on_gap,
                 "gap_patience_ms": plan.gap_patience_ms}
                for plan in links_of(config, self.name)
            ],
            "pulled_by": list(pulled_by(config, self.name)),
            "topology_hash": topology_hash(config).hex(),
        }  # fmt: skip

    def statistics(self) -> dict[str, Any]:
        """The whole tree of numbers, pulled by metrics and status."""
        return {
            "node": self.name,
            "uptime_ms": int((self.clock.monotonic() - self.started_at) * 1000),
            "life": self.life.record.number,
            "ready": not self.unwell(),
            "journal": to_builtins(self.journal.statistics()),
            "topics": self.registry.statistics(),
            "routers": len(self.routers),
            "routing": self.routers.statistics(),
            "queues": self.queues.statistics(),
            "groups": self.groups.statistics(),
            "links": self.switchboard.describe(),
            "feeds": self.feeds.statistics(),
            "streams": self.streams.statistics(),
            "actors": self.supervisor.statistics(),
        }


def _want(want: Any) -> str | dict[str, str]:
    return want.source if want.source == want.local else {"from": want.source, "as": want.local}
