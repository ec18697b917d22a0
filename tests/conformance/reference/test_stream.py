"""Reference 2.9: watch sessions and their event streams."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ..daemon import Api, refused
from ..events import Event, EventStream, data_of, joined, opened, watched

NONSENSE = [
    "",
    "x",
    "0",
    "!!",
    "e30",
    urlsafe_b64encode(b'{"a":-1}').decode(),
    urlsafe_b64encode(b"[1]").decode(),
    "A" * 2000,
]


def event_id(places: dict[str, int]) -> str:
    return urlsafe_b64encode(json.dumps(places, sort_keys=True).encode()).decode().rstrip("=")


def test_the_answer_of_a_watch(api: Api, topic: str) -> None:
    """2.9, 12.85: the id of 26 characters, where its stream is, and where each topic stands."""
    api.append(topic, 1, 2)
    told = watched(api, {topic: {"tail": False}})
    assert re.fullmatch(r"wid_[A-Za-z0-9_-]{22}", told["wid"])
    assert (told["stream_url"], told["session_ttl_ms"]) == (f"/v0/watch/{told['wid']}", 300_000)
    assert told["topics"][topic].items() >= {"from_seq": 0, "head_seq": 2, "earliest_seq": 1}.items()
    assert watched(api, {topic: {"tail": True}})["topics"][topic]["from_seq"] == 2


@pytest.mark.parametrize("body", [
    {}, {"topics": {}}, {"topics": []}, {"topics": None}, {"topics": "t"}, {"topics": {"-": {}}}, {"topics": {"t": 1}},
    {"topics": {f"t{n}": {} for n in range(257)}},
])  # fmt: skip
def test_wrong_watches(api: Api, body: dict[str, Any]) -> None:
    """2.9, 4: none, more than 256, no map, bad names."""
    refused(api.post("/v0/watch", json=body), 400, "invalid_request")


def test_wrong_options(api: Api, topic: str) -> None:
    """2.9, 1.1: options of a wrong type or word are 400; out of bounds they are clamped."""
    api.create(topic)
    wrong = {
        "limit": -1,
        "heartbeat_ms": "9",
        "node": 1,
        "include_meta": 1,
        "consistency": "weak",
        "max_batch_bytes": 1.5,
    }
    for option, value in wrong.items():
        refused(api.post("/v0/watch", json={"topics": {topic: {}}, option: value}), 400, "invalid_request")
    for place in ({"from_seq": -1}, {"from_seq": "0"}, {"tail": 1}, {"from_seq": 1.5}):
        refused(api.post("/v0/watch", json={"topics": {topic: place}}), 400, "invalid_request")
    for number in (0, 10**9):
        watched(
            api, {topic: {}}, limit=number, heartbeat_ms=number, max_batch_bytes=number, node=[], consistency="strong"
        )


def test_256_topics(api: Api, topic: str) -> None:
    """4: 256 topics are taken."""
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: api.append(f"{topic}.{n}", n), range(256)))
    with opened(api, {f"{topic}.{n}": {} for n in range(256)}) as stream:
        seen: list[Event] = []
        while len([event for event in seen if event.name == "caught-up"]) < 256:
            seen += stream.until("caught-up")
    assert sorted(data_of(seen)) == list(range(256))


def test_frames(api: Api, topic: str) -> None:
    """2.9, 12.86: headers; retry, then topic by topic in the order of names: records, caught-up; every field."""
    a, b = topic + "a", topic + "b"
    api.append(b, 3)
    api.told("POST", f"/v0/topics/{a}", {"records": [{"data": 1, "tag": "t", "meta": {"m": 1}}, {"data": 2}]})
    wid = watched(api, {b: {}, a: {}})["wid"]
    with EventStream(api, f"/v0/watch/{wid}") as stream:
        for header in ("content-type: text/event-stream\r\n", "cache-control: no-store", "x-accel-buffering: no"):
            assert header in stream.head
        assert stream.next() == Event("retry", 2000)
        events = stream.until("caught-up", topic=b)
    assert [(event.name, event.data["topic"]) for event in events] == [
        ("record", a), ("caught-up", a), ("record", b), ("caught-up", b),
    ]  # fmt: skip
    page = events[0].data
    assert page.keys() >= {"topic", "from_seq", "to_seq", "head_seq", "records"}
    assert (page["to_seq"], page["head_seq"]) == (2, 2)
    assert page["records"][0].keys() == {"$seq", "$ts", "$node", "data", "meta"}
    assert events[1].data == {"topic": a, "head_seq": 2}
    assert [event.place for event in events] == [{a: 2, b: 0}, {a: 2, b: 0}, {a: 2, b: 1}, {a: 2, b: 1}]


def test_options_of_frames(api: Api, topic: str) -> None:
    """2.9, 12.49, 4: tags, meta and data as told; limit records a frame; own nodes filtered, the cursor past them."""
    sent = [{"data": n, "tag": "t", "meta": n, "node": "own" if n == 4 else "other"} for n in range(5)]
    api.told("POST", f"/v0/topics/{topic}", {"records": sent})
    with opened(
        api, {topic: {}}, limit=2, include_tags=True, include_data=False, include_meta=False, node=["own"]
    ) as stream:
        events = stream.until("caught-up")
    pages = [event.data for event in events if event.name == "record"]
    assert [[record["$seq"] for record in page["records"]] for page in pages] == [[1, 2], [3, 4]]
    assert pages[0]["records"][0].keys() == {"$seq", "$ts", "$node", "$tag"}
    assert (pages[-1]["to_seq"] >= 4, events[-1].place) == (True, {topic: 5})


def test_live(api: Api, topic: str) -> None:
    """2.9, 12.89, 12.90: tail starts at the head; what is appended comes; caught-up once per backlog."""
    api.append(topic, "old")
    with opened(api, {topic: {"tail": True}}) as stream:
        stream.until("caught-up")
        for n in range(3):
            api.append(topic, n)
            events = stream.until("record")
            assert data_of(events) == [n]


def test_accept_of_streams(api: Api, topic: str) -> None:
    """1.1: 406 for an Accept without event streams; none at all, or */*, is taken."""
    api.append(topic, 1)
    wid = watched(api, {topic: {}})["wid"]
    refused(api.get(f"/v0/watch/{wid}", headers={"accept": "application/json"}), 406, "not_acceptable")
    refused(api.get("/v0/watch/wid_unknown"), 404, "not_found")
    for accept in ("*/*", "text/html, text/event-stream;q=0.5", None):
        headers = {} if accept is None else {"accept": accept}
        request = api.build_request("GET", f"/v0/watch/{wid}", headers=headers)
        if accept is None:
            del request.headers["accept"]
        got = api.send(request, stream=True)
        assert got.status_code == 200
        got.close()


@pytest.mark.parametrize("last", NONSENSE)
def test_nonsense_as_last_event_id(api: Api, topic: str, last: str) -> None:
    """2.9: an id that nobody gave out takes nothing away: it is refused, or the session's own cursors hold."""
    api.append(topic, 1)
    wid = watched(api, {topic: {}})["wid"]
    with EventStream(api, f"/v0/watch/{wid}", last) as stream:
        assert stream.status in (200, 400)
        if stream.status == 200:
            assert data_of(stream.until("caught-up")) == [1]


def test_resume(api: Api, topic: str) -> None:
    """2.9, 12.87: the id of a frame brings back what came behind it; it only ever lowers a cursor."""
    api.append(topic, 1, 2, 3)
    wid = watched(api, {topic: {}}, limit=1)["wid"]
    with joined(api, wid) as stream:
        first = stream.until("record")[-1]
        stream.until("caught-up")
    with joined(api, wid, first.id) as stream:
        assert data_of(stream.until("caught-up")) == [2, 3]
    with joined(api, wid) as stream:
        assert data_of(stream.until("caught-up")) == []
    with joined(api, wid, event_id({topic: 1})) as stream:
        assert data_of(stream.until("caught-up")) == [2, 3]
    with opened(api, {topic: {"from_seq": 1}}, event_id({topic: 99, "unknown": 5})) as stream:
        assert data_of(stream.until("caught-up")) == [2, 3]


def test_tombstones(api: Api, topic: str) -> None:
    """2.9, 12.53 with 5.1: the true reason, the other word as alias; the cursor is behind the gap."""
    api.create(topic, cap_records=1)
    api.append(topic, 1, 2, 3)
    with opened(api, {topic: {}}) as stream:
        loss, page, _ = stream.until("caught-up")
        expected = {"topic": topic, "gap_from": 1, "gap_to": 2, "earliest_seq": 3, "head_seq": 3, "reason": "cap"}
        assert (loss.name, loss.data.items() >= expected.items()) == ("tombstone", True)
        assert (loss.data["alias"], loss.place, data_of([page])) == ("from_seq_too_old", {topic: 2}, [3])


def test_topic_deleted(api: Api, topic: str) -> None:
    """2.9, 12.92, 8.2 C7: told at once for that topic; the stream ends with its last topic."""
    for name in (topic + "a", topic + "b"):
        api.append(name, 1)
    with opened(api, {topic + "a": {}, topic + "b": {}}) as stream:
        stream.until("caught-up", topic=topic + "b")
        api.told("DELETE", f"/v0/topics/{topic}a")
        gone = stream.until("topic-deleted")[-1]
        assert gone.data.items() >= {"topic": topic + "a", "reason": "deleted"}.items()
        api.append(topic + "b", 2)
        assert data_of(stream.until("record")) == [2]
        api.told("DELETE", f"/v0/topics/{topic}b")
        assert stream.rest()[-1].name == "topic-deleted"


def test_heartbeats(api: Api, topic: str) -> None:
    """2.9, 12.91: a comment after heartbeat_ms of silence (clamped to a second), `hb` in it."""
    api.create(topic)
    with opened(api, {topic: {}}, heartbeat_ms=1) as stream:
        stream.until("caught-up")
        beat = stream.next()
    assert beat is not None
    assert (beat.name, "hb" in beat.data) == (":", True)
