"""Promises that only living nodes can keep: link states, the lag matrix, digests that prove the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import trio

from ...node import Node
from ...topics.read.digest import digest_of
from ..graphs import reachable
from ..world.world import World
from .cluster import Halts
from .logs import Finding
from .readers import check_reading

Digests = dict[tuple[str, int], tuple[int, str | None]]  # topic and strand: position and the hash there


def halts_of(world: World) -> Halts:
    """Which strands stand still on which link, at every node that lives."""
    found: dict[str, set[tuple[str, str, int]]] = {}
    for name, place in world.places.items():
        if place.node is not None:
            found[name] = {
                (link.plan.peer, topic, strand)
                for link in place.node.switchboard.links.values()
                for topic, side in link.line.sides.items()
                for strand in side.halted
            }
    return found


def is_settled(world: World) -> bool:
    """Whether everyone stands where its sources stand, and says so."""
    nodes = [place.node for place in world.places.values() if place.node is not None]
    if len(nodes) < len(world.places):
        return False
    lines = [line for node in nodes for line in node.switchboard.board.lines.values()]
    if any(node.unwell() for node in nodes) or not all(line.up for line in lines):
        return False
    halts = halts_of(world)
    if not all(_has_all(world, puller, source, halts[puller]) for puller, source in world.plan.links):
        return False
    if any(router["state"] != "caught-up" for node in nodes for router in node.routers.statistics()):
        return False
    words = {link["state"] for node in nodes for link in node.switchboard.describe()}
    return words <= {"caught-up", "halted"} and not _lag_faults(world, halts)


def _has_all(world: World, puller: str, source: str, halted: set[tuple[str, str, int]]) -> bool:
    ours, theirs = world.places[puller].node, world.places[source].node
    if ours is None or theirs is None:
        return False
    for topic in theirs.registry:
        mine = ours.registry.any(topic.topic)
        for number, strand in topic.strands.items():
            if strand.durable_last and (source, topic.topic, number) not in halted:
                known = mine.strands.get(number) if mine is not None else None
                if known is None or known.durable_last < strand.durable_last:
                    return False
    return True


async def check_living(world: World, halts: Halts) -> AsyncIterator[Finding]:
    """What nodes say of themselves, against what is so."""
    digests: dict[str, Digests] = {}
    for name, place in world.places.items():
        if place.node is None:
            yield "eventually_up", f"{name} does not run"
            continue
        for finding in _well(name, place.node, halts):
            yield finding
        digests[name] = {}
        async for fault in _digest(place.node, digests[name]):
            yield "finally_deep_digest", f"{name}: {fault}"
    for what in _lag_faults(world, halts):
        yield "eventually_lag_is_true", what
    for finding in _same_digests(world, digests, halts):
        yield finding


def _well(name: str, node: Node, halts: Halts) -> Iterator[Finding]:
    """One node by itself."""
    for topic in node.registry:
        if not topic.config.cap_records:  # what a cap took is told as one range at the front
            yield from check_reading(name, topic)
    for reason in node.unwell():
        yield "eventually_ready", f"{name}: {reason}"
    for link in node.switchboard.describe():
        if link["state"] != ("halted" if _halts_on(halts, name, link["peer"]) else "caught-up"):
            yield "eventually_caught_up", f"{name} from {link['peer']}: {link['state']} {link.get('reason', '')}"


def _same_digests(world: World, digests: Mapping[str, Digests], halts: Halts) -> Iterator[Finding]:
    """Of every strand in which two linked nodes stand at one place, unless that is where a fork halts it."""
    for puller, source in world.plan.links:
        for key, (oseq, digest) in digests.get(source, {}).items():
            ours = digests.get(puller, {}).get(key, (0, None))
            halted = any((peer, *key) in halts.get(node, ()) for node, peer in ((puller, source), (source, puller)))
            if ours[0] == oseq and None not in (ours[1], digest) and ours[1] != digest and not halted:
                yield "finally_digests_equal", f"{puller} and {source} in {key[0]} {key[1]:016x} at {oseq}"


def _halts_on(halts: Halts, node: str, peer: str) -> bool:
    return any(where == peer for where, _, _ in halts.get(node, ()))


async def _digest(node: Node, found: Digests) -> AsyncIterator[str]:
    """Fills in the positions of a node's strands with their hashes; what a look at all that lies there finds wrong."""
    for topic in node.registry:
        for entry in await digest_of(topic, {}, deep=True, rest=trio.lowlevel.checkpoint):
            found[topic.topic, int(entry["strand"], 16)] = (entry["oseq"], entry["hash"])
            if not entry["deep"]["ok"]:
                yield entry["deep"]["fault"]


def _lag_faults(world: World, halts: Halts) -> list[str]:
    """Where everything can come everywhere and has, every node must say that nobody lacks anything."""
    plan = world.plan
    if any(halts.values()) or any(len(reachable(node, plan.links)) < len(plan.nodes) for node in plan.nodes):
        return []
    found: list[str] = []
    for name, place in world.places.items():
        told: dict[str, Any] = place.node.switchboard.lag() if place.node is not None else {"topics": {}}
        for topic, rows in told["topics"].items():
            for origin, cells in rows.items():
                for holder, cell in cells.items():
                    if cell["records"] != 0 and _tells_places(world, holder, topic):
                        found.append(f"{name}: {holder} lacks {cell['records']} of {origin}'s records of {topic}")
    return found


def _tells_places(world: World, holder: str, topic: str) -> bool:
    """Whether peers can know where it stands: not in a topic that it deleted, nor when its machine was put back (by a
    snapshot, or empty with a clock that goes behind), so that its words of before look newer than those of now."""
    node = world.places[holder].node
    return node is not None and node.registry.known(topic) is not None and not world.story.looks_older(holder)
