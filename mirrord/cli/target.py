"""Which node, or nodes, a command speaks to: by URL, or by name out of a configuration file."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct, structs

from ..errors import InvalidRequest
from .doors import Doors, Trust

if TYPE_CHECKING:
    from ..client.api import Api

DEFAULT_URL = "http://127.0.0.1:4001"


class Place(Struct, frozen=True):
    """A node by the name that people use for it, and where it answers."""

    name: str
    url: str


class Target(Struct, frozen=True):
    """The nodes that the options name, and how to speak to them."""

    doors: Doors
    places: tuple[Place, ...]
    key: str | None
    as_json: bool
    trust: Trust = Trust()

    def api(self) -> Api:
        """The one node meant. Raises UsageError when the options name several."""
        if len(self.places) > 1:
            names = ", ".join(place.name for place in self.places)
            raise click.UsageError(f"this command speaks to one node; name one of {names} with --node or --url")
        return self.open(self.places[0])

    def open(self, place: Place) -> Api:
        """A connection to one of the places."""
        return self.doors.api(place.url, self.key, self.trust.context())


def trusts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --ca, --cert and --cert-key."""
    for option, variable, meaning in (
        ("--cert-key", "MIRRORD_CERT_KEY", "The key of --cert, when that file does not hold it"),
        ("--cert", "MIRRORD_CERT", "The certificate to show to nodes that ask everybody for one"),
        ("--ca", "MIRRORD_CA", "Believe https nodes by this CA; default: that of --file, or the system's"),
    ):
        decorate = click.option(
            option, type=click.Path(), envvar=variable, metavar="PEM", help=f"{meaning} [{variable}]."
        )
        command = decorate(command)
    return command


def trust_of(file: str | None, given: Trust) -> Trust:
    """What was given, with the CA of a configuration file where none was. Raises ConfigError."""
    if file is None or given.ca is not None:
        return given
    from ..config.load import load

    cas = [node.tls.ca for node in load(file).nodes.values() if node.tls.ca]
    return structs.replace(given, ca=cas[0]) if cas else given


def place_at(url: str) -> Place:
    """The node at a URL, which is its name as well. Raises UsageError when it is none."""
    from ..client.api import checked_url

    try:
        return Place(url, checked_url(url))
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from None


def places_of(file: str) -> tuple[Place, ...]:
    """Every node of a configuration file. Raises ConfigError."""
    from ..config.load import load

    return tuple(Place(node.name, node.url) for node in load(file).nodes.values())


def place_named(name: str, places: tuple[Place, ...]) -> Place:
    """The place of this name. Raises UsageError naming those that there are."""
    for place in places:
        if place.name == name:
            return place
    raise click.UsageError(f"there is no node {name!r}; the file has {', '.join(place.name for place in places)}")


def speaks_to_a_node(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --url, --key, --json, --file and --node, and pass them as one Target."""

    @click.option("--url", "urls", multiple=True, metavar="URL", help=f"The node [MIRRORD_URL or {DEFAULT_URL}].")
    @click.option("--file", "file", type=click.Path(), metavar="TOML", help="Take the node's URL from this file.")
    @click.option("--node", "node", metavar="NAME", help="Which node of --file.")
    @click.option("--key", envvar="MIRRORD_KEY", metavar="KEY", help="The API key [MIRRORD_KEY].")
    @trusts
    @click.option("--json", "as_json", is_flag=True, help="Print what the node answers, unchanged.")
    @click.pass_context
    @functools.wraps(command)
    def with_target(
        ctx: click.Context,
        /,
        *args: Any,
        urls: tuple[str, ...],
        file: str | None,
        node: str | None,
        key: str | None,
        ca: str | None,
        cert: str | None,
        cert_key: str | None,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        trust = trust_of(file, Trust(ca, cert, cert_key))
        target = Target(ctx.obj, _places(urls, file, node), key, as_json, trust)
        return command(target, *args, **rest)

    return with_target


def _places(urls: tuple[str, ...], file: str | None, node: str | None) -> tuple[Place, ...]:
    if file is None:
        if node is not None:
            raise click.UsageError("--node names a node of a file; say which with --file")
        return tuple(map(place_at, urls or _default_urls()))
    if urls:
        raise click.UsageError("--url and --file both say where the node is; give one of them")
    places = places_of(file)
    return places if node is None else (place_named(node, places),)


def _default_urls() -> tuple[str, ...]:
    return (os.environ.get("MIRRORD_URL") or DEFAULT_URL,)
