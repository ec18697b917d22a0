"""Reference 2.6, 3.2, 3.3, 3.9: reading after a cursor, long polls, node filters, tombstones."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from ..daemon import Api, refused, until


def seqs(page: dict[str, Any]) -> list[int]:
    return [record["$seq"] for record in page["records"]]


def drop(api: Api, topic: str, **selector: Any) -> None:
    api.told("POST", f"/v0/topics/{topic}/delete", selector)


def later(call: Any) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_the_answer_of_a_diff(api: Api, topic: str) -> None:
    """2.6, 12.39, 12.42, 12.43: exclusive cursor; every field."""
    api.append(topic, "a", "b", "c")
    told = api.diff(topic, from_seq=1, limit=1)
    assert {k: v for k, v in told.items() if k not in ("performance", "log_id", "records")} == {
        "topic": topic, "next_from_seq": 2, "head_seq": 3, "earliest_seq": 1, "caught_up": False,
        "tombstone": None, "lag": 1,
    }  # fmt: skip
    assert told["records"][0].items() >= {"$seq": 2, "data": "b"}.items()
    assert isinstance(told["performance"]["records_scanned"], int)
    end = api.diff(topic, from_seq=3)
    assert (end["records"], end["caught_up"], end["lag"], end["next_from_seq"]) == ([], True, 0, 3)


def test_pages_to_the_end(api: Api, topic: str) -> None:
    """2.6, 3.2: pages of one record, to the end; each once, and caught_up on the last only."""
    api.append(topic, *range(20))
    seen, page = [], api.diff(topic, limit=1)
    while not page["caught_up"]:
        seen += seqs(page)
        assert page["lag"] == 20 - page["next_from_seq"]
        page = api.diff(topic, limit=1, from_seq=page["next_from_seq"])
    assert seen + seqs(page) == list(range(1, 21))


def test_the_byte_budget(api: Api, topic: str) -> None:
    """2.6, 3.2, 12.41: stops before a record that would pass it, at least one, none skipped; 0 means 1 MiB."""
    api.append(topic, *["x" * 1000] * 5)
    page = api.diff(topic, max_batch_bytes=1)
    assert (seqs(page), page["next_from_seq"]) == ([1], 1)
    page = api.diff(topic, max_batch_bytes=3500)
    assert (len(page["records"]) in (2, 3), page["next_from_seq"]) == (True, len(page["records"]))
    assert len(api.diff(topic, max_batch_bytes=0)["records"]) == 5
    api.append(topic + "b", *["x" * 300_000] * 4)
    assert len(api.diff(topic + "b")["records"]) == 3
    assert len(api.diff(topic + "b", max_batch_bytes=2**40)["records"]) == 4


def test_flags(api: Api, topic: str) -> None:
    """2.6, 12.49: tags only when asked for, meta unless not."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": 1, "tag": "t", "meta": {"m": 1}}]})

    def keys(**fields: Any) -> set[str]:
        return set(api.diff(topic, **fields)["records"][0]) & {"$tag", "meta"}

    assert keys() == {"meta"}
    assert keys(include_tags=True) == {"meta", "$tag"}
    assert keys(include_meta=False) == set()
    assert keys(include_tags=False, include_meta=True) == {"meta"}


@pytest.mark.parametrize(("node", "left"), [
    ("a", [2, 3, 4]), (["a"], [2, 3, 4]), (["a", "b"], [3, 4]), ([], [1, 2, 3, 4]), (None, [1, 2, 3, 4]),
    ("A", [1, 2, 3, 4]), ("", [1, 2, 3, 4]), (["a", "a", "x"], [2, 3, 4]),
])  # fmt: skip
def test_node_filter(api: Api, topic: str, node: Any, left: list[int]) -> None:
    """2.6, 3.9, 12.46: string or array, to the byte; what is dropped still moves the cursor, and never tombstones."""
    records = [{"data": 1, "node": "a"}, {"data": 2, "node": "b"}, {"data": 3, "node": "ab"}, {"data": 4, "node": "c"}]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})
    page = api.diff(topic, node=node)
    assert (seqs(page), page["caught_up"], page["next_from_seq"], page["tombstone"]) == (left, True, 4, None)


@pytest.mark.parametrize("node", [1, True, {}, [1], [None], [["a"]]])
def test_wrong_node_filters(api: Api, topic: str, node: Any) -> None:
    """1.1: bad filter."""
    api.create(topic)
    refused(api.post(f"/v0/topics/{topic}/diff", json={"node": node}), 400, "invalid_request")


def test_a_diff_is_a_read(api: Api, topic: str) -> None:
    """3.2: it moves last_read_ts and the recency clock."""
    api.create(topic)
    assert api.state(topic, touch="0")["last_read_ts"] is None
    api.diff(topic)
    assert abs(api.state(topic, touch="0")["last_read_ts"] - time.time() * 1000) < 60_000


def test_long_poll_wakes(api: Api, topic: str) -> None:
    """3.2, 12.45, 8.2 C14: an append wakes it, at once, wherever it falls."""
    api.create(topic)
    for turn in range(5):
        thread = later(lambda turn=turn: api.append(topic, turn))
        page = api.diff(topic, from_seq=turn, wait_ms=20_000)
        thread.join()
        assert seqs(page) == [turn + 1]


def test_long_poll_waits_past_its_own_records(api: Api, topic: str) -> None:
    """3.2: where the reference answers empty to the reader's own record, the rest is still told."""
    api.create(topic)

    def write() -> None:
        api.append(topic, 1, node="own")
        api.append(topic, 2, node="other")

    thread = later(write)
    at = 0
    found: list[int] = []
    while not found:
        page = api.diff(topic, from_seq=at, wait_ms=20_000, node="own")
        at, found = page["next_from_seq"], seqs(page)
    thread.join()
    assert found == [2]


def test_long_poll_does_not_wait_with_something_to_tell(api: Api, topic: str) -> None:
    """3.2: records or a tombstone are told at once."""
    api.create(topic, cap_records=1)
    api.append(topic, 1)
    began = time.monotonic()
    assert seqs(api.diff(topic, wait_ms=30_000)) == [1]
    assert api.diff(topic, from_seq=7, wait_ms=30_000)["tombstone"]["reason"] == "recreated"
    assert time.monotonic() - began < 25


def test_cap_tombstone(api: Api, topic: str) -> None:
    """3.3, 12.52, 12.55: what the cap took, once, with the records after it in the same answer."""
    api.create(topic, cap_records=2)
    api.append(topic, *range(5))
    page = api.diff(topic)
    assert page["tombstone"] == {
        "gap_from": 1, "gap_to": 3, "reason": "cap", "missed_estimate": 3, "earliest_seq": 4, "head_seq": 5,
    }  # fmt: skip
    assert (seqs(page), page["earliest_seq"]) == ([4, 5], 4)
    assert (
        api.diff(topic, from_seq=2)["tombstone"].items() >= {"gap_from": 3, "gap_to": 3, "missed_estimate": 1}.items()
    )
    assert api.diff(topic, from_seq=3)["tombstone"] is None


def test_ttl_tombstone(api: Api, topic: str) -> None:
    """3.3, 3.4, 12.53, 12.66: what time took has the reason ttl; it goes without anybody writing."""
    api.create(topic, ttl_ms=60)
    api.append(topic, 1, 2)
    page = until(lambda: (page := api.diff(topic))["tombstone"] and page)
    assert page["tombstone"].items() >= {"gap_from": 1, "gap_to": 2, "reason": "ttl"}.items()
    assert (page["records"], page["caught_up"], page["earliest_seq"]) == ([], True, 3)
    assert api.state(topic)["count"] == 0


def test_recreated(api: Api, topic: str) -> None:
    """3.3, 12.56, 8.2 C11 with 5.1: a cursor above the head; with the log id also when the new topic outgrew it."""
    api.append(topic, *range(5))
    old = api.diff(topic)["log_id"]
    api.told("DELETE", f"/v0/topics/{topic}")
    api.append(topic, *range(2))
    page = api.diff(topic, from_seq=5)
    assert page["tombstone"].items() >= {"reason": "recreated", "gap_from": 1, "gap_to": 2}.items()
    assert seqs(page) == [1, 2]
    api.append(topic, *range(10))
    page = api.diff(topic, from_seq=5, log_id=old)
    assert (page["tombstone"]["reason"], seqs(page)) == ("recreated", list(range(1, 13)))
    assert api.diff(topic, from_seq=12)["tombstone"] is None


def test_voluntary_removal_is_silent(api: Api, topic: str) -> None:
    """3.3, 12.54: deletes make no tombstone, at the front, in the middle, at the end, or all."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": n, "tag": f"t{n}"} for n in range(1, 7)]})
    drop(api, topic, before_seq=3)
    drop(api, topic, match="t4")
    drop(api, topic, match="t6")
    page = api.diff(topic)
    assert (seqs(page), page["tombstone"], page["next_from_seq"], page["caught_up"]) == ([3, 5], None, 6, True)
    assert page["earliest_seq"] == 3
    drop(api, topic, before_seq=7)
    page = api.diff(topic)
    assert (page["records"], page["tombstone"], page["earliest_seq"], page["head_seq"]) == ([], None, 7, 6)


def test_a_gap_below_deletes(api: Api, topic: str) -> None:
    """3.3: gap_to is where eviction ended; deletes above it count for earliest_seq only, and the page goes on there."""
    api.create(topic, cap_records=4)
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": n, "tag": f"t{n}"} for n in range(1, 7)]})
    drop(api, topic, match="t3")
    page = api.diff(topic)
    assert (page["tombstone"]["gap_from"], page["tombstone"]["gap_to"], page["tombstone"]["earliest_seq"]) == (1, 2, 3)
    assert (seqs(page), page["earliest_seq"]) == ([4, 5, 6], 4)
