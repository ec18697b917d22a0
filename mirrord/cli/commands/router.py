"""``mirrord router``: what copies records from one topic to another on a node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...client import call
from ..cells import Cell, state
from ..figures import count, fact
from ..screen import say, say_list, table
from ..target import Target, speaks_to_a_node
from .topics import ListOrShow

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.group(cls=ListOrShow)
def router() -> None:
    """Routers copy the records of one topic to another, each exactly once (`mirrord router` lists them)."""


@router.command("list")
@click.option("--prefix", default="", help="Only routers that begin so.")
@click.option("--source", default="", metavar="TOPIC", help="Only those that take from TOPIC.")
@click.option("--dest", default="", metavar="TOPIC", help="Only those that copy to TOPIC.")
@speaks_to_a_node
def list_routers(target: Target, prefix: str, source: str, dest: str) -> None:
    """All routers by name. With --json one line per page of the API."""
    with target.api() as api:
        pages = api.pages(call.routers(prefix, source=source, dest=dest))
        say_list(pages, target.as_json, "routers", ["router", "from", "to", "state", "#behind", "#copied"], _row)


@router.command("show")
@click.argument("name")
@speaks_to_a_node
def show_router(target: Target, name: str) -> None:
    """What a router does, and how far it is."""
    with target.api() as api:
        say(api.ask(call.router(name)), target.as_json, partial(_facts, name))


@router.command("put")
@click.argument("name")
@click.option("--source", required=True, metavar="TOPIC", help="Where records are taken from.")
@click.option("--dest", required=True, metavar="TOPIC", help="Where copies go.")
@click.option("--tag", metavar="TAG", help="Only records with this tag; P* for all tags that begin so.")
@click.option("--backfill", is_flag=True, help="Copy what is there already too.")
@click.option("--allow-cycle", is_flag=True, help="Even when copies could come round; no record is copied twice.")
@click.option("--preserve-node/--own-node", default=True, help="Copies show who wrote the record.  [default: yes]")
@click.option("--preserve-tag/--drop-tag", default=True, help="Copies keep the tag.  [default: yes]")
@click.option("--create-dest/--no-create-dest", default=True, help="Make DEST when it is not there.  [default: yes]")
@click.option("--forward", type=click.Choice(["all", "origin"]), help="origin: only what was written on this node.")
@speaks_to_a_node
def put_router(target: Target, name: str, *, tag: str | None, **options: Any) -> None:
    """Create a router, or change one. What is not given goes back to its default."""
    config = {word: value for word, value in options.items() if value is not None}
    with target.api() as api:
        answer = api.ask(call.put_router(name, config | ({"filter": tag} if tag is not None else {})))
    say(answer, target.as_json, lambda told: f"{name}: {'created' if told['created'] else 'was there; changed'}")


@router.command("delete")
@click.argument("name")
@speaks_to_a_node
def delete_router(target: Target, name: str) -> None:
    """Stop a router for good. What it has copied stays."""
    with target.api() as api:
        answer = api.ask(call.delete_router(name))
    say(answer, target.as_json, lambda told: f"{name}: {'deleted' if told['deleted'] else 'was not there'}")


def _facts(name: str, told: dict[str, Any]) -> RenderableType:
    facts = [(word, fact(value)) for word, value in told.items() if word not in ("router", "performance")]
    return table(name, ["", ""], facts)


def _row(told: dict[str, Any]) -> tuple[Cell, ...]:
    behind = "-" if told.get("lag") is None else count(told["lag"])
    ends = (told["router"], told["source"], told["dest"], state(told.get("state", "-")))
    return (*ends, behind, count(told["forwarded_total"]))
