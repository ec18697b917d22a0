"""Health, readiness, numbers, actors, and what is told of links (reference 2.12, design 5.3)."""

from __future__ import annotations

import re

import pytest

from .conftest import Pair
from .daemon import Api, refused, until

STATES = {"connecting", "catching-up", "caught-up", "stalled", "unreachable", "refused", "halted", "paused"}
CLASSES = ("ephemeral", "memory", "disk", "fsync")
LINK = {  # and "reason", "eta_s" where there is one
    "peer", "url", "state", "since_ms", "lag_records", "lag_bytes", "lag_seconds", "rate_records_s", "connects",
    "topics",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v0/health", "/healthz"])
def test_health(api: Api, path: str) -> None:
    """The process answers, with its version and how long it runs."""
    body = api.told("GET", path)
    assert body["status"] == "ok"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", body["version"])
    assert body["uptime_ms"] > 0


@pytest.mark.parametrize("path", ["/v0/ready", "/readyz"])
def test_ready(api: Api, topic: str, path: str) -> None:
    """The node can do its work; the number of topics is right."""
    api.create(topic)
    before = api.told("GET", path)
    assert (before["status"], before["wal_replay_complete"]) == ("ready", True)
    api.delete(f"/v0/topics/{topic}")
    assert api.told("GET", path)["topics"] == before["topics"] - 1


def test_metrics_as_text(api: Api, topic: str) -> None:
    """Prometheus text 0.0.4 unless JSON is asked for; every series of this project begins with its name."""
    topic = f"0-{topic}"  # the first thousand by name are told one by one
    api.append(topic, 1, 2)
    response = api.get("/v0/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {}
    for line in response.text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            values[series] = float(value)
            assert series.startswith("mirrord_"), series
    assert values["mirrord_ready"] == 1
    assert values["mirrord_uptime_seconds"] > 0
    assert values["mirrord_topics"] >= 1
    classes = [values[f'mirrord_topics_by_class{{class="{name}"}}'] for name in CLASSES]
    assert sum(classes) == values["mirrord_topics"]
    assert values["mirrord_records_live"] >= 2
    assert values[f'mirrord_topic_head_seq{{topic="{topic}"}}'] == 2
    assert values[f'mirrord_topic_earliest_seq{{topic="{topic}"}}'] == 1
    assert values[f'mirrord_topic_records_live{{topic="{topic}"}}'] == 2


def test_metrics_as_json(api: Api, topic: str) -> None:
    """The same numbers under the names of the reference surface."""
    api.append(topic, 1, 2)
    body = api.get("/v0/metrics", headers={"accept": "application/json"}).json()
    page = api.told("GET", "/v0/topics", page_size=1000)
    listed = page["topics"]
    while "next_cursor" in page:
        page = api.told("GET", "/v0/topics", page_size=1000, cursor=page["next_cursor"])
        listed += page["topics"]
    assert body["topics"] == len(listed)
    assert body["records_live"] == sum(one["count"] for one in listed)
    assert body["bytes_live"] == sum(one["bytes"] for one in listed)
    assert body["ready"] is True
    assert body["uptime_ms"] > 0
    assert sum(body[f"topics_{name}"] for name in CLASSES) == body["topics"]
    assert body["replay_progress"] == 1.0
    wal = body["wal"]
    assert wal.keys() == {
        "fsyncs", "frames", "batches", "bytes_written", "rotations", "queue_depth", "queue_depth_peak",
        "submit_full_total", "read_only", "fsync_count", "fsync_micros_total",
    }  # fmt: skip
    assert wal["frames"] >= wal["batches"] > 0
    assert (wal["fsync_count"], wal["read_only"]) == (wal["fsyncs"], False)
    assert wal["queue_depth_peak"] >= wal["queue_depth"]


def test_actors(api: Api) -> None:
    """The supervision tree, with counts; nothing has died."""
    body = api.told("GET", "/v0/actors")
    assert body["actors"]
    assert all(actor["deaths"] == 0 for actor in body["actors"])
    assert body["unwell"] == []


def test_a_lone_node(api: Api) -> None:
    """No links is an answer, not an error; a peer that is none is."""
    assert api.told("GET", "/v0/links")["links"] == []
    assert api.told("GET", "/v0/lag")["holders"] == ["solo"]
    assert set(api.told("GET", "/v0/topology")["nodes"]) == {"solo"}
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/retry")):
        refused(api.request(method, f"/v0/links/nobody{path}"), 404, "link_not_found")


def test_a_link_tells_everything(pair: Pair, mirrored: str) -> None:
    """State, lag in records, bytes and seconds, rate, per topic too."""
    pair.fra.append(mirrored, 1)
    until(lambda: pair.iad.told("GET", "/v0/topics", prefix=mirrored)["topics"])
    assert pair.iad.diff(mirrored, wait_ms=20_000)["records"]  # before that it may have caught up with less
    until(lambda: pair.iad.told("GET", "/v0/links/fra")["state"] == "caught-up")
    (link,) = pair.iad.told("GET", "/v0/links")["links"]
    assert set(link) >= LINK
    assert (link["peer"], link["state"], link["lag_records"], link["lag_bytes"]) == ("fra", "caught-up", 0, 0)
    assert link["url"] == f"http://{pair.fra.address}"
    assert link["connects"] >= 1
    told = link["topics"][mirrored]
    assert told["state"] in STATES
    assert told["lag_records"] == 0


def test_pause_resume_retry(pair: Pair, mirrored: str) -> None:
    """A paused link brings nothing and says so; resumed, it brings what came meanwhile; all is written down."""
    pair.fra.append(mirrored, 1)
    until(lambda: pair.iad.told("GET", "/v0/topics", prefix=mirrored)["topics"])
    assert [record["data"] for record in pair.iad.diff(mirrored, wait_ms=20_000)["records"]] == [1]
    assert pair.iad.told("POST", "/v0/links/fra/pause")["peer"] == "fra"
    until(lambda: pair.iad.told("GET", "/v0/links/fra")["state"] == "paused")
    pair.fra.append(mirrored, 2)
    assert pair.iad.diff(mirrored, from_seq=1, wait_ms=100)["records"] == []
    pair.iad.told("POST", "/v0/links/fra/resume")
    assert pair.iad.diff(mirrored, from_seq=1, wait_ms=20_000)["records"][0]["data"] == 2
    pair.iad.told("POST", "/v0/links/fra/retry")
    assert pair.iad.told("GET", "/v0/links/fra/events")["events"]
    until(lambda: pair.iad.told("GET", "/v0/links/fra")["state"] == "caught-up")


def test_lag_and_topology_of_a_pair(pair: Pair) -> None:
    """Any node shows the whole matrix and the whole file."""
    for api in pair:
        assert sorted(api.told("GET", "/v0/lag")["holders"]) == ["fra", "iad"]
        topology = api.told("GET", "/v0/topology")
        assert set(topology["nodes"]) == {"fra", "iad"}
        assert topology["topology_hash"] == pair.fra.told("GET", "/v0/topology")["topology_hash"]
