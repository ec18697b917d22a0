"""Caps and ttl (reference 3.3, 3.4, design 5.1): exact counts, and one tombstone for who comes too late."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .daemon import Api, until


def _loss(page: dict[str, Any]) -> tuple[int, int, str, int]:
    lost = page["tombstone"]
    assert set(lost) == {"gap_from", "gap_to", "reason", "missed_estimate", "earliest_seq", "head_seq"}
    assert (lost["earliest_seq"], lost["head_seq"]) == (lost["gap_to"] + 1, page["head_seq"])
    return lost["gap_from"], lost["gap_to"], lost["reason"], lost["missed_estimate"]


def _data(page: dict[str, Any]) -> list[Any]:
    return [record["data"] for record in page["records"]]


def test_a_cap_keeps_the_newest(api: Api, topic: str) -> None:
    """Exactly ``cap_records`` live records; who is behind gets one tombstone and then goes on in the same page."""
    api.create(topic, cap_records=3)
    for i in range(1, 11):
        api.append(topic, i)
    state = api.state(topic)
    assert (state["count"], state["earliest_seq"], state["head_seq"], state["bytes"]) == (3, 8, 10, 4)
    page = api.diff(topic)
    assert (_loss(page), _data(page), page["caught_up"]) == ((1, 7, "cap", 7), [8, 9, 10], True)
    assert page["earliest_seq"] == 8
    page = api.diff(topic, from_seq=5, limit=2)
    assert (_loss(page), _data(page), page["lag"]) == ((6, 7, "cap", 2), [8, 9], 1)


@pytest.mark.parametrize("after", [7, 8, 9, 10])
def test_who_lost_nothing_is_told_nothing(api: Api, topic: str, after: int) -> None:
    """A tombstone means that this reader missed something."""
    api.create(topic, cap_records=3)
    api.append(topic, *range(1, 11))
    page = api.diff(topic, from_seq=after)
    assert (page["tombstone"], _data(page)) == (None, list(range(after + 1, 11)))


def test_the_floor_may_lie_inside_a_batch(api: Api, topic: str) -> None:
    """Records, not batches, are counted: a batch larger than the cap is taken and its front evicted at once."""
    api.create(topic, cap_records=5)
    assert api.append(topic, *range(1, 9))["count"] == 8
    assert (api.state(topic)["count"], _data(api.diff(topic))) == (5, [4, 5, 6, 7, 8])
    api.append(topic, 9)
    assert (api.state(topic)["count"], _data(api.diff(topic))) == (5, [5, 6, 7, 8, 9])


@pytest.mark.parametrize("how", ["state", "list", "diff", "watch"])
def test_nobody_is_shown_what_has_expired(api: Api, topic: str, how: str) -> None:
    """Whoever looks sees the ttl kept, whether it counts as reading or not, and long before anybody sweeps."""
    api.create(topic, ttl_ms=50)
    api.append(topic, 1, 2)
    gone_ms = api.state(topic)["last_write_ts"] + 51
    until(lambda: time.time() * 1000 > gone_ms)
    if how == "state":
        told = api.told("GET", f"/v0/topics/{topic}", touch="false")
        assert (told["count"], told["bytes"]) == (0, 0)
    elif how == "list":
        (told,) = api.told("GET", "/v0/topics", prefix=topic)["topics"]
        assert told["count"] == 0
    elif how == "diff":
        told = api.diff(topic)
        assert (told["records"], told["tombstone"]["reason"]) == ([], "ttl")
    else:
        told = api.told("POST", "/v0/watch", {"topics": {topic: {}}})["topics"][topic]
    assert told["earliest_seq"] == 3


def test_cap_bytes_counts_the_text_as_sent(api: Api, topic: str) -> None:
    """Data and meta, white space and all; the oldest go until the rest fits."""
    api.create(topic, cap_bytes=30)
    body = b'{"records":[{"data":"12345678"},{"data":[1,  2],"meta":"m"},{"data":"12345678"},{"data":"xy"}]}'
    api.post_raw(f"/v0/topics/{topic}", body)
    assert (api.state(topic)["bytes"], api.state(topic)["count"]) == (24, 3)
    api.append(topic, "1234")
    assert (api.state(topic)["bytes"], _loss(api.diff(topic))) == (30, (1, 1, "cap", 1))
    api.append(topic, 7)
    assert (api.state(topic)["bytes"], api.state(topic)["count"]) == (21, 4)


def test_one_record_larger_than_the_cap(api: Api, topic: str) -> None:
    """``discard: old`` never refuses; what does not fit is gone at once, and that is told."""
    api.create(topic, cap_bytes=10)
    assert api.append(topic, "x" * 50)["head_seq"] == 1
    state, page = api.state(topic), api.diff(topic)
    assert (state["count"], state["bytes"], state["earliest_seq"]) == (0, 0, 2)
    assert (_loss(page), page["records"], page["caught_up"]) == ((1, 1, "cap", 1), [], True)


def test_a_tightened_cap_acts_before_the_answer(api: Api, topic: str) -> None:
    """PUT evicts; a loosened cap brings nothing back."""
    api.append(topic, *range(1, 11))
    api.create(topic, cap_records=4)
    assert (api.state(topic)["count"], _data(api.diff(topic))) == (4, [7, 8, 9, 10])
    api.create(topic)
    page = api.diff(topic)
    assert (_loss(page), _data(page)) == ((1, 6, "cap", 6), [7, 8, 9, 10])


def test_a_silent_topic_expires(api: Api, topic: str) -> None:
    """``ttl_ms`` acts without any write: reads, state and list agree, and the seqs go on."""
    api.create(topic, ttl_ms=120)
    api.append(topic, 1, 2, 3)
    until(lambda: api.state(topic)["count"] == 0)
    state, page = api.state(topic), api.diff(topic)
    assert (state["head_seq"], state["earliest_seq"], state["bytes"], state["next_seq"]) == (3, 4, 0, 4)
    assert (_loss(page), page["records"], page["caught_up"]) == ((1, 3, "ttl", 3), [], True)
    (listed,) = api.told("GET", "/v0/topics", prefix=topic)["topics"]
    assert (listed["count"], listed["bytes"], listed["earliest_seq"]) == (0, 0, 4)
    assert api.append(topic, 4)["first_seq"] == 4


@pytest.mark.parametrize("look", ["diff", "state", "list"])
def test_every_way_of_looking_sees_the_expiry(api: Api, topic: str, look: str) -> None:
    """No view shows an expired record as live, whichever is asked first."""
    api.create(topic, ttl_ms=60)
    api.append(topic, 1)

    def live() -> int:
        if look == "diff":
            return len(api.diff(topic)["records"])
        if look == "state":
            return int(api.state(topic, touch="false")["count"])
        return int(api.told("GET", "/v0/topics", prefix=topic)["topics"][0]["count"])

    until(lambda: live() == 0)


def test_both_reasons_are_mixed(api: Api, topic: str) -> None:
    """A gap that a cap began and the ttl ended is ``mixed``; the part that only expired is ``ttl``."""
    api.create(topic, cap_records=3, ttl_ms=120)
    api.append(topic, *range(1, 11))
    assert _loss(api.diff(topic)) == (1, 7, "cap", 7)
    until(lambda: api.state(topic)["count"] == 0)
    assert _loss(api.diff(topic, from_seq=8)) == (9, 10, "ttl", 2)
    assert _loss(api.diff(topic)) == (1, 10, "mixed", 10)


def test_a_ttl_that_nothing_reached_is_no_reason(api: Api, topic: str) -> None:
    """The reason is what happened, not what is configured."""
    api.create(topic, cap_records=1, ttl_ms=3_600_000)
    api.append(topic, 1, 2)
    assert _loss(api.diff(topic)) == (1, 1, "cap", 1)
    api.create(topic, ttl_ms=3_600_000)
    assert _loss(api.diff(topic)) == (1, 1, "cap", 1)


def test_filters_do_not_hide_a_loss(api: Api, topic: str) -> None:
    """Leaving out own records is wanted; the loss before them is not, and is told."""
    api.create(topic, cap_records=2)
    api.append(topic, *range(1, 6), node="me")
    page = api.diff(topic, node="me")
    assert (_loss(page), page["records"], page["next_from_seq"], page["caught_up"]) == ((1, 3, "cap", 3), [], 5, True)


def test_a_page_never_holds_what_was_evicted(api: Api, topic: str) -> None:
    """Seqs of a page begin behind its tombstone and have no hole."""
    api.create(topic, cap_records=10)
    after = 0
    for i in range(60):
        api.append(topic, *range(i % 4 + 1))
        page = api.diff(topic, from_seq=after, limit=2)
        seqs = [record["$seq"] for record in page["records"]]
        start = page["tombstone"]["gap_to"] if page["tombstone"] else after
        assert seqs == list(range(start + 1, start + len(seqs) + 1))
        after = page["next_from_seq"]
