"""The ``[routers.X]`` of a file: each table by itself, who runs it, and what would double records or run in a ring."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from ..names import is_router, is_topic
from .lines import Faults, Path
from .model import Config, Forward, RouterConfig
from .option import options_of, quoted
from .topology import Flow, State

_OPTIONS = options_of(RouterConfig)


def read_routers(faults: Faults, found: object, nodes: Collection[str]) -> dict[str, RouterConfig]:
    """Every table; what is wrong with one is added to the faults, and the table left out."""
    if not isinstance(found, dict):
        faults.add(("routers",), f"expected tables such as [routers.orders-audit], found {quoted(found)}")
        return {}
    routers: dict[str, RouterConfig] = {}
    for name, table in found.items():
        path = ("routers", name)
        if not is_router(name):
            faults.add(path, f"expected a name of 1 to 255 of A-Z a-z 0-9 . _ : - >, found {quoted(name)}")
        router = _router(faults, path, table, nodes)
        if router is not None:
            routers[name] = router
    return routers


def _router(faults: Faults, path: Path, table: object, nodes: Collection[str]) -> RouterConfig | None:
    values = faults.table(path, table, _OPTIONS)
    if not isinstance(table, dict):
        return None
    fits = [_ends_fit(faults, path, values), _filter_fits(faults, path, values), _on_fits(faults, path, values, nodes)]
    return RouterConfig(**values) if all(fits) else None


def _ends_fit(faults: Faults, path: Path, values: dict[str, Any]) -> bool:
    for key in ("source", "dest"):
        if not is_topic(values.get(key, "")):
            faults.add(
                (*path, key), f"expected a topic's name, found {quoted(values[key]) if key in values else 'nothing'}"
            )
            return False
    if values["source"] == values["dest"]:
        faults.add((*path, "dest"), "expected another topic than the source")
        return False
    return True


def _filter_fits(faults: Faults, path: Path, values: dict[str, Any]) -> bool:
    found = values["filter"] = tuple(values.get("filter", ()))
    shape = len(found) == 3 and all(isinstance(part, str) for part in found)
    fits = shape and found[0] == "tag" and (found[1] == "Eq" or (found[1] == "Glob" and found[2].endswith("*")))
    if found and not fits:
        known = '["tag", "Eq", "X"] or ["tag", "Glob", "P*"]'
        faults.add((*path, "filter"), f"expected {known}, found {quoted(list(found))}")
    return fits or not found


def _on_fits(faults: Faults, path: Path, values: dict[str, Any], nodes: Collection[str]) -> bool:
    names = values["on"] = tuple(values.get("on", ()))
    for place, name in enumerate(names):
        if not isinstance(name, str) or name not in nodes:
            faults.unknown_node((*path, "on", place), str(name), nodes)
            return False
    return True


# ---- all of them together ------------------------------------------------------------------------


def runners(config: Config, flow: Flow, router: RouterConfig) -> tuple[str, ...]:
    """The nodes that run it: those of ``on``, else those to which links bring its source or that are pulled from for
    it, else all."""
    if router.on:
        return router.on
    onward = {node: flow.onward(node, router.source) for node in config.nodes}
    holders = {node for node, pullers in onward.items() if pullers}
    holders |= {puller for pullers in onward.values() for puller, name in pullers if name == router.source}
    return tuple(node for node in config.nodes if node in holders or not holders)


def routers_of(config: Config, node: str) -> dict[str, RouterConfig]:
    """What this node runs, with ``forward`` decided."""
    flow = Flow(config)
    found: dict[str, RouterConfig] = {}
    for name, router in config.routers.items():
        if node in runners(config, flow, router):
            found[name] = msgspec.structs.replace(router, forward=forward_of(config, flow, router))
    return found


def forward_of(config: Config, flow: Flow, router: RouterConfig) -> Forward:
    """As the file says; else ``origin`` where several nodes would copy one record into logs that come together."""
    return router.forward or ("origin" if doubling(config, flow, router) else "all")


def doubling(config: Config, flow: Flow, router: RouterConfig) -> tuple[str, str] | None:
    """Two nodes that would both copy one record into one log, if each copied everything; None when no two would."""
    on = runners(config, flow, router)
    if len(on) < 2:
        return None
    sources = {node: flow.reach(node, router.source) for node in config.nodes}
    dests = {node: flow.reach(node, router.dest) for node in on}
    for place, one in enumerate(on):
        for other in on[place + 1 :]:
            both: set[State] = {(one, router.source), (other, router.source)}
            if any(both <= reached for reached in sources.values()) and dests[one] & dests[other]:
                return one, other
    return None


def check_routers(faults: Faults, config: Config) -> None:
    """Adds routers that would double records, and those that close a ring without saying so."""
    flow = Flow(config)
    for name, router in config.routers.items():
        pair = doubling(config, flow, router) if router.forward == "all" else None
        if pair is not None:
            told = f"{pair[0]} and {pair[1]} would both copy each record into {router.dest}, which they mirror"
            faults.add(("routers", name, "forward"), f'expected "origin" or one node in on, found "all": {told}')
    for node in config.nodes:
        if _check_rings(faults, config, flow, node):
            return


def _check_rings(faults: Faults, config: Config, flow: Flow, node: str) -> bool:
    edges: list[tuple[str, str]] = []
    for name, router in config.routers.items():
        if node not in runners(config, flow, router):
            continue
        ring = cycle_closed_by(router.source, router.dest, edges)
        if ring and not router.allow_cycle:
            told = f"{' -> '.join(ring)} is a ring on {node}"
            faults.add(("routers", name, "dest"), f"expected allow_cycle = true or another topic: {told}")
            return True
        edges.append((router.source, router.dest))
    return False


def cycle_closed_by(source: str, dest: str, edges: Collection[tuple[str, str]]) -> list[str]:
    """The topics of a ring that the edge would close, its source first and last; empty when there is none."""
    onward: dict[str, list[str]] = {}
    for start, end in edges:
        onward.setdefault(start, []).append(end)
    came_from: dict[str, str] = {dest: source}
    todo = [dest]
    while todo:
        here = todo.pop(0)
        if here == source:
            return _way_back(came_from, source)
        for there in onward.get(here, ()):
            if there not in came_from:
                came_from[there] = here
                todo.append(there)
    return []


def _way_back(came_from: Mapping[str, str], source: str) -> list[str]:
    ring = [source]
    while (before := came_from[ring[-1]]) != source:
        ring.append(before)
    return [*ring, source][::-1]


def router_warnings(config: Config) -> Iterator[str]:
    """What works as written but may be meant otherwise."""
    flow = Flow(config)
    for name, router in config.routers.items():
        on = runners(config, flow, router)
        if forward_of(config, flow, router) != "origin":
            continue
        for node in config.nodes:
            reached = {where for where, topic in flow.reach(node, router.source) if topic == router.source}
            if node not in on and len(reached) > 1 and reached & set(on):
                yield f"what is written to {router.source} on {node} is not copied by {name}: {node} does not run it"
