"""Where one stream stands in one topic, and the batches of events that move it on."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from ..topics.read.face import View
from ..topics.read.reading import Found
from ..topics.topic import Topic
from .cursor import single_id
from .dialect import Dialect


class Event(Struct, frozen=True):
    """One event, and the seq at which its reader stands once it has it."""

    seq: int
    body: bytes


class Batch(Struct, frozen=True):
    """What one reading brought. Shared by all whose place is ``seq`` in that log."""

    seq: int
    log_id: str
    to_seq: int
    to_log_id: str
    events: tuple[Event, ...]
    caught_up: bool
    alone: bytes = b""  # all of it as one piece, with ids, for event streams of this topic alone


class Place(Struct, eq=False):
    """A stream's place in a topic. The stream moves it by what it hands on, and nobody else does."""

    topic: Topic
    view: View
    seq: int
    log_id: str
    strong: bool = False  # shown is only what has been synced
    first: bool = True  # nothing of the topic was read by this stream yet
    told: bool = False  # that it is caught up, since it last was not

    @property
    def name(self) -> str:
        """Of the topic."""
        return self.topic.topic


class Rider(Protocol):
    """Who is handed batches by a fan while it is caught up."""

    def take(self, place: Place, batch: Batch) -> bool:
        """Hand it on to the client without waiting. False: this one cannot have it now, and leaves the fan."""
        ...

    def let_go(self, place: Place) -> None:
        """The fan is no more: read on alone."""
        ...


def batch_of(place: Place, found: Found, dialect: Dialect) -> Batch:
    """The events of one page for a place: a loss, records, and that the backlog is over."""
    name, events = place.name, []
    if found.tombstone is not None:
        events.append(Event(found.begun_at, dialect.tombstone(name, found.tombstone, first=place.first)))
    if found.records:
        events.append(Event(found.next_from_seq, dialect.records(name, found)))
    if found.caught_up and not place.told:
        events.append(Event(found.next_from_seq, dialect.caught_up(name, found.head)))
    return Batch(place.seq, place.log_id, found.next_from_seq, place.topic.log_id_hex, tuple(events), found.caught_up)


def shared_batch(place: Place, found: Found, dialect: Dialect) -> Batch:
    """The same with its events as one piece besides."""
    batch = batch_of(place, found, dialect)
    pieces: list[bytes] = []
    for event in batch.events:
        pieces += (b"id: ", single_id(place.name, event.seq), b"\n", event.body)
    return Batch(
        batch.seq, batch.log_id, batch.to_seq, batch.to_log_id, batch.events, batch.caught_up, b"".join(pieces)
    )
