"""Every failure that mirrord names: one tree, one stable code per class, and what to do about it.

    MirrordError
    ├── InvalidRequest            400   BatchTooLarge, RecordTooLarge, InvalidJson, UnsupportedMessage
    ├── Unauthorized 401, Forbidden 403, NotFound 404 (TopicNotFound, RouterNotFound,
    │                                   GroupNotFound, FeedNotFound, LinkNotFound)
    ├── MethodNotAllowed 405, NotAcceptable 406, RequestTimeout 408, HeadersTooLarge 431
    ├── Conflict                  409   TopicExistsIncompatible, TopicNotEmpty, RouterCycle, TopicLinked,
    │                                   DeclaredInFile, IdempotencyConflict, NotAQueue
    ├── PayloadTooLarge 413, UnsupportedMediaType 415, TopicFull 422,
    │   Throttled, SlowConsumer 429
    ├── NotYet                    501
    ├── Unavailable               503   NotReady, ShuttingDown, StorageFailed, DiskFull, ActorDied, HomeUnreachable
    ├── ConfigError                     a file, a line, a key, what was expected (InsecureListen)
    ├── StoreError                      DataDirLocked, StoreTooNew, StoreCorrupt, ChunkCorrupt, AddressInUse
    ├── Unacknowledged                  a client's write whose answer was lost
    └── PeerError                       PeerUnreachable, PeerRefused, ProtocolViolation
                                        (HashMismatch: a chunk that may not be applied)

``web/errors.py`` maps ``status`` to HTTP; the client raises the same classes again from the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class MirrordError(Exception):
    """Base of all. ``code`` is stable for machines, the message says what to do for people."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(
        self, message: str = "", detail: Mapping[str, Any] | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip().splitlines()[0])
        self.detail: dict[str, Any] | None = dict(detail) if detail is not None else None
        self.retry_after_s = retry_after_s


class InvalidRequest(MirrordError):
    """The request is malformed; the message names the field."""

    code = "invalid_request"
    status = 400


class BatchTooLarge(InvalidRequest):
    """Too many records in one write; send several smaller ones."""

    code = "batch_too_large"


class RecordTooLarge(InvalidRequest):
    """One record is larger than the limit; store the content elsewhere and append a reference."""

    code = "record_too_large"


class InvalidJson(InvalidRequest):
    """A message over a WebSocket is not JSON."""

    code = "invalid_json"


class UnsupportedMessage(InvalidRequest):
    """Messages over a WebSocket are JSON text; binary ones are not read."""

    code = "unsupported_message"


class Unauthorized(MirrordError):
    """A known key is needed: send `Authorization: Bearer KEY`."""

    code = "unauthorized"
    status = 401


class Forbidden(MirrordError):
    """The key is known but lacks the scope or the name prefix."""

    code = "forbidden"
    status = 403


class NotFound(MirrordError):
    """There is nothing at this path."""

    code = "not_found"
    status = 404


class TopicNotFound(NotFound):
    """There is no such topic on this node; append to it or PUT it to create it."""

    code = "topic_not_found"


class GroupNotFound(NotFound):
    """The topic has no reader group of this name; its first read makes it."""

    code = "group_not_found"


class RouterNotFound(NotFound):
    """There is no such router on this node; PUT it to create it."""

    code = "router_not_found"


class FeedNotFound(NotFound):
    """No running feed has this number; open a new one."""

    code = "feed_not_found"


class LinkNotFound(NotFound):
    """No link to this peer is configured on this node."""

    code = "link_not_found"


class MethodNotAllowed(MirrordError):
    """This path exists but not with this method."""

    code = "method_not_allowed"
    status = 405


class NotAcceptable(MirrordError):
    """What is here has no form that the Accept header takes; the message says which it has."""

    code = "not_acceptable"
    status = 406


class RequestTimeout(MirrordError):
    """The request did not arrive in time."""

    code = "request_timeout"
    status = 408


class HeadersTooLarge(MirrordError):
    """The request line or the headers are larger than the limit."""

    code = "headers_too_large"
    status = 431


class Conflict(MirrordError):
    """The request contradicts what is there."""

    code = "conflict"
    status = 409


class TopicExistsIncompatible(Conflict):
    """The topic exists with another type; types are for ever."""

    code = "topic_exists_incompatible"


class RouterCycle(Conflict):
    """The router would close a cycle; with allow_cycle each record comes into each topic once."""

    code = "router_cycle"


class TopicNotEmpty(Conflict):
    """The topic still holds records; drop if_empty to delete it all the same."""

    code = "topic_not_empty"


class TopicLinked(Conflict):
    """A link names the topic; take it out of the configuration before forgetting its positions."""

    code = "topic_linked"


class DeclaredInFile(Conflict):
    """The key is set in the TOML file, which wins; change it there."""

    code = "declared_in_file"


class IdempotencyConflict(Conflict):
    """The idempotency key was used before with another payload; use a new key."""

    code = "idempotency_conflict"


class NotAQueue(Conflict):
    """The topic is a log; create a topic of type queue."""

    code = "not_a_queue"


class PayloadTooLarge(MirrordError):
    """The body is larger than [limits] max_body_bytes; send less at once."""

    code = "payload_too_large"
    status = 413


class UnsupportedMediaType(MirrordError):
    """Bodies are application/json or application/msgpack, plain or under gzip or zstd."""

    code = "unsupported_media_type"
    status = 415


class TopicFull(MirrordError):
    """The topic is full and set to reject; delete records or raise its caps."""

    code = "topic_full"
    status = 422


class Throttled(MirrordError):
    """Too much at once; try again after Retry-After."""

    code = "throttled"
    status = 429

    @classmethod
    def beyond(cls, limit: str, most: int) -> Throttled:
        """A bound of ``[limits]`` is reached: it is named in the detail."""
        told = f"all {most} of [limits] {limit} are taken; try again, or raise the limit"
        return cls(told, {"limit": limit, "max": most}, retry_after_s=1.0)


class SlowConsumer(MirrordError):
    """The client did not take what was sent within [limits] slow_consumer_timeout_ms; resume from the last id."""

    code = "slow_consumer"
    status = 429


class NotYet(MirrordError):
    """Specified, but not in this version of mirrord."""

    code = "not_yet"
    status = 501


class Unavailable(MirrordError):
    """The node cannot do this now; try again."""

    code = "unavailable"
    status = 503


class NotReady(Unavailable):
    """The node is starting or has given up on a part of itself; see GET /v0/ready."""

    code = "not_ready"


class ShuttingDown(Unavailable):
    """The node is draining; try another node or try again."""

    code = "shutting_down"


class StorageFailed(Unavailable):
    """The disk refused a commit; nothing of it is kept. Writes resume when the disk does."""

    code = "storage_failed"


class DiskFull(StorageFailed):
    """The disk is full: reads and deletes work, appends do not. Free space or delete records."""

    code = "disk_full"


class ActorDied(Unavailable):
    """The part of the node that would have answered has failed and is being restarted; try again."""

    code = "actor_died"


class HomeUnreachable(Unavailable):
    """The node that grants leases here cannot be reached; see detail.home."""

    code = "home_unreachable"


class ConfigError(MirrordError):
    """The configuration cannot work as written. ``str()`` is ``file:line: [key] what (did you mean ...?)``."""

    code = "config_invalid"
    status = 400


class InsecureListen(ConfigError):
    """The node would serve everybody on the network; set keys, or allow it."""

    code = "insecure_listen"


class StoreError(MirrordError):
    """The data directory cannot be used."""

    code = "store_error"


class DataDirLocked(StoreError):
    """Another daemon uses this data directory; stop it or choose another data_dir."""

    code = "data_dir_locked"


class StoreTooNew(StoreError):
    """The store was written by a newer mirrord; run that version."""

    code = "store_too_new"


class StoreCorrupt(StoreError):
    """The store does not read back as it was written."""

    code = "store_corrupt"


class ChunkCorrupt(StoreCorrupt):
    """A stored chunk fails its hash; it is never served. Fetch it again from a peer."""

    code = "chunk_corrupt"


class AddressInUse(StoreError):
    """The listen address is taken; stop what listens there or change `listen`."""

    code = "address_in_use"


class Unacknowledged(MirrordError):
    """The node may have kept this write, or not: its answer was lost. Repeat at the same node with `detail.key`."""

    code = "unacknowledged"
    status = 502


class PeerError(MirrordError):
    """A peer could not be used."""

    code = "peer_error"
    status = 502


class PeerUnreachable(PeerError):
    """The peer does not answer; the link retries with back-off."""

    code = "peer_unreachable"


class PeerRefused(PeerError):
    """The peer answered, and said no. ``reason`` is a word of docs/FEED.md."""

    code = "peer_refused"

    def __init__(self, reason: str, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message or f"the peer refuses: {reason}", {"reason": reason}, retry_after_s)
        self.reason = reason

    def __reduce__(self) -> tuple[type[PeerRefused], tuple[str, str, float | None]]:
        return type(self), (
            self.reason,
            str(self),
            self.retry_after_s,
        )  # a copy is made of these, not of ``args``


class ProtocolViolation(PeerError):
    """What the peer sent is not the feed protocol; the connection is closed."""

    code = "protocol_violation"


class HashMismatch(ProtocolViolation):
    """A chunk's content does not have the hash that its header tells."""

    code = "hash_mismatch"


def every_error() -> dict[str, type[MirrordError]]:
    """Code to class, for the client and the docs."""
    found: dict[str, type[MirrordError]] = {}
    todo: list[type[MirrordError]] = [MirrordError]
    while todo:
        cls = todo.pop()
        found[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return found
