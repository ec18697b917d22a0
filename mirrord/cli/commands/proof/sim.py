"""``mirrord sim``: run seeded simulations of whole clusters, and show how the checker notices a missing safeguard."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

FAILED = 1
MOST_SHOWN = 3  # failures that are shrunk and shown in full


@click.command()
@click.option("--seeds", metavar="A..B", default="1..100", show_default=True, help="Which runs.")
@click.option("--seed", type=int, help="One run only.")
@click.option("--menu", metavar="NAME", help="Which faults; without it each seed draws its own.")
@click.option("--without", "missing", metavar="NAME", help="Take a safeguard out, and stop when that is noticed.")
@click.option("--trace", is_flag=True, help="Print everything that happens (with --seed).")
@click.pass_context
def sim(ctx: click.Context, seeds: str, seed: int | None, menu: str | None, missing: str | None, trace: bool) -> None:
    """Whole nodes in one process, on virtual time, with seeded faults, judged at the end. A seed repeats a run exactly.

    With --without the exit code tells whether the missing safeguard was noticed.
    """
    # The simulator is on this floor's other side: it is joined here at run time, and only for this verb.
    simulator: Any = importlib.import_module("mirrord.testing.simulator")
    first, last = (seed, seed) if seed is not None else _range(seeds)
    try:
        asked = simulator.Asked(first, last, menu, missing, trace)
    except simulator.NotThere as error:
        raise click.BadParameter(str(error)) from error
    broken = 0
    for told in simulator.runs(asked):
        broken += bool(told.failed)
        if trace or (told.failed and broken <= MOST_SHOWN):
            click.echo(told.story)
        if missing and broken:
            break
        _progress(told.number, last, broken)
    count = told.number - first + 1
    click.echo(f"{count} runs, {broken} of them broke a promise")
    ctx.exit(0 if bool(broken) is bool(missing) else FAILED)


def _range(seeds: str) -> tuple[int, int]:
    first, dots, last = seeds.partition("..")
    if not (first.isdecimal() and (last.isdecimal() or not dots)) or int(last or first) < int(first):
        raise click.BadParameter(f"expected A..B, found {seeds!r}", param_hint="--seeds")
    return int(first), int(last or first)


def _progress(number: int, last: int, broken: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{number} of {last}, {broken} broken ", end="" if number < last else "\n", file=sys.stderr, flush=True)
