"""``mirrord topics``: list topics, show one, create, set and delete one."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...client import call
from ...config.lines import nearest
from ...config.option import duration_ms, size_bytes
from ...config.topic import OPTIONS
from ...errors import ConfigError
from ..figures import count, fact, moment, size
from ..screen import say, say_list, table
from ..target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from rich.console import RenderableType


TOPIC_COLUMNS = ("topic", "#records", "#bytes", "#first seq", "#last seq", "durable")


class ListOrShow(click.Group):
    """A group whose unknown words are names: ``topics orders`` is ``topics show orders``, ``topics`` lists them."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            args = ["show", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ListOrShow)
def topics() -> None:
    """List the topics of a node (`mirrord topics`), or show one (`mirrord topics NAME`)."""


@topics.command("list")
@click.option("--prefix", default="", help="Only topics that begin so.")
@speaks_to_a_node
def list_topics(target: Target, prefix: str) -> None:
    """All topics by name. With --json one line per page of the API."""
    with target.api() as api:
        say_list(api.pages(call.topics(prefix)), target.as_json, "topics", TOPIC_COLUMNS, topic_row)


@topics.command("show")
@click.argument("name")
@speaks_to_a_node
def show_topic(target: Target, name: str) -> None:
    """The state and the configuration of one topic."""
    with target.api() as api:
        say(api.ask(call.topic(name)), target.as_json, partial(_facts, name))


@topics.command("create")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--ttl", help="Records older than this go: 90s, 12h, 7d.")
@click.option("--cap-records", type=click.IntRange(0), help="The oldest go beyond so many records.")
@click.option("--cap-bytes", help="The oldest go beyond so many bytes: 500MB, 2GiB.")
@click.option("--durability", type=click.Choice(["ephemeral", "memory", "disk", "fsync"]))
@click.option("--idempotency-window", help="For how long a key is remembered: 2m.")
@speaks_to_a_node
def create_topic(target: Target, name: str, settings: tuple[str, ...], **options: Any) -> None:
    """Create a topic, or configure it anew. What is not given goes back to its default.

    Keys are those of the configuration file: type=queue max_deliveries=3 discard=reject.
    """
    fields = _config(options) | dict(_setting(written) for written in settings)
    with target.api() as api:
        answer = api.ask(call.put_topic(name, fields))
    say(answer, target.as_json, lambda told: f"{name}: {'created' if told['created'] else 'was there; configured'}")


@topics.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@speaks_to_a_node
def set_topic(target: Target, name: str, settings: tuple[str, ...]) -> None:
    """Change single keys of a topic's configuration. Such as ttl_ms=7d cap_bytes=500MB discard=reject.

    What is not named stays as it is. Durations and sizes are written as in the configuration file; null takes a
    key back where it may be absent.
    """
    fields = dict(_setting(written) for written in settings)
    with target.api() as api:
        answer = api.ask(call.patch_topic(name, fields))
    say(
        answer,
        target.as_json,
        lambda told: f"{name}: " + ", ".join(f"{key} = {json.dumps(told['config'][key])}" for key in fields),
    )


@topics.command("delete")
@click.argument("name")
@click.option("--forget", is_flag=True, help="Forget its positions too: what peers hold comes again.")
@click.option("--if-empty", is_flag=True, help="Only when it holds no record.")
@speaks_to_a_node
def delete_topic(target: Target, name: str, forget: bool, if_empty: bool) -> None:
    """Delete a topic on this node. Peers keep theirs; only records newer than the delete come again."""
    with target.api() as api:
        answer = api.ask(call.delete_topic(name, if_empty=if_empty, forget=forget))
    say(answer, target.as_json, lambda told: f"{name}: {'deleted' if told['deleted'] else 'was not there'}")


def topic_row(topic: dict[str, Any]) -> tuple[str, ...]:
    """A topic of a list, under TOPIC_COLUMNS."""
    durable = "yes" if topic.get("durable") else ""
    seqs = (str(topic["earliest_seq"]), str(topic["head_seq"]))
    return (topic["topic"], count(topic["count"]), size(topic["bytes"]), *seqs, durable)


def _facts(name: str, state: dict[str, Any]) -> RenderableType:
    facts = [(word, _fact(word, state[word])) for word in state if word not in ("config", "performance", "topic")]
    config = {word: value for word, value in state.get("config", {}).items() if word != "type"}
    facts += [(word, fact(value)) for word, value in config.items() if value not in (None, 0)]
    return table(name, ["", ""], facts)


def _fact(word: str, value: Any) -> str:
    if word.endswith("_ts") and value is not None:
        return moment(value)
    if isinstance(value, dict):
        return ", ".join(f"{part}: {fact(told)}" for part, told in value.items())
    return size(value) if word == "bytes" else fact(value)


def _config(options: dict[str, Any]) -> dict[str, Any]:
    """Command-line options as fields of PUT; durations and sizes as people write them."""
    config = {word: options[word] for word in ("cap_records", "durability") if options[word] is not None}
    for option, field, read in _AS_WRITTEN:
        if options[option] is not None:
            config[field] = _read(f"--{option.replace('_', '-')}", options[option], read)
    return config


def _setting(written: str) -> tuple[str, Any]:
    key, is_given, value = written.partition("=")
    option = OPTIONS.get(key)
    if not is_given or option is None:
        meant = nearest(key, OPTIONS) or f": {', '.join(OPTIONS)}"
        raise click.UsageError(f"{written!r}: write KEY=VALUE with a key of topics{meant}")
    if value == "null":
        return key, None
    match option.kind:
        case "flag" if value in ("true", "false"):
            return key, value == "true"
        case "duration":
            return key, _read(key, value, duration_ms)
        case "size":
            return key, _read(key, value, size_bytes)
        case "count" | "integer" if value.removeprefix("-").isdecimal():
            return key, int(value)
    return key, value  # the node says what is wrong with it


def _read(option: str, written: str, read: Callable[[object], int]) -> int:
    try:
        return read(int(written) if written.isdecimal() else written)
    except ConfigError as error:
        raise click.UsageError(f"{option}: {error}") from None


_AS_WRITTEN: tuple[tuple[str, str, Callable[[object], int]], ...] = (
    ("ttl", "ttl_ms", duration_ms),
    ("cap_bytes", "cap_bytes", size_bytes),
    ("idempotency_window", "idempotency_window_ms", duration_ms),
)
