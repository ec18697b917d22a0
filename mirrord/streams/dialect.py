"""What happens on a watch, in the words of its two doors: server-sent events, and JSON messages of a WebSocket."""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

from ..topics.read.reading import Found

RETRY = b"retry: 2000\n\n"
HEARTBEAT = b": hb\n\n"
TOO_OLD = "from_seq_too_old"  # how the reference calls every loss that a stream's first read of a topic meets
_encode = msgspec.json.Encoder().encode
_line_ends = re.compile("\r\n|\n|\r")


class Dialect(Protocol):
    """How events are written. Names of topics need no quoting."""

    def records(self, topic: str, found: Found) -> bytes:
        """A page of records."""
        ...

    def tombstone(self, topic: str, told: str, *, first: bool) -> bytes:
        """A loss, as ``read`` tells it. ``first``: met by the first read of the topic on this stream."""
        ...

    def caught_up(self, topic: str, head: int) -> bytes:
        """The backlog is over."""
        ...

    def deleted(self, topic: str) -> bytes:
        """The topic is gone."""
        ...

    def error(self, code: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """The stream ends for this."""
        ...


class Sse:
    """Server-sent events, without their ids."""

    def records(self, topic: str, found: Found) -> bytes:
        """See ``Dialect``."""
        return _event("record", _page(topic, found) + "}")

    def tombstone(self, topic: str, told: str, *, first: bool) -> bytes:
        """See ``Dialect``."""
        alias = f',"alias":"{TOO_OLD}"}}' if first else "}"
        return _event("tombstone", f'{{"topic":"{topic}",{told[1:-1]}{alias}')

    def caught_up(self, topic: str, head: int) -> bytes:
        """See ``Dialect``."""
        return _event("caught-up", f'{{"topic":"{topic}","head_seq":{head}}}')

    def deleted(self, topic: str) -> bytes:
        """See ``Dialect``."""
        return _event("topic-deleted", f'{{"topic":"{topic}","head_seq":0,"reason":"deleted"}}')

    def error(self, code: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """See ``Dialect``."""
        return _event("error", _encode(_error(code, message, detail)).decode())


class Messages:
    """JSON messages, each with its ``op``."""

    def records(self, topic: str, found: Found) -> bytes:
        """See ``Dialect``."""
        return f'{{"op":"record",{_page(topic, found)[1:]}}}'.encode()

    def tombstone(self, topic: str, told: str, *, first: bool) -> bytes:  # noqa: ARG002 -- no other word is known here
        """See ``Dialect``."""
        return f'{{"op":"tombstone","topic":"{topic}",{told[1:]}'.encode()

    def caught_up(self, topic: str, head: int) -> bytes:
        """See ``Dialect``."""
        return f'{{"op":"caught_up","topic":"{topic}","head_seq":{head}}}'.encode()

    def deleted(self, topic: str) -> bytes:
        """See ``Dialect``."""
        return f'{{"op":"topic_deleted","topic":"{topic}","head_seq":0,"reason":"deleted"}}'.encode()

    def error(self, code: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """See ``Dialect``."""
        return _encode({"op": "error"} | _error(code, message, detail))


def _page(topic: str, found: Found) -> str:
    where = f'"from_seq":{found.begun_at},"to_seq":{found.next_from_seq},"head_seq":{found.head}'
    return f'{{"topic":"{topic}",{where},"records":[{",".join(found.records)}]'


def _event(name: str, data: str) -> bytes:
    if "\n" in data or "\r" in data:  # payloads are the text that was sent, which may be written on many lines
        data = "\ndata: ".join(_line_ends.split(data))
    return f"event: {name}\ndata: {data}\n\n".encode()


def _error(code: str, message: str, detail: dict[str, Any] | None) -> dict[str, Any]:
    return {"code": code, "message": message} | ({"detail": detail} if detail else {})


SSE, MESSAGES = Sse(), Messages()
