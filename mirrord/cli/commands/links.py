"""``mirrord links``, ``lag`` and ``actors``: what happens between nodes and inside one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from ...client import call
from ..figures import count, duration, rate, size
from ..screen import Cell, say_json, show, state, table
from ..target import Target, speaks_to_a_node

Matrix = Mapping[str, Mapping[str, Mapping[str, Any]]]  # origin -> holder -> {records, seconds}


@click.command()
@click.option("--topics", "by_topic", is_flag=True, help="One line per topic too.")
@speaks_to_a_node
def links(target: Target, by_topic: bool) -> None:
    """What a node pulls, from whom, how that goes, and how far it is behind."""
    for place in target.places:
        with target.open(place) as api:
            answer = api.ask(call.links())
        if target.as_json:
            say_json(answer)
        else:
            show(links_table(f"{place.name} pulls", answer.object()["links"], by_topic))


@click.command()
@click.option("--topic", help="Of this topic only.")
@speaks_to_a_node
def lag(target: Target, topic: str | None) -> None:
    """Who lacks how much of whose records: rows are origins, columns are holders."""
    for place in target.places:
        with target.open(place) as api:
            answer = api.ask(call.lag())
        if target.as_json:
            say_json(answer)
            continue
        told = answer.object()
        matrix = told["origins"] if topic is None else told["topics"].get(topic, {})
        of = f" of {topic}" if topic else ""
        show(lag_table(f"records{of} not yet held, as {told['node']} knows", matrix, told["holders"]))


@click.command()
@speaks_to_a_node
def actors(target: Target) -> None:
    """The parts of a node: which live, which died and why, and what waits in their mailboxes."""
    for place in target.places:
        with target.open(place) as api:
            answer = api.ask(call.actors())
        if target.as_json:
            say_json(answer)
            continue
        rows = [_actor_row(actor) for actor in answer.object()["actors"]]
        show(table(place.name, ["actor", "state", "#deaths", "#waiting", "#handled", "last error"], rows))


def links_table(title: str, found: Iterable[Mapping[str, Any]], by_topic: bool = False) -> Any:
    """The links of one node as a table."""
    columns = ["from", "state", "since", "#records behind", "#bytes", "#time", "#rate", "eta", "#connects"]
    return table(title, columns, (row for link in found for row in _link_rows(link, by_topic)))


def lag_table(title: str, matrix: Matrix, holders: Iterable[str]) -> Any:
    """Origins down, holders across; a cell is what the holder lacks of the origin's records."""
    names = list(holders)
    rows = [
        [origin, *(lag_cell(held.get(name)) for name in names)] for origin, held in sorted(matrix.items())
    ]
    return table(title, ["origin", *(f"#{name}" for name in names)], rows)


def lag_cell(found: Mapping[str, Any] | None) -> Cell:
    """Records, and how old the oldest of them is; ``?`` where nothing is known."""
    if found is None:
        return "?", "dim"
    if not found["records"]:
        return "0", "green"
    age = f" ({duration(found['seconds'])})" if found.get("seconds") is not None else ""
    return count(found["records"]) + age, "yellow"


def _link_rows(link: Mapping[str, Any], by_topic: bool) -> Iterator[tuple[Cell, ...]]:
    word = link["state"] + (f" ({link['reason']})" if link.get("reason") else "")
    since = duration(link["since_ms"] / 1000) if link.get("since_ms") is not None else "-"
    yield (
        link["peer"], state(word), since,
        count(link.get("lag_records") or 0), size(link.get("lag_bytes") or 0),
        duration(link.get("lag_seconds")),
        rate(link.get("rate_records_s") or 0), duration(link.get("eta_s")),
        count(link.get("connects") or 0),
    )  # fmt: skip
    if by_topic:
        for name, told in sorted((link.get("topics") or {}).items()):
            behind = count(told.get("lag_records") or 0)
            yield f"  {name}", state(str(told.get("state", ""))), "", behind, "", "", "", "", ""


def _actor_row(actor: Mapping[str, Any]) -> tuple[Cell, ...]:
    mailbox = actor.get("mailbox") or {}
    waiting, handled = (mailbox.get(word) for word in ("waiting", "handled"))
    counts = (str(actor.get("deaths", 0)), *("-" if n is None else count(n) for n in (waiting, handled)))
    return actor["name"], state(actor["state"]), *counts, actor.get("last_error") or ""
