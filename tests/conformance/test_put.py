"""``PUT /v0/topics/:topic``: creating and configuring (reference 2.1, design 5.1)."""

from __future__ import annotations

from typing import Any

import pytest

from .daemon import Api, Daemon, refused

DEFAULTS = {
    "type": "log", "ttl_ms": 0, "cap_records": 0, "cap_bytes": 0, "discard": "old", "durable": False,
    "durability": "disk", "priority": None, "auto_priority": True, "auto_create": True,
    "idempotency_window_ms": 120_000, "dedupe_node": True, "lease_ms": 30_000, "claim_jitter_ms": 0,
    "max_deliveries": 0, "dead_letter": None, "leases_durable": False, "idempotency_check": True,
    "mirror_groups": False,
    "home": None,
}  # fmt: skip


def test_put_creates_with_all_defaults(api: Api, topic: str) -> None:
    """A new topic answers 201 and shows every field of its configuration."""
    response = api.put(f"/v0/topics/{topic}")
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"topic", "created", "config", "performance"}
    assert (body["topic"], body["created"], body["config"]) == (topic, True, DEFAULTS)


def test_put_again_is_200(api: Api, topic: str) -> None:
    """PUT is idempotent: the second one says that nothing was created."""
    api.create(topic)
    response = api.put(f"/v0/topics/{topic}", json={})
    assert response.status_code == 200
    assert response.json()["created"] is False


def test_put_replaces_over_defaults(api: Api, topic: str) -> None:
    """What a PUT leaves out falls back to the default; it does not keep its old value."""
    api.create(topic, cap_records=5, ttl_ms=60_000)
    assert api.create(topic, ttl_ms=9000)["config"] == DEFAULTS | {"ttl_ms": 9000}
    assert api.state(topic)["config"] == DEFAULTS | {"ttl_ms": 9000}


def test_a_configuration_can_be_sent_back(api: Api, topic: str) -> None:
    """What an answer shows is a valid request."""
    shown = api.create(topic, cap_bytes=1 << 40, durability="memory", dedupe_node=False)["config"]
    assert api.create(topic, **shown)["config"] == shown


@pytest.mark.parametrize(
    ("sent", "durability", "durable"),
    [
        ({"durable": True}, "fsync", True),
        ({"durable": False}, "disk", False),
        ({"durability": "fsync"}, "fsync", True),
        ({"durability": "memory", "durable": True}, "memory", False),
        ({"durability": "ephemeral"}, "ephemeral", False),
    ],
)
def test_durable_is_short_for_durability(
    api: Api, topic: str, sent: dict[str, Any], durability: str, durable: bool
) -> None:
    """The answer carries the resolved class, and ``durable`` says whether it is fsync."""
    config = api.create(topic, **sent)["config"]
    assert (config["durability"], config["durable"]) == (durability, durable)


@pytest.mark.parametrize(
    ("field", "asked", "kept"),
    [
        ("lease_ms", 1, 100), ("lease_ms", 100, 100), ("lease_ms", 10**12, 86_400_000),
        ("claim_jitter_ms", 0, 0), ("claim_jitter_ms", 5001, 5000),
    ],
)  # fmt: skip
def test_leases_and_windows_are_clamped_not_refused(api: Api, topic: str, field: str, asked: int, kept: int) -> None:
    """A lease below the least is raised to it, what is too long is cut, and it is stored so."""
    assert api.create(topic, **{field: asked})["config"][field] == kept
    assert api.state(topic)["config"][field] == kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl_ms": -1}, {"ttl_ms": 1.5}, {"ttl_ms": "7d"}, {"ttl_ms": None}, {"cap_records": -1},
        {"cap_records": True}, {"cap_bytes": "1GiB"}, {"discard": "newest"}, {"durable": "yes"},
        {"durability": "paper"}, {"type": "stack"}, {"type": 1}, {"dedupe_node": 0}, {"auto_create": None},
        {"idempotency_window_ms": -5}, {"priority": "high"}, {"dead_letter": "no name!"}, {"dead_letter": 5},
        {"idempotency_check": "no"}, {"ttl_ms": 2**70},
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_and_creates_nothing(api: Api, topic: str, wrong: dict[str, Any]) -> None:
    """A configuration is checked whole before anything is made."""
    response = api.put(f"/v0/topics/{topic}", json=wrong)
    refused(response, 400, "invalid_request")
    assert next(iter(wrong)) in response.json()["error"]["message"]
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


def test_only_a_queue_must_not_bury_in_itself(api: Api, topic: str) -> None:
    """A log keeps the name and never uses it."""
    refused(api.put(f"/v0/topics/{topic}", json={"type": "queue", "dead_letter": topic}), 400, "invalid_request")
    assert api.create(topic, dead_letter=topic)["config"]["dead_letter"] == topic


def test_unknown_fields_are_ignored(api: Api, topic: str) -> None:
    """A newer client's fields do no harm."""
    assert api.create(topic, color="blue")["config"] == DEFAULTS


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"x"', b"{", b"{}x", b"\xff", b"{'a':1}"])
def test_a_body_that_is_no_object(api: Api, topic: str, body: bytes) -> None:
    """Only a JSON object, or no body at all, is a configuration."""
    response = api.put(f"/v0/topics/{topic}", content=body, headers={"content-type": "application/json"})
    refused(response, 400, "invalid_request")


def test_put_keeps_the_records(api: Api, topic: str) -> None:
    """Configuring is not recreating: records and log id stay."""
    api.append(topic, 1, 2)
    before = api.diff(topic)
    api.create(topic, durability="fsync")
    after = api.diff(topic)
    assert (after["log_id"], after["records"]) == (before["log_id"], before["records"])


def test_the_class_can_be_changed(api: Api, topic: str) -> None:
    """The classes that keep their records can be changed while the topic is used."""
    for durability in ("memory", "fsync", "disk", "memory"):
        assert api.create(topic, durability=durability)["config"]["durability"] == durability
        api.append(topic, durability)
    api.diff(topic, from_seq=3, wait_ms=10_000)
    assert [record["data"] for record in api.diff(topic)["records"]] == ["memory", "fsync", "disk", "memory"]


def test_ephemeral_is_for_ever(api: Api, topic: str) -> None:
    """A log in memory cannot become one on disk, nor the other way: refused, and a PUT need not repeat it."""
    api.create(topic, durability="ephemeral")
    api.append(topic, 1)
    assert api.create(topic, ttl_ms=60_000)["config"]["durability"] == "ephemeral"
    refused(api.put(f"/v0/topics/{topic}", json={"durability": "disk"}), 409, "conflict")
    api.create(topic + "d")
    refused(api.put(f"/v0/topics/{topic}d", json={"durability": "ephemeral"}), 409, "conflict")
    assert api.texts(topic) == [(b"1", b"")]


def test_a_priority_is_kept_as_sent_and_clamped_when_used(api: Api, topic: str) -> None:
    """What is set wins over how recently the topic was read; without either it is 0."""
    api.create(topic, priority=5000)
    state = api.state(topic)
    assert (state["config"]["priority"], state["effective_priority"]) == (5000, 1000)
    api.create(topic, priority=-7)
    assert api.state(topic)["effective_priority"] == -7
    api.create(topic)
    assert api.state(topic)["effective_priority"] == 500
    api.create(topic, auto_priority=False)
    assert api.state(topic)["effective_priority"] == 0


def test_the_file_wins_over_put(narrow: Daemon) -> None:
    """A key that the TOML file sets cannot be changed by PUT; the same value and other keys can be sent."""
    refused(narrow.api.put("/v0/topics/fixed", json={"cap_records": 9}), 409, "declared_in_file")
    config = narrow.api.create("fixed", cap_records=5, ttl_ms=9000)["config"]
    assert (config["cap_records"], config["ttl_ms"], config["durability"]) == (5, 9000, "fsync")
    assert narrow.api.create("fixed")["config"]["cap_records"] == 5


def test_a_declared_prefix_gives_the_defaults(narrow: Daemon) -> None:
    """A topic whose name begins as the file says takes that configuration, however it is created."""
    narrow.api.append("kept:a", 1)
    assert narrow.api.state("kept:a")["config"]["ttl_ms"] == 3_600_000
    assert narrow.api.told("DELETE", "/v0/topics/kept:a")["deleted"]
