"""The verbs about a configuration file: ``init``, ``check``, ``graph``."""

from __future__ import annotations

import os

import click

from ...config import picture, topology
from ...config.load import load
from ...config.routers import router_warnings
from ...errors import ConfigError
from ..starter import NODES, starter_file

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
def check(file: str) -> None:
    """Tell what is wrong with FILE (exit code 2), and what may surprise (a warning)."""
    config = load(file)
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


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
