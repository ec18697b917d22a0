"""All links of a node, what they know together, and what is told of it: states, lag, the matrix, gossip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import Any

import trio

from ..actors.supervisor import Supervisor
from ..clock import Clock
from ..config.model import Config
from ..config.topic import TopicConfig
from ..config.topology import Flow, LinkPlan, edges, links_of, topology_hash
from ..errors import LinkNotFound
from ..records.strand import Descriptor
from ..storage.life import Life
from ..topics.log.log import Strand
from ..topics.registry import Registry
from .board.board import Board
from .board.covers import Witness, could_get
from .board.gossip import Gossip
from .board.holders import Holders
from .board.lag import Lag, Place
from .board.line import Line, Side
from .board.matrix import Key
from .ground import Ground
from .inlet.inlet import Inlet
from .link import Link, LinkRules
from .peer import Peer
from .state import state_json


class Switchboard:
    """Builds one link per peer of the plan, and answers for them."""

    def __init__(
        self, config: Config, life: Life, clock: Clock, rng: Random, registry: Registry,
        peer_at: Callable[[LinkPlan], Peer], rewound: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._config, self._life, self._clock, self._registry = config, life, clock, registry
        self._edges = edges(config)
        self._nodes, self._flow = frozenset(config.nodes), Flow(config)
        self._rewound = rewound
        self.board = Board(self._place, self._descriptor)
        self.gossip = Gossip(config, life, clock, registry, self.board)
        self.holders = Holders(
            lambda: life.identity, self.board, self.gossip.matrix, self._flow, self._strands, clock.monotonic()
        )
        self.links: dict[str, Link] = {}
        self._peers: list[Peer] = []
        for plan in links_of(config, life.name):
            peer = peer_at(plan)
            self._peers.append(peer)
            self.board.lines[plan.peer] = _line(plan, clock)
            inlet = Inlet(plan, self._ground(topology_hash(config)))
            self.links[plan.peer] = Link(plan, peer, inlet, self.board, _rules(config), clock, rng)

    def _ground(self, topology: bytes) -> Ground:
        return Ground(
            self._config.cluster, topology, self._life, self._clock, self._registry, self.board, self.gossip,
            self._declared, self._rewound, self._worth_waiting,
        )  # fmt: skip

    def start(self, supervisor: Supervisor) -> None:
        """Keep every link alive."""
        for link in self.links.values():
            supervisor.keep(link)

    async def settle(self, deadline_s: float) -> None:
        """Returns when every link has had a hello or has failed, at the latest after ``deadline_s``."""
        with trio.move_on_after(deadline_s):
            for link in self.links.values():
                await link.tried.wait()

    async def aclose(self) -> None:
        """Let go of all connections."""
        for peer in self._peers:
            await peer.aclose()

    def behind(self, topic: str, patience_s: float) -> list[str]:
        """Nodes, near or far, that may still bring what earlier lives of this node wrote to the topic; those that were
        not heard yet for so long after they went, or this life began."""
        return self.holders.everywhere(topic, self._clock.monotonic(), patience_s)

    def old_holders(self, topic: str, new_life: bool) -> list[str]:
        """Nodes from which what earlier lives of this node wrote to the topic may still come: peers that tell more of
        it, and in a new life whoever was not heard yet, near or far."""
        return self.behind(topic, patience_s=inf if new_life else 0.0)

    def begin_life(self) -> None:
        """Open every feed anew: who we are has changed."""
        self.holders.begin_life(self._clock.monotonic())
        for link in self.links.values():
            link.restart("a new life began")

    def link(self, peer: str) -> Link:
        """Raises LinkNotFound."""
        found = self.links.get(peer)
        if found is None:
            raise LinkNotFound(
                f"this node pulls from {', '.join(self.links) or 'nobody'}, not from {peer!r}", {"peer": peer}
            )
        return found

    # ---- what the board asks ---------------------------------------------------------------------

    def _strands(self, topic: str) -> Mapping[int, Strand]:
        found = self._registry.any(topic)
        return found.strands if found is not None else {}

    def _place(self, topic: str, strand: int) -> tuple[int, int]:
        found = self._registry.any(topic)
        known = found.strands.get(strand) if found is not None else None
        return (known.durable_last, known.durable_ts) if known is not None else (0, 0)

    def _descriptor(self, topic: str, strand: int) -> Descriptor | None:
        found = self._registry.any(topic)
        known = found.strands.get(strand) if found is not None else None
        return known.descriptor if known is not None else None

    def _declared(self, topic: str, told: TopicConfig) -> TopicConfig:
        return self._registry.declared_over(topic, told)

    def _worth_waiting(self, topic: str, strand: int, after: int, witness: Witness) -> bool:
        """Whether the witness's peer could get the range otherwise than through us (design §3.3)."""
        may_hold: set[str] = set()
        for node in self._nodes - {self._life.name}:
            line = self.board.lines.get(node)
            side = line.sides.get(topic) if line is not None else None
            lacks = side is not None and side.covered.get(strand, 0) > after
            place = self.gossip.matrix.place(node, side.source if side is not None else topic, strand)
            if place is None or (place > after and not lacks):
                may_hold.add(node)
        return could_get(witness.link, self._life.name, may_hold, self._edges)

    # ---- for people ------------------------------------------------------------------------------

    def describe(self) -> list[dict[str, Any]]:
        """``GET /v0/links``."""
        return [self.describe_link(link) for link in self.links.values()]

    def describe_link(self, link: Link) -> dict[str, Any]:
        """One link, with the state of each topic on it."""
        state, now, now_ms = link.state(), self._clock.monotonic(), self._clock.wall_ms()
        topics: dict[str, Any] = {}
        lag_bytes, lag_seconds = 0.0, 0.0
        for name, side in sorted(link.line.sides.items()):
            records, oldest_ms = self.board.lag(link.plan.peer, name)
            seconds = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0
            lag_bytes += records * side.average_bytes
            lag_seconds = max(lag_seconds, seconds)
            topics[name] = _describe_side(side, records, seconds, state.word)
        return {
            "peer": link.plan.peer,
            "url": link.plan.url,
            **state_json(state),
            "since_ms": int((now - link.facts.since) * 1000),
            "lag_records": link.facts.lag_records,
            "lag_bytes": int(lag_bytes),
            "lag_seconds": round(lag_seconds, 3),
            "rate_records_s": round(link.meter.rate, 1),
            "records": link.meter.records,
            "bytes": link.meter.bytes,
            "connects": link.connects,
            "clock_offset_ms": link.inlet.clock_offset_ms,
            "same_topology": link.inlet.same_topology,
            "topics": topics,
        }

    def lag(self) -> dict[str, Any]:
        """``GET /v0/lag``: for every origin and holder, how many records the holder lacks of what any node has."""
        lag = Lag(self._flow, self._nodes, self._clock.wall_ms())
        topics = lag.by_topic(*self._places())
        return {
            "node": self._life.name,
            "holders": sorted(self._nodes),
            "topics": topics,
            "origins": lag.over_topics(topics),
        }

    def _places(self) -> tuple[dict[Key, Place], dict[int, str]]:
        """How far every node is known to be in every strand, and who wrote it."""
        places: dict[Key, Place] = {key: (seen.oseq, seen.ts) for key, seen in self.gossip.matrix.rows()}
        origins: dict[int, str] = {}
        known = dict.fromkeys([*self._registry.names, *(topic for _, topic, _ in places)])
        for topic in filter(None, map(self._registry.any, known)):  # those deleted here as well: their vectors stand
            for number, strand in topic.strands.items():
                origins[number] = strand.descriptor.origin
                if strand.durable_last:
                    places[self._life.name, topic.topic, number] = (strand.durable_last, strand.durable_ts)
        return places, origins


def _line(plan: LinkPlan, clock: Clock) -> Line:
    def wants(local: str) -> bool:
        return any(want.source_name(local) is not None for want in plan.wants)

    return Line(plan.peer, plan.gap_patience_ms / 1000, wants, down_since=clock.monotonic())


def _rules(config: Config) -> LinkRules:
    mirroring = config.mirroring
    largest = mirroring.max_frame_bytes + 2 * config.limits.max_record_bytes + (1 << 20)
    return LinkRules(
        mirroring.heartbeat_ms, mirroring.max_frame_bytes, largest, mirroring.buffer_bytes,
        mirroring.backoff_min_ms, mirroring.backoff_max_ms,
    )  # fmt: skip


def _describe_side(side: Side, records: int, seconds: float, word: str) -> dict[str, Any]:
    told: dict[str, Any] = {"lag_records": records, "lag_seconds": round(seconds, 3)}
    if side.refused is not None:
        return told | {"state": "refused", "reason": side.refused}
    if side.halted:
        told["halted"] = [
            {
                "strand": f"{strand:016x}",
                "kind": halt.kind,
                "mine": {"oseq": halt.mine.oseq, "hash": halt.mine.hash.hex() if halt.mine.hash else None},
                "theirs": {
                    "oseq": halt.theirs.oseq,
                    "hash": halt.theirs.hash.hex() if halt.theirs.hash else None,
                },
            }
            for strand, halt in sorted(side.halted.items())
        ]
        return told | {"state": "halted"}
    if word in ("caught-up", "catching-up", "stalled", "halted"):
        word = "caught-up" if not records else ("catching-up" if word == "halted" else word)
    return told | {"state": word}
