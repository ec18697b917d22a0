"""Who pulls from whom in a cluster of real nodes, and the file that says so."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import tomli_w
from msgspec import Struct

from ..graphs import Link, links

NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")
Tables = Mapping[str, Mapping[str, Any]]


class Graph(Struct, frozen=True):
    """Nodes, and the links between them as (puller, source)."""

    nodes: tuple[str, ...]
    pulls: tuple[Link, ...]


def graph(shape: str, count: int, rng: Random | None = None) -> Graph:
    """A shape of ``graphs.links`` over at most 8 nodes. ``rng`` draws the links of ``random``."""
    nodes = NAMES[:count]
    return Graph(nodes, links(shape, nodes, rng or Random(0)))


def file_of(
    graph: Graph, ports: Mapping[str, int], topics: Mapping[str, str], via: Mapping[Link, str], tables: Tables
) -> str:
    """The TOML text of a cluster on loopback.

    ``topics`` maps names to durability classes, ``via`` links to the URLs of their proxies; ``tables`` are
    further tables such as ``mirroring``, and in ``links`` what every link says.
    """
    nodes = {name: {"listen": f"127.0.0.1:{ports[name]}", "data_dir": f"data/{name}"} for name in graph.nodes}
    entries: list[dict[str, Any]] = []
    for puller, source in graph.pulls:
        entry: dict[str, Any] = {"pull": puller, "from": source, "topics": sorted(topics), **tables.get("links", {})}
        if (puller, source) in via:
            entry["via"] = via[puller, source]
        entries.append(entry)
    told = {
        "cluster": {"name": "test"},
        "nodes": nodes,
        "topics": {name: {"durability": durability} for name, durability in topics.items()},
        **tables,
        "links": entries,
    }
    return tomli_w.dumps(told)
