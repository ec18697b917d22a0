"""Watching over server-sent events (reference 2.9, design 5.1): every field, frame and error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .daemon import Api, Daemon, daemons, refused, until
from .events import Event, EventStream, data_of, joined, opened, watched

TIGHT = """
[cluster]
name = "tight"
[nodes.tight]
listen = "127.0.0.1:0"
data_dir = "data"
[limits]
max_watch_topics = 3
max_watch_sessions = 6
max_prefix_topics = 3
session_ttl_ms = "3s"
max_sse = 3
min_heartbeat_ms = "50ms"
watch_buffer_bytes = "8KiB"
slow_consumer_timeout_ms = "400ms"
"""


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A node of its own with low bounds for watchers."""
    with daemons(tmp_path_factory.mktemp("tight"), TIGHT, "tight") as (daemon,):
        yield daemon


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def numbers(api: Api) -> dict[str, int]:
    """What the node tells of its streams."""
    told: dict[str, int] = api.get("/v0/metrics", headers={"accept": "application/json"}).json()["streams"]
    return told


# ---- sessions ------------------------------------------------------------------------------------


def test_a_session_tells_where_it_begins(api: Api, topic: str) -> None:
    """The answer is all that a client needs to know where it stands; ids of sessions cannot be guessed."""
    api.append(topic, 1, 2, 3)
    told = watched(api, {topic: {"from_seq": 1}})
    assert re.fullmatch(r"wid_[A-Za-z0-9_-]{22}", told["wid"])
    assert told["stream_url"] == f"/v0/watch/{told['wid']}"
    assert told["session_ttl_ms"] == 300_000
    assert told["topics"] == {
        topic: {"from_seq": 1, "head_seq": 3, "earliest_seq": 1, "log_id": api.diff(topic)["log_id"]}
    }
    tail = watched(api, {topic: {"tail": True, "from_seq": 1}})
    assert tail["topics"][topic]["from_seq"] == 3


@pytest.mark.parametrize(
    "body",
    [
        {}, {"topics": {}}, {"topics": []}, {"topics": {"x": {"from_seq": -1}}}, {"topics": {"x": {"from_seq": 1.5}}},
        {"topics": {"no/name": {}}}, {"topics": {"x*y*": {}}}, {"topics": {"x": {}}, "limit": -1},
        {"topics": {"x": {}}, "consistency": "perhaps"}, {"topics": {"x": {}}, "match": ["data", "Eq", "x"]},
        {"topics": {"x": {}}, "match": 7}, {"topics": {f"t{n}": {} for n in range(257)}}, "not a body",
    ],
)  # fmt: skip
def test_what_no_session_can_be(api: Api, body: Any) -> None:
    """A watch that cannot be is refused before anything is kept of it."""
    refused(api.post("/v0/watch", json=body), 400, "invalid_request")


def test_unknown_topics(api: Api, topic: str) -> None:
    """A topic that is not there is refused by name, or left out when the client says that it does not mind."""
    api.append(topic, 1)
    body: dict[str, Any] = {"topics": {topic: {}, "nowhere": {}}}
    assert refused(api.post("/v0/watch", json=body), 404, "topic_not_found") == {"topic": "nowhere"}
    assert list(api.told("POST", "/v0/watch", body, lenient="true")["topics"]) == [topic]


def test_what_no_stream_can_be(api: Api, topic: str) -> None:
    """An unknown session, an answer that the client would not take, an id that is none."""
    api.append(topic, 1)
    refused(api.get("/v0/watch/wid_nothing"), 404, "not_found")
    wid = watched(api, {topic: {}})["wid"]
    refused(api.get(f"/v0/watch/{wid}", headers={"accept": "application/json"}), 406, "not_acceptable")
    for broken in ("%", "e30.x", "eyJhIjotMX0", "WzFd", "é"):
        refused(api.get(f"/v0/watch/{wid}", headers={b"last-event-id": broken.encode()}), 400, "invalid_request")


def test_the_head_of_a_stream(api: Api, topic: str) -> None:
    """Nothing between node and reader may keep or gather events."""
    api.append(topic, 1)
    with EventStream(api, f"/v0/watch/{watched(api, {topic: {}})['wid']}") as stream:
        assert stream.status == 200
        for line in ("content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"):
            assert line in stream.head


def test_bounds_of_sessions(tight: Daemon) -> None:
    """As many topics, sessions and streams as the file says; what is over frees its place."""
    api = tight.api
    for name in ("a", "b", "c", "d"):
        api.append(name, 1)
    refused(api.post("/v0/watch", json={"topics": {n: {} for n in "abcd"}}), 400, "invalid_request")
    detail = refused(api.post("/v0/watch", json={"topics": {"*": {}}}), 400, "invalid_request")
    assert detail == {"limit": "max_prefix_topics", "max": 3}
    wids = []
    while (response := api.post("/v0/watch", json={"topics": {"a": {}}})).status_code == 200:
        wids.append(response.json()["wid"])
    assert len(wids) == 6
    assert refused(response, 429, "throttled") == {"limit": "max_watch_sessions", "max": 6}
    assert response.headers["retry-after"] == "1"
    streams = [joined(api, wid) for wid in wids[:3]]
    for stream in streams:
        stream.until("caught-up")
    assert refused(api.get(f"/v0/watch/{wids[3]}"), 429, "throttled") == {"limit": "max_sse", "max": 3}
    for stream in streams:
        stream.close()
    until(lambda: api.post("/v0/watch", json={"topics": {"a": {}}}).status_code == 200)  # idle for too long
    refused(api.get(f"/v0/watch/{wids[3]}"), 404, "not_found")


# ---- frames --------------------------------------------------------------------------------------


def test_frames_in_their_order(api: Api, topic: str) -> None:
    """Topics in the order of their names; of each its records and that the backlog is over; then what comes."""
    low, high = topic + "-a", topic + "-b"
    api.append(high, "h1")
    api.append(low, "l1", "l2")
    with opened(api, {high: {}, low: {}}) as stream:
        events = stream.until("caught-up", topic=high)
        assert names(events) == ["record", "caught-up", "record", "caught-up"]
        page = events[0].data
        assert [page[k] for k in ("topic", "from_seq", "to_seq", "head_seq")] == [low, 0, 2, 2]
        assert set(page) == {"topic", "from_seq", "to_seq", "head_seq", "records"}
        assert set(page["records"][0]) == {"$seq", "$ts", "$node", "data"}
        assert [e.place for e in events] == [
            {low: 2, high: 0}, {low: 2, high: 0}, {low: 2, high: 1}, {low: 2, high: 1},
        ]  # fmt: skip
        assert events[1].data == {"topic": low, "head_seq": 2}
        api.append(low, "l3")
        event = stream.next()
        assert event is not None
        assert (data_of([event]), event.place) == (["l3"], {low: 3, high: 1})


def test_records_show_what_was_asked_for(api: Api, topic: str) -> None:
    """Tags and origins on demand, meta unless not wanted, payloads left out for who only wants to know."""
    api.told(
        "POST", f"/v0/topics/{topic}", {"records": [{"data": {"a": 1}, "tag": "t", "node": "n", "meta": {"m": 1}}]}
    )
    shown: dict[str, set[str]] = {}
    for flags in ({}, {"include_tags": True, "include_origin": True}, {"include_meta": False, "include_data": False}):
        with opened(api, {topic: {}}, None, **flags) as stream:
            event = stream.next()
            assert event is not None
            shown[str(sorted(flags))] = set(event.data["records"][0])
    least = {"$seq", "$ts", "$node"}
    assert list(shown.values()) == [
        least | {"data", "meta"}, least | {"data", "meta", "$tag", "$origin"}, least
    ]  # fmt: skip


def test_payloads_on_many_lines(api: Api, topic: str) -> None:
    """A payload is kept as it was written, and its line breaks must not end the event."""
    text = '{"records":[{"data":{\n"a":\r1,\r\n"b": "x"}}]}'
    assert api.post_raw(f"/v0/topics/{topic}", text).status_code == 201
    with opened(api, {topic: {}}) as stream:
        assert data_of(stream.until("caught-up")) == [{"a": 1, "b": "x"}]


def test_pages_of_a_backlog(api: Api, topic: str) -> None:
    """A long backlog comes in pages of the limit, and is over once."""
    api.append(topic, *range(10))
    with opened(api, {topic: {}}, limit=4) as stream:
        events = stream.until("caught-up")
        assert names(events) == ["record", "record", "record", "caught-up"]
        assert [len(e.data["records"]) for e in events[:3]] == [4, 4, 2]
        api.append(topic, *range(10, 16))
        assert data_of(stream.until("caught-up")) == [10, 11, 12, 13, 14, 15]


def test_pages_are_bounded_in_bytes(api: Api, topic: str) -> None:
    """No event is larger than it was asked to be, but for a record that is so alone."""
    api.append(topic, *["x" * 300 for _ in range(6)])
    with opened(api, {topic: {}}, max_batch_bytes=800) as stream:
        pages = stream.until("caught-up")[:-1]
        assert [len(page.data["records"]) for page in pages] == [2, 2, 2]
    with opened(api, {topic: {}}, max_batch_bytes=10) as stream:
        assert len(stream.until("caught-up")) == 7


def test_heartbeats(tight: Daemon) -> None:
    """A silent stream shows that it lives, by a comment, within the time that was asked for."""
    tight.api.append("a", 1)
    with opened(tight.api, {"a": {}}, heartbeat_ms=1) as stream:
        stream.until("caught-up")
        assert stream.next() == Event(":", "hb")
        tight.api.append("a", 2)
        assert data_of(stream.until("record")) == [2]


def test_node_filters(api: Api, topic: str) -> None:
    """What a node wrote itself is not pushed to it, and the cursor passes it."""
    api.append(topic, 1, 3, node="me")
    api.append(topic, 2)
    for node in ("me", ["me", "other"]):
        with opened(api, {topic: {}}, node=node) as stream:
            events = stream.until("caught-up")
            assert (data_of(events), events[-1].place) == ([2], {topic: 3})
    with opened(api, {topic: {}}, node="solo") as stream:
        assert data_of(stream.until("caught-up")) == []
    api.create(topic + "-all", dedupe_node=False)
    api.append(topic + "-all", 1, node="me")
    with opened(api, {topic + "-all": {}}, node="me") as stream:
        assert data_of(stream.until("caught-up")) == [1]


@pytest.mark.parametrize(("match", "wanted"), [
    ("a:1", [1, 7]), ("a:*", [1, 2, 7]), (["tag", "Eq", "b"], [3]), (["tag", "Glob", "*"], [1, 2, 3, 7]), ("none", []),
])  # fmt: skip
def test_matches(api: Api, topic: str, match: Any, wanted: list[int]) -> None:
    """Only records with that tag are pushed, whether they are of the backlog or come later."""

    def append(data: int, tag: str | None) -> None:
        record = {"data": data} | ({"tag": tag} if tag else {})
        api.told("POST", f"/v0/topics/{topic}", {"records": [record]})

    for data, tag in ((1, "a:1"), (2, "a:2"), (3, "b"), (4, None)):
        append(data, tag)
    with opened(api, {topic: {}}, match=match, heartbeat_ms=1000) as stream:
        found = data_of(stream.until("caught-up"))
        append(7, "a:1")
        if 7 in wanted:
            found += data_of(stream.until("record"))
        else:
            assert stream.next() == Event(":", "hb")
    assert found == wanted


def test_losses(api: Api, topic: str) -> None:
    """What is gone is told with its true reason; the first one of a stream also as the reference calls it."""
    api.create(topic, cap_records=2)
    api.append(topic, *range(5))
    with opened(api, {topic: {"from_seq": 1}}) as stream:
        loss, *rest = stream.until("caught-up")
        assert loss.name == "tombstone"
        told = {k: loss.data[k] for k in ("topic", "reason", "alias", "gap_from", "gap_to", "earliest_seq", "head_seq")}
        assert told == {
            "topic": topic, "reason": "cap", "alias": "from_seq_too_old", "gap_from": 2, "gap_to": 3,
            "earliest_seq": 4, "head_seq": 5,
        }  # fmt: skip
        assert loss.place == {topic: 3}
        assert data_of(rest) == [3, 4]
    with opened(api, {topic: {"from_seq": 5}}) as stream:
        stream.until("caught-up")
        api.append(topic, *range(5, 15))
        loss = stream.until("tombstone")[-1]
        assert (loss.data["reason"], "alias" in loss.data) == ("cap", False)


def test_another_log(api: Api, topic: str) -> None:
    """A cursor of a log that was replaced begins anew in the present one, whichever way that shows."""
    api.append(topic, 1, 2, 3)
    log_id = api.diff(topic)["log_id"]
    api.delete(f"/v0/topics/{topic}")
    api.append(topic, *range(10, 16))
    for start in ({"from_seq": 3, "log_id": log_id}, {"from_seq": 99}):
        with opened(api, {topic: start}) as stream:
            loss, *rest = stream.until("caught-up")
            assert (loss.name, loss.data["reason"]) == ("tombstone", "recreated")
            assert data_of(rest) == [10, 11, 12, 13, 14, 15]


def test_deleted_topics(api: Api, topic: str) -> None:
    """A topic that goes is told; with the last one the stream ends."""
    other = topic + "-z"
    api.append(topic, 1)
    api.append(other, 2)
    with opened(api, {topic: {}, other: {}}) as stream:
        stream.until("caught-up", topic=other)
        api.delete(f"/v0/topics/{topic}")
        event = stream.until("topic-deleted")[-1]
        assert (event.data, event.place) == ({"topic": topic, "head_seq": 0, "reason": "deleted"}, {other: 1})
        api.append(other, 3)
        assert data_of(stream.until("record")) == [3]
        api.delete(f"/v0/topics/{other}")
        assert names(stream.rest()) == ["topic-deleted"]


def test_only_what_is_synced(api: Api, topic: str) -> None:
    """A strong watch is pushed the same records, once they survive a power cut, whatever the topic's class."""
    for durability in ("disk", "memory", "fsync", "ephemeral"):
        name = f"{topic}-{durability}"
        api.create(name, durability=durability)
        api.append(name, 1, 2)
        with opened(api, {name: {}}, consistency="strong") as stream:
            assert data_of(stream.until("record")) == [1, 2]  # of the class memory a "caught-up" may come before it
            for data in (3, 4):
                api.append(name, data)
                assert data_of(stream.until("record")) == [data]


# ---- resuming ------------------------------------------------------------------------------------


def test_a_stream_resumes_by_its_last_event(api: Api, topic: str) -> None:
    """What was under way when the connection broke comes again; what the client had does not."""
    api.append(topic, *range(6))
    wid = watched(api, {topic: {}}, limit=2)["wid"]
    with joined(api, wid) as stream:
        first = stream.until("record")[-1]
        stream.until("caught-up")
    with joined(api, wid, first.id) as stream:
        assert data_of(stream.until("caught-up")) == [2, 3, 4, 5]


def test_an_id_only_takes_back(api: Api, topic: str) -> None:
    """A cursor that lies ahead of the session skips nothing."""
    api.append(topic, *range(4))
    far = opened(api, {topic: {}})
    ahead = far.until("caught-up")[-1]
    far.close()
    with opened(api, {topic: {"from_seq": 1}}, last=ahead.id) as stream:
        assert data_of(stream.until("caught-up")) == [1, 2, 3]


def test_a_session_goes_on_where_it_was(api: Api, topic: str) -> None:
    """Without an id a new stream begins where the session had come to."""
    api.append(topic, 1)
    wid = watched(api, {topic: {}})["wid"]
    with joined(api, wid) as stream:
        stream.until("caught-up")
    until(lambda: numbers(api)["sse_connections"] == 0)  # the node has noticed that they are gone
    api.append(topic, 2)
    with joined(api, wid) as stream:
        assert data_of(stream.until("caught-up")) == [2]


def test_an_id_of_a_log_that_was_replaced(api: Api, topic: str) -> None:
    """An id from before does not stand for a seq of the new log, however far that has grown."""
    api.append(topic, *range(3))
    wid = watched(api, {topic: {}})["wid"]
    with joined(api, wid) as stream:
        before = stream.until("caught-up")[-1]
    api.delete(f"/v0/topics/{topic}")
    api.append(topic, *range(10, 20))
    with joined(api, wid, before.id) as stream:
        events = stream.until("caught-up")
        assert (events[0].data["reason"], data_of(events)) == ("recreated", list(range(10, 20)))
        after = events[-1]
    with joined(api, wid, before.id) as stream:
        assert data_of(stream.until("caught-up")) == list(range(10, 20))
    with joined(api, wid, after.id) as stream:
        assert data_of(stream.until("caught-up")) == []


def test_two_streams_of_one_session_do_not_share_records(api: Api, topic: str) -> None:
    """Each stream has all that comes from its beginning on: nothing is stolen by the other."""
    api.append(topic, 1)
    wid = watched(api, {topic: {}})["wid"]
    with joined(api, wid) as one:
        one.until("caught-up")
        with joined(api, wid) as two:
            two.until("caught-up")
            api.append(topic, 2, 3)
            assert data_of(one.until("record")) == [2, 3]
            assert data_of(two.until("record")) == [2, 3]


def test_sessions_do_not_survive_the_node(tight: Daemon) -> None:
    """After a restart a session is unknown, and says what to do."""
    tight.kill()
    tight.start()
    tight.api.append("a", 1)
    wid = watched(tight.api, {"a": {}})["wid"]
    tight.kill()
    tight.start()
    response = tight.api.get(f"/v0/watch/{wid}")
    refused(response, 404, "not_found")
    assert "POST /v0/watch" in response.json()["error"]["message"]


# ---- prefixes ------------------------------------------------------------------------------------


def test_a_prefix_means_what_is_there_and_what_comes(api: Api, topic: str) -> None:
    """Topics that are created later are watched from their first record on, and resumed like the others."""
    api.append(f"{topic}:b", 1)
    wid = watched(api, {f"{topic}:*": {"tail": True}})["wid"]
    with joined(api, wid) as stream:
        start = stream.until("caught-up")[-1]
        assert start.place == {f"{topic}:b": 1}
        api.append(f"{topic}:a", 2)
        events = stream.until("record", topic=f"{topic}:a")
        assert events[-1].place == {f"{topic}:a": 1, f"{topic}:b": 1}
        api.append(f"{topic}:b", 3)
        assert data_of(stream.until("record")) == [3]
        api.append(f"{topic}x", 4)
        api.delete(f"/v0/topics/{topic}:b")
        assert names(stream.until("topic-deleted"))[-1] == "topic-deleted"
        api.append(f"{topic}:b", 5)
        assert data_of(stream.until("record")) == [5]
    with joined(api, wid, start.id) as stream:
        events = stream.until("caught-up", topic=f"{topic}:b")
        assert data_of(events, f"{topic}:a") == [2]


def test_a_prefix_that_comes_to_mean_too_much(tight: Daemon) -> None:
    """A stream is bounded: it ends by name instead of growing."""
    with opened(tight.api, {"p:*": {}}, heartbeat_ms=10_000) as stream:
        for n in range(4):
            tight.api.append(f"p:{n}", n)
        end = stream.rest()[-1]
        assert (end.name, end.data["code"], end.data["detail"]["limit"]) == ("error", "throttled", "max_prefix_topics")


# ---- clients that go, stall, or stay -------------------------------------------------------------


def test_a_client_that_takes_nothing_is_let_go(tight: Daemon) -> None:
    """It costs its bounded buffer and no more; it is told why, and resumes without a loss."""
    api, wanted = tight.api, 40
    api.create("big", cap_records=0)
    wid = watched(api, {"big": {}})["wid"]
    with joined(api, wid) as stalled, opened(api, {"big": {"tail": True}}) as lively:
        stalled.until("caught-up")
        lively.until("caught-up")
        for n in range(wanted):
            api.append("big", f"{n} " + "x" * 300_000)
            assert len(data_of(lively.until("record"))) == 1
        until(lambda: numbers(api)["sse_connections"] == 1)
        events = stalled.rest()
        assert (events[-1].name, events[-1].data["code"]) == ("error", "slow_consumer")
        had = len(data_of(events))
        assert had < wanted
    with joined(api, wid, events[-1].id) as stream:
        rest = data_of(stream.until("caught-up"))
    assert [int(text.split()[0]) for text in data_of(events) + rest] == list(range(wanted))


def test_many_watchers_see_every_record_once(api: Api, topic: str) -> None:
    """However they come and go, each has every record, once and in order."""
    api.append(topic, -1)

    def watch(n: int) -> list[Any]:
        found: list[Any] = []
        wid, last = watched(api, {topic: {}}, limit=1 + n % 5)["wid"], None
        while not found or found[-1] != 99:
            with joined(api, wid, last) as stream:
                for _ in range(7 + n):
                    event = stream.next()
                    assert event is not None
                    found += data_of([event])
                    last = event.id or last
                    if found and found[-1] == 99:
                        break
        return found

    with ThreadPoolExecutor(8) as crowd:
        watching = [crowd.submit(watch, n) for n in range(8)]
        for n in range(100):
            api.append(topic, n)
        assert all(one.result(30) == [-1, *range(100)] for one in watching)


def test_a_node_that_stops_says_so(tight: Daemon) -> None:
    """Last words with the place to resume from, and then an orderly end."""
    tight.api.append("last", 1)
    with opened(tight.api, {"last": {}}) as stream:
        stream.until("caught-up")
        with ThreadPoolExecutor(1) as aside:
            code = aside.submit(tight.stop)
            end = stream.rest()
            assert code.result(30) == 0
    tight.start()
    assert (end[-1].name, end[-1].data["code"], end[-1].place) == ("error", "server_shutting_down", {"last": 1})


def test_a_watch_reads_what_is_mirrored(pair: Any, mirrored: str) -> None:
    """What was appended elsewhere is pushed here, each record once, with the node that wrote it."""
    pair.fra.append(mirrored, 1)
    until(lambda: pair.iad.get(f"/v0/topics/{mirrored}").status_code == 200)
    with opened(pair.iad, {mirrored: {}}) as stream:
        pair.fra.append(mirrored, 2)
        found: list[Any] = []
        while found != [1, 2]:
            found += data_of(stream.until("record"))
            assert found in ([1], [1, 2])
