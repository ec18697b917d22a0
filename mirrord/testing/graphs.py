"""Graphs of nodes, and the configuration that draws one: who pulls from whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

Link = tuple[str, str]  # puller, source
SHAPES = ("pair", "chain", "one-way ring", "star", "two-way ring", "mesh", "random")


def links(shape: str, nodes: Sequence[str], rng: Random) -> tuple[Link, ...]:
    """The links of a shape over these nodes."""
    pairs = list(pairwise(nodes))
    match shape:
        case "pair" | "chain":
            return _both_ways(pairs)
        case "one-way ring":
            return tuple((puller, source) for source, puller in [*pairs, (nodes[-1], nodes[0])])
        case "star":
            return _both_ways([(nodes[0], leaf) for leaf in nodes[1:]])
        case "two-way ring":
            return _both_ways(pairs + ([(nodes[-1], nodes[0])] if len(nodes) > 2 else []))
        case "mesh":
            return _mesh(nodes)
        case "two meshes":  # and a bridge between them
            one, other = nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]
            return (*_mesh(one), *_mesh(other), *_both_ways([(one[0], other[0])]))
        case _:
            return _random(nodes, rng)


def _mesh(nodes: Sequence[str]) -> tuple[Link, ...]:
    return tuple((a, b) for a in nodes for b in nodes if a != b)


def _both_ways(pairs: list[Link]) -> tuple[Link, ...]:
    return tuple(link for a, b in pairs for link in ((a, b), (b, a)))


def _random(nodes: Sequence[str], rng: Random) -> tuple[Link, ...]:
    """Connected when directions are forgotten; each further link with a chance of a third."""
    found: dict[Link, None] = {}
    for i in range(1, len(nodes)):
        other = nodes[rng.randrange(i)]
        found[(nodes[i], other) if rng.random() < 0.5 else (other, nodes[i])] = None
    for a in nodes:
        for b in nodes:
            if a != b and rng.random() < 0.33:
                found[a, b] = None
    return tuple(found)


def reachable(start: str, pulls: Sequence[Link]) -> set[str]:
    """Every node that the records of ``start`` come to, itself included."""
    seen, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for puller, source in pulls:
            if source == here and puller not in seen:
                seen.add(puller)
                todo.append(puller)
    return seen


def configuration(
    nodes: Sequence[str],
    pulls: Sequence[Link],
    topics: Sequence[tuple[str, str]],
    caps: Sequence[tuple[str, str, int]],
    settings: dict[str, dict[str, int]],
    gap_patience_ms: int,
) -> str:
    """The TOML file of a cluster: ``topics`` are (name, class), ``caps`` (node, topic, records)."""
    lines = ["[cluster]", 'name = "sim"']
    for table, values in settings.items():
        lines += [f"[{table}]", *(f"{key} = {value}" for key, value in values.items())]
    for place, name in enumerate(nodes):
        lines += [f"[nodes.{name}]", f'listen = "127.0.0.1:{4001 + place}"', f'data_dir = "sim/{name}"']
    for node, topic, records in caps:
        lines += [f'[nodes.{node}.topics."{topic}"]', f"cap_records = {records}"]
    for name, durability in topics:
        lines += [f'[topics."{name}"]', f'durability = "{durability}"']
    names = ", ".join(f'"{name}"' for name, _ in topics)
    for puller, source in pulls:
        lines += ["[[links]]", f'pull = "{puller}"', f'from = "{source}"', f"topics = [{names}]"]
        lines += [f"gap_patience = {gap_patience_ms}"]
    return "\n".join(lines) + "\n"


def queues(home: str) -> str:
    """All topics are queues whose leases one node grants; nothing without a home."""
    return f'[topics."*"]\ntype = "queue"\nhome = "{home}"\n' if home else ""


def routers(sources: Sequence[str], dest: str) -> str:
    """Routers of every node, each copying what was written on it: more of the TOML file."""
    lines: list[str] = []
    for source in sources:
        lines += [f"[routers.{source}]", f'source = "{source}"', f'dest = "{dest}"', 'forward = "origin"']
    return "\n".join(lines) + "\n"
