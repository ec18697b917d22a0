"""What people see of a survey: tables of nodes, links and lag, or one line per change. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from ..cells import LINK_COLUMNS, Cell, lag_rows, link_cells, state
from ..figures import count, duration, rate
from ..screen import table
from .survey import Sight, Survey

if TYPE_CHECKING:
    from rich.console import RenderableType


class Run(Struct, frozen=True):
    """A node's process, where it is ours: ``starting``, ``up``, ``died``, ``stopping`` or ``stopped``."""

    state: str
    pid: int | None = None
    deaths: int = 0
    last_words: str = ""


def tables(survey: Survey, before: Survey | None, runs: Mapping[str, Run]) -> list[RenderableType]:
    """Nodes, links and lag; the rates are those since the survey ``before``."""
    found = [_nodes_table(survey, before, runs)]
    links = [row for sight in survey.nodes for row in _link_rows(sight)]
    if links:
        found.append(table("links", ["link", *LINK_COLUMNS[:-1]], links))
    matrix = survey.lag()
    if matrix:
        known = (holder for sight in survey.nodes for holder in sight.object("lag").get("holders", ()))
        holders = list(dict.fromkeys([*(sight.node for sight in survey.nodes), *known]))
        columns = ["", *(f"#{name}" for name in holders)]
        found.append(table("lag: origins down, holders across", columns, lag_rows(matrix, holders)))
    return found


def changes(
    survey: Survey, before: Survey | None, runs: Mapping[str, Run], runs_before: Mapping[str, Run]
) -> list[str]:
    """One line for each node or link whose state is not what it was."""
    old = {sight.name: sight for sight in before.nodes} if before is not None else {}
    lines: list[str] = []
    for sight in survey.nodes:
        run, was = runs.get(sight.name), runs_before.get(sight.name)
        if run is not None and run != was:
            words = f": {run.last_words}" if run.last_words and run.state == "died" else ""
            lines.append(f"{sight.name} {run.state} (pid {run.pid or '-'}, {run.deaths} deaths){words}")
        seen = old.get(sight.name)
        awaited = run is not None and (run.state != "up" or (seen is None and not sight.told))
        if not awaited and (seen is None or seen.state != sight.state):
            records = f", {count(sight.records())} records" if sight.told else ""
            lines.append(f"{sight.name} {sight.state} at {sight.url}{records}")
        states_before = _link_states(seen) if seen is not None else {}
        for peer, word in _link_states(sight).items():
            if states_before.get(peer) != word:
                lines.append(f"{sight.name} <- {peer} {word}")
    return lines


def _nodes_table(survey: Survey, before: Survey | None, runs: Mapping[str, Run]) -> RenderableType:
    earlier = {sight.name: sight for sight in before.nodes} if before is not None else {}
    since_s = survey.at_s - before.at_s if before is not None else 0.0
    columns = ["node", "state", "url", "#pid", "#deaths", "#topics", "#records", "#rate", "up for", ""]
    return table(None, columns, [_node_row(s, earlier.get(s.name), since_s, runs.get(s.name)) for s in survey.nodes])


def _node_row(sight: Sight, before: Sight | None, since_s: float, run: Run | None) -> tuple[Cell, ...]:
    word = run.state if run is not None and run.state != "up" and not sight.told else sight.state
    new = max(0, sight.records() - before.records()) if before is not None and before.told else 0
    uptime_ms = sight.object("health").get("uptime_ms")
    listed = sight.object("topics")
    more = "+" if listed.get("next_cursor") else ""
    return (
        sight.node,
        state(word),
        sight.url,
        *((str(run.pid or "-"), str(run.deaths)) if run else ("-", "-")),
        *((count(len(listed["topics"])) + more, count(sight.records()) + more) if listed else ("-", "-")),
        rate(new / since_s) if listed and since_s > 0 else "-",
        duration(uptime_ms / 1000 if uptime_ms is not None else None),
        (_trouble(sight, run), "red"),
    )


def _trouble(sight: Sight, run: Run | None) -> str:
    if run is not None and run.state == "died":
        return run.last_words
    dead = [actor for actor in sight.object("actors").get("actors", ()) if actor.get("state") == "dead"]
    if dead:
        return f"{dead[0]['name']} died: {dead[0].get('last_error', '')}"
    return sight.why if run is None or sight.state != "unreachable" else ""


def _link_rows(sight: Sight) -> list[tuple[Cell, ...]]:
    links = sight.object("links").get("links", ())
    return [(f"{sight.node} <- {link['peer']}", *link_cells(link)[:-1]) for link in links]


def _link_states(sight: Sight) -> dict[str, str]:
    return {link["peer"]: link["state"] for link in sight.object("links").get("links", ())}
