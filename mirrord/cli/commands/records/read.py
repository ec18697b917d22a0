"""``mirrord tail`` and ``mirrord diff``: records for people and for machines."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import UNSET

from ....client import call
from ....client.answer import Page
from ....client.call import LONGEST_WAIT_MS, DiffQuery
from ....errors import PeerUnreachable, Throttled, TopicNotFound, Unavailable
from ...lines import gap_line, record_line
from ...patience import Patience
from ...screen import say_json
from ...target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from ....client.api import Api

_PAGE = 1000


@click.command()
@click.argument("topic")
@click.option(
    "-n", "last", type=click.IntRange(0), default=10, show_default=True, help="Begin with the last N records."
)
@click.option("--from", "from_seq", type=click.IntRange(0), metavar="SEQ", help="Begin after SEQ; 0 is the very first.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, through restarts of the node.")
@click.option("--match", metavar="TAG", help="Only records with this tag; P* for all tags that begin so.")
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def tail(
    target: Target, topic: str, last: int, from_seq: int | None, follow: bool, match: str | None, text: bool
) -> None:
    """Show the last records of TOPIC, and those that come.

    With --json each record is one line of JSON; what retention or a crash took away is a line
    {"tombstone": ...}.
    """
    with target.api() as api:
        if from_seq is None:
            from_seq = max(0, api.ask(call.topic(topic)).object()["head_seq"] - last)
        query = DiffQuery(from_seq, limit=_PAGE, include_tags=True, match=match if match is not None else UNSET)
        reading = _Reading(api, topic, query, Patience(target.doors, topic))
        while True:
            page = reading.next(follow)
            if page is not None:
                _show(page, target.as_json, text)
                if page.caught_up and not follow:
                    return


class _Reading:
    """A reader's place in a topic, kept while a node that is away is waited for."""

    def __init__(self, api: Api, topic: str, query: DiffQuery, patience: Patience) -> None:
        self._api, self._topic, self._query, self._patience = api, topic, query, patience

    def next(self, follow: bool) -> Page | None:
        """The next page; while following, waits for it, and None means: not yet."""
        wanted = msgspec.structs.replace(self._query, wait_ms=LONGEST_WAIT_MS if follow else UNSET)
        try:
            page = self._api.ask(call.diff(self._topic, wanted)).page()
        except (PeerUnreachable, Unavailable, Throttled, TopicNotFound) as error:
            never_there = not self._patience.away and self._query.log_id is UNSET
            if not follow or (isinstance(error, TopicNotFound) and never_there):
                raise
            self._patience.wait(str(error), error.retry_after_s)
            return None
        self._patience.answered()
        log_id = page.log_id if page.log_id is not None else UNSET
        self._query = msgspec.structs.replace(self._query, from_seq=page.next_from_seq, log_id=log_id)
        return page


@click.command()
@click.argument("topic")
@click.option("--from", "from_seq", type=click.IntRange(0), default=0, metavar="SEQ", help="After SEQ.  [default: 0]")
@click.option("--limit", type=click.IntRange(1), help="At most so many records.")
@click.option("--match", metavar="TAG", help="Only records with this tag; P* for all tags that begin so.")
@click.option("--log-id", help="The log that SEQ is of; another one answers `recreated`.")
@click.option("--drop-node", multiple=True, metavar="NAME", help="Leave out what NAME wrote; may be repeated.")
@click.option("--tags/--no-tags", "include_tags", default=None, help="With $tag.")
@click.option("--meta/--no-meta", "include_meta", default=None, help="With meta.")
@click.option("--origin/--no-origin", "include_origin", default=None, help="With $origin.")
@click.option("--max-batch-bytes", type=click.IntRange(0), help="End the page at so many bytes.")
@click.option("--wait-ms", type=click.IntRange(0, LONGEST_WAIT_MS), help="Wait so long if there is nothing yet.")
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def diff(target: Target, topic: str, drop_node: tuple[str, ...], text: bool, **options: Any) -> None:
    """One page of TOPIC after a seq, and where the next page begins."""
    if topic.endswith("*") and not target.as_json:
        raise click.UsageError(f"{topic} is many topics: `mirrord watch` shows them, --json a page of them")
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
        click.echo(json.dumps({"tombstone": page.tombstone}) if as_json else gap_line(page.tombstone))
    for record in page.records:
        click.echo(bytes(record).decode() if as_json else record_line(record, text))
    sys.stdout.flush()
