"""Routers over HTTP: every field, default, limit and refusal."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from .conftest import Pair
from .daemon import Api, Daemon, answered, refused, until

DEFAULTS = {
    "preserve_node": True, "preserve_tag": True, "filter": None, "allow_cycle": False, "guarantee": "at_least_once",
    "backfill": False, "forward": "all", "declared": False,
}  # fmt: skip
NUMBERS = {"state": "caught-up", "lag": 0, "missed_total": 0, "long_paths_total": 0}


def route(api: Api, name: str, source: str, dest: str, **fields: Any) -> dict[str, Any]:
    """A router that must be taken; the answer without its time."""
    told = api.told("PUT", f"/v0/routers/{name}", {"source": source, "dest": dest, **fields})
    del told["performance"]
    return told


def data(api: Api, topic: str) -> list[Any]:
    """What the records of a topic say."""
    return [record["data"] for record in api.diff(topic, limit=1000)["records"]]


def holds(api: Api, topic: str, numbers: list[int]) -> bool:
    """Whether its records say these numbers, in whatever order."""
    return sorted(data(api, topic)) == numbers


@pytest.fixture
def dest(topic: str) -> str:
    """A destination of the case's own."""
    return f"{topic}-copy"


def test_a_router_is_told_as_it_was_put(api: Api, topic: str, dest: str) -> None:
    """201 at first with all defaults, 200 after; the filter in its canonical form."""
    name = f"{topic}->{dest}"
    there = {"router": name, "source": topic, "dest": dest}
    response = api.put(f"/v0/routers/{name}", json={"source": topic, "dest": dest})
    assert response.status_code == 201
    assert response.json() | {"performance": 0} == {**there, **DEFAULTS, "created": True, "performance": 0}
    fields = {"filter": "eu:*", "preserve_node": False, "preserve_tag": False, "guarantee": "exactly_once"}
    changed = route(api, name, topic, dest, **fields)
    assert changed == {**there, **DEFAULTS, **fields, "filter": ["tag", "Glob", "eu:*"], "created": False}
    told = api.told("GET", f"/v0/routers/{name}")
    assert told | {"performance": 0} == {
        **there, **DEFAULTS, **fields, "filter": ["tag", "Glob", "eu:*"], **NUMBERS, "forwarded_total": 0,
        "performance": 0,
    }  # fmt: skip


def test_both_topics_are_made(api: Api, topic: str, dest: str) -> None:
    """The source always, the destination unless create_dest is false."""
    response = api.put(f"/v0/routers/{topic}", json={"source": topic, "dest": dest, "create_dest": False})
    assert refused(response, 404, "topic_not_found") == {"topic": dest}
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    route(api, topic, topic, dest)
    assert api.state(topic)["count"] == api.state(dest)["count"] == 0


def test_copies(api: Api, topic: str, dest: str) -> None:
    """Data and meta to the byte, label and tag, a new seq and time; read at once after the append was answered."""
    api.append(topic, "before")
    route(api, topic, topic, dest)
    body = '{"records":[{"data":{"a": 1.0},"meta":{"k" :2},"tag":"t","node":"web"},{"data":[ 2 ]}]}'
    assert api.post_raw(f"/v0/topics/{topic}", body).status_code == 200
    assert api.texts(dest) == [(b'{"a": 1.0}', b'{"k" :2}'), (b"[ 2 ]", b"")]
    first, second = api.diff(dest, include_tags=True)["records"]
    assert (first["$seq"], first["$node"], first["$tag"]) == (1, "web", "t")
    assert (second["$seq"], second["$node"]) == (2, "solo")
    assert api.told("GET", f"/v0/routers/{topic}")["forwarded_total"] == 2


def test_state_of_a_destination_is_up_to_date(api: Api, topic: str, dest: str) -> None:
    """As a diff is: what was appended before is counted."""
    route(api, topic, topic, dest)
    for number in range(1, 20):
        api.append(topic, number)
        assert api.state(dest)["head_seq"] == number


def test_a_router_feeds_a_queue(api: Api, topic: str, dest: str) -> None:
    """What was appended before a claim can be claimed; what was acknowledged is not copied anew; groups read copies."""
    api.create(dest, type="queue")
    route(api, topic, topic, dest)
    for number in range(10):
        api.append(topic, number)
        claimed = api.told("POST", f"/v0/topics/{dest}/claim", {"node": "w"})["claimed"]
        assert [job["data"] for job in claimed] == [number]
        api.told("POST", f"/v0/topics/{dest}/ack", {"node": "w", "seqs": [claimed[0]["$seq"]]})
    assert api.state(dest)["count"] == 0
    route(api, f"{topic}-log", topic, f"{dest}-log")
    api.append(topic, 10)
    read = api.told("POST", f"/v0/topics/{dest}-log/groups/g/read", {"consumer": "c"})
    assert [record["data"] for record in read["records"]] == [10]


def test_filter_and_backfill(api: Api, topic: str, dest: str) -> None:
    """What is there already is copied on demand, and only what matches."""
    for tag in ("a", "b", "ab"):
        api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": tag, "tag": tag}]})
    route(api, topic, topic, dest, filter=["tag", "Glob", "a*"], backfill=True)
    assert data(api, dest) == ["a", "ab"]


@pytest.mark.parametrize("body", [
    {}, {"source": "a"}, {"dest": "b"}, {"source": "a", "dest": "a"}, {"source": "/", "dest": "b"},
    {"source": "a", "dest": ""}, {"source": 1, "dest": "b"}, {"source": "a", "dest": "b", "guarantee": "never"},
    {"source": "a", "dest": "b", "filter": ["tag", "Glob", "x"]},
    {"source": "a", "dest": "b", "filter": ["x", "Eq", "y"]},
    {"source": "a", "dest": "b", "filter": ["tag", "Eq"]}, {"source": "a", "dest": "b", "preserve_tag": 1},
    {"source": "a", "dest": "b", "forward": "some"},
])  # fmt: skip
def test_what_cannot_be_a_router(api: Api, topic: str, body: dict[str, Any]) -> None:
    """400, and nothing comes of it."""
    refused(api.put(f"/v0/routers/{topic}", json=body), 400, "invalid_request")
    refused(api.get(f"/v0/routers/{topic}"), 404, "router_not_found")


@pytest.mark.parametrize("name", ["-a", ">a", "a b", "a" * 256, "a%2Fb"])
def test_names(api: Api, name: str) -> None:
    """As topics', and `>` inside."""
    response = api.put(f"/v0/routers/{name}", json={"source": "a", "dest": "b"})
    assert response.status_code in (400, 404)


def test_a_router_that_is_not_there(api: Api, topic: str) -> None:
    """404 with its name; deleting it is no fault."""
    assert refused(api.get(f"/v0/routers/{topic}"), 404, "router_not_found") == {"router": topic}
    told = api.told("DELETE", f"/v0/routers/{topic}")
    assert told | {"performance": 0} == {"router": topic, "deleted": False, "performance": 0}
    refused(api.post(f"/v0/routers/{topic}"), 405, "method_not_allowed")


def test_repointing(api: Api, topic: str, dest: str) -> None:
    """A router keeps its ends for as long as it lives."""
    route(api, topic, topic, dest)
    response = api.put(f"/v0/routers/{topic}", json={"source": topic, "dest": "elsewhere"})
    detail = refused(response, 409, "topic_exists_incompatible")
    assert detail["reason"] == "router_repoint_forbidden"


def test_a_ring(api: Api, topic: str, dest: str) -> None:
    """Refused by its topics; allowed, each record comes into each topic once."""
    route(api, f"{topic}-on", topic, dest)
    response = api.put(f"/v0/routers/{topic}-back", json={"source": dest, "dest": topic})
    assert refused(response, 409, "router_cycle") == {"cycle": [dest, topic, dest]}
    route(api, f"{topic}-back", dest, topic, allow_cycle=True)
    api.append(topic, 1)
    api.append(dest, 2)
    assert sorted(data(api, dest)) == [1, 2]
    assert sorted(data(api, topic)) == [1, 2]


def test_a_mesh_by_fan_in(api: Api, topic: str) -> None:
    """Six routers between three topics: a record comes once along each way that leads through no topic twice, and it
    never comes back to where it was written."""
    names = [f"{topic}-{n}" for n in range(3)]
    for source in names:
        for dest in names:
            if source != dest:
                route(api, f"{source}->{dest}", source, dest, allow_cycle=True)
    for number, name in enumerate(names):
        api.append(name, number)
    for name in names:
        number = names.index(name)
        all_ways = sorted([number, *(other for other in range(3) if other != number for _ in "ab")])
        until(partial(holds, api, name, all_ways))


def test_lists(api: Api, topic: str) -> None:
    """Sorted, by prefix, source and destination, in pages that a cursor joins."""
    for number in range(5):
        route(api, f"{topic}.r{number}", f"{topic}-{number % 2}", f"{topic}-to-{number}")
    told = api.told("GET", "/v0/routers", prefix=f"{topic}.", source=f"{topic}-0")
    assert [router["router"] for router in told["routers"]] == [f"{topic}.r0", f"{topic}.r2", f"{topic}.r4"]
    assert told["routers"][0] == {
        "router": f"{topic}.r0", "source": f"{topic}-0", "dest": f"{topic}-to-0", "guarantee": "at_least_once",
        **NUMBERS, "forwarded_total": 0,
    }  # fmt: skip
    told = api.told("GET", "/v0/routers", dest=f"{topic}-to-3")
    assert [router["router"] for router in told["routers"]] == [f"{topic}.r3"]
    assert "next_cursor" not in told
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.told("GET", "/v0/routers", prefix=f"{topic}.", page_size=2, **cursor)
        assert len(page["routers"]) <= 2
        found += [router["router"] for router in page["routers"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == [f"{topic}.r{number}" for number in range(5)]
    refused(api.get("/v0/routers", params={"cursor": "x"}), 400, "invalid_request")


def test_a_cursor_goes_into_a_url_as_it_is(api: Api, topic: str) -> None:
    """Base64 has a plus, which is a space in a URL that nobody encoded."""
    names = [f"{topic}{'a' * more}>" for more in range(4)]
    for name in names:
        route(api, name, topic, f"{topic}-copy")
    cursors = [api.told("GET", "/v0/routers", prefix=name[:-1], page_size=1)["next_cursor"] for name in names[:-1]]
    assert any("+" in cursor for cursor in cursors)
    for cursor in cursors:
        assert answered(api.get(f"/v0/routers?cursor={cursor}"))["routers"]


def test_a_deleted_topic_takes_its_routers(api: Api, topic: str, dest: str) -> None:
    """On both sides, named; the copies that are elsewhere stay."""
    route(api, f"{topic}-in", f"{topic}-up", topic)
    route(api, f"{topic}-out", topic, dest)
    api.append(topic, 1)
    assert data(api, dest) == [1]
    told = api.told("DELETE", f"/v0/topics/{topic}")
    assert told["routers_removed"] == [f"{topic}-in", f"{topic}-out"]
    refused(api.get(f"/v0/routers/{topic}-in"), 404, "router_not_found")
    api.append(f"{topic}-up", 2)
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    assert data(api, dest) == [1]


def test_a_full_destination_is_named(api: Api, topic: str, dest: str) -> None:
    """The router waits and says for what; room lets it go on."""
    api.create(dest, cap_records=2, discard="reject")
    route(api, topic, topic, dest)
    api.append(topic, 1, 2, 3)
    told = until(lambda: (t := api.told("GET", f"/v0/routers/{topic}"))["state"] == "waiting" and t)
    assert (told["lag"], told["forwarded_total"], told["waiting_for"]) == (1, 2, f"room in {dest} (topic_full)")
    assert data(api, dest) == [1, 2]
    api.told("POST", f"/v0/topics/{dest}/delete", {"before_seq": 2})
    until(lambda: data(api, dest) == [2, 3])


def test_over_kill_9(mortal: Daemon, topic: str, dest: str) -> None:
    """Routers are there again, and each record is in the destination once."""
    api = mortal.api
    route(api, topic, topic, dest, filter="t")
    for number in range(10):
        mortal.api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": number, "tag": "t"}]})
        if number % 3 == 2:
            mortal.kill()
            mortal.start()
    assert data(mortal.api, dest) == list(range(10))
    assert mortal.api.told("GET", f"/v0/routers/{topic}")["forwarded_total"] == 10


def test_into_a_mirrored_topic(pair: Pair, mirrored: str) -> None:
    """Each node copies what it wrote itself into a topic that both hold: both hold each record once."""
    source, dest = mirrored, f"{mirrored}-all"
    for api in pair:
        route(api, mirrored, source, dest, forward="origin")
    for number, api in enumerate((pair.fra, pair.iad, pair.fra, pair.iad)):
        api.append(source, number)
    for api in pair:
        until(partial(holds, api, dest, [0, 1, 2, 3]))
        assert sorted(data(api, source)) == [0, 1, 2, 3]
        nodes = {record["data"]: record["$node"] for record in api.diff(dest)["records"]}
        assert nodes == {0: "fra", 1: "iad", 2: "fra", 3: "iad"}


def test_metrics(api: Api, topic: str, dest: str) -> None:
    """Records copied, lag and whether it stands still, by router."""
    route(api, topic, topic, dest)
    api.append(topic, 1, 2)
    assert data(api, dest) == [1, 2]
    text = api.get("/v0/metrics").text
    labels = f'{{dest="{dest}",router="{topic}",source="{topic}"}}'
    assert f"mirrord_router_records_total{labels} 2.0" in text
    assert f"mirrord_router_lag_records{labels} 0.0" in text
    assert f"mirrord_router_waiting{labels} 0.0" in text
    told = api.get("/v0/metrics", headers={"accept": "application/json"}).json()
    assert told["routers"] == len(told["routing"]) > 0
