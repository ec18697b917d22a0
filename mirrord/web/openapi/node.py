"""The node itself: health, numbers, links, lag, topology, actors, the feed for peers, this document."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ...actors.mailbox import MailboxStatistics
from ...errors import FeedNotFound, LinkNotFound, PeerRefused, ProtocolViolation
from ...links.wire import FeedChange, FeedRequest
from ...storage.journal import JournalStatistics
from .operation import JSON, MSGPACK, TEXT, Operation, Operations, ok
from .shapes import Millis, Performance, Seq, Told

LINK = "/v0/links/{peer}"
Numbers = Annotated[dict[str, Any], Meta(description="numbers by name; their meanings are those of the metrics")]


class Health(Told, kw_only=True):
    """The process answers."""

    status: str
    version: str
    node: str
    uptime_ms: Seq


class Ready(Told, kw_only=True):
    """The node can do its work."""

    status: str
    wal_replay_complete: bool
    topics: Seq


class ActorEntry(Struct, kw_only=True):
    """Something that lives by itself under the supervisor."""

    name: str
    state: str
    deaths: Seq
    last_error: str | UnsetType = UNSET
    mailbox: MailboxStatistics | UnsetType = UNSET


class FeedEntry(Struct, kw_only=True):
    """A feed that runs."""

    caller: str
    feed_no: Seq
    topics: Seq
    bytes: Seq
    frames: Seq
    frame_budget_bytes: Seq


class Actors(Told, kw_only=True):
    """What lives in the node, and how well."""

    actors: list[ActorEntry]
    feeds: list[FeedEntry]
    unwell: list[str]
    journal: JournalStatistics


class HaltPlace(Struct):
    """A place in a strand."""

    oseq: Seq
    hash: str | None


class Halt(Struct):
    """A strand that stands still on this link, and why."""

    strand: str
    kind: str
    mine: HaltPlace
    theirs: HaltPlace


class LinkTopic(Struct, kw_only=True):
    """One topic on a link."""

    state: str
    lag_records: Seq
    lag_seconds: float
    reason: str | UnsetType = UNSET
    halted: list[Halt] | UnsetType = UNSET


class LinkFacts(Struct, kw_only=True):
    """What a link does. ``rate_records_s`` and ``eta_s`` are per and in seconds."""

    peer: str
    url: str
    state: str
    reason: str | UnsetType = UNSET
    eta_s: float | UnsetType = UNSET
    since_ms: int
    lag_records: Seq
    lag_bytes: Seq
    lag_seconds: float
    rate_records_s: float
    records: Seq
    bytes: Seq
    connects: Seq
    clock_offset_ms: int
    same_topology: bool | None
    topics: dict[str, LinkTopic]


class Links(Told, kw_only=True):
    """Everything that this node pulls from."""

    links: list[LinkFacts]


class Link(LinkFacts, kw_only=True):
    """One link."""

    performance: Performance


class LinkEvent(Struct):
    """One line of the flight recorder."""

    ts: Millis
    action: str
    detail: str


class LinkEvents(Told, kw_only=True):
    """The last events of a link."""

    peer: str
    events: list[LinkEvent]


class Cell(Struct):
    """What a holder lacks of what any node has; null: nobody knows."""

    records: int | None
    seconds: float | None


class Lag(Told, kw_only=True):
    """The matrix origin x holder, by topic and over all."""

    node: str
    holders: list[str]
    topics: dict[str, dict[str, dict[str, Cell]]]
    origins: dict[str, dict[str, Cell]]


class Renamed(Struct):
    """A topic that has another name here."""

    source: str = field(name="from")
    local: str = field(name="as")


class TopologyLink(Struct):
    """A link as the file wants it."""

    peer: str
    url: str
    topics: list[str | Renamed]
    on_gap: str
    gap_patience_ms: int


class TopologyNode(Struct):
    """Where a node listens."""

    url: str


class Topology(Told, kw_only=True):
    """What the file says that runs here."""

    cluster: str
    node: str
    origin_id: str
    life: Seq
    nodes: dict[str, TopologyNode]
    links: list[TopologyLink]
    pulled_by: list[str]
    topology_hash: str


class FeedChanged(Told, kw_only=True):
    """The feed that was told."""

    feed_no: Seq


def _health(name: str) -> Operation:
    return Operation(name=name, summary="the process answers", answers=ok(Health))


def _ready(name: str) -> Operation:
    return Operation(name=name, summary="the node can do its work", answers=ok(Ready))


def _link(name: str, summary: str) -> Operation:
    return Operation(name=name, summary=summary, answers=ok(Link), errors=(LinkNotFound,))


OPERATIONS: Operations = {
    ("GET", "/v0/health"): _health("health"),
    ("GET", "/healthz"): _health("healthz"),
    ("GET", "/v0/ready"): _ready("ready"),
    ("GET", "/readyz"): _ready("readyz"),
    ("GET", "/v0/metrics"): Operation(
        name="metrics",
        summary="numbers: Prometheus text, or JSON for Accept: application/json",
        answers=ok(Numbers),
        kinds=(TEXT, JSON),
    ),
    ("GET", "/v0/actors"): Operation(name="actors", summary="what lives in the node", answers=ok(Actors)),
    ("GET", "/v0/openapi.json"): Operation(name="openapi", summary="this document", answers=ok(Any)),
    ("GET", "/v0/links"): Operation(name="list_links", summary="all links of this node", answers=ok(Links)),
    ("GET", LINK): _link("get_link", "one link"),
    ("GET", f"{LINK}/events"): Operation(
        name="link_events", summary="its events", answers=ok(LinkEvents), errors=(LinkNotFound,)
    ),
    ("POST", f"{LINK}/pause"): _link("pause_link", "pull nothing"),
    ("POST", f"{LINK}/resume"): _link("resume_link", "pull again"),
    ("POST", f"{LINK}/retry"): _link("retry_link", "do not wait"),
    ("GET", "/v0/lag"): Operation(name="lag", summary="the matrix origin x holder", answers=ok(Lag)),
    ("GET", "/v0/topology"): Operation(name="topology", summary="what runs here", answers=ok(Topology)),
    ("POST", "/v0/feed"): Operation(
        name="open_feed",
        summary="open a feed: frames for as long as the caller listens (docs/FEED.md)",
        body=FeedRequest,
        answers=ok(None),
        errors=(PeerRefused, ProtocolViolation),
        kinds=(MSGPACK,),
        takes=(MSGPACK,),
    ),
    ("POST", "/v0/feed/{feed_no}"): Operation(
        name="change_feed",
        summary="change a running feed",
        body=FeedChange,
        answers=ok(FeedChanged),
        errors=(FeedNotFound, ProtocolViolation),
        takes=(MSGPACK,),
    ),
}
