"""Reference 1.2, 1.3, 2.1 to 2.4: names, lists, and the life of a topic."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest

from ..daemon import Api, refused

DEFAULTS = {
    "type": "log", "ttl_ms": 0, "cap_records": 0, "cap_bytes": 0, "discard": "old", "durable": False,
    "durability": "disk", "priority": None, "auto_priority": True, "auto_create": True,
    "idempotency_window_ms": 120_000, "dedupe_node": True,
    "lease_ms": 30_000, "claim_jitter_ms": 0, "max_deliveries": 0, "dead_letter": None, "leases_durable": False,
}  # fmt: skip
OTHERS: dict[str, Any] = {
    "type": "queue", "ttl_ms": 86_400_000, "cap_records": 7, "cap_bytes": 7000, "discard": "reject", "durable": True,
    "durability": "fsync", "priority": -3, "auto_priority": False, "auto_create": False, "idempotency_window_ms": 1,
    "dedupe_node": False, "lease_ms": 5000, "claim_jitter_ms": 10, "max_deliveries": 3, "dead_letter": "x.dead",
    "leases_durable": True,
}  # fmt: skip
LEGAL = ["a", "9", "Z" * 255, "a.b_c:d-e", "0:::", "A", "con.", "a..b"]
ILLEGAL = [".a", "_a", ":a", "-a", "a b", "a>b", "a" * 256, "é", "a\n", "a,b", "%", "a+b", "~"]
CLAMPED = [
    ({"lease_ms": 0}, {"lease_ms": 100}), ({"lease_ms": 99}, {"lease_ms": 100}),
    ({"lease_ms": 2**40}, {"lease_ms": 86_400_000}), ({"claim_jitter_ms": 5001}, {"claim_jitter_ms": 5000}),
    ({"priority": 5000}, {"priority": 5000}), ({"priority": -5000}, {"priority": -5000}),
    ({"durable": True}, {"durability": "fsync", "durable": True}),
    ({"durable": True, "durability": "memory"}, {"durability": "memory", "durable": False}),
    ({"durable": False, "durability": "fsync"}, {"durability": "fsync", "durable": True}),
    ({"durability": "ephemeral"}, {"durable": False}), ({"priority": None, "dead_letter": None}, {}),
]  # fmt: skip
WRONG = [
    {"type": "stack"}, {"discard": "new"}, {"durability": "paper"}, {"durable": "yes"}, {"durable": 1},
    {"priority": "high"}, {"priority": 2**31}, {"dead_letter": "-x"}, {"dead_letter": ""}, {"dead_letter": 3},
    {"type": None}, {"max_deliveries": -1}, {"auto_create": "no"}, {"dedupe_node": 0}, {"discard": None},
]  # fmt: skip


def names(api: Api, kind: str, **query: Any) -> list[str]:
    """The names of every page, to the end."""
    found: list[str] = []
    while True:
        page = api.told("GET", f"/v0/{kind}", **query)
        found += [one[kind[:-1]] for one in page[kind]]
        if "next_cursor" not in page:
            return found
        query["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("name", LEGAL)
def test_legal_names(api: Api, name: str) -> None:
    """1.2: what may be a topic's name may be one everywhere, and case counts."""
    api.append(name, 1)
    assert api.state(name)["topic"] == name
    assert name in names(api, "topics", prefix=name, page_size=1000)
    assert api.told("DELETE", f"/v0/topics/{name}")["deleted"] is True


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_names(api: Api, name: str) -> None:
    """1.2: what may not is refused by every call that takes a name, in the path and in bodies."""
    path = "/v0/topics/" + "".join(f"%{byte:02x}" for byte in name.encode())
    refused(api.put(path), 400, "invalid_request")
    refused(api.get(path), 400, "invalid_request")
    refused(api.delete(path), 400, "invalid_request")
    refused(api.post(path, json={"records": [{"data": 1}]}), 400, "invalid_request")
    refused(api.post(path + "/diff", json={}), 400, "invalid_request")
    refused(api.put("/v0/routers/odd", json={"source": name, "dest": "odd.d"}), 400, "invalid_request")
    refused(api.put("/v0/routers/odd", json={"source": "odd.s", "dest": name}), 400, "invalid_request")


def test_new_topic_has_the_defaults(api: Api, topic: str) -> None:
    """2.1, 12.12: 201 with all 17 fields at their defaults; the second time 200 and created false."""
    told = api.put(f"/v0/topics/{topic}")
    assert (told.status_code, told.json()["topic"], told.json()["created"]) == (201, topic, True)
    assert told.json()["config"].items() >= DEFAULTS.items()
    again = api.put(f"/v0/topics/{topic}", json={})
    assert (again.status_code, again.json()["created"], again.json()["config"]) == (200, False, told.json()["config"])


def test_every_field_is_kept(api: Api, topic: str) -> None:
    """2.1, 12.17: what is set is echoed by the PUT and by the state."""
    assert api.create(topic, **OTHERS)["config"].items() >= OTHERS.items()
    assert api.state(topic)["config"].items() >= OTHERS.items()


def test_put_replaces(api: Api, topic: str) -> None:
    """2.1, 12.13 with 5.1: omitted fields fall back to their defaults, except the type of a queue, which stays."""
    api.create(topic, **OTHERS)
    assert api.create(topic)["config"].items() >= (DEFAULTS | {"type": "queue"}).items()


@pytest.mark.parametrize(("sent", "kept"), CLAMPED)
def test_clamps(api: Api, topic: str, sent: dict[str, Any], kept: dict[str, Any]) -> None:
    """2.1: lease and jitter are clamped as stored, the priority only in use; durability beats durable."""
    assert api.create(topic, **sent)["config"].items() >= kept.items()


def test_priority_is_clamped_in_use(api: Api, topic: str) -> None:
    """2.1, 3.11: 5000 counts as 1000; with auto_priority off and none it is 0; read just now 500."""
    api.create(topic, priority=5000)
    assert api.state(topic)["effective_priority"] == 1000
    api.create(topic, priority=-5000)
    assert api.state(topic)["effective_priority"] == -1000
    api.create(topic, auto_priority=False)
    assert api.state(topic)["effective_priority"] == 0
    api.create(topic)
    assert api.state(topic)["effective_priority"] == 500


@pytest.mark.parametrize("config", WRONG)
def test_wrong_values(api: Api, topic: str, config: dict[str, Any]) -> None:
    """2.1, 1.1: a value of a wrong type or word is 400, and creates nothing."""
    refused(api.put(f"/v0/topics/{topic}", json=config), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


def test_a_queue_is_not_its_own_dead_letter(api: Api, topic: str) -> None:
    """2.1: dead_letter of a queue must differ from itself."""
    refused(api.put(f"/v0/topics/{topic}", json={"type": "queue", "dead_letter": topic}), 400, "invalid_request")


def test_the_type_is_immutable(api: Api, topic: str) -> None:
    """2.1, 1.1, 12.14: another type is 409 topic_exists_incompatible and tells both types."""
    api.create(topic)
    told = refused(api.put(f"/v0/topics/{topic}", json={"type": "queue"}), 409, "topic_exists_incompatible")
    assert told == {"topic": topic, "existing_type": "log", "requested_type": "queue"}
    api.create(topic + "q", type="queue")
    refused(api.put(f"/v0/topics/{topic}q", json={"type": "log"}), 409, "topic_exists_incompatible")


def test_state_of_a_fresh_topic(api: Api, topic: str) -> None:
    """2.2: head 0, earliest 1, next 1, count 0, and null for a write that never was."""
    api.create(topic)
    told = api.state(topic, touch="false")
    assert told.items() >= {
        "topic": topic, "type": "log", "head_seq": 0, "earliest_seq": 1, "next_seq": 1, "count": 0, "bytes": 0,
        "last_write_ts": None, "last_read_ts": None, "effective_priority": 0,
    }.items()  # fmt: skip
    assert "queue" not in told
    assert api.create(topic + "q", type="queue")["created"]
    counts = {"ready": 0, "in_flight": 0, "dead_lettered": 0}
    assert api.state(topic + "q")["queue"].items() >= counts.items()


def test_state_of_a_used_topic(api: Api, topic: str) -> None:
    """2.2, 2.1, 12.17: counts, times, and bytes: the JSON text of data and meta."""
    before = int(time.time() * 1000)
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": "abc", "meta": {"k": 1}}, {"data": None}]})
    told = api.state(topic)
    assert told.items() >= {"head_seq": 2, "earliest_seq": 1, "next_seq": 3, "count": 2}.items()
    assert told["bytes"] in (len('"abc"{"k":1}null'), len('"abc"{"k": 1}null'))
    assert before <= told["last_write_ts"] <= int(time.time() * 1000)


@pytest.mark.parametrize(
    ("touch", "touches"),
    [(None, True), ("true", True), ("1", True), ("false", False), ("0", False), ("no", True), ("", True)],
)
def test_touch(api: Api, topic: str, touch: str | None, touches: bool) -> None:
    """2.2, 12.19: reading the state is a read unless touch says no; an unknown word is the default."""
    api.create(topic)
    told = api.state(topic, **({} if touch is None else {"touch": touch}))
    assert (told["last_read_ts"] is not None, told["effective_priority"]) == (touches, 500 if touches else 0)


def test_a_list_does_not_touch_unless_told(api: Api, topic: str) -> None:
    """2.3, 12.19."""
    api.create(topic)
    assert api.told("GET", "/v0/topics", prefix=topic)["topics"][0]["effective_priority"] == 0
    assert api.state(topic, touch="0")["last_read_ts"] is None
    api.told("GET", "/v0/topics", prefix=topic, touch="true")
    assert api.state(topic, touch="0")["last_read_ts"] is not None


def test_a_row_of_the_list(api: Api, topic: str) -> None:
    """2.3: what a list tells of each."""
    api.create(topic, durable=True, priority=7)
    api.append(topic, 1, 22)
    (row,) = api.told("GET", "/v0/topics", prefix=topic)["topics"]
    assert row.items() >= {
        "topic": topic, "head_seq": 2, "earliest_seq": 1, "count": 2, "bytes": 3, "durable": True,
        "effective_priority": 7,
    }.items()  # fmt: skip


def test_pages_to_the_end(api: Api, topic: str) -> None:
    """1.3, 12.11: pages of every size bring each name once, in order; the last has no next_cursor."""
    made = sorted(f"{topic}-{n}" for n in range(12))
    for name in reversed(made):
        api.create(name)
    for size in (1, 5, 11, 12, 13, 1000):
        assert names(api, "topics", prefix=topic + "-", page_size=size) == made
    assert "next_cursor" not in api.told("GET", "/v0/topics", prefix=topic + "-", page_size=12)
    assert len(api.told("GET", "/v0/topics", prefix=topic + "-", page_size=0)["topics"]) == 1
    for odd in ("", "many", "-5", "1.5", "5000", "999999999999999999999"):
        assert api.told("GET", "/v0/topics", prefix=topic + "-", page_size=odd)["topics"]
    last = api.told("GET", "/v0/topics", prefix=topic + "-", page_size=5)["next_cursor"]
    api.told("DELETE", f"/v0/topics/{made[4]}")
    assert names(api, "topics", prefix=topic + "-", cursor=last) == made[5:]


@pytest.mark.parametrize("kind", ["topics", "routers"])
def test_bad_cursors(api: Api, kind: str) -> None:
    """1.3: a corrupt cursor is 400; one of another server is never a 500."""
    for bad in ("!", "abc", "e30", b64encode(b"[]").decode(), b64encode(b"\xff\xfe").decode(), "A" * 5000):
        refused(api.get(f"/v0/{kind}", params={"cursor": bad}), 400, "invalid_request")
    upstream = b64encode(json.dumps({"after": "zzz"}).encode()).decode()
    assert api.get(f"/v0/{kind}", params={"cursor": upstream}).status_code in (200, 400)


def test_delete_topic(api: Api, topic: str) -> None:
    """2.4, 12.21: idempotent; takes the routers on both sides along and names them, sorted."""
    for router, source, dest in ((f"{topic}>b", topic, topic + "1"), (f"{topic}>a", topic + "2", topic)):
        api.told("PUT", f"/v0/routers/{router}", {"source": source, "dest": dest})
    told = api.told("DELETE", f"/v0/topics/{topic}")
    assert told["routers_removed"] == [f"{topic}>a", f"{topic}>b"]
    assert (told["topic"], told["deleted"]) == (topic, True)
    again = api.told("DELETE", f"/v0/topics/{topic}")
    assert (again["deleted"], again["routers_removed"]) == (False, [])
    refused(api.get(f"/v0/routers/{topic}>a"), 404, "router_not_found")
