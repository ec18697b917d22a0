"""The table of verbs, and the click group that imports a verb's module only when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click
from msgspec import Struct

from .. import __version__
from ..config.lines import nearest
from .doors import Doors
from .main import EXIT_CODES, OK, USAGE, complain


class Verb(Struct, frozen=True):
    """Where a verb is defined, and its line in the help."""

    module: str
    line: str


VERBS = {
    "run": Verb("daemon", "run one node in the foreground"),
    "up": Verb("up", "run all nodes of a file here, with a live table"),
    "init": Verb("file", "write a first configuration file"),
    "check": Verb("file", "tell what is wrong with a configuration file"),
    "graph": Verb("file", "draw the topology"),
    "status": Verb("status", "all at a glance"),
    "topics": Verb("topics", "list, show, create, set, delete topics"),
    "append": Verb("records.append", "write records"),
    "tail": Verb("records.read", "show the last records and follow"),
    "diff": Verb("records.read", "one page of records after a cursor"),
    "watch": Verb("records.watch", "the records of many topics as they come"),
    "delete": Verb("records.delete", "delete records by place or tag"),
    "groups": Verb("work.groups", "reader groups: list, show, read, commit, reclaim, seek, delete"),
    "queue": Verb("work.queue", "queues: show, claim, ack, nack, extend, work"),
    "router": Verb("router", "routers: list, show, put, delete"),
    "links": Verb("links", "what a node pulls, and how that goes"),
    "lag": Verb("links", "who lacks how much of whose records"),
    "actors": Verb("links", "the parts of a node and their health"),
    "verify": Verb("proof.verify", "prove that two nodes hold the same"),
    "bench": Verb("daemon", "measure"),
    "sim": Verb("proof.sim", "whole clusters in one process, with seeded faults"),
    "version": Verb("daemon", "the version"),
}

LATER = frozenset(
    {
        "plan", "explain", "repair", "promote", "job",
        "schedule", "lock", "limit", "presence", "worker", "top", "backup", "restore",
        "check-store", "export", "import", "doctor",
    }
)  # fmt: skip

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class Verbs(click.Group):
    """A group whose commands lie in ``mirrord.cli.commands`` under the names that VERBS tells."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module = importlib.import_module(f"mirrord.cli.commands.{verb.module}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in LATER:
            raise click.ClickException(f"`{args[0]}` is not yet in this version; `mirrord --help` shows what is")
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            raise click.UsageError(f"there is no command {args[0]!r}{nearest(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.line) for name, verb in VERBS.items()])


@click.command(
    cls=Verbs,
    name="mirrord",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(__version__, message="mirrord %(version)s")
@click.pass_context
def mirrord(ctx: click.Context) -> None:
    """Topics that can be written everywhere and end up the same everywhere: one daemon per node.

    Most commands speak to a node: --url (or MIRRORD_URL), or --file with --node. With --json they print what
    the node answers.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def speak(args: Sequence[str], doors: Doors) -> int:
    """Run the command that the arguments name; its exit code."""
    if "_MIRRORD_COMPLETE" in os.environ:  # click answers the shell, and leaves
        mirrord.main(list(args), prog_name="mirrord")
    try:
        with mirrord.make_context("mirrord", list(args), obj=doors) as context:
            mirrord.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return USAGE
    except click.ClickException as error:
        complain(error.format_message())
        if isinstance(error, click.UsageError) and error.ctx is not None:
            print(f"see: {error.ctx.command_path} --help", file=sys.stderr)
        return USAGE
    return OK
