"""The clusters that are measured, as configuration files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tomli_w

SYNCED = "synced"  # the topic whose appends are acknowledged after a sync; all others are of class disk


def mesh(places: Mapping[str, str]) -> str:
    """Every node pulls from every other; ``places``: name to address."""
    links = [{"between": list(places), "topics": ["*"]}] if len(places) > 1 else []
    return _file(places, links)


def pullers(places: Mapping[str, str]) -> str:
    """The first node is pulled from by each of the others, which pull from nobody else."""
    source, *others = places
    return _file(places, [{"pull": name, "from": source, "topics": ["*"]} for name in others])


def _file(places: Mapping[str, str], links: Sequence[Mapping[str, object]]) -> str:
    nodes = {name: {"listen": address, "data_dir": f"data/{name}"} for name, address in places.items()}
    topics = {SYNCED: {"durability": "fsync"}}
    return tomli_w.dumps({"cluster": {"name": "bench"}, "nodes": nodes, "topics": topics, "links": list(links)})
