"""What lanes send, piece by piece, and how they judge a chunk."""

from __future__ import annotations

from msgspec import Struct

from ..wire import Frame

SEND, PASS, GAP, FORKED = "send", "pass", "gap", "forked"


class Piece(Struct, frozen=True):
    """A frame to send: its header, and the body's buffers."""

    header: Frame
    body: tuple[bytes | memoryview, ...] = ()
