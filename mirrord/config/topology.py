"""The graph that a configuration draws: who pulls what from whom, and where what is written comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import xxhash
from msgspec import Struct

from ..names import matches
from .model import Config, Fields, OnGap, Want
from .option import as_duration, as_size
from .topic import TopicConfig, topic_config

__all__ = [
    "Flow", "LinkPlan", "Want", "carries", "declared", "edges", "link_key", "links_of", "mirrored", "pulled_by",
    "topic_config_for", "topology_hash", "unite", "warnings",
]  # fmt: skip

State = tuple[str, str]  # a node and a topic's name there


class LinkPlan(Struct, frozen=True):
    """What one node pulls from one peer, all entries of the file taken together."""

    peer: str
    url: str
    wants: tuple[Want, ...]
    on_gap: OnGap = "record"
    gap_patience_ms: int = 60_000


def links_of(config: Config, node: str) -> tuple[LinkPlan, ...]:
    """The links of this node, one per peer, in the order in which the file names the peers."""
    wants: dict[str, list[Want]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for link in config.links:
        for puller, source in link.pairs():
            if puller == node:
                wants.setdefault(source, []).extend(link.wants)
                given = {"url": link.via, "on_gap": link.on_gap, "gap_patience_ms": link.gap_patience_ms}
                known = settings.setdefault(source, {"url": config.nodes[source].url})
                known.update({key: value for key, value in given.items() if value is not None})
    return tuple(LinkPlan(peer=peer, wants=unite(found), **settings[peer]) for peer, found in wants.items())


def link_key(config: Config, node: str, peer: str) -> str:
    """Where the key is with which this node asks the peer for its feed, or nothing: no part of the topology."""
    keys = (link.key for link in config.links if link.key and (node, peer) in link.pairs())
    return next(keys, config.auth.peer_key)


def unite(wants: Iterable[Want]) -> tuple[Want, ...]:
    """Each want once and sorted, without those that a wider prefix among them already means."""
    once = sorted(set(wants))
    wide = [want for want in once if want.source.endswith("*")]
    return tuple(
        want for want in once if not any(other != want and matches(other.source, want.source) for other in wide)
    )


def pulled_by(config: Config, node: str) -> tuple[str, ...]:
    """The nodes that pull from this one, in the file's order."""
    pullers = {puller for link in config.links for puller, source in link.pairs() if source == node}
    return tuple(name for name in config.nodes if name in pullers)


def edges(config: Config) -> tuple[tuple[str, str], ...]:
    """(source, puller) of every link, in the file's order of pullers: the way that records travel."""
    return tuple((plan.peer, node) for node in config.nodes for plan in links_of(config, node))


def carries(config: Config, source: str, puller: str, topic: str) -> bool:
    """Whether ``puller`` pulls the topic that ``source`` calls so from ``source``."""
    wants = (want for plan in links_of(config, puller) if plan.peer == source for want in plan.wants)
    return any(want.local_name(topic) is not None for want in wants)


def mirrored(config: Config, node: str, topic: str) -> bool:
    """Whether a link brings the node this topic, or takes it from there."""
    brought = any(want.source_name(topic) is not None for plan in links_of(config, node) for want in plan.wants)
    return brought or any(carries(config, node, puller, topic) for puller in pulled_by(config, node))


def topology_hash(config: Config) -> bytes:
    """16 bytes over what peers must agree on: cluster, nodes' names and urls, links.

    Not over directories nor limits. Two spellings of one topology have one hash.
    """
    nodes = sorted((node.name, node.url) for node in config.nodes.values())
    links = [(name, sorted(links_of(config, name), key=lambda plan: plan.peer)) for name, _ in nodes]
    return xxhash.xxh3_128_digest(msgspec.json.encode([config.cluster, nodes, links]))


def declared(config: Config, node: str, topic: str) -> dict[str, object]:
    """The fields that the file sets for a topic on a node: those of prefixes from short to long, of the exact
    name, then the same of the node's own tables."""
    fields: dict[str, object] = {}
    for tables in (config.topics, config.nodes[node].topics):
        fields |= _declared_in(tables, topic)
    return fields


def topic_config_for(config: Config, node: str, topic: str) -> TopicConfig:
    """What the file makes of a topic on a node, over the built-in defaults."""
    return topic_config(declared(config, node, topic))


def _declared_in(tables: Mapping[str, Fields], topic: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    prefixes = sorted((name for name in tables if name.endswith("*") and matches(name, topic)), key=len)
    for name in (*prefixes, topic):
        fields.update(tables.get(name, {}))
    return fields


class Flow:
    """Where what is written to a topic comes to, along all links and renames."""

    def __init__(self, config: Config) -> None:
        self._followers: dict[str, list[tuple[str, tuple[Want, ...]]]] = {name: [] for name in config.nodes}
        for node in config.nodes:
            for plan in links_of(config, node):
                self._followers[plan.peer].append((node, plan.wants))

    def onward(self, node: str, topic: str) -> set[State]:
        """(puller, its name for the topic) of everyone that pulls it straight from the node."""
        names = ((puller, want.local_name(topic)) for puller, wants in self._followers[node] for want in wants)
        return {(puller, name) for puller, name in names if name is not None}

    def reach(self, node: str, topic: str) -> set[State]:
        """(node, name there) of everywhere that the topic's records come to, the start included."""
        seen: set[State] = {(node, topic)}
        todo = [(node, topic)]
        while todo:
            new = self.onward(*todo.pop()) - seen
            seen |= new
            todo.extend(new)
        return seen

    def returns(self, node: str, topic: str) -> set[State]:
        """(node, name there) of everywhere else that the topic's records come to, and come back from."""
        here = (node, topic)
        return {state for state in self.reach(*here) if state != here and here in self.reach(*state)}


def warnings(config: Config) -> list[str]:
    """What works as written but may be meant otherwise, one line each, for ``mirrord check``."""
    told = list(_open_nodes(config))
    if len(config.nodes) >= 2:
        told += [*_one_way_nodes(config), *_stranded_topics(config), *_differences(config), *_bottlenecks(config)]
    return told


def _open_nodes(config: Config) -> Iterator[str]:
    for node in config.nodes.values():
        asked = config.auth.keys or (node.tls.client_ca and node.tls.verify == "all")
        if not (asked or config.auth.allow_insecure or is_loopback(node.listen)):
            yield (
                f"{node.name} listens at {node.listen} and asks nobody for a key: it will not start; "
                "set [auth] keys, listen at 127.0.0.1, or say [auth] allow_insecure = true"
            )


def is_loopback(listen: str) -> bool:
    """Whether only this machine can connect to what is listened at, as far as its name tells."""
    host = listen.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def _one_way_nodes(config: Config) -> Iterator[str]:
    travel = edges(config)
    for node in config.nodes:
        serves, pulls = any(edge[0] == node for edge in travel), any(edge[1] == node for edge in travel)
        if not serves and not pulls:
            yield f"{node} has no link: it mirrors nothing"
        elif not serves:
            yield f"nobody pulls from {node}: what is written there stays there"
        elif not pulls:
            yield f"{node} pulls from nobody: what is written elsewhere does not come to it"


def _stranded_topics(config: Config) -> Iterator[str]:
    flow, wants = Flow(config), {want for link in config.links for want in link.wants}
    serving, pulling = ({edge[end] for edge in edges(config)} for end in (0, 1))
    stranded: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for topic in config.topics:
        if not any(matches(topic, want.source) or want.local_name(_sample(topic)) is not None for want in wants):
            yield f"no link carries {topic}: its records stay on the node where they are written"
        elif any(want.local_name(_sample(topic)) is not None for want in wants):
            for origin in (node for node in config.nodes if node in serving):
                there = {origin} | {node for node, _ in flow.onward(origin, _sample(topic))}
                if not there >= pulling:  # else a mesh: everyone pulls straight from it
                    there = {node for node, _ in flow.reach(origin, _sample(topic))}
                missing = tuple(node for node in config.nodes if node in pulling and node not in there)
                if missing:
                    stranded.setdefault((origin, missing), []).append(topic)
    for (origin, missing), topics in stranded.items():
        yield f"what is written to {', '.join(topics)} on {origin} does not come to {', '.join(missing)}"


def _differences(config: Config) -> Iterator[str]:
    flow = Flow(config)
    shown: dict[str, Callable[[int], str]] = {"ttl_ms": as_duration, "cap_records": str, "cap_bytes": as_size}
    for topic in dict.fromkeys((*config.topics, *(name for node in config.nodes.values() for name in node.topics))):
        held = {state for node in config.nodes for state in flow.onward(node, _sample(topic))}
        held |= {(node, _sample(topic)) for node in config.nodes if flow.onward(node, _sample(topic))}
        configs = {state: topic_config_for(config, *state) for state in sorted(held)}
        for field, write in shown.items():
            values: dict[int, list[str]] = {}
            for (node, _), made in configs.items():
                values.setdefault(getattr(made, field), []).append(node)
            if len(values) > 1:
                told = "; ".join(
                    f"{write(value) if value else 'off'} on {', '.join(values[value])}" for value in values
                )
                yield (
                    f"{topic}: {field} differs between nodes that mirror it ({told}): a node that comes late "
                    "may be shown a gap where another still has the records"
                )


def _bottlenecks(config: Config) -> Iterator[str]:
    near: dict[str, set[str]] = {node: set() for node in config.nodes}
    for source, puller in edges(config):
        near[source].add(puller)
        near[puller].add(source)
    for node in config.nodes:
        left, parts = set(near[node]), []
        while left:
            part = _connected(near, min(left), without=node)
            left -= part
            parts.append([name for name in config.nodes if name in part])
        if len(parts) > 1:
            sides = " / ".join(", ".join(part) for part in parts)
            yield f"{node} is the only way between {sides}: while it is down they exchange nothing"


def _connected(near: Mapping[str, set[str]], start: str, without: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        new = near[todo.pop()] - seen - {without}
        seen |= new
        todo.extend(new)
    return seen


def _sample(pattern: str) -> str:
    """A name that stands for all that a pattern means."""
    return pattern.removesuffix("*")
