"""``mirrord links``, ``lag`` and ``actors``: what happens between nodes and inside one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from ...client import call
from ..cells import LINK_COLUMNS, Cell, lag_rows, link_cells, state, topic_cells
from ..figures import count
from ..screen import say_json, show, table
from ..target import Target, speaks_to_a_node


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
            rows = [row for link in answer.object()["links"] for row in _link_rows(link, by_topic)]
            show(table(f"{place.name} pulls", ["from", *LINK_COLUMNS], rows))


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
        names = told["holders"]
        of = f" of {topic}" if topic else ""
        title = f"lag{of} as {told['node']} knows it: origins down, holders across"
        show(table(title, ["", *(f"#{name}" for name in names)], lag_rows(matrix, names)))


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


def _link_rows(link: Mapping[str, Any], by_topic: bool) -> Iterator[tuple[Cell, ...]]:
    yield link["peer"], *link_cells(link)
    if by_topic:
        for name, told in sorted((link.get("topics") or {}).items()):
            yield f"  {name}", *topic_cells(told)


def _actor_row(actor: Mapping[str, Any]) -> tuple[Cell, ...]:
    mailbox = actor.get("mailbox") or {}
    waiting, handled = (mailbox.get(word) for word in ("waiting", "handled"))
    counts = (str(actor.get("deaths", 0)), *("-" if n is None else count(n) for n in (waiting, handled)))
    return actor["name"], state(actor["state"]), *counts, actor.get("last_error") or ""
