"""``mirrord delete``: records by place, by tag, or both, for ever."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ....client import call
from ....client.call import DiffQuery
from ...figures import count, size
from ...screen import say
from ...target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from ....client.api import Api

_PAGE, _MOST_PAGES = 1000, 10  # what is counted before the question; beyond it is "more than"


@click.command()
@click.argument("topic")
@click.option("--before", "before_seq", type=click.IntRange(1), metavar="SEQ", help="Records with a smaller seq.")
@click.option("--tag", metavar="TAG", help="Records with this tag; P* for all tags that begin so.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@speaks_to_a_node
def delete(target: Target, topic: str, before_seq: int | None, tag: str | None, yes: bool) -> None:
    """Delete records of TOPIC on this node, for ever: those before a seq, those with a tag, or those that are both.

    To delete the topic itself: mirrord topics delete.
    """
    if before_seq is None and tag is None:
        raise click.UsageError("say which records: --before SEQ, --tag TAG, or both")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here; give --yes to delete without a question")
    with target.api() as api:
        if not yes:
            _confirm(f"delete {_how_many(api, topic, before_seq, tag)} of {topic} for ever?")
        answer = api.ask(call.delete_records(topic, before_seq=before_seq, match=tag))
    say(
        answer,
        target.as_json,
        lambda told: (
            f"{topic}: {_records(told['deleted'])} deleted; {_records(told['count'])}, {size(told['bytes'])} left"
        ),
    )


def _records(number: int) -> str:
    return f"{count(number)} record{'' if number == 1 else 's'}"


def _confirm(question: str) -> None:
    if not click.confirm(question, err=True):
        raise click.ClickException("nothing was deleted")


def _how_many(api: Api, topic: str, before_seq: int | None, tag: str | None) -> str:
    """As far as it can be told without reading everything."""
    if tag is None:
        state = api.ask(call.topic(topic)).object()
        most = min(state["count"], max(0, (before_seq or 0) - state["earliest_seq"]))
        return f"{'all' if most == state['count'] else 'up to'} {count(most)} records"
    found = from_seq = 0
    for _ in range(_MOST_PAGES):
        query = DiffQuery(from_seq=from_seq, limit=_PAGE, include_meta=False, match=tag)
        page = api.ask(call.diff(topic, query)).object()
        seqs = [record["$seq"] for record in page["records"]]
        found += sum(before_seq is None or seq < before_seq for seq in seqs)
        from_seq = page["next_from_seq"]
        if page["caught_up"] or (before_seq is not None and from_seq >= before_seq - 1):
            return f"{count(found)} records"
    return f"more than {count(found)} records"
