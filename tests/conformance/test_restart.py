"""kill -9 and restart (reference 3.6, design 3.1, 3.3, 5.1): what each class keeps, and what no class breaks."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from .daemon import Api, Daemon, answered

CLASSES = ["ephemeral", "memory", "disk", "fsync"]
KEPT = ["disk", "fsync"]


class Before(NamedTuple):
    """What readers knew when the node was killed: per class, the state and the last page."""

    states: dict[str, dict[str, Any]]
    pages: dict[str, dict[str, Any]]


def _fill(api: Api) -> Before:
    for name in CLASSES:
        api.create(name, durability=name, cap_records=100, idempotency_window_ms=3_600_000)
        for i in range(5):
            api.append(name, i, idempotency_key=f"k{i}")
        api.diff(name, from_seq=4, wait_ms=10_000)  # class memory: acknowledged when queued
    api.append("gone", 1)
    api.delete("/v0/topics/gone")
    api.create("capped", cap_records=2)
    api.append("capped", *range(1, 8))
    names = [*CLASSES, "capped"]
    return Before({name: api.state(name) for name in names}, {name: api.diff(name) for name in names})


@pytest.fixture(scope="module")
def before(mortal: Daemon) -> Before:
    """The node is filled, killed and started again, once for all cases here."""
    found = _fill(mortal.api)
    mortal.kill()
    mortal.start()
    return found


@pytest.mark.parametrize("name", KEPT)
def test_acknowledged_records_stay(before: Before, mortal: Daemon, name: str) -> None:
    """kill -9 takes nothing that was acknowledged, to the byte and the time."""
    after = mortal.api.diff(name)
    assert after["records"] == before.pages[name]["records"]
    assert after["tombstone"] is None
    state = mortal.api.state(name)
    for field in ("head_seq", "earliest_seq", "count", "bytes", "last_write_ts", "log_id", "config"):
        assert state[field] == before.states[name][field], field


@pytest.mark.parametrize("name", KEPT)
def test_cursors_stay_good(before: Before, mortal: Daemon, name: str) -> None:
    """A reader that stood at the head goes on without a tombstone, with its log id and without."""
    page = before.pages[name]
    for cursor in ({}, {"log_id": page["log_id"]}):
        found = mortal.api.diff(name, from_seq=page["next_from_seq"], limit=1, **cursor)
        assert found["tombstone"] is None
        assert [record["$seq"] for record in found["records"]] in ([], [6])


@pytest.mark.parametrize("name", CLASSES)
def test_the_configuration_stays(before: Before, mortal: Daemon, name: str) -> None:
    """Every class keeps its topic and the topic's configuration."""
    assert mortal.api.state(name)["config"] == before.states[name]["config"]


def test_ephemeral_records_are_gone_and_that_is_told(before: Before, mortal: Daemon) -> None:
    """A new log: the reader of the old one is told so by its log id."""
    page = before.pages["ephemeral"]
    state = mortal.api.state("ephemeral")
    assert (state["count"], state["bytes"]) == (0, 0)
    assert state["log_id"] != page["log_id"]
    assert state["head_seq"] >= page["head_seq"]
    found = mortal.api.diff("ephemeral", from_seq=page["next_from_seq"], log_id=page["log_id"])
    assert (found["tombstone"]["reason"], found["records"]) == ("recreated", [])
    lost = mortal.api.diff("ephemeral", from_seq=page["next_from_seq"])["tombstone"]
    assert (lost["reason"], lost["gap_from"], lost["gap_to"]) == ("lost", 6, state["earliest_seq"] - 1)


@pytest.mark.parametrize("name", CLASSES)
def test_seqs_are_never_used_again(before: Before, mortal: Daemon, name: str) -> None:
    """The next record has a seq that no reader has seen; where records stay, it is the very next one."""
    head = before.states[name]["head_seq"]
    told = mortal.api.append(name, "after", idempotency_key="after")
    again = mortal.api.append(name, "after", idempotency_key="after")
    assert told["first_seq"] > head
    assert again["first_seq"] == told["first_seq"]
    if name in KEPT:
        assert told["first_seq"] == head + 1
    page = mortal.api.diff(name, from_seq=head, wait_ms=10_000)
    while not page["records"]:
        page = mortal.api.diff(name, from_seq=page["next_from_seq"], wait_ms=10_000)
    assert [record["data"] for record in page["records"]] == ["after"]


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.usefixtures("before")
def test_idempotency_outlives_the_node(mortal: Daemon, name: str) -> None:
    """A retry over a crash gets the first answer, and another payload is a conflict."""
    told = mortal.api.append(name, 3, idempotency_key="k3")
    assert (told["deduped"], told["seqs"]) == (True, [4])
    body = {"records": [{"data": "another"}], "idempotency_key": "k3"}
    assert mortal.api.post(f"/v0/topics/{name}", json=body).status_code == 409


@pytest.mark.usefixtures("before")
def test_a_deleted_topic_stays_deleted(mortal: Daemon) -> None:
    """DELETE is as durable as records."""
    assert mortal.api.get("/v0/topics/gone").status_code == 404
    assert mortal.api.told("GET", "/v0/topics", prefix="gone")["topics"] == []


def test_floors_and_losses_stay(before: Before, mortal: Daemon) -> None:
    """Who comes too late is told the same loss as before."""
    after, page = mortal.api.diff("capped"), before.pages["capped"]
    for field in ("tombstone", "records", "earliest_seq", "head_seq"):
        assert after[field] == page[field]


@pytest.mark.usefixtures("before")
def test_a_topic_made_anew_stays_another_one(mortal: Daemon) -> None:
    """The log id of a recreated topic does not fall back to the old one at a restart."""
    api = mortal.api
    api.append("anew", "old", "old")
    old = api.diff("anew")
    api.delete("/v0/topics/anew")
    api.append("anew", "new")
    new = api.diff("anew")
    mortal.kill()
    mortal.start()
    after = mortal.api.diff("anew", from_seq=old["next_from_seq"], log_id=old["log_id"])
    assert after["log_id"] == new["log_id"]
    assert (after["tombstone"]["reason"], after["records"]) == ("recreated", new["records"])


@pytest.mark.usefixtures("before")
def test_one_life_over_all_kills(mortal: Daemon) -> None:
    """kill -9 is no new life: own records before and after it belong to one strand without a hole."""
    api = mortal.api
    api.append("strand", 1)
    mortal.kill()
    mortal.start()
    mortal.api.append("strand", 2)
    origins = [record["$origin"] for record in mortal.api.diff("strand", include_origin=True)["records"]]
    assert [(origin["node"], origin["oseq"]) for origin in origins] == [("solo", 1), ("solo", 2)]
    assert origins[0]["strand"] == origins[1]["strand"]


@pytest.mark.usefixtures("before")
def test_a_quiet_restart_answers_at_once(mortal: Daemon) -> None:
    """A node that says it is ready is: the first request is answered."""
    assert mortal.stop() == 0
    mortal.start()
    assert answered(mortal.api.get("/v0/ready"))["status"] == "ready"
