"""What can be asked of a reader group, as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from ..call import LONGEST_WAIT_MS, Call, page_query, topic_path

Start = Literal["earliest", "latest"] | int


def groups(topic: str) -> Call:
    """The first page of the groups of a topic by name."""
    return Call("GET", topic_path(topic) + "/groups", page_query())


def group(topic: str, name: str) -> Call:
    """A group's cursor, what is pending with whom, and its lag."""
    return Call("GET", _path(topic, name))


def read(topic: str, name: str, consumer: str, *, limit: int | None = None, wait_ms: int = 0, **more: Any) -> Call:
    """The next records for this consumer; they stay pending until committed. ``more``: start, min_idle_ms, ..."""
    body = {"consumer": consumer, "limit": limit, "wait_ms": wait_ms or None, **more}
    return _post(_path(topic, name) + "/read", body, min(wait_ms, LONGEST_WAIT_MS))


def commit(
    topic: str, name: str, consumer: str, *, seqs: Sequence[int] | None = None, up_to: int | None = None
) -> Call:
    """These are done: counts for what the consumer still owns."""
    return _post(_path(topic, name) + "/commit", {"consumer": consumer, "seqs": seqs, "up_to": up_to})


def reclaim(topic: str, name: str, consumer: str, **more: Any) -> Call:
    """Take over what other consumers left idle. ``more``: min_idle_ms, cursor, limit."""
    return _post(_path(topic, name) + "/reclaim", {"consumer": consumer, **more})


def seek(topic: str, name: str, **to: Any) -> Call:
    """Move the group. ``to``: as docs/HTTP.md tells."""
    return _post(_path(topic, name) + "/seek", to)


def delete_group(topic: str, name: str) -> Call:
    """Forget the group, its cursor and all that is pending."""
    return Call("DELETE", _path(topic, name))


def _path(topic: str, name: str) -> str:
    return f"{topic_path(topic)}/groups/{quote(name, safe=':')}"


def _post(path: str, body: dict[str, Any], wait_ms: int = 0) -> Call:
    told = {word: value for word, value in body.items() if value is not None}
    return Call("POST", path, body=msgspec.json.encode(told), wait_ms=wait_ms)
