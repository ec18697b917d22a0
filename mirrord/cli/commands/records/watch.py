"""``mirrord watch``: the records of many topics as they come, in one stream that is resumed where it broke."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Raw, Struct, field

from ....client.call import Call
from ....client.queues.events import Event, EventReader
from ....errors import PeerUnreachable, Throttled, TopicNotFound, Unavailable
from ...figures import harmless
from ...lines import gap_line, record_line
from ...patience import Patience
from ...target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from ....client.api import Api

_HEARTBEAT_MS, _SILENCE_S = 15_000, 40.0


class _Frame(Struct):
    """The data of a record event."""

    topic: str = ""
    records: list[Raw] = field(default_factory=list)


@click.command()
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...")
@click.option("--from", "from_seq", type=click.IntRange(0), metavar="SEQ", help="After SEQ; 0 is the very first.")
@click.option("--match", metavar="TAG", help="Only records with this tag; P* for all tags that begin so.")
@click.option("--drop-node", multiple=True, metavar="NAME", help="Leave out what NAME wrote; may be repeated.")
@click.option("--text", is_flag=True, help="Show payloads that are strings without quotes.")
@speaks_to_a_node
def watch(
    target: Target, topics: tuple[str, ...], from_seq: int | None, match: str | None, drop_node: tuple[str, ...],
    text: bool,
) -> None:  # fmt: skip
    """Show the records of every TOPIC as they come; "chat:*" is all topics that begin so, also later ones.

    Begins at the end of each topic unless --from says where, and goes on through restarts of the node. With --json
    each event is one line of JSON.
    """
    view = {"include_tags": True, "heartbeat_ms": _HEARTBEAT_MS, "match": match, "node": list(drop_node) or None}
    with target.api() as api:
        watching = _Watching(api, topics, from_seq, {word: value for word, value in view.items() if value is not None})
        patience = Patience(target.doors, target.places[0].name)
        while True:
            try:
                for event in watching.events():
                    patience.answered()
                    _show(event, target.as_json, text, many=len(topics) > 1 or topics[0].endswith("*"))
                if watching.over:
                    return
                patience.wait("the stream ended")
            except TopicNotFound:
                if not patience.away:
                    raise
                patience.wait("the topic is not there")
            except (PeerUnreachable, Unavailable, Throttled) as error:
                patience.wait(str(error), error.retry_after_s)


class _Watching:
    """Where the reader stands in every topic. Each stream is of a session of its own, begun at these places: so nothing
    is lost that a stream had sent when it broke, and nothing comes twice."""

    def __init__(self, api: Api, topics: tuple[str, ...], from_seq: int | None, view: Mapping[str, Any]) -> None:
        start: dict[str, Any] = {"tail": True} if from_seq is None else {"from_seq": from_seq}
        self._api, self._view = api, view
        self._places: dict[str, dict[str, Any]] = {topic: start for topic in topics if topic.endswith("*")}
        self._places |= {topic: start for topic in topics if not topic.endswith("*")}
        self._log_ids: dict[str, str] = {}
        self.over = False  # all topics were deleted

    def events(self) -> Iterator[Event]:
        """What comes until the stream breaks. Raises what the node refuses with, or PeerUnreachable."""
        body = msgspec.json.encode({"topics": self._wanted(), **self._view})
        session = self._api.ask(Call("POST", "/v0/watch", body=body)).object()
        for topic, told in session["topics"].items():
            self._log_ids[topic], self._places[topic] = told["log_id"], {"from_seq": told["from_seq"]}
        for topic in [topic for topic in self._places if topic.endswith("*")]:
            self._places[topic] = {"from_seq": 0}  # what is made while the node is away is read from its beginning
        reader = EventReader()
        with self._api.stream(Call("GET", session["stream_url"]), _SILENCE_S) as pieces:
            for piece in pieces:
                for event in reader.feed(piece):
                    self._keep(event)
                    yield event

    def _wanted(self) -> dict[str, dict[str, Any]]:
        """Prefixes first: a topic that is named has the last word of where it begins."""
        ids = self._log_ids
        return {
            topic: place | ({"log_id": ids[topic]} if topic in ids and place.get("from_seq") else {})
            for topic, place in self._places.items()
        }

    def _keep(self, event: Event) -> None:
        told = msgspec.json.decode(event.data)
        topic = told.get("topic")
        if event.name in ("record", "tombstone", "caught-up"):
            seq = told.get("to_seq", told.get("gap_to", told.get("head_seq", 0)))
            if told.get("reason") == "recreated":
                self._log_ids.pop(topic, None)
                seq = 0
            self._places[topic] = {"from_seq": seq}
        elif event.name == "topic-deleted":
            self._places.pop(topic, None)
            self._log_ids.pop(topic, None)
            self.over = not self._places


def _show(event: Event, as_json: bool, text: bool, *, many: bool) -> None:
    if as_json:
        click.echo(f'{{"event":{json.dumps(event.name)},"data":{event.data.decode()}}}')
    elif event.name == "record":
        frame = msgspec.json.decode(event.data, type=_Frame)
        for record in frame.records:
            click.echo(record_line(record, text, topic=frame.topic if many else ""))
    else:
        told = msgspec.json.decode(event.data)
        topic = harmless(str(told.get("topic", "")))
        if event.name == "tombstone":
            click.echo(gap_line(told, topic=topic if many else ""))
        elif event.name == "topic-deleted":
            click.echo(click.style(f"-- {topic} was deleted", fg="magenta"))
        elif event.name == "error":
            click.echo(click.style(f"-- {harmless(str(told.get('message', told)))}", fg="red"), err=True)
    sys.stdout.flush()
