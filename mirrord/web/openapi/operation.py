"""What is told of one endpoint beside its path and its scopes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ...errors import (
    ActorDied,
    DiskFull,
    Forbidden,
    HeadersTooLarge,
    InvalidRequest,
    MirrordError,
    NotAcceptable,
    NotFound,
    NotReady,
    PayloadTooLarge,
    RequestTimeout,
    ShuttingDown,
    StorageFailed,
    Throttled,
    TopicNotFound,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

JSON, MSGPACK, SSE, TEXT = "application/json", "application/msgpack", "text/event-stream", "text/plain"
BOTH = (JSON, MSGPACK)

Faults = tuple[type[MirrordError], ...]
ANY: Faults = (
    InvalidRequest, Unauthorized, Forbidden, NotFound, NotAcceptable, RequestTimeout, PayloadTooLarge,
    UnsupportedMediaType, Throttled, HeadersTooLarge, MirrordError, Unavailable, ShuttingDown,
)  # fmt: skip
"""What any request can meet."""
READS: Faults = (TopicNotFound, ActorDied, NotReady)
"""What a topic that is only looked at can answer."""
WRITES: Faults = (*READS, StorageFailed, DiskFull)
"""What a commit to an existing topic can answer."""


class Query(Struct, frozen=True):
    """One argument of the query, or one header, with its type and what it means."""

    name: str
    kind: Any
    meaning: str
    required: bool = False
    place: str = "query"


class Operation(Struct, frozen=True, kw_only=True):
    """What an endpoint takes and answers. ``answers`` is one type per status, or several, ``errors`` what it can raise
    beyond ANY; ``body`` None: it takes none. ``kinds`` are the content types of its answers, ``takes`` of its body.
    ``name`` is what generated clients call it."""

    name: str
    summary: str
    body: Any = None
    body_optional: bool = False
    query: tuple[Query, ...] = ()
    answers: tuple[tuple[int, Any], ...]
    errors: Faults = ()
    kinds: tuple[str, ...] = BOTH
    takes: tuple[str, ...] = BOTH


Operations = dict[tuple[str, str], Operation]


def ok(kind: Any) -> tuple[tuple[int, Any], ...]:
    """One answer, 200."""
    return ((200, kind),)


def made(kind: Any) -> tuple[tuple[int, Any], ...]:
    """The same answer, 201 when something was created by it."""
    return ((200, kind), (201, kind))


PAGE_SIZE = Query("page_size", int, "entries in one page; 100, at most [limits] max_page_size")
CURSOR = Query("cursor", str, "next_cursor of the page before")
PREFIX = Query("prefix", str, "only names that begin so")
PAGES = (PREFIX, PAGE_SIZE, CURSOR)
