"""Bounds of a whole node: only what is new is refused, by the limit's name, and the place comes back (reference 4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from .daemon import Api, Daemon, daemons, refused, until

TIGHT = """
[cluster]
name = "tight"
[nodes.tight]
listen = "127.0.0.1:0"
data_dir = "data"
[auth]
keys = ["one", "two"]
[limits]
max_routers = 1
max_watch_sessions = 3
max_watch_topics = 2
max_sse = 2
max_sse_per_key = 1
max_total_bytes = "4KiB"
max_claim = 3
max_settle = 3
min_lease_ms = "10s"
max_lease_ms = "20s"
max_jitter_ms = 7
max_nack_delay_ms = "1s"
min_heartbeat_ms = 100
max_heartbeat_ms = 200
max_limit = 4
max_page_size = 3
"""
ONE, TWO = ({"authorization": f"Bearer {key}"} for key in ("one", "two"))


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node with bounds that a test can reach."""
    with daemons(tmp_path_factory.mktemp("tight"), TIGHT, "tight") as (daemon,):
        daemon.api.headers.update(ONE)
        yield daemon


@pytest.fixture
def api(tight: Daemon) -> Api:
    return tight.api


def throttled(response: httpx.Response, limit: str, most: int) -> None:
    assert refused(response, 429, "throttled") == {"limit": limit, "max": most}
    assert response.headers["retry-after"] == "1"


def test_all_bytes_of_a_node(api: Api, topic: str) -> None:
    """Over all topics; what is there is served, a retry is answered, and a delete makes room."""
    api.append(topic, "x" * 2000)
    first = api.append(topic + "b", "x" * 1900, idempotency_key="k")
    body = {"records": [{"data": "x" * 500}]}
    throttled(api.post(f"/v0/topics/{topic}", json=body), "max_total_bytes", 4096)
    throttled(api.post(f"/v0/topics/{topic}", json={**body, "disable_backpressure": True}), "max_total_bytes", 4096)
    again = api.append(topic + "b", "x" * 1900, idempotency_key="k")
    assert (again["deduped"], again["seqs"]) == (True, first["seqs"])
    assert api.state(topic)["count"] == 1
    api.told("POST", f"/v0/topics/{topic}/delete", {"before_seq": 2})
    api.append(topic, "x" * 500)
    for name in (topic, topic + "b"):
        api.told("DELETE", f"/v0/topics/{name}")


def test_routers(api: Api, topic: str) -> None:
    """One more is refused and makes no topics; the one that is there can be changed."""
    made = {"source": f"{topic}s", "dest": f"{topic}d"}
    api.told("PUT", f"/v0/routers/{topic}", made)
    more = api.put(f"/v0/routers/{topic}x", json={"source": f"{topic}y", "dest": f"{topic}z"})
    throttled(more, "max_routers", 1)
    refused(api.get(f"/v0/topics/{topic}y"), 404, "topic_not_found")
    api.told("PUT", f"/v0/routers/{topic}", {**made, "preserve_tag": False})
    api.told("DELETE", f"/v0/routers/{topic}")


def test_topics_of_a_watch(api: Api, topic: str) -> None:
    """More names than a watch may have are the request's fault."""
    for part in "abc":
        api.create(topic + part)
    refused(api.post("/v0/watch", json={"topics": {topic + part: {} for part in "abc"}}), 400, "invalid_request")


def test_a_watch_is_its_keys(api: Api, topic: str) -> None:
    """Another key that may read the same names does not take it over; nor does who has none."""
    api.create(topic)
    created = _watch(api, topic)
    assert created is not None
    refused(api.get(created, headers=TWO), 401, "unauthorized")
    refused(httpx.get(f"{api.base_url}{created}"), 401, "unauthorized")
    refused(httpx.get(f"{api.base_url}{created}?token=none"), 401, "unauthorized")
    with httpx.stream("GET", f"{api.base_url}{created}?token=one", timeout=30) as stream:
        assert stream.status_code == 200


def test_watches_and_streams(api: Api, topic: str) -> None:
    """Sessions on the node; streams of a key, and of all; a stream that ended gives its place back."""
    api.create(topic)
    mine, other = _watch(api, topic), _watch(api, topic, TWO)
    assert mine is not None
    assert other is not None
    while _watch(api, topic) is not None:
        pass
    throttled(api.post("/v0/watch", json={"topics": {topic: {}}}), "max_watch_sessions", 3)
    with _streaming(api, mine, ONE):
        throttled(api.get(mine), "max_sse_per_key", 1)
        with _streaming(api, other, TWO):
            throttled(api.get(other, headers=TWO), "max_sse", 2)
    with _streaming(api, mine, ONE):
        pass


@contextmanager
def _streaming(api: Api, url: str, headers: dict[str, str]) -> Iterator[None]:
    """An open stream, as soon as there is a place for it: that of one that has just ended may still be taken."""
    with ExitStack() as stack:

        def opened() -> bool:
            stream = httpx.stream("GET", f"{api.base_url}{url}", headers=headers, timeout=30)
            return stack.enter_context(stream).status_code == 200

        until(opened)
        yield


def _watch(api: Api, topic: str, headers: dict[str, str] = ONE) -> str | None:
    answer = api.post("/v0/watch", json={"topics": {topic: {}}}, headers=headers)
    return answer.json()["stream_url"] if answer.status_code == 200 else None


def test_claims_and_leases_are_cut_to_their_bounds(api: Api, topic: str) -> None:
    """More than a claim may take is cut, a lease too short or too long too; too many seqs at once are refused."""
    config = api.create(topic, type="queue", claim_jitter_ms=5)["config"]
    assert config["claim_jitter_ms"] == 5
    api.append(topic, *range(5))
    for lease_ms, least, most in ((1, 9_000, 10_500), (10**9, 19_000, 20_500)):
        body = {"node": "w", "max": 100, "lease_ms": lease_ms}
        claimed = api.told("POST", f"/v0/topics/{topic}/claim", body)
        ends = {job["deadline"] - api.state(topic)["last_write_ts"] for job in claimed["claimed"]}
        assert 0 < len(claimed["claimed"]) <= 3
        assert all(least <= end <= most + 5_000 for end in ends), ends
    response = api.post(f"/v0/topics/{topic}/ack", json={"node": "w", "seqs": [1, 2, 3, 4]})
    assert refused(response, 400, "batch_too_large") == {"seqs": 4, "max": 3}


def test_pages_and_reads_are_cut(api: Api, topic: str) -> None:
    """A page of a list, and of records."""
    api.append(topic, *range(6))
    assert len(api.diff(topic, limit=1000)["records"]) == 4
    for part in "abc":
        api.create(topic + part)
    assert len(api.told("GET", "/v0/topics", page_size=100)["topics"]) == 3
