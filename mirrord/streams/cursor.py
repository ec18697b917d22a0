"""Composite cursors: where a reader stands in many topics at once, as one opaque text.

The ``id`` of a watch's events is base64url of ``{"topic": seq, ...}``, keys sorted. When a topic's log was replaced
while the session lived, ``.N`` behind it counts how often: an id from before means another log. The cursor of a prefix
read carries log ids instead, because no session remembers them, and the name behind which the next page begins.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from ..errors import InvalidRequest

MOST_CURSOR_BYTES = 1 << 20
_encode = msgspec.json.Encoder().encode
_seqs = msgspec.json.Decoder(dict[str, int])


class EventId(Struct, frozen=True):
    """A watch's place as a client tells it back. ``changes``: how many logs had been replaced by then."""

    seqs: Mapping[str, int]
    changes: int = 0


def event_id(seqs: Mapping[str, int], changes: int = 0) -> bytes:
    """The text of a place. ``seqs`` in the order of their names."""
    told = _urlsafe(_encode(seqs))
    return told + b".%d" % changes if changes else told


def single_id(topic: str, seq: int) -> bytes:
    """The same for a watch of one topic."""
    return _urlsafe(f'{{"{topic}":{seq}}}'.encode())


def parse_event_id(text: str) -> EventId:
    """Raises InvalidRequest for what no watch of this node gave out."""
    told, dot, changes = text.partition(".")
    if dot and not (changes.isdecimal() and len(changes) < 10):
        raise InvalidRequest("Last-Event-ID is not an id of this watch")
    try:
        seqs = _seqs.decode(_bytes(told))
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequest("Last-Event-ID is not an id of this watch") from error
    if any(seq < 0 for seq in seqs.values()):
        raise InvalidRequest("Last-Event-ID is not an id of this watch")
    return EventId(seqs, int(changes) if dot else 0)


def _urlsafe(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _bytes(text: str) -> bytes:
    if len(text) > MOST_CURSOR_BYTES:
        raise ValueError("too long")
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
