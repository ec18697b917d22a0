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
from ....errors import NotFound, PeerUnreachable, Throttled, TopicNotFound, Unavailable
from ...figures import harmless
from ...lines import gap_line, record_line
from ...patience import Patience
from ...target import Target, speaks_to_a_node

if TYPE_CHECKING:
    from ....client.api import Api

_HEARTBEAT_MS, _SILENCE_S = 15_000, 40.0


class _Frame(Struct, rename={"topic": "topic"}):
    """The data of one event, whichever it is."""

    topic: str = ""
    records: list[Raw] = field(default_factory=list)
    code: str = ""
    message: str = ""


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
    """Where the reader stands in every topic; a session of the node that knows the same, for as long as it lasts."""

    def __init__(self, api: Api, topics: tuple[str, ...], from_seq: int | None, view: Mapping[str, Any]) -> None:
        start: dict[str, Any] = {"tail": True} if from_seq is None else {"from_seq": from_seq}
        self._api, self._view = api, view
        self._wanted = dict.fromkeys(topics, start)
        self._stream: Call | None = None
        self._last_id = ""
        self.over = False  # all topics were deleted

    def events(self) -> Iterator[Event]:
        """What comes until the stream breaks. Raises what the node refuses with, or PeerUnreachable."""
        if self._stream is None:
            self._open()
        assert self._stream is not None
        reader = EventReader()
        query = {"last_event_id": self._last_id} if self._last_id else {}
        try:
            with self._api.stream(msgspec.structs.replace(self._stream, query=query), _SILENCE_S) as pieces:
                for piece in pieces:
                    for event in reader.feed(piece):
                        self._keep(event)
                        yield event
        except TopicNotFound:
            raise
        except NotFound:  # the session is gone: the node was restarted
            self._stream = None

    def _open(self) -> None:
        body = msgspec.json.encode({"topics": self._wanted, **self._view})
        session = self._api.ask(Call("POST", "/v0/watch", body=body)).object()
        self._stream = Call("GET", session["stream_url"])

    def _keep(self, event: Event) -> None:
        self._last_id = event.id or self._last_id
        told = msgspec.json.decode(event.data)
        topic, wanted = told.get("topic"), self._wanted
        if event.name in ("record", "tombstone", "caught-up") and topic is not None:
            seq = told.get("to_seq", told.get("gap_to", told.get("head_seq", 0)))
            wanted[topic] = {"from_seq": 0 if told.get("reason") == "recreated" else seq}
        elif event.name == "topic-deleted":
            wanted.pop(topic, None)
            self.over = not wanted


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
