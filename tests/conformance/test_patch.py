"""``PATCH /v0/topics/:topic``: what is sent changes, what is left out stays (design 5.1)."""

from __future__ import annotations

from typing import Any

import pytest

from .daemon import Api, Daemon, refused
from .test_put import DEFAULTS


def patch(api: Api, topic: str, body: Any) -> dict[str, Any]:
    config: dict[str, Any] = api.told("PATCH", f"/v0/topics/{topic}", body)["config"]
    return config


def test_a_patch_merges(api: Api, topic: str) -> None:
    """Where a PUT would take back what it does not name, a PATCH keeps it."""
    api.create(topic, cap_records=5, ttl_ms=60_000)
    told = api.told("PATCH", f"/v0/topics/{topic}", {"ttl_ms": 9000})
    assert set(told) == {"topic", "created", "config", "performance"}
    assert (told["topic"], told["created"]) == (topic, False)
    assert told["config"] == DEFAULTS | {"cap_records": 5, "ttl_ms": 9000}
    assert api.state(topic)["config"] == told["config"]


@pytest.mark.parametrize("body", [{}, {"unknown": 1}])
def test_a_patch_of_nothing_changes_nothing(api: Api, topic: str, body: dict[str, Any]) -> None:
    """Unknown fields are ignored, as everywhere."""
    before = api.create(topic, cap_bytes=99)["config"]
    assert patch(api, topic, body) == before
    assert api.patch(f"/v0/topics/{topic}").json()["config"] == before


def test_null_is_the_default_again(api: Api, topic: str) -> None:
    """As a merge patch says it: null takes away."""
    api.create(topic, cap_records=5, ttl_ms=60_000, durability="fsync")
    assert patch(api, topic, {"cap_records": None, "durability": None}) == DEFAULTS | {"ttl_ms": 60_000}


@pytest.mark.parametrize(
    ("body", "durability"),
    [({"durable": True}, "fsync"), ({"durable": False}, "disk"), ({"durability": "fsync"}, "fsync"), ({}, "memory")],
)
def test_durable_and_durability_stay_one(api: Api, topic: str, body: dict[str, Any], durability: str) -> None:
    """The short form changes the class too, and both say the same after it."""
    api.create(topic, durability="memory")
    config = patch(api, topic, body)
    assert (config["durability"], config["durable"]) == (durability, durability == "fsync")


def test_a_tightened_cap_counts_at_once(api: Api, topic: str) -> None:
    """The answer comes when what is too much is gone."""
    api.append(topic, *range(10))
    patch(api, topic, {"cap_records": 3})
    assert api.state(topic)["count"] == 3


def test_a_patch_creates_nothing(api: Api, topic: str) -> None:
    """There must be something to change."""
    refused(api.patch(f"/v0/topics/{topic}", json={"ttl_ms": 1}), 404, "topic_not_found")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


@pytest.mark.parametrize("body", [{"ttl_ms": "x"}, {"ttl_ms": -1}, {"durability": "ram"}, [], "x", {"durable": 1}])
def test_a_wrong_patch_changes_nothing(api: Api, topic: str, body: Any) -> None:
    """A field that cannot be is named, and the others are not changed either."""
    before = api.create(topic, cap_records=4)["config"]
    sent = body | {"cap_records": 1} if isinstance(body, dict) else body
    refused(api.patch(f"/v0/topics/{topic}", json=sent), 400, "invalid_request")
    assert api.state(topic)["config"] == before


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_the_type_is_for_ever(api: Api, topic: str, method: str) -> None:
    """A queue stays one, whoever leaves its type out, and a log does not become one."""
    api.create(topic, type="queue")
    assert api.told(method, f"/v0/topics/{topic}", {"lease_ms": 5000})["config"]["type"] == "queue"
    response = api.request(method, f"/v0/topics/{topic}", json={"type": "log"})
    refused(response, 409, "topic_exists_incompatible")


def test_what_the_file_declares_is_changed_there(narrow: Daemon) -> None:
    """A PATCH of a declared key is refused with its name; other keys of the topic may change."""
    api = narrow.api
    api.append("fixed", 1)
    assert refused(api.patch("/v0/topics/fixed", json={"cap_records": 6}), 409, "declared_in_file") == {
        "field": "cap_records"
    }
    assert refused(api.patch("/v0/topics/fixed", json={"cap_records": None}), 409, "declared_in_file")
    config = patch(api, "fixed", {"cap_records": 5, "ttl_ms": 1_000_000})
    assert (config["cap_records"], config["durability"], config["ttl_ms"]) == (5, "fsync", 1_000_000)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_the_short_form_does_not_get_round_the_file(narrow: Daemon, method: str) -> None:
    """``durable`` says what ``durability`` says: where the file sets the one, the other is refused as well."""
    narrow.api.append("fixed", 1)
    response = narrow.api.request(method, "/v0/topics/fixed", json={"durable": False})
    assert refused(response, 409, "declared_in_file") == {"field": "durability"}
    assert narrow.api.told(method, "/v0/topics/fixed", {"durable": True})["config"]["durability"] == "fsync"


def test_a_patch_survives(mortal: Daemon, topic: str) -> None:
    """A configuration that was answered is there after kill -9."""
    mortal.api.create(topic, cap_records=7)
    patch(mortal.api, topic, {"ttl_ms": 60_000})
    mortal.kill()
    mortal.start()
    assert mortal.api.state(topic)["config"] == DEFAULTS | {"cap_records": 7, "ttl_ms": 60_000}
