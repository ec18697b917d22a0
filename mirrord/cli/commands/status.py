"""``mirrord status``: nodes, topics, links, what died: all at a glance."""

from __future__ import annotations

import contextlib
from typing import Any

import click
import trio

from ...client.api import AsyncApi
from ..cluster.board import tables
from ..cluster.survey import LOOK_TIMEOUT_S, Survey, look
from ..main import FAILED, UNREACHABLE
from ..screen import show, table
from ..target import Target, speaks_to_a_node
from .topics import TOPIC_COLUMNS, topic_row

_TOPICS_SHOWN = 20


@click.command()
@speaks_to_a_node
@click.pass_context
def status(ctx: click.Context, target: Target) -> None:
    """All at a glance, of one node or of all nodes of a --file.

    Exit code 0 when all are ready, 1 when one is not, 3 when one does not answer.
    """
    survey = trio.run(_look, target)
    if target.as_json:
        click.echo(_as_json(survey))
    else:
        show(*tables(survey, None, {}), *_topic_tables(survey))
    states = {sight.state for sight in survey.nodes}
    if states != {"ready"}:
        ctx.exit(UNREACHABLE if "unreachable" in states else FAILED)


async def _look(target: Target) -> Survey:
    trust = target.trust.context()
    async with contextlib.AsyncExitStack() as stack:
        apis = {
            place.name: await stack.enter_async_context(
                AsyncApi(place.url, key=target.key, timeout_s=LOOK_TIMEOUT_S, trust=trust)
            )
            for place in target.places
        }
        return await look(target.places, apis, target.doors.clock.monotonic())


def _topic_tables(survey: Survey) -> list[Any]:
    """The first topics of each node, when there are few nodes to show."""
    found = []
    for sight in survey.nodes:
        topics = sight.object("topics").get("topics", [])
        if topics:
            more = f" (the first {_TOPICS_SHOWN})" if len(topics) > _TOPICS_SHOWN else ""
            found.append(
                table(f"{sight.node}: topics{more}", TOPIC_COLUMNS, [topic_row(t) for t in topics[:_TOPICS_SHOWN]])
            )
    return found


def _as_json(survey: Survey) -> str:
    """One object: node -> its state, and what it told, each answer unchanged."""
    import msgspec
    from msgspec import Raw

    told = {
        sight.name: {
            "url": sight.url,
            "state": sight.state,
            "why": sight.why,
            **{what: Raw(answer.raw) for what, answer in sight.told.items()},
        }
        for sight in survey.nodes
    }
    return msgspec.json.encode(told).decode()
