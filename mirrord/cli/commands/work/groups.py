"""``mirrord groups``: reader groups of a topic: how they stand, reading, committing, moving, dropping."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Raw, Struct

from ....client.call import LONGEST_WAIT_MS
from ....client.groups import call
from ....errors import PeerUnreachable, Throttled, Unavailable
from ...cells import Cell
from ...figures import count, duration, moment
from ...intake.written import Duration, Place
from ...lines import gap_line, record_line
from ...patience import Patience
from ...screen import say, say_list, table
from ...target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ["group", "#cursor", "#committed to", "#pending", "#lag"]
_consumer = click.option("--consumer", "-c", required=True, metavar="NAME", help="Who reads: holds what it was given.")


class _Handed(Struct):
    records: list[Raw]
    pending: int = 0
    tombstone: dict[str, Any] | None = None
    gone: list[int] = []
    next_cursor: int = 0
    caught_up: bool = False


@click.group()
def groups() -> None:
    """Reader groups: several readers who share the records of a topic, each record until it is committed."""


@groups.command("list")
@click.argument("topic")
@speaks_to_a_node
def list_groups(target: Target, topic: str) -> None:
    """The groups of TOPIC. With --json one line per page of the API."""
    with target.api() as api:
        say_list(api.pages(call.groups(topic)), target.as_json, "groups", _COLUMNS, _row)


@groups.command("show")
@click.argument("topic")
@click.argument("group")
@speaks_to_a_node
def show_group(target: Target, topic: str, group: str) -> None:
    """How GROUP of TOPIC stands, and who holds what."""
    with target.api() as api:
        say(api.ask(call.group(topic, group)), target.as_json, partial(_standing, topic))


@groups.command("read")
@click.argument("topic")
@click.argument("group")
@_consumer
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many at once.")
@click.option("--start", type=Place(), help="Where a group that this read makes begins.  [default: earliest]")
@click.option("--min-idle", type=Duration(), help="First take over what nobody committed for so long: 60s, 5m.")
@click.option("--commit", "commits", is_flag=True, help="Commit what was shown.")
@click.option("--follow", is_flag=True, help="Wait for more, through restarts of the node.")
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def read_group(
    target: Target, topic: str, group: str, consumer: str, *, limit: int, start: str | int | None,
    min_idle: int | None, commits: bool, follow: bool, text: bool,
) -> None:  # fmt: skip
    """Show the next records that GROUP has given to nobody. They stay CONSUMER's until committed.

    With --json each record is one line of JSON.
    """
    asked = call.read(
        topic, group, consumer, limit=limit, wait_ms=LONGEST_WAIT_MS if follow else 0, start=start,
        min_idle_ms=min_idle, include_tags=True,
    )  # fmt: skip
    patience = Patience(target.doors, topic)
    with target.api() as api:
        while True:
            try:
                handed = api.ask(asked).read_as(_Handed)
                patience.answered()
                _show(handed, target.as_json, text)
                if commits and handed.records:
                    api.ask(call.commit(topic, group, consumer, seqs=_seqs(handed.records)))
            except (PeerUnreachable, Unavailable, Throttled) as error:
                if not follow:
                    raise
                patience.wait(str(error), error.retry_after_s)
                continue
            if not follow:
                return


@groups.command("commit")
@click.argument("topic")
@click.argument("group")
@click.argument("seqs", nargs=-1, type=click.IntRange(1))
@_consumer
@click.option("--up-to", type=click.IntRange(1), metavar="SEQ", help="All that the consumer holds up to SEQ.")
@speaks_to_a_node
def commit_group(
    target: Target, topic: str, group: str, seqs: tuple[int, ...], consumer: str, up_to: int | None
) -> None:
    """These records are done with. Those that CONSUMER does not hold any more are told as skipped."""
    if bool(seqs) == (up_to is not None):
        raise click.UsageError("name the records by their SEQS, or by --up-to SEQ")
    with target.api() as api:
        answer = api.ask(call.commit(topic, group, consumer, seqs=seqs or None, up_to=up_to))
    say(answer, target.as_json, partial(_committed, consumer))


@groups.command("reclaim")
@click.argument("topic")
@click.argument("group")
@_consumer
@click.option("--min-idle", type=Duration(), default="60s", show_default=True, help="Not committed for so long.")
@click.option("--of", metavar="CONSUMER", help="Only what this consumer holds.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many at once.")
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def reclaim_group(
    target: Target, topic: str, group: str, consumer: str, *, min_idle: int, of: str | None, limit: int, text: bool
) -> None:
    """Take over all records that others were given and did not commit."""
    after = 0
    with target.api() as api:
        while True:
            asked = call.reclaim(
                topic, group, consumer, min_idle_ms=min_idle, of=of, limit=limit, cursor=after, include_tags=True
            )
            handed = api.ask(asked).read_as(_Handed)
            _show(handed, target.as_json, text)
            after = handed.next_cursor
            if not after:
                return


@groups.command("seek")
@click.argument("topic")
@click.argument("group")
@click.argument("to", type=Place())
@speaks_to_a_node
def seek_group(target: Target, topic: str, group: str, to: str | int) -> None:
    """Let GROUP go on from TO: earliest, latest, or after a seq. Nobody holds anything then; makes the group."""
    with target.api() as api:
        answer = api.ask(call.seek(topic, group, to=to))
    say(answer, target.as_json, partial(_moved, group))


@groups.command("delete")
@click.argument("topic")
@click.argument("group")
@speaks_to_a_node
def delete_group(target: Target, topic: str, group: str) -> None:
    """Forget GROUP: its cursor and what is pending. The records stay."""
    with target.api() as api:
        answer = api.ask(call.delete_group(topic, group))
    say(answer, target.as_json, lambda told: f"{group} of {topic}: {'deleted' if told['deleted'] else 'was not there'}")


def _standing(topic: str, told: dict[str, Any]) -> RenderableType:
    from rich.console import Group

    rows = [
        (one["consumer"], count(one["pending"]), str(one["first_seq"]), duration(one["idle_ms"] / 1000))
        for one in told["consumers"]
    ]
    whole = table(f"{told['group']} of {topic}, since {moment(told['created_ms'])}", _COLUMNS, [_row(told)])
    return Group(whole, table(None, ["consumer", "#pending", "#from seq", "#idle"], rows)) if rows else whole


def _committed(consumer: str, told: dict[str, Any]) -> str:
    skipped = f"; not {consumer}'s: {', '.join(map(str, told['skipped']))}" if told["skipped"] else ""
    return f"{count(told['committed'])} committed, {count(told['pending'])} pending{skipped}"


def _moved(group: str, told: dict[str, Any]) -> str:
    dropped = f"; pending no longer: {count(told['dropped'])}" if told["dropped"] else ""
    return f"{group} {'begins' if told['created'] else 'goes on'} after seq {told['cursor']}{dropped}"


def _row(group: dict[str, Any]) -> tuple[Cell, ...]:
    seqs = (str(group["cursor"]), str(group["committed_to"]))
    lag: Cell = (count(group["lag"]), "yellow" if group["lag"] else "green")
    return (group["group"], *seqs, count(group["pending"]), lag)


def _show(handed: _Handed, as_json: bool, text: bool) -> None:
    if handed.tombstone is not None:
        click.echo(msgspec.json.encode({"tombstone": handed.tombstone}) if as_json else gap_line(handed.tombstone))
    if handed.gone:
        seqs = ", ".join(map(str, handed.gone))
        click.echo(
            msgspec.json.encode({"gone": handed.gone})
            if as_json
            else click.style(f"-- {len(handed.gone)} records were pending and are gone: seq {seqs}", fg="red")
        )
    for record in handed.records:
        click.echo(bytes(record) if as_json else record_line(record, text))


def _seqs(records: list[Raw]) -> list[int]:
    return [msgspec.json.decode(record)["$seq"] for record in records]
