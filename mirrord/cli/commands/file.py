"""The verbs about a configuration file: ``init``, ``check``, ``graph``."""

from __future__ import annotations

import contextlib
import os
from ipaddress import ip_address

import click

from ...config import picture, topology
from ...config.load import load
from ...config.model import Config
from ...config.routers import router_warnings
from ...errors import ConfigError
from ..starter import NODES, starter_file
from .run import node_of

FILE_NAME = "mirrord.toml"


@click.command()
@click.argument("directory", type=click.Path(file_okay=False), default=".")
@click.option("--nodes", default=",".join(NODES), show_default=True, help="Names of the nodes, with commas.")
@click.option("--port", type=click.IntRange(1, 65_000), default=4001, show_default=True, help="Of the first node.")
def init(directory: str, nodes: str, port: int) -> None:
    """Write DIRECTORY/mirrord.toml: a mesh of nodes on this machine, to start from."""
    path = os.path.join(directory, FILE_NAME)
    names = [name.strip() for name in nodes.split(",") if name.strip()]
    text = starter_file(names, port)
    os.makedirs(directory, exist_ok=True)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already and stays as it is; name another directory") from None
    click.echo(f"wrote {path}: {', '.join(names)}")
    click.echo(f"next: mirrord up {path}")


@click.command()
@click.argument("file", type=click.Path())
@click.option("--node", metavar="NAME", help="Keys and certificates of this node only, not of all.")
def check(file: str, node: str | None) -> None:
    """Tell what is wrong with FILE (exit code 2), and what may surprise (a warning).

    Keys and certificates are read too, as a start would: where they lie on each node's own machine only, check there
    with --node.
    """
    config = load(file)
    for name in [node_of(config, node)] if node is not None else config.nodes:
        _access(config, name)
    for warning in (*topology.warnings(config), *router_warnings(config)):
        click.echo(f"{click.style('warning', fg='yellow')}: {warning}")
    pulls = len(topology.edges(config))
    click.echo(f"{file}: ok ({_plural(len(config.nodes), 'node')}, {_plural(pulls, 'pull')})")


@click.command()
@click.argument("file", type=click.Path())
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "svg"]), default="text", show_default=True)
def graph(file: str, form: str) -> None:
    """Draw the topology of FILE: who pulls what from whom."""
    draw = {"text": picture.as_text, "mermaid": picture.as_mermaid, "svg": picture.as_svg}[form]
    click.echo(draw(load(file)).rstrip("\n"))


def _access(config: Config, name: str) -> None:
    """What a start of the node would refuse. Raises ConfigError."""
    from ...web.auth.access import Access  # the node's own reading: only this verb needs it

    host = config.nodes[name].listen.rpartition(":")[0].strip("[]")
    try:
        access = Access(config, name)
        with contextlib.suppress(ValueError):  # a name is somebody else's to resolve
            access.listens_at([str(ip_address(host))])
    except ConfigError as error:
        raise ConfigError(f"{config.file}: {name} would not start: {error}") from None


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
