"""Reference 1.1, 2.12, 4, 5: what an operator sets and sees: limits and their 429, keys, health, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ..daemon import Api, Daemon, answered, daemons, refused, until
from ..events import EventStream, watched
from ..frames import UPGRADE, Wire

GUARDED = """
[cluster]
name = "guarded"
[nodes.guarded]
listen = "127.0.0.1:0"
data_dir = "data"
[auth]
keys = ["all::", "r:read:", "w:w:in:", "rw:rw:in:|also", "del:del:", "adm:a:", "rin:r:in:", "radm:write+admin:"]
[limits]
max_topics = 12
max_routers = 2
max_watch_sessions = 2
max_sse = 3
max_sse_per_key = 1
max_total_bytes = "100KiB"
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A node with keys of every kind and with low limits."""
    with daemons(tmp_path_factory.mktemp("guarded"), GUARDED, "guarded") as (daemon,):
        yield daemon


class Keyed:
    """Calls with one key."""

    def __init__(self, daemon: Daemon, key: str) -> None:
        self._api, self._headers = daemon.api, {"authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return self._api.request(method, f"/v0/{path}", json=body, params=query, headers=self._headers)


ONE = {"records": [{"data": 1}]}
ROUTES: list[tuple[str, str, Any, str]] = [
    ("GET", "topics", None, "read"), ("GET", "routers", None, "read"), ("GET", "topics/in:x", None, "read"),
    ("POST", "topics/in:x/diff", {}, "read"), ("GET", "routers/in:x", None, "read"), ("GET", "metrics", None, "read"),
    ("POST", "watch", {"topics": {"in:none": {}}}, "read"), ("POST", "topics/in:x", ONE, "write"),
    ("POST", "topics/in:x/ack", {"node": "w", "seqs": []}, "write"),
    ("POST", "topics/in:x/nack", {"node": "w", "seqs": []}, "write"),
    ("POST", "topics/in:x/extend", {"node": "w", "seqs": [], "lease_ms": 1}, "write"),
    ("POST", "topics/in:x/claim", {"node": "w"}, "read+write"), ("GET", "topics/in:x/work", None, "read+write"),
    ("POST", "topics/in:x/delete", {"before_seq": 0}, "delete"), ("DELETE", "topics/in:none", None, "delete"),
    ("DELETE", "routers/in:none", None, "delete"), ("PUT", "topics/in:x", {}, "admin"),
    ("PUT", "routers/in:none", {"source": "in:y", "dest": "in:y"}, "admin"),
]  # fmt: skip
SCOPES = {
    "r": {"read"}, "w": {"write"}, "rw": {"read", "write"}, "del": {"delete"}, "adm": {"admin"},
    "all": {"read", "write", "delete", "admin"},
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "needed"), ROUTES)
def test_scopes(guarded: Daemon, method: str, path: str, body: Any, needed: str) -> None:
    """5, 12.138: the table, row by row: which key may, which is 403, and 401 for who has none."""
    for key, scopes in SCOPES.items():
        got = Keyed(guarded, key)(method, path, body)
        if set(needed.split("+")) <= scopes:
            assert got.status_code not in (401, 403), got.text
        else:
            refused(got, 403, "forbidden")
    refused(guarded.api.request(method, f"/v0/{path}", json=body), 401, "unauthorized")


@pytest.mark.parametrize(
    "header", ["all", "Basic all", "Bearer", "Bearer al", "Bearer ALL", "Bearer all::", "Token all"]
)
def test_who_is_unknown(guarded: Daemon, header: str) -> None:
    """5, 12.137: 401 for everything that is not `Bearer` and a key, to the byte."""
    refused(guarded.api.get("/v0/topics", headers={"authorization": header}), 401, "unauthorized")


def test_prefixes(guarded: Daemon) -> None:
    """5, 12.139, 12.20: names of path and body within the prefixes; lists show those within."""
    every, inside = Keyed(guarded, "all"), Keyed(guarded, "rw")
    for name in ("in:a", "also", "out"):
        answered(every("POST", f"topics/{name}", ONE))
    refused(inside("POST", "topics/out", ONE), 403, "forbidden")
    refused(inside("POST", "topics/in", ONE), 403, "forbidden")
    refused(inside("POST", "topics/out/diff", {}), 403, "forbidden")
    refused(inside("POST", "watch", {"topics": {"in:a": {}, "out": {}}}), 403, "forbidden")
    listed = [one["topic"] for one in inside("GET", "topics", page_size=1000).json()["topics"]]
    assert listed == sorted(listed)
    assert {"in:a", "also"} <= set(listed)
    assert "out" not in listed
    assert answered(inside("POST", "topics/in%3Aa/diff", {}))["head_seq"] >= 1
    assert '"out"' not in inside("GET", "metrics").text


def test_inline_config_needs_admin(guarded: Daemon) -> None:
    """5, 12.16: write and admin when the append would create the topic; write is enough when it exists."""
    body = {**ONE, "config": {"cap_records": 3}}
    refused(Keyed(guarded, "w")("POST", "topics/in:inline", body), 403, "forbidden")
    assert Keyed(guarded, "radm")("POST", "topics/in:inline", body).status_code == 201
    assert Keyed(guarded, "w")("POST", "topics/in:inline", body).status_code == 200


def test_a_watch_is_of_its_key(guarded: Daemon) -> None:
    """5, 12.140, 12.141: the wid alone is not enough; the key as header or as ?token=, which counts only here."""
    all_ = Keyed(guarded, "all")
    answered(all_("POST", "topics/in:w", ONE))
    wid = answered(all_("POST", "watch", {"topics": {"in:w": {}}}))["wid"]
    refused(guarded.api.get(f"/v0/watch/{wid}"), 401, "unauthorized")
    refused(guarded.api.get(f"/v0/watch/{wid}?token=r"), 401, "unauthorized")
    refused(Keyed(guarded, "r")("GET", f"watch/{wid}"), 401, "unauthorized")
    with EventStream(guarded.api, f"/v0/watch/{wid}?token=all&token=r") as stream:
        assert stream.status == 200
        stream.until("caught-up")
    refused(guarded.api.get("/v0/topics?token=all"), 401, "unauthorized")
    refused(guarded.api.get("/v0/metrics?token=all"), 401, "unauthorized")


def test_websocket_keys(guarded: Daemon) -> None:
    """2.10, 5: the upgrade needs a key in the header; each order its scope and its names."""
    with Wire(guarded.api) as wire:
        assert wire.status == 401
    with Wire(guarded.api, *UPGRADE, "authorization: Bearer rin") as wire:
        assert wire.status == 101
        wire.order(op="ping")
        assert wire.told()["op"] == "pong"
        for order in (
            {"op": "publish", "topic": "in:x", "records": [{"data": 1}]},
            {"op": "subscribe", "topic": "out"},
            {"op": "subscribe", "topics": {"in:x": {}, "out": {}}},
        ):
            wire.order(**order)
            assert wire.told()["code"] == "forbidden"
    with Wire(guarded.api, *UPGRADE, "authorization: Bearer w") as wire:
        wire.order(op="publish", topic="in:ws", records=[{"data": 1}], config={"ttl_ms": 0})
        assert wire.told()["code"] == "forbidden"


def test_probes_need_no_key(guarded: Daemon) -> None:
    """2.12, 5, 12.144: health and ready are open; ready tells how many topics."""
    for path in ("/v0/health", "/healthz"):
        told = answered(guarded.api.get(path))
        assert told["status"] == "ok"
        assert (isinstance(told["version"], str), told["uptime_ms"] >= 0) == (True, True)
    for path in ("/v0/ready", "/readyz"):
        told = answered(guarded.api.get(path))
        assert (told["status"], told["wal_replay_complete"], told["topics"] >= 0) == ("ready", True, True)


def throttled(response: Any) -> dict[str, Any]:
    assert response.headers["retry-after"] == "1"
    return refused(response, 429, "throttled")


def test_a_cap_of_topics(guarded: Daemon) -> None:
    """4, 1.1, 12.134: 429 with limit, max and Retry-After; what exists may still be configured."""
    every = Keyed(guarded, "all")
    made: list[str] = []
    while (got := every("PUT", f"topics/cap{len(made)}")).status_code == 201:
        made.append(f"cap{len(made)}")
    assert throttled(got).items() >= {"limit": "max_topics", "max": 12}.items()
    throttled(every("POST", "topics/one-more", ONE))
    assert every("PUT", f"topics/{made[0]}", {"cap_records": 1}).status_code == 200
    for name in made:
        every("DELETE", f"topics/{name}")


def test_a_cap_of_routers(guarded: Daemon) -> None:
    """4, 1.1: the same for routers."""
    every = Keyed(guarded, "all")
    for n in range(2):
        assert every("PUT", f"routers/cap{n}", {"source": "cap:s", "dest": "cap:d"}).status_code == 201
    got = every("PUT", "routers/cap2", {"source": "cap:s", "dest": "cap:d"})
    assert throttled(got).items() >= {"limit": "max_routers", "max": 2}.items()
    assert every("PUT", "routers/cap1", {"source": "cap:s", "dest": "cap:d", "filter": "x"}).status_code == 200
    for name in ("cap:s", "cap:d"):
        every("DELETE", f"topics/{name}")


def open_stream(guarded: Daemon, wid: str) -> EventStream | None:
    """An open one, once those of other cases have given their places back."""
    stream = EventStream(guarded.api, f"/v0/watch/{wid}?token=all")
    if stream.status == 200:
        return stream
    stream.close()
    return None


def test_caps_of_streams(guarded: Daemon) -> None:
    """4, 1.1: sessions 429 with limit and max; open streams of a key and of all 429, without."""
    every = Keyed(guarded, "all")
    answered(every("POST", "topics/in:s", ONE))
    sessions = [every("POST", "watch", {"topics": {"in:s": {}}}) for _ in range(3)]
    assert throttled(sessions[-1]).items() >= {"limit": "max_watch_sessions", "max": 2}.items()
    wid = next(got.json()["wid"] for got in sessions if got.status_code == 200)
    with until(lambda: open_stream(guarded, wid)) as stream:
        stream.until("caught-up")
        throttled(every("GET", f"watch/{wid}"))


def test_a_cap_of_bytes(guarded: Daemon) -> None:
    """4, 12.71: all topics together; 429 until something goes."""
    every, big = Keyed(guarded, "all"), {"records": [{"data": "x" * 30_000}]}
    while (got := every("POST", "topics/in:big", big)).status_code in (200, 201):
        pass
    assert throttled(got).items() >= {"limit": "max_total_bytes", "max": 100 * 1024}.items()
    answered(every("POST", "topics/in:big/delete", {"before_seq": 99}))
    answered(every("POST", "topics/in:big", big))
    answered(every("DELETE", "topics/in:big"))


def test_metrics(api: Api, topic: str) -> None:
    """2.12, 12.145: Prometheus text, or JSON for who asks for it, with the topic in it."""
    api.append(topic, 1, 2)
    text = api.get("/v0/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert re.search(rf'_topic_head_seq{{topic="{topic}"}} 2(\.0)?$', text.text, re.M)
    told = answered(api.get("/v0/metrics", headers={"accept": "application/json"}))
    numbers = ["topics", "topics_ephemeral", "topics_memory", "topics_disk", "topics_fsync", "routers", "records_live",
               "bytes_live", "queue_topics", "queue_leases_in_flight", "uptime_ms"]  # fmt: skip
    assert all(told[number] >= 0 for number in numbers)
    assert told["ready"] is True


def test_metrics_count_streams(api: Api, topic: str) -> None:
    """2.12: open connections and sessions."""
    api.create(topic)
    with EventStream(api, watched(api, {topic: {}})["stream_url"]) as stream:
        stream.until("caught-up")
        told = answered(api.get("/v0/metrics", headers={"accept": "application/json"}))
        assert min(told["sse_connections"], told["watch_sessions"]) >= 1
