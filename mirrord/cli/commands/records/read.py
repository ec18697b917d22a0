"""``mirrord tail`` and ``mirrord diff``: records for people and for machines."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import UNSET, Raw

from ....client import call
from ....client.answer import Page
from ....client.call import LONGEST_WAIT_MS, DiffQuery
from ....errors import PeerUnreachable, Throttled, TopicNotFound, Unavailable
from ...doors import Doors
from ...figures import harmless, moment
from ...main import complain
from ...screen import say_json
from ...target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from ....client.api import Api

_PAGE = 1000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


@click.command()
@click.argument("topic")
@click.option(
    "-n", "last", type=click.IntRange(0), default=10, show_default=True, help="Begin with the last N records."
)
@click.option(
    "--from", "from_seq", type=click.IntRange(0), metavar="SEQ", help="Begin after SEQ; 0 is the very first."
)
@click.option("--follow/--no-follow", default=True, help="Wait for more, through restarts of the node.")
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def tail(target: Target, topic: str, last: int, from_seq: int | None, follow: bool, text: bool) -> None:
    """Show the last records of TOPIC, and those that come.

    With --json each record is one line of JSON; what retention or a crash took away is a line
    {"tombstone": ...}.
    """
    with target.api() as api:
        if from_seq is None:
            from_seq = max(0, api.ask(call.topic(topic)).object()["head_seq"] - last)
        reading = _Reading(api, topic, DiffQuery(from_seq, limit=_PAGE, include_tags=True))
        while True:
            page = reading.next(target.doors, follow)
            if page is not None:
                _show(page, target.as_json, text)
                if page.caught_up and not follow:
                    return


class _Reading:
    """A reader's place in a topic, kept while a node that is away is waited for."""

    def __init__(self, api: Api, topic: str, query: DiffQuery) -> None:
        self._api, self._topic, self._query = api, topic, query
        self._pause_s = _FIRST_PAUSE_S
        self._away = False

    def next(self, doors: Doors, follow: bool) -> Page | None:
        """The next page; while following, waits for it, and None means: not yet."""
        wanted = msgspec.structs.replace(self._query, wait_ms=LONGEST_WAIT_MS if follow else UNSET)
        try:
            page = self._api.ask(call.diff(self._topic, wanted)).page()
        except (PeerUnreachable, Unavailable, Throttled, TopicNotFound) as error:
            if not follow or (
                isinstance(error, TopicNotFound) and not self._away and self._query.log_id is UNSET
            ):
                raise
            self._wait(doors, str(error), error.retry_after_s)
            return None
        if self._away:
            complain(f"{self._topic} is there again")
        self._away, self._pause_s = False, _FIRST_PAUSE_S
        log_id = page.log_id if page.log_id is not None else UNSET
        self._query = msgspec.structs.replace(self._query, from_seq=page.next_from_seq, log_id=log_id)
        return page

    def _wait(self, doors: Doors, why: str, retry_after_s: float | None) -> None:
        if not self._away:
            complain(f"{why}; waiting for it")
        self._away = True
        doors.pause(max(self._pause_s, min(retry_after_s or 0.0, _LONGEST_PAUSE_S)))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


@click.command()
@click.argument("topic")
@click.option(
    "--from", "from_seq", type=click.IntRange(0), default=0, metavar="SEQ", help="After SEQ.  [default: 0]"
)
@click.option("--limit", type=click.IntRange(1), help="At most so many records.")
@click.option("--log-id", help="The log that SEQ is of; another one answers `recreated`.")
@click.option(
    "--drop-node", multiple=True, metavar="NAME", help="Leave out what NAME wrote; may be repeated."
)
@click.option("--tags/--no-tags", "include_tags", default=None, help="With $tag.")
@click.option("--meta/--no-meta", "include_meta", default=None, help="With meta.")
@click.option("--origin/--no-origin", "include_origin", default=None, help="With $origin.")
@click.option("--max-batch-bytes", type=click.IntRange(0), help="End the page at so many bytes.")
@click.option(
    "--wait-ms", type=click.IntRange(0, LONGEST_WAIT_MS), help="Wait so long if there is nothing yet."
)
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def diff(target: Target, topic: str, drop_node: tuple[str, ...], text: bool, **options: Any) -> None:
    """One page of TOPIC after a seq, and where the next page begins."""
    given = {word: value for word, value in options.items() if value is not None}
    with target.api() as api:
        answer = api.ask(call.diff(topic, DiffQuery(**given, node=drop_node or UNSET)))
    if target.as_json:
        say_json(answer)
        return
    page = answer.page()
    _show(page, False, text)
    more = "caught up" if page.caught_up else f"{page.lag:,} more"
    click.echo(click.style(f"next: --from {page.next_from_seq} ({more})", dim=True), err=True)


def _show(page: Page, as_json: bool, text: bool) -> None:
    if page.tombstone is not None:
        click.echo(json.dumps({"tombstone": page.tombstone}) if as_json else _gap_line(page.tombstone))
    for record in page.records:
        click.echo(bytes(record).decode() if as_json else _record_line(record, text))
    sys.stdout.flush()


def _record_line(raw: Raw, text: bool) -> str:
    record = msgspec.json.decode(raw)
    parts = [
        click.style(f"{record['$seq']:>8}", fg="cyan"),
        click.style(moment(record["$ts"]), dim=True),
        click.style(harmless(str(record.get("$node", ""))), fg="green"),
    ]
    if record.get("$tag"):
        parts.append(click.style(harmless(record["$tag"]), fg="yellow"))
    data = record["data"]
    shown = (
        data
        if text and isinstance(data, str)
        else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    )
    return "  ".join([*parts, harmless(shown)])


def _gap_line(tombstone: dict[str, Any]) -> str:
    reason, first, last = tombstone.get("reason"), tombstone.get("gap_from"), tombstone.get("gap_to")
    if reason == "recreated":
        return click.style(
            "-- the topic was recreated; reading on from its beginning",
            fg="magenta",
        )
    missed = tombstone.get("missed_estimate")
    what = f"{missed:,} records" if isinstance(missed, int) else "records"
    return click.style(f"-- {what} are gone: {reason} (seq {first}..{last})", fg="red")
