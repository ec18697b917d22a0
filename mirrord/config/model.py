"""What a configuration file says, read and resolved: every key with default, unit and one line of meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Annotated, Literal

from msgspec import Struct

from ..names import matches
from .access.auth import AuthConfig
from .access.tls import TlsConfig
from .option import KIB, MIB, Option

DECADE_MS = 3650 * 86_400_000

OnGap = Literal["record", "halt"]
Forward = Literal["all", "origin"]
Fields = Mapping[str, object]  # of a topic, as the file sets them: sizes in bytes, durations in ms


class Want(Struct, frozen=True, order=True):
    """What a link pulls: a topic and its name here, or with a ``*`` at the end of both all that begin so."""

    source: str
    local: str

    def local_name(self, source_topic: str) -> str | None:
        """What the peer's topic is called here, or None when this want does not mean it."""
        if self.source.endswith("*"):
            return source_topic if matches(self.source, source_topic) else None
        return self.local if source_topic == self.source else None

    def source_name(self, local_topic: str) -> str | None:
        """What our topic is called at the peer, or None when this want does not bring it."""
        if self.local.endswith("*"):
            return local_topic if matches(self.local, local_topic) else None
        return self.source if local_topic == self.local else None

    def __str__(self) -> str:
        return self.source if self.source == self.local else f"{self.source} as {self.local}"


class NodeConfig(Struct, frozen=True):
    """One node: where it serves, how peers reach it, where it keeps its store."""

    name: str
    listen: Annotated[
        str, Option("text", "host:port where it serves; 0.0.0.0 is every address, port 0 any free port")
    ] = "127.0.0.1:4000"
    url: Annotated[
        str, Option("text", "how peers reach it; default: from listen", example='"http://127.0.0.1:4000"')
    ] = ""
    data_dir: Annotated[
        str,
        Option("text", "where its store is, relative to this file; default: data/NAME", example='"data/fra"'),
    ] = ""
    topics: Mapping[str, Fields] = {}
    tls: TlsConfig = TlsConfig()


class LinkConfig(Struct, frozen=True):
    """A ``[[links]]`` entry: a mesh of ``between``, or ``pull`` pulls from ``source``. None: the default."""

    between: Annotated[
        tuple[str, ...],
        Option("list", "everyone pulls from everyone: two or more nodes", example='["fra", "iad", "sin"]'),
    ] = ()
    pull: Annotated[str, Option("text", "one direction: the node that pulls", example='"sin"')] = ""
    source: Annotated[
        str, Option("text", "one direction: the node that it pulls from", key="from", example='"fra"')
    ] = ""
    wants: Annotated[
        tuple[Want, ...],
        Option(
            "list",
            'names, prefixes such as "chat:*", and {from = "x", as = "x-eu"}',
            key="topics",
            example='["orders", "chat:*", {from = "clicks", as = "clicks-eu"}]',
        ),
    ] = ()
    via: Annotated[
        str | None,
        Option("text", "another way to the peer, with pull: a tunnel, a proxy", example='"http://127.0.0.1:9001"'),
    ] = None
    on_gap: Annotated[
        OnGap | None,
        Option(
            "word",
            "records that no peer has any more: show the gap, or halt that strand and ask",
            words=("record", "halt"),
            example='"record"',
        ),
    ] = None
    gap_patience_ms: Annotated[
        int | None,
        Option(
            "duration",
            "how long a gap waits for other peers that may still have the records",
            key="gap_patience",
            example='"60s"',
        ),
    ] = None

    key: Annotated[
        str | None,
        Option(
            "text",
            "the key that the peer asks for: env:NAME or file:PATH; default: peer_key of [auth]",
            example='"env:FRA_KEY"',
        ),
    ] = None

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(puller, source) of every pull that the entry asks for."""
        if self.between:
            yield from permutations(self.between, 2)
        else:
            yield self.pull, self.source


class RouterConfig(Struct, frozen=True):
    """A ``[routers.NAME]`` table: what is appended to one topic is copied into another, on the same node."""

    source: Annotated[str, Option("text", "the topic that is copied from", example='"orders"')] = ""
    dest: Annotated[str, Option("text", "the topic that the copies go to", example='"audit"')] = ""
    filter: Annotated[
        tuple[str, ...],
        Option("list", "which records: by their tag; default: all", example='["tag", "Glob", "eu:*"]'),
    ] = ()
    preserve_node: Annotated[bool, Option("flag", "copies keep the node label of their record")] = True
    preserve_tag: Annotated[bool, Option("flag", "copies keep the tag of their record")] = True
    allow_cycle: Annotated[
        bool, Option("flag", "the router may close a cycle; a record comes into each topic once all the same")
    ] = False
    backfill: Annotated[bool, Option("flag", "copy what is there already, not only what is appended from now on")] = (
        False
    )
    forward: Annotated[
        Forward | None,
        Option(
            "word",
            "all: every record; origin: those written on the node itself, for routers on all holders of mirrored "
            "topics; default: origin where all would double",
            words=("all", "origin"),
            example='"all"',
        ),
    ] = None
    on: Annotated[
        tuple[str, ...],
        Option("list", "the nodes that run it; default: every node that has the source", example='["fra"]'),
    ] = ()


class Limits(Struct, frozen=True):
    """``[limits]``: what one request, one record, one node may be. Beyond it there is a named refusal."""

    max_body_bytes: Annotated[int, Option("size", "a request's body", least=KIB)] = 64 * MIB
    max_batch_records: Annotated[int, Option("count", "records in one append", least=1, most=100_000)] = 10_000
    max_record_bytes: Annotated[
        int, Option("size", "JSON text of one record's data and meta", least=KIB, most=64 * MIB)
    ] = MIB
    max_meta_bytes: Annotated[int, Option("size", "JSON text of one record's meta", most=MIB)] = 16 * KIB
    max_meta_keys: Annotated[int, Option("count", "keys in one record's meta")] = 64
    max_tag_bytes: Annotated[int, Option("size", "a record's tag", most=4 * KIB)] = 256
    max_node_bytes: Annotated[int, Option("size", "a record's node label", most=4 * KIB)] = 128
    max_key_bytes: Annotated[int, Option("size", "an idempotency key", most=4 * KIB)] = 256
    max_limit: Annotated[int, Option("count", "records in one diff; more is cut to it", least=1)] = 1000
    max_wait_ms: Annotated[int, Option("duration", "a long-poll; longer is cut to it", most=600_000)] = 30_000
    max_batch_bytes: Annotated[int, Option("size", "records in one diff; more is cut to it", least=KIB)] = 8 * MIB
    max_page_size: Annotated[int, Option("count", "entries in one page of a list", least=1)] = 1000
    max_topics: Annotated[int, Option("count", "topics on a node, for writers; 0 = off", least=1, off=True)] = 100_000
    max_routers: Annotated[int, Option("count", "routers on a node, for writers; 0 = off", least=1, off=True)] = 10_000
    router_wait_ms: Annotated[
        int, Option("duration", "a read of a router's destination waits so long for its copies", most=60_000)
    ] = 1000
    max_total_bytes: Annotated[
        int, Option("size", "JSON text of all live records of a node, for writers; 0 = off", off=True)
    ] = 0
    max_watch_topics: Annotated[int, Option("count", "topics and prefixes in one watch", least=1)] = 256
    max_watch_sessions: Annotated[int, Option("count", "watch sessions kept at once; 0 = off", least=1, off=True)] = (
        10_000
    )
    session_ttl_ms: Annotated[
        int, Option("duration", "a watch session without an open stream is forgotten after it", least=1000)
    ] = 300_000
    min_heartbeat_ms: Annotated[int, Option("duration", "a watch's heartbeat; shorter is raised to it", least=10)] = (
        1000
    )
    max_heartbeat_ms: Annotated[int, Option("duration", "a watch's heartbeat; longer is cut to it", least=10)] = 60_000
    max_prefix_topics: Annotated[
        int, Option("count", "topics that the prefixes of one watch or one diff may mean", least=1, most=100_000)
    ] = 1000
    watch_buffer_bytes: Annotated[
        int, Option("size", "unsent bytes that one watcher may hold; an event has at most so many", least=4 * KIB)
    ] = MIB
    slow_consumer_timeout_ms: Annotated[
        int, Option("duration", "a watcher that did not take an event within it is closed", least=100)
    ] = 30_000
    max_sse: Annotated[int, Option("count", "open SSE and WebSocket connections; 0 = off", least=1, off=True)] = 10_000
    max_sse_per_key: Annotated[int, Option("count", "the same for one key; 0 = off", least=1, off=True)] = 1000
    max_in_flight_per_key: Annotated[
        int, Option("count", "requests of one key that are answered at once; 0 = off", least=1, off=True)
    ] = 1000
    max_claim: Annotated[int, Option("count", "records in one claim; more is cut to it", least=1, most=100_000)] = 1000
    max_settle: Annotated[int, Option("count", "seqs in one ack, nack, extend or commit", least=1, most=100_000)] = 1000
    min_lease_ms: Annotated[int, Option("duration", "a lease; shorter is raised to it", least=1)] = 100
    max_lease_ms: Annotated[int, Option("duration", "a lease; longer is cut to it", least=1, most=DECADE_MS)] = (
        86_400_000
    )
    max_jitter_ms: Annotated[int, Option("duration", "claim_jitter_ms; longer is cut to it", most=5000)] = 5000
    max_nack_delay_ms: Annotated[int, Option("duration", "a nack's delay_ms; longer is cut to it", most=DECADE_MS)] = (
        86_400_000
    )
    max_leases: Annotated[
        int, Option("count", "records of one queue that were claimed and are not done; beyond, nothing fresh", least=1)
    ] = 1_000_000
    max_groups_per_topic: Annotated[int, Option("count", "reader groups of one topic", least=1, most=100_000)] = 1000
    max_consumers_per_group: Annotated[
        int, Option("count", "consumers of a group that have something pending", least=1, most=100_000)
    ] = 1000
    max_pending_per_group: Annotated[
        int, Option("count", "records that a group has handed out and nobody committed", least=1, most=1_000_000)
    ] = 10_000
    max_router_hops: Annotated[
        int, Option("count", "routers that one record went through, before it is noted as an alarm", least=1)
    ] = 8
    max_peers: Annotated[int, Option("count", "peers that a node pulls from, or that pull from it", least=1)] = 256
    max_strands_per_topic: Annotated[
        int, Option("count", "strands that links may bring to a topic; 0 = off", least=1, off=True)
    ] = 100_000
    max_mailbox: Annotated[int, Option("count", "requests that wait in one mailbox; more is 429", least=16)] = 4096
    max_connections: Annotated[int, Option("count", "open HTTP connections", least=8)] = 10_000
    max_header_bytes: Annotated[int, Option("size", "a request's line and headers", least=KIB, most=MIB)] = 64 * KIB
    header_timeout_ms: Annotated[
        int, Option("duration", "from a request's first byte to its headers' end", least=10)
    ] = 60_000
    body_timeout_ms: Annotated[int, Option("duration", "without progress of a request's body", least=10)] = 60_000
    keep_alive_timeout_ms: Annotated[int, Option("duration", "an idle connection is closed", least=10)] = 120_000
    drain_timeout_ms: Annotated[int, Option("duration", "requests in flight when the node stops")] = 10_000


class StoreConfig(Struct, frozen=True):
    """``[store]``: how a node keeps its store."""

    disk_sync_ms: Annotated[
        int, Option("duration", "class disk: at most so much is lost in a power cut", least=1, most=3_600_000)
    ] = 1000
    warm_tail_bytes: Annotated[
        int, Option("size", "recent records kept in memory, over all topics; 0 = off", off=True)
    ] = 64 * MIB
    pack_bytes: Annotated[
        int, Option("size", "consecutive chunks are stored together up to this", least=4 * KIB, most=16 * MIB)
    ] = 64 * KIB
    transaction_bytes: Annotated[
        int, Option("size", "what one group commit takes at most", least=64 * KIB, most=256 * MIB)
    ] = 4 * MIB
    wal_restart_bytes: Annotated[
        int, Option("size", "the write-ahead log is begun anew when it passes this", least=MIB)
    ] = 32 * MIB
    wal_limit_bytes: Annotated[int, Option("size", "the write-ahead log never passes this", least=MIB)] = 256 * MIB
    ballast_bytes: Annotated[
        int, Option("size", "kept aside, freed on a full disk so that deletes work; 0 = off", off=True)
    ] = 32 * MIB
    trail_bytes: Annotated[
        int, Option("size", "hashes of evicted ranges kept per topic, to prove positions by", least=4 * KIB)
    ] = MIB
    control_chunks: Annotated[
        int,
        Option("count", "a node's control chunks of a topic are said anew, in few, when there are more", least=1),
    ] = 250
    control_bytes: Annotated[int, Option("size", "the same by their size", least=4 * KIB)] = MIB


class MirroringConfig(Struct, frozen=True):
    """``[mirroring]``: how links and feeds behave. Both ends go by the caller's heartbeat and frame size."""

    heartbeat_ms: Annotated[
        int,
        Option("duration", "a feed says how far it is, and an idle one that it lives", least=10, most=60_000),
    ] = 1000
    max_frame_bytes: Annotated[
        int,
        Option(
            "size",
            "chunks are sent together up to this; a larger chunk goes alone",
            least=4 * KIB,
            most=64 * MIB,
        ),
    ] = MIB
    buffer_bytes: Annotated[
        int, Option("size", "received and not yet applied, per link", least=64 * KIB, most=1 << 30)
    ] = 8 * MIB
    backoff_min_ms: Annotated[int, Option("duration", "first pause after a link broke", least=1)] = 100
    backoff_max_ms: Annotated[int, Option("duration", "longest pause between two tries", least=1)] = 30_000
    settle_ms: Annotated[
        int,
        Option("duration", "a start waits so long for peers to tell our own positions; 0 = not", off=True),
    ] = 1000
    home_patience_ms: Annotated[
        int,
        Option("duration", "after a new life a home waits so long for peers that do not answer; 0 = not", off=True),
    ] = 10_000
    connect_timeout_ms: Annotated[int, Option("duration", "until a peer answers a connection", least=10)] = 5000


class ClusterConfig(Struct, frozen=True):
    """``[cluster]``: nodes of another cluster are refused."""

    name: Annotated[str, Option("text", "the cluster's name; its nodes refuse those of others")] = "mirrord"


class Config(Struct, frozen=True):
    """A whole file. ``nodes`` and ``topics`` are in the file's order; ``file`` is None for a mere text."""

    cluster: str
    nodes: Mapping[str, NodeConfig]
    topics: Mapping[str, Fields] = {}
    links: tuple[LinkConfig, ...] = ()
    routers: Mapping[str, RouterConfig] = {}
    limits: Limits = Limits()
    store: StoreConfig = StoreConfig()
    mirroring: MirroringConfig = MirroringConfig()
    auth: AuthConfig = AuthConfig()
    file: str | None = None
