"""A client of event streams that sees every byte."""

from __future__ import annotations

import json
import socket
import time
from base64 import urlsafe_b64decode
from typing import Any, NamedTuple

from .daemon import WITHIN_S, Api


class Event(NamedTuple):
    """One event as it came; comments have the name ``:``, ``retry`` its own."""

    name: str
    data: Any
    id: str = ""

    @property
    def place(self) -> dict[str, int]:
        """What the id says."""
        text = self.id.partition(".")[0]
        told: dict[str, int] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return told


class EventStream:
    """An open ``GET``. ``next`` waits for an event; ``until`` collects them up to one of that name."""

    def __init__(self, api: Api, path: str, last: str | None = None, **headers: str) -> None:
        host, port = api.address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=WITHIN_S)
        lines = [f"GET {path} HTTP/1.1", "host: x", "accept: text/event-stream"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if last is not None:
            lines.append(f"last-event-id: {last}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._raw = self._text = b""
        while b"\r\n\r\n" not in self._raw:
            self._fill()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.head = head.decode().lower()

    def _fill(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise EOFError("the node closed the connection")
        self._raw += data

    def _piece(self) -> bytes:
        """One chunk of the body; empty at its end."""
        while b"\r\n" not in self._raw:
            self._fill()
        size, _, rest = self._raw.partition(b"\r\n")
        length = int(size, 16)
        while len(rest) < length + 2:
            self._raw = size + b"\r\n" + rest
            self._fill()
            rest = self._raw.partition(b"\r\n")[2]
        self._raw = rest[length + 2 :]
        return rest[:length]

    def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        while b"\n\n" not in self._text:
            piece = self._piece()
            if not piece:
                return None
            self._text += piece
        block, _, self._text = self._text.partition(b"\n\n")
        return _event(block.decode())

    def until(self, name: str, **data: Any) -> list[Event]:
        """All events up to one of that name with these fields."""
        found: list[Event] = []
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            event = self.next()
            assert event is not None, found
            found.append(event)
            if event.name == name and data.items() <= dict(event.data or {}).items():
                return found
        raise AssertionError(f"no {name} came: {found}")

    def rest(self) -> list[Event]:
        """All events up to the end."""
        found = []
        while (event := self.next()) is not None:
            found.append(event)
        return found

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(block: str) -> Event:
    name, ident, data = "", "", []
    for line in block.split("\n"):
        if line.startswith(":"):
            return Event(":", line[1:].strip())
        field, _, value = line.partition(": ")
        if field == "retry":
            return Event("retry", int(value))
        name = value if field == "event" else name
        ident = value if field == "id" else ident
        if field == "data":
            data.append(value)
    return Event(name, json.loads("\n".join(data)), ident)


def watched(api: Api, topics: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A watch session."""
    return api.told("POST", "/v0/watch", {"topics": topics, **fields})


def opened(api: Api, topics: dict[str, Any], last: str | None = None, **fields: Any) -> EventStream:
    """A session and a stream of it, behind its ``retry``."""
    return joined(api, watched(api, topics, **fields)["wid"], last)


def joined(api: Api, wid: str, last: str | None = None) -> EventStream:
    """Another stream of a session, behind its ``retry``."""
    stream = EventStream(api, f"/v0/watch/{wid}", last)
    assert stream.status == 200, stream.head
    assert stream.next() == Event("retry", 2000)
    return stream


def data_of(events: list[Event], topic: str | None = None) -> list[Any]:
    """The payloads of all records in these events, in order."""
    pages = [e.data for e in events if e.name == "record" and topic in (None, e.data["topic"])]
    return [record["data"] for page in pages for record in page["records"]]
