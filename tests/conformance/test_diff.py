"""``POST /v0/topics/:topic/diff``: reading after a cursor (reference 2.6, 3.2, 3.9, design 5.1)."""

from __future__ import annotations

from typing import Any

import pytest

from .daemon import Api, refused

FIELDS = {
    "topic", "log_id", "records", "next_from_seq", "head_seq", "earliest_seq", "caught_up", "tombstone", "lag",
    "performance",
}  # fmt: skip


def _seqs(page: dict[str, Any]) -> list[int]:
    return [record["$seq"] for record in page["records"]]


def test_a_page_has_every_field(api: Api, topic: str) -> None:
    """Absent things are left out of records; ``tombstone`` is there and null."""
    api.append(topic, "a", None)
    page = api.diff(topic)
    assert set(page) == FIELDS
    assert set(page["performance"]) == {"server_total_ms", "records_scanned"}
    assert page["performance"]["records_scanned"] == 2
    assert [set(record) for record in page["records"]] == [{"$seq", "$ts", "$node", "data"}] * 2
    assert [record["data"] for record in page["records"]] == ["a", None]
    del page["records"], page["performance"]
    assert len(page.pop("log_id")) > 0
    assert page == {
        "topic": topic, "next_from_seq": 2, "head_seq": 2, "earliest_seq": 1, "caught_up": True,
        "tombstone": None, "lag": 0,
    }  # fmt: skip


def test_an_empty_topic(api: Api, topic: str) -> None:
    """Nothing written yet: head 0, the next record will be 1, and the reader is caught up."""
    api.create(topic)
    page = api.diff(topic)
    del page["performance"], page["log_id"]
    assert page == {
        "topic": topic, "records": [], "next_from_seq": 0, "head_seq": 0, "earliest_seq": 1, "caught_up": True,
        "tombstone": None, "lag": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("after", "seqs"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, [])])
def test_from_seq_is_exclusive(api: Api, topic: str, after: int, seqs: list[int]) -> None:
    """The cursor is the last record that was read; standing at the head is no loss."""
    api.append(topic, 1, 2, 3)
    page = api.diff(topic, from_seq=after)
    assert (_seqs(page), page["next_from_seq"], page["tombstone"]) == (seqs, 3, None)


@pytest.mark.parametrize(("limit", "given"), [(1, 1), (255, 255), (0, 256), (1000, 1000), (1001, 1000), (10**9, 1000)])
def test_limit_is_cut_not_refused(api: Api, topic: str, limit: int, given: int) -> None:
    """0 is the default of 256, more than 1000 is 1000."""
    api.append(topic, *range(1200))
    page = api.diff(topic, limit=limit)
    assert _seqs(page) == list(range(1, given + 1))
    assert (page["next_from_seq"], page["lag"], page["caught_up"]) == (given, 1200 - given, False)
    assert len(api.diff(topic)["records"]) == 256


def test_pages_follow_each_other(api: Api, topic: str) -> None:
    """Reading on from ``next_from_seq`` brings every record once, over all boundaries of batches."""
    for size in (1, 7, 30, 2, 60):
        api.append(topic, *range(size))
    got: list[int] = []
    page: dict[str, Any] = {"next_from_seq": 0, "caught_up": False}
    while not page["caught_up"]:
        page = api.diff(topic, from_seq=page["next_from_seq"], limit=9)
        got += _seqs(page)
        assert page["next_from_seq"] == got[-1]
        assert page["lag"] == 100 - got[-1]
    assert got == list(range(1, 101))


@pytest.mark.parametrize(
    "wrong",
    [
        {"from_seq": -1}, {"from_seq": 1.5}, {"from_seq": "1"}, {"from_seq": None}, {"from_seq": True},
        {"limit": -1}, {"limit": "all"}, {"wait_ms": -1}, {"wait_ms": 0.5}, {"max_batch_bytes": -1},
        {"node": 5}, {"node": [5]}, {"node": {}}, {"include_tags": 1}, {"include_meta": "no"}, {"log_id": 5},
        {"include_origin": []}, {"from_seq": 2**64}, {"limit": 10**30},
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(api: Api, topic: str, wrong: dict[str, Any]) -> None:
    """A cursor or filter that cannot be meant is 400, not a guess."""
    api.append(topic, 1)
    refused(api.post(f"/v0/topics/{topic}/diff", json=wrong), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"{", b'{"from_seq":1,}', b"\xff"])
def test_bodies_that_are_no_object(api: Api, topic: str, body: bytes) -> None:
    """A body is a JSON object or none at all."""
    api.append(topic, 1)
    refused(api.post_raw(f"/v0/topics/{topic}/diff", body), 400, "invalid_request")


def test_unknown_fields_are_ignored(api: Api, topic: str) -> None:
    """Also ``consistency``: every read sees what was acknowledged before it."""
    api.append(topic, 1)
    assert _seqs(api.diff(topic, consistency="strong", color="blue", match=None, log_id=None, node=None)) == [1]


def test_what_to_include(api: Api, topic: str) -> None:
    """Tags are off, meta is on, the origin is off by default; each can be switched."""
    records = [{"data": 1, "tag": "t", "meta": {"m": 1}}, {"data": 2}]
    api.told("POST", f"/v0/topics/{topic}", {"records": records, "node": "me"})

    def first(**fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = api.diff(topic, **fields)["records"][0]
        return found

    assert set(first()) == {"$seq", "$ts", "$node", "data", "meta"}
    assert first(include_tags=True)["$tag"] == "t"
    assert "meta" not in first(include_meta=False)
    origins = [record["$origin"] for record in api.diff(topic, include_origin=True)["records"]]
    assert [(origin["node"], origin["oseq"]) for origin in origins] == [("solo", 1), ("solo", 2)]
    assert origins[0]["strand"] == origins[1]["strand"]


@pytest.mark.parametrize(
    ("node", "left"),
    [
        ("a", [2, 3, 4]),
        (["a"], [2, 3, 4]),
        (["a", "b"], [3, 4]),
        ([], [1, 2, 3, 4]),
        ("A", [1, 2, 3, 4]),
        ("", [1, 2, 3, 4]),
        ("solo", []),
        ("nobody", [1, 2, 3, 4]),
    ],
)
def test_node_drops_by_label_or_origin(api: Api, topic: str, node: Any, left: list[int]) -> None:
    """Own records are left out by the writer's label or by the name of the node that took them; the cursor moves on."""
    records = [{"data": 1, "node": "a"}, {"data": 2, "node": "b"}, {"data": 3}, {"data": 4, "node": "é"}]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})
    page = api.diff(topic, node=node)
    assert (_seqs(page), page["next_from_seq"], page["caught_up"]) == (left, 4, True)
    assert page["tombstone"] is None


def test_dropped_records_do_not_fill_the_page(api: Api, topic: str) -> None:
    """A page goes on until it is full or at the head: what is dropped does not count to the limit."""
    records = [{"data": i, "node": "me" if i % 10 else "you"} for i in range(500)]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})
    page = api.diff(topic, node="me", limit=3)
    assert [record["data"] for record in page["records"]] == [0, 10, 20]
    assert page["next_from_seq"] >= 21
    assert api.diff(topic, node="me", from_seq=491) | {"performance": 0, "log_id": ""} == {
        "topic": topic, "records": [], "next_from_seq": 500, "head_seq": 500, "earliest_seq": 1,
        "caught_up": True, "tombstone": None, "lag": 0, "performance": 0, "log_id": "",
    }  # fmt: skip


def test_dedupe_node_switches_the_filter_off(api: Api, topic: str) -> None:
    """On a topic with ``dedupe_node: false`` everybody reads everything."""
    api.create(topic, dedupe_node=False)
    api.append(topic, 1, node="me")
    assert _seqs(api.diff(topic, node=["me", "solo"])) == [1]


def test_max_batch_bytes_ends_a_page_between_records(api: Api, topic: str) -> None:
    """A page stays below its budget, skips nothing, and always brings at least one record."""
    api.append(topic, *("x" * 1000 for _ in range(20)))
    page = api.diff(topic, max_batch_bytes=5000)
    assert _seqs(page) == [1, 2, 3, 4]
    assert (page["next_from_seq"], page["caught_up"], page["lag"]) == (4, False, 16)
    assert _seqs(api.diff(topic, from_seq=4, max_batch_bytes=1)) == [5]


def test_the_default_budget_is_one_mebibyte(api: Api, topic: str) -> None:
    """0 and absent are 1 MiB; however much is asked for, a page is never above 8 MiB."""
    for _ in range(10):
        api.append(topic, "x" * 999_000)
    assert len(api.diff(topic)["records"]) == 1
    assert len(api.diff(topic, max_batch_bytes=0)["records"]) == 1
    assert len(api.diff(topic, max_batch_bytes=2_500_000)["records"]) == 2
    assert len(api.diff(topic, max_batch_bytes=1 << 40)["records"]) == 8


def test_reading_is_repeatable(api: Api, topic: str) -> None:
    """The node keeps nothing about a reader: the same cursor brings the same page."""
    api.append(topic, 1, 2)
    assert api.diff(topic)["records"] == api.diff(topic)["records"]


@pytest.mark.parametrize("after", [2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1])
def test_cursors_beyond_everything(api: Api, topic: str, after: int) -> None:
    """A cursor that this log never gave out is of another log, however large."""
    api.append(topic, 1)
    page = api.diff(topic, from_seq=after)
    assert (page["tombstone"]["reason"], _seqs(page)) == ("recreated", [1])
