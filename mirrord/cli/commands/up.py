"""``mirrord up``: all nodes of a file on this machine, with one live table."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from collections.abc import Callable, Iterator

import click
import trio

from ...client.api import AsyncApi
from ...clock import Clock, SystemClock, system_random
from ...config import topology
from ...config.load import load
from ...config.model import Config
from ..cluster.board import Run, changes, tables
from ..cluster.harness import GRACE_S, LOG_NAME, Harness, Settings, make_room, stop_on_signal
from ..cluster.survey import LOOK_TIMEOUT_S, Survey, look
from ..doors import Trust
from ..main import FAILED
from ..target import Place, trust_of

LOOK_EVERY_S = 0.5
Show = Callable[[Survey, Survey | None], None]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--no-restart", is_flag=True, help="Leave a node that died dead.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0),
    default=GRACE_S,
    show_default=True,
    help="Seconds to end by itself.",
)
@click.pass_context
def up(ctx: click.Context, file: str, no_restart: bool, grace_s: float) -> None:
    """Run every node of FILE as its own process on this machine, with one live table of nodes, links and lag.

    Ctrl-C stops them all and leaves nothing behind; a second Ctrl-C does not wait. A node's output goes to
    mirrord.log in its data_dir. Nodes with keys are looked at with MIRRORD_KEY.
    """
    config = load(file)
    for warning in topology.warnings(config):
        click.echo(f"warning: {warning}", err=True)
    trust = trust_of(config.file, Trust()).context()
    make_room(config)
    harness = Harness(config, file, Settings(not no_restart, grace_s), SystemClock(), system_random())
    if trio.run(_up, config, harness, trust):
        click.echo(f"mirrord: nodes died; their last words are in {LOG_NAME} of their data_dir", err=True)
        ctx.exit(FAILED)


async def _up(config: Config, harness: Harness, trust: ssl.SSLContext | None) -> int:
    """How many nodes died for good."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signal, harness.stop)
        nursery.start_soon(_watch, config, harness, trust)
        died = await harness.run()
        nursery.cancel_scope.cancel()
    return died


async def _watch(config: Config, harness: Harness, trust: ssl.SSLContext | None) -> None:
    """Look at all nodes again and again, and show what is seen."""
    places = [Place(node.name, node.url) for node in config.nodes.values()]
    key = os.environ.get("MIRRORD_KEY")
    apis = {p.name: AsyncApi(p.url, key=key, timeout_s=LOOK_TIMEOUT_S, trust=trust) for p in places}
    with _shown(harness) as show:
        await watch(places, apis, SystemClock(), show)


async def watch(places: list[Place], apis: dict[str, AsyncApi], clock: Clock, show: Show) -> None:
    """Hand each survey, and the one before, to ``show``; runs until cancelled."""
    before: Survey | None = None
    async with contextlib.AsyncExitStack() as stack:
        for api in apis.values():
            await stack.enter_async_context(api)
        while True:
            survey = await look(places, apis, clock.monotonic())
            show(survey, before)
            before = survey
            await trio.sleep(LOOK_EVERY_S)


def _shown(harness: Harness) -> contextlib.AbstractContextManager[Show]:
    return _live(harness) if sys.stdout.isatty() else contextlib.nullcontext(_Lines(harness))


@contextlib.contextmanager
def _live(harness: Harness) -> Iterator[Show]:
    """Tables that are drawn anew in place."""
    from rich.console import Group
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        yield lambda survey, before: live.update(Group(*tables(survey, before, harness.runs)), refresh=True)


class _Lines:
    """One line per change, for logs and pipes."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._runs: dict[str, Run] = {}

    def __call__(self, survey: Survey, before: Survey | None) -> None:
        runs = dict(self._harness.runs)
        for line in changes(survey, before, runs, self._runs):
            click.echo(line)
        sys.stdout.flush()
        self._runs = runs
