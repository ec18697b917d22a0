"""Server-sent events from bytes that come cut anywhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from ...errors import (
    MirrordError,
    NotAQueue,
    ProtocolViolation,
    TopicNotFound,
    Unauthorized,
    Unavailable,
    every_error,
)
from ..answer import not_mirrord

MOST_EVENT_BYTES = 64 << 20  # as large as a body may be; a longer event is not mirrord's
_CLASSES = every_error()
_BY_STATUS = {409: NotAQueue, 404: TopicNotFound, 401: Unauthorized}


class Event(Struct, frozen=True):
    """One event: its name, its data, and the id to resume by."""

    name: str
    data: bytes
    id: str = ""


class EventReader:
    """``feed`` bytes, get the events that are whole. Comments are heartbeats and are dropped."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._looked_at = 0
        self._name, self._id = "", ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """Raises ProtocolViolation when an event is too long to be one."""
        self._held += data
        if len(self._held) > MOST_EVENT_BYTES:
            raise ProtocolViolation("an event without an end; check what answers at the address")
        while (end := self._held.find(b"\n", self._looked_at)) >= 0:
            line = bytes(self._held[:end]).removesuffix(b"\r")
            del self._held[: end + 1]
            self._looked_at = 0
            event = self._line(line)
            if event is not None:
                yield event
        self._looked_at = len(self._held)

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._whole()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode(errors="replace")
        elif field == b"data":
            self._data.append(value)
        elif field == b"id":
            self._id = value.decode(errors="replace")
        return None

    def _whole(self) -> Event | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        return Event(name, b"\n".join(data), self._id) if data else None


class _Fault(Struct):
    code: str | int = ""
    error: str = ""
    reason: str = ""


def named(data: bytes) -> MirrordError:
    """The error that an error event tells, by the code in ``reason``; ``code`` alone is an HTTP status, or a word."""
    try:
        fault = msgspec.json.decode(data, type=_Fault)
    except msgspec.MsgspecError:
        return not_mirrord("the stream of jobs", "an error")
    by_status = _BY_STATUS.get(fault.code, Unavailable) if isinstance(fault.code, int) else Unavailable
    return _CLASSES.get(fault.reason, by_status)(fault.error or str(fault.code))
