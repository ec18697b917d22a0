"""``mirrord links``, ``lag`` and ``actors``: what happens between nodes and inside one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...client import call
from ...client.call import Call
from ..cells import LINK_COLUMNS, Cell, lag_rows, link_cells, state, topic_cells
from ..figures import count
from ..screen import say, table
from ..target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command()
@click.option("--topics", "by_topic", is_flag=True, help="One line per topic too.")
@speaks_to_a_node
def links(target: Target, by_topic: bool) -> None:
    """What a node pulls, from whom, how that goes, and how far it is behind."""
    _say_all(target, call.links(), partial(_links, by_topic))


@click.command()
@click.option("--topic", help="Of this topic only.")
@speaks_to_a_node
def lag(target: Target, topic: str | None) -> None:
    """Who lacks how much of whose records: rows are origins, columns are holders."""
    _say_all(target, call.lag(), partial(_lag, topic))


@click.command()
@speaks_to_a_node
def actors(target: Target) -> None:
    """The parts of a node: which live, which died and why, and what waits in their mailboxes."""
    _say_all(target, call.actors(), _actors)


def _say_all(target: Target, asked: Call, seen: Callable[[str, dict[str, Any]], RenderableType]) -> None:
    """What each of the nodes answers."""
    for place in target.places:
        with target.open(place) as api:
            say(api.ask(asked), target.as_json, partial(seen, place.name))


def _links(by_topic: bool, node: str, told: dict[str, Any]) -> RenderableType:
    rows = [row for link in told["links"] for row in _link_rows(link, by_topic)]
    return table(f"{node} pulls", ["from", *LINK_COLUMNS], rows)


def _lag(topic: str | None, _node: str, told: dict[str, Any]) -> RenderableType:
    node, holders = told["node"], told["holders"]
    if topic is not None and topic not in told["topics"]:
        raise click.ClickException(f"{node} knows of no topic {topic!r} on a link; see `mirrord links --topics`")
    matrix = told["origins"] if topic is None else told["topics"][topic]
    of = f" of {topic}" if topic else ""
    title = f"lag{of} as {node} knows it: origins down, holders across"
    return table(title, ["", *(f"#{name}" for name in holders)], lag_rows(matrix, holders))


def _actors(node: str, told: dict[str, Any]) -> RenderableType:
    rows = [_actor_row(actor) for actor in told["actors"]]
    return table(node, ["actor", "state", "#deaths", "#waiting", "#handled", "last error"], rows)


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
