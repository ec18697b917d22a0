"""The tree of statistics as metrics: ``mirrord_*``, with units in the names (docs/OPERATIONS.md lists them)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from ..config.topic import DURABILITIES
from ..links.state import STATES
from ..node import Node
from .narrow import Sees, narrowed, narrowed_metrics

MOST_TOPICS = 1000  # detailed series; beyond, mirrord_topic_metrics_truncated is 1


def numbers(node: Node, sees: Sees | None = None) -> dict[str, Any]:
    """The same as JSON: the totals by the names of the reference surface, and the tree below them."""
    tree = node.statistics()
    totals = tree.pop("topics")
    streams = {name: tree["streams"][name] for name in ("sse_connections", "watch_sessions")}
    wal = {"replay_progress": 1.0, "wal": _wal(tree["journal"])}  # a node serves nothing before its store is open
    told: dict[str, Any] = {**totals, **tree.pop("queues"), **streams, **wal, **tree}
    return told if sees is None else narrowed(told, sees)


def _wal(journal: dict[str, Any]) -> dict[str, Any]:
    """The journal by the names of the reference surface."""
    return {
        "fsyncs": journal["syncs"],
        "frames": journal["turns"],
        "batches": journal["commits"],
        "bytes_written": journal["bytes"],
        "rotations": 0,  # one file, cut in place
        "queue_depth": journal["waiting"],
        "queue_depth_peak": journal["waiting_peak"],
        "submit_full_total": journal["throttled"],
        "read_only": journal["state"] == "failed",
        "fsync_count": journal["syncs"],
        "fsync_micros_total": int(journal["fsync_s"] * 1e6),
    }


def exposition(node: Node, sees: Sees | None = None) -> bytes:
    """Prometheus text; with ``sees``, without the series of names that it does not see."""
    registry = CollectorRegistry()
    registry.register(_Collector(node, sees))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, node: Node, sees: Sees | None) -> None:
        self._node, self._sees = node, sees

    def collect(self) -> Iterable[Metric]:
        return self._all() if self._sees is None else narrowed_metrics(self._all(), self._sees)

    def _all(self) -> Iterator[Metric]:
        tree = self._node.statistics()
        yield from _of_node(tree)
        yield from _of_journal(tree["journal"])
        yield from _of_topics(self._node)
        yield from _of_queues(self._node, tree["queues"])
        yield from _of_routers(tree["routing"])
        yield from _of_groups(tree["groups"])
        yield from _of_links(tree["links"])
        yield from _of_feeds(tree["feeds"])
        yield from _of_streams(tree["streams"])


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mirrord_{name}", text, value=value)


def _of_node(tree: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge("uptime_seconds", "Since this process started.", tree["uptime_ms"] / 1000)
    yield _gauge("ready", "1 when GET /v0/ready answers 200.", float(tree["ready"]))
    yield _gauge("life", "Number of the node's present life.", tree["life"])
    yield _gauge("topics", "Topics on this node.", tree["topics"]["topics"])
    yield _gauge("records_live", "Live records over all topics.", tree["topics"]["records_live"])
    yield _gauge("bytes_live", "Their JSON text, bytes.", tree["topics"]["bytes_live"])
    by_class = GaugeMetricFamily("mirrord_topics_by_class", "Topics by durability.", labels=["class"])
    for name in DURABILITIES:
        by_class.add_metric([name], tree["topics"][f"topics_{name}"])
    yield by_class
    deaths = CounterMetricFamily("mirrord_actor_deaths", "Deaths of actors that live.", labels=["actor"])
    for actor in tree["actors"]:
        if actor["deaths"]:
            deaths.add_metric([actor["name"]], actor["deaths"])
    yield deaths


def _of_journal(journal: dict[str, Any]) -> Iterator[Metric]:
    for name, text in (
        ("commits", "Transactions committed."),
        ("syncs", "Of these with a full sync."),
        ("turns", "Turns of topics committed."),
        ("bytes", "Bytes of chunks committed."),
        ("failures", "Commits that the disk refused."),
        ("throttled", "Turns refused because too much waited."),
    ):
        yield CounterMetricFamily(f"mirrord_journal_{name}", text, value=journal[name])
    yield _gauge("journal_waiting", "Turns that wait for their commit.", journal["waiting"])
    yield _gauge("journal_waiting_peak", "Most turns that ever waited at once.", journal["waiting_peak"])
    yield _gauge("journal_commit_seconds", "Mean time of a commit.", journal["mean_commit_ms"] / 1000)
    yield _gauge("journal_fsync_seconds", "Time of a commit with a sync, smoothed.", journal["fsync_ms"] / 1000)
    yield _gauge("journal_wal_bytes", "Size of the write-ahead log.", journal["wal_bytes"])
    yield _gauge("journal_ok", "1 unless the disk is full or failed.", float(journal["state"] == "ok"))


def _of_topics(node: Node) -> Iterator[Metric]:
    head = GaugeMetricFamily("mirrord_topic_head_seq", "Highest seq.", labels=["topic"])
    earliest = GaugeMetricFamily("mirrord_topic_earliest_seq", "First seq that can be read.", labels=["topic"])
    records = GaugeMetricFamily("mirrord_topic_records_live", "Live records.", labels=["topic"])
    size = GaugeMetricFamily("mirrord_topic_bytes_live", "JSON text of live records, bytes.", labels=["topic"])
    for topic in node.registry.page("", "", MOST_TOPICS):
        head.add_metric([topic.topic], topic.head)
        earliest.add_metric([topic.topic], topic.earliest)
        records.add_metric([topic.topic], topic.count)
        size.add_metric([topic.topic], topic.bytes)
    yield from (head, earliest, records, size)
    yield _gauge(
        "topic_metrics_truncated",
        "1 when there are more topics than are shown.",
        float(len(node.registry) > MOST_TOPICS),
    )


def _of_queues(node: Node, totals: dict[str, int]) -> Iterator[Metric]:
    yield _gauge("queue_topics", "Lease queues on this node.", totals["queue_topics"])
    yield _gauge("queue_leases_in_flight", "Leases that this node granted.", totals["queue_leases_in_flight"])
    gauges = {
        "ready": GaugeMetricFamily("mirrord_topic_queue_ready", "Records that may be claimed.", labels=["topic"]),
        "in_flight": GaugeMetricFamily("mirrord_topic_queue_in_flight", "Records that are leased.", labels=["topic"]),
    }
    dead = CounterMetricFamily("mirrord_topic_queue_dead_letters", "Records moved aside.", labels=["topic"])
    for topic in node.registry.page("", "", MOST_TOPICS):
        if topic.config.type == "queue":
            counts = node.queues.counts(topic)
            gauges["ready"].add_metric([topic.topic], counts.ready)
            gauges["in_flight"].add_metric([topic.topic], counts.in_flight)
            dead.add_metric([topic.topic], counts.dead_lettered)
    yield from (*gauges.values(), dead)


def _of_routers(routers: list[dict[str, Any]]) -> Iterator[Metric]:
    yield _gauge("routers", "Routers on this node.", len(routers))
    ends = ["router", "source", "dest"]
    lag = GaugeMetricFamily("mirrord_router_lag_records", "Records of the source not looked at.", labels=ends)
    waiting = GaugeMetricFamily("mirrord_router_waiting", "1 while the router stands still.", labels=ends)
    counters = {
        "forwarded_total": CounterMetricFamily("mirrord_router_records", "Records copied.", labels=ends),
        "missed_total": CounterMetricFamily(
            "mirrord_router_missed", "Records that the source lost before they were copied.", labels=ends
        ),
        "long_paths_total": CounterMetricFamily(
            "mirrord_router_long_paths", "Copies that went through more topics than max_router_hops.", labels=ends
        ),
    }
    for router in routers[:MOST_TOPICS]:
        labels = [router[end] for end in ends]
        lag.add_metric(labels, router["lag"])
        waiting.add_metric(labels, float(router["state"] == "waiting"))
        for key, counter in counters.items():
            counter.add_metric(labels, router[key])
    yield from (lag, waiting, *counters.values())


def _of_groups(groups: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["topic", "group"]
    lag = GaugeMetricFamily(
        "mirrord_group_lag_records", "Seqs that a group used lately was not given yet.", labels=labels
    )
    pending = GaugeMetricFamily("mirrord_group_pending", "Records handed out and not committed.", labels=labels)
    for group in groups[:MOST_TOPICS]:
        lag.add_metric([group["topic"], group["group"]], group["lag"])
        pending.add_metric([group["topic"], group["group"]], group["pending"])
    yield from (lag, pending)


def _of_links(links: list[dict[str, Any]]) -> Iterator[Metric]:
    state = GaugeMetricFamily("mirrord_link_state", "1 for the state that the link is in.", labels=["peer", "state"])
    gauges: dict[str, GaugeMetricFamily] = {
        "lag_seconds": GaugeMetricFamily(
            "mirrord_link_lag_seconds", "Age of the first record that is missing here.", labels=["peer"]
        ),
        "lag_records": GaugeMetricFamily(
            "mirrord_link_lag_records", "Records that the peer has and this node lacks.", labels=["peer"]
        ),
        "lag_bytes": GaugeMetricFamily("mirrord_link_lag_bytes", "The same in bytes, estimated.", labels=["peer"]),
        "rate_records_s": GaugeMetricFamily(
            "mirrord_link_rate_records_per_second", "Records applied per second.", labels=["peer"]
        ),
    }
    counters: dict[str, CounterMetricFamily] = {
        "records": CounterMetricFamily("mirrord_link_records", "Records applied.", labels=["peer"]),
        "bytes": CounterMetricFamily("mirrord_link_bytes", "Bytes received.", labels=["peer"]),
        "connects": CounterMetricFamily("mirrord_link_connects", "Feeds opened.", labels=["peer"]),
    }
    for link in links:
        for word in STATES:
            state.add_metric([link["peer"], word], float(link["state"] == word))
        for key, gauge in gauges.items():
            gauge.add_metric([link["peer"]], link[key])
        for key, counter in counters.items():
            counter.add_metric([link["peer"]], link[key])
    yield from (state, *gauges.values(), *counters.values())


def _of_feeds(feeds: list[dict[str, Any]]) -> Iterator[Metric]:
    yield _gauge("feeds", "Feeds served now.", len(feeds))
    sent = GaugeMetricFamily("mirrord_feed_sent_bytes", "Bytes sent on the running feed.", labels=["peer"])
    for feed in feeds:
        sent.add_metric([feed["caller"]], feed["bytes"])
    yield sent


def _of_streams(streams: dict[str, int]) -> Iterator[Metric]:
    yield _gauge("sse_connections", "Open event streams and WebSockets.", streams["sse_connections"])
    yield _gauge("watch_sessions", "Watch sessions kept.", streams["watch_sessions"])
    yield _gauge("fans", "Topics in one view that somebody is pushed.", streams["fans"])
    yield _gauge("riders", "Places of streams that are caught up and share pages.", streams["riders"])
    for name, text in (("encoded", "Pages encoded once for many."), ("handed", "Such pages handed to a stream.")):
        yield CounterMetricFamily(f"mirrord_pages_{name}", text, value=streams[f"pages_{name}"])
