"""The same surface on two nodes that mirror each other (design 3.3, 3.5, 5.1): what a reader sees on the other node."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Pair
from .daemon import Api, refused, until


def _arrived(api: Api, topic: str, head: int) -> dict[str, Any]:
    """The first page of the topic once it has come so far."""

    def page() -> dict[str, Any] | None:
        if not api.told("GET", "/v0/topics", prefix=topic)["topics"]:
            return None
        found = api.diff(topic, include_origin=True, include_tags=True, limit=1000)
        return found if found["head_seq"] >= head else None

    found: dict[str, Any] = until(page)
    return found


def test_a_record_arrives_as_it_was_written(pair: Pair, mirrored: str) -> None:
    """Data and meta to the byte, tag, label, time and origin; ``$node`` is the label or else the origin's name."""
    body = b'{"records":[{"data":{ "a":1.0 },"tag":"t","meta":[ 1 ],"node":"me"},{"data":"\\u00e9"}]}'
    pair.fra.post_raw(f"/v0/topics/{mirrored}", body)
    there = _arrived(pair.iad, mirrored, 2)
    here = pair.fra.diff(mirrored, include_origin=True, include_tags=True)
    assert there["records"] == here["records"]
    assert [record["$node"] for record in there["records"]] == ["me", "fra"]
    assert [record["$origin"]["node"] for record in there["records"]] == ["fra", "fra"]
    assert pair.iad.texts(mirrored) == [(b'{ "a":1.0 }', b"[ 1 ]"), (b'"\\u00e9"', b"")]
    assert pair.iad.state(mirrored)["bytes"] == pair.fra.state(mirrored)["bytes"]
    assert there["log_id"] != here["log_id"]


def test_both_write_and_both_hold_the_union_once(pair: Pair, mirrored: str) -> None:
    """Multi-master: every record on both nodes, once, each origin's in its order; nothing comes back."""
    for i in range(30):
        pair.fra.append(mirrored, f"fra{i}")
        pair.iad.append(mirrored, f"iad{i}")
    for api in pair:
        page = _arrived(api, mirrored, 60)
        data = [record["data"] for record in page["records"]]
        assert page["head_seq"] == 60
        for node in ("fra", "iad"):
            assert [one for one in data if one.startswith(node)] == [f"{node}{i}" for i in range(30)]
    until(lambda: _digest(pair.fra, mirrored) == _digest(pair.iad, mirrored))


def _digest(api: Api, topic: str) -> list[Any]:
    strands = api.told("GET", f"/v0/topics/{topic}/digest")["strands"]
    return sorted((one["strand"], one["oseq"], one["hash"]) for one in strands)


@pytest.mark.parametrize("deep", ["true", "false"])
def test_digest(pair: Pair, mirrored: str, deep: str) -> None:
    """Per strand how far and with which hash; what differs shows, what is a mistake is refused."""
    pair.fra.append(mirrored, 1)
    _arrived(pair.iad, mirrored, 1)
    body = pair.iad.told("GET", f"/v0/topics/{mirrored}/digest", deep=deep)
    assert (body["topic"], body["node"]) == (mirrored, "iad")
    (strand,) = body["strands"]
    assert strand["oseq"] == 1
    assert int(strand["hash"], 16)
    one = (strand["strand"], strand["oseq"], strand["hash"])
    assert [one] == until(lambda: _digest(pair.fra, mirrored))
    at = f"{strand['strand']}:1"
    assert pair.iad.told("GET", f"/v0/topics/{mirrored}/digest", at=at)["strands"]
    for wrong in ("x", "zz:1", f"{strand['strand']}:x", ":", "1:" + "9" * 5000):
        refused(pair.iad.get(f"/v0/topics/{mirrored}/digest", params={"at": wrong}), 400, "invalid_request")


def test_own_records_are_left_out_by_the_nodes_name(pair: Pair, mirrored: str) -> None:
    """``node`` is how a reader that writes on one node reads on another without its own echo."""
    pair.fra.append(mirrored, "f", node="label")
    _arrived(pair.iad, mirrored, 1)
    pair.iad.append(mirrored, "i")
    for node, left in (("fra", ["i"]), ("iad", ["f"]), ("label", ["i"]), (["fra", "iad"], [])):
        page = pair.iad.diff(mirrored, node=node)
        assert ([record["data"] for record in page["records"]], page["caught_up"]) == (left, True)


def test_a_long_poll_ends_with_what_a_link_brings(pair: Pair, mirrored: str) -> None:
    """A reader need not care on which node a record was written."""
    pair.fra.append(mirrored, 1)
    _arrived(pair.iad, mirrored, 1)
    pair.fra.append(mirrored, 2)
    assert pair.iad.diff(mirrored, from_seq=1, wait_ms=20_000)["records"][0]["data"] == 2


def test_a_link_makes_the_topic_as_its_source_is(pair: Pair, mirrored: str) -> None:
    """Type, ttl and class come with it; caps are each node's own."""
    pair.fra.create(mirrored, ttl_ms=3_600_000, durability="fsync", cap_records=7)
    pair.fra.append(mirrored, 1)
    _arrived(pair.iad, mirrored, 1)
    config = pair.iad.state(mirrored)["config"]
    assert (config["ttl_ms"], config["durability"], config["cap_records"]) == (3_600_000, "fsync", 0)


def test_what_the_source_evicted_is_one_tombstone(pair: Pair, mirrored: str) -> None:
    """A loss that came over a link takes one seq, is seen once, and says which records of whom."""
    pair.iad.told("POST", "/v0/links/fra/pause")
    until(lambda: pair.iad.told("GET", "/v0/links/fra")["state"] == "paused")
    pair.fra.create(mirrored, cap_records=3)
    for i in range(1, 11):
        pair.fra.append(mirrored, i)
    pair.iad.told("POST", "/v0/links/fra/resume")
    page = _arrived(pair.iad, mirrored, 4)
    lost, origin = page["tombstone"], page["tombstone"]["$origin"]
    assert (lost["gap_from"], lost["gap_to"], lost["reason"], lost["missed_estimate"]) == (1, 1, "cap", 7)
    assert (origin["node"], origin["oseq_from"], origin["oseq_to"]) == ("fra", 1, 7)
    assert [(record["$seq"], record["data"]) for record in page["records"]] == [(2, 8), (3, 9), (4, 10)]
    assert (page["caught_up"], page["head_seq"]) == (True, 4)
    assert pair.iad.diff(mirrored, from_seq=1)["tombstone"] is None
    assert pair.iad.state(mirrored)["count"] == 3


def test_deleting_here_deletes_here(pair: Pair, mirrored: str) -> None:
    """DELETE drops the log and keeps the positions: what was there does not come back, what is new does."""
    pair.fra.append(mirrored, "old")
    _arrived(pair.iad, mirrored, 1)
    assert pair.iad.told("DELETE", f"/v0/topics/{mirrored}")["deleted"] is True
    assert pair.fra.state(mirrored)["count"] == 1
    pair.fra.append(mirrored, "new")
    page = _arrived(pair.iad, mirrored, 1)
    assert [record["data"] for record in page["records"]] == ["new"]


def test_a_linked_topic_is_not_forgotten(pair: Pair, mirrored: str) -> None:
    """Dropping the positions while a link names the topic would bring everything back: refused."""
    pair.fra.append(mirrored, 1)
    _arrived(pair.iad, mirrored, 1)
    refused(pair.iad.delete(f"/v0/topics/{mirrored}", params={"forget": "true"}), 409, "topic_linked")
    assert pair.iad.state(mirrored)["count"] == 1


def test_idempotency_is_each_nodes_own(pair: Pair, mirrored: str) -> None:
    """A key protects a retry on the node that it was sent to; the record that mirrors is one record."""
    told = pair.fra.append(mirrored, 1, idempotency_key="k")
    assert pair.fra.append(mirrored, 1, idempotency_key="k")["seqs"] == told["seqs"]
    assert _arrived(pair.iad, mirrored, 1)["head_seq"] == 1


def test_topics_that_no_link_names_stay_at_home(pair: Pair, topic: str, mirrored: str) -> None:
    """Only what the file names is mirrored."""
    pair.fra.append(topic, 1)
    pair.fra.append(mirrored, 1)
    _arrived(pair.iad, mirrored, 1)
    refused(pair.iad.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
