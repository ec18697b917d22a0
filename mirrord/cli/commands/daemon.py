"""The verbs that speak to no node: ``run`` (as help and completion see it), ``bench``, ``version``."""

from __future__ import annotations

import importlib

import click

from ... import __version__


@click.command()
@click.argument("file", type=click.Path())
@click.option("--node", metavar="NAME", help="Which node to be; may be left out when the file has one.")
@click.pass_context
def run(ctx: click.Context, file: str, node: str | None) -> None:
    """Run one node in the foreground until SIGTERM or Ctrl-C.

    `mirrord run` does not come this way (see cli/main.py); `--help` and shell completion do.
    """
    from .run import run_file

    ctx.exit(run_file(file, node))


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def bench(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Measure real daemons on this machine; `mirrord bench --help` shows what can be measured."""
    main = importlib.import_module("mirrord.cli.bench").main
    ctx.exit(main(list(args)) or 0)


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"mirrord {__version__}")
