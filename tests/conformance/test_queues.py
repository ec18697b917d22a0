"""Lease queues over HTTP (reference 2.11, 3.10, 4; design 6.1): every field, limit and error."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .daemon import JSON, Api, refused, until

CALLS = ["claim", "ack", "nack", "extend"]
DAY_MS = 86_400_000


class Desk:
    """One queue, as a worker called ``w`` uses it."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name

    def post(self, verb: str, **body: Any) -> dict[str, Any]:
        return self.api.told("POST", f"/v0/topics/{self.name}/{verb}", {"node": "w", **body})

    def claim(self, most: int = 1, **more: Any) -> list[dict[str, Any]]:
        claimed: list[dict[str, Any]] = self.post("claim", max=most, **more)["claimed"]
        return claimed

    def seqs(self, most: int = 1000, **more: Any) -> list[int]:
        return [job["$seq"] for job in self.claim(most, **more)]

    @property
    def counts(self) -> tuple[int, int, int]:
        queue = self.api.state(self.name)["queue"]
        return queue["ready"], queue["in_flight"], queue["dead_lettered"]

    def data(self) -> list[Any]:
        return [record["data"] for record in self.api.diff(self.name)["records"]]


@pytest.fixture
def queue(api: Api, topic: str) -> Desk:
    """A queue with the defaults and three records."""
    api.create(topic, type="queue")
    api.append(topic, "a", "b", "c")
    return Desk(api, topic)


# ---- what is a queue -----------------------------------------------------------------------------


def test_a_queue_is_made_by_put_and_says_so(api: Api, topic: str) -> None:
    """The type, its settings, its counters and its home."""
    config = api.create(topic, type="queue", lease_ms=5, claim_jitter_ms=9999, max_deliveries=3)["config"]
    assert (config["type"], config["lease_ms"], config["claim_jitter_ms"]) == ("queue", 100, 5000)
    state = api.state(topic)
    assert state["type"] == "queue"
    assert state["queue"] == {"ready": 0, "in_flight": 0, "dead_lettered": 0, "home": "solo"}
    assert "queue" not in api.state(api.append(topic + "log", 1)["topic"])


def test_a_queue_is_made_by_an_append_with_a_config(api: Api, topic: str) -> None:
    """The first append may say that the topic is a queue."""
    api.append(topic, 1, config={"type": "queue"})
    assert Desk(api, topic).seqs() == [1]


def test_a_put_that_omits_the_type_keeps_the_queue(queue: Desk) -> None:
    """Where upstream answers 409: what a PUT cannot change it need not repeat."""
    assert queue.api.create(queue.name, lease_ms=1000)["config"]["type"] == "queue"
    refused(queue.api.put(f"/v0/topics/{queue.name}", json={"type": "log"}), 409, "topic_exists_incompatible")


@pytest.mark.parametrize("fields", [{"dead_letter": "SELF"}, {"home": "nowhere"}, {"home": "a:b"}])
def test_what_a_queue_cannot_be(api: Api, topic: str, fields: dict[str, str]) -> None:
    """Its own dead letters, or leased by a node that nobody knows."""
    told = {key: value.replace("SELF", topic) for key, value in fields.items()}
    refused(api.put(f"/v0/topics/{topic}", json={"type": "queue", **told}), 400, "invalid_request")


@pytest.mark.parametrize("verb", CALLS)
def test_a_log_is_no_queue_and_nothing_is_none(api: Api, topic: str, verb: str) -> None:
    """409 names the topic; a topic that is not there is 404, and no call creates it."""
    body = {"node": "w", "seqs": [1], "lease_ms": 1000}
    assert refused(api.post(f"/v0/topics/{topic}/{verb}", json=body), 404, "topic_not_found") == {"topic": topic}
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")
    api.append(topic, 1)
    assert refused(api.post(f"/v0/topics/{topic}/{verb}", json=body), 409, "not_a_queue") == {"topic": topic}


# ---- claim ---------------------------------------------------------------------------------------


def test_a_claim_shows_the_record_and_its_lease(api: Api, topic: str) -> None:
    """Every field, and no ``$node``; tag and meta only where there is one."""
    api.create(topic, type="queue", lease_ms=60_000)
    body = {"records": [{"data": {"a": 1}, "tag": "t", "meta": {"m": 2}, "node": "x"}, {"data": None}]}
    api.told("POST", f"/v0/topics/{topic}", body)
    before = api.state(topic)["last_write_ts"]
    told = Desk(api, topic).post("claim", max=5)
    assert set(told) == {"topic", "claimed", "count", "ready", "performance"}
    assert (told["topic"], told["count"], told["ready"]) == (topic, 2, 0)
    full, plain = told["claimed"]
    assert set(full) == {"$seq", "lease_id", "deadline", "$ts", "$tag", "deliveries", "data", "meta"}
    assert set(plain) == {"$seq", "lease_id", "deadline", "$ts", "deliveries", "data"}
    assert (full["$seq"], full["$tag"], full["data"], full["meta"], full["deliveries"]) == (
        1,
        "t",
        {"a": 1},
        {"m": 2},
        1,
    )
    assert plain["data"] is None
    assert 0 <= full["deadline"] - before - 60_000 < 30_000


def test_lease_ids_count_in_hex_from_one(queue: Desk) -> None:
    """``lease_`` and a number of the topic's own, in lower-case hex."""
    assert [job["lease_id"] for job in queue.claim(2)] == ["lease_1", "lease_2"]
    for _ in range(13):
        queue.api.append(queue.name, 1)
    assert queue.claim(14)[-1]["lease_id"] == "lease_10"


def test_claims_take_the_lowest_first_and_nothing_twice(queue: Desk) -> None:
    """One by default, ascending; what is held is nobody else's."""
    assert queue.seqs(0) == [1]
    assert queue.seqs(node="other") == [2, 3]
    assert queue.seqs() == []
    assert queue.counts == (0, 3, 0)


def test_a_claim_is_cut_to_a_thousand(api: Api, topic: str) -> None:
    """More is not refused."""
    api.create(topic, type="queue")
    api.append(topic, *range(1200))
    told = Desk(api, topic).post("claim", max=4_000_000_000)
    assert (told["count"], told["ready"]) == (1000, 200)
    assert [job["$seq"] for job in told["claimed"]] == list(range(1, 1001))


@pytest.mark.parametrize(
    ("asked", "given"), [(1, 100), (100, 100), (7000, 7000), (10 * DAY_MS, DAY_MS), (None, 30_000)]
)
def test_a_lease_is_as_long_as_asked_within_its_bounds(queue: Desk, asked: int | None, given: int) -> None:
    """100 ms to 24 h; without a word the topic's."""
    began = time.time() * 1000
    deadline = queue.claim(lease_ms=asked)[0]["deadline"]
    assert began - 1000 < deadline - given < time.time() * 1000 + 1000


@pytest.mark.parametrize(
    "body",
    [
        {}, {"node": ""}, {"node": 5}, {"node": "x" * 129}, {"node": "w", "max": -1}, {"node": "w", "max": 1.5},
        {"node": "w", "max": "1"}, {"node": "w", "lease_ms": -1}, {"node": "w", "lease_ms": "1s"}, [],
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_read(queue: Desk, body: Any) -> None:
    """400, and nothing is leased by it."""
    refused(queue.api.post(f"/v0/topics/{queue.name}/claim", json=body), 400, "invalid_request")
    assert queue.counts == (3, 0, 0)


def test_a_claim_needs_a_body_of_json(queue: Desk) -> None:
    """Empty is 400, another type is 415."""
    refused(queue.api.post_raw(f"/v0/topics/{queue.name}/claim", b""), 400, "invalid_request")
    refused(queue.api.post_raw(f"/v0/topics/{queue.name}/claim", b"x", {"content-type": "text/x"}), 415,
            "unsupported_media_type")  # fmt: skip
    refused(queue.api.get(f"/v0/topics/{queue.name}/claim"), 405, "method_not_allowed")
    assert queue.api.post_raw(f"/v0/topics/{queue.name}/claim", b'{"node":"w","new":1}', JSON).status_code == 200


def test_the_longest_worker_name(queue: Desk) -> None:
    """128 bytes, not characters."""
    assert queue.seqs(node="ä" * 64) == [1, 2, 3]
    refused(queue.api.post(f"/v0/topics/{queue.name}/claim", json={"node": "ä" * 65}), 400, "invalid_request")


def test_binary_data_is_claimed_as_it_is_read(api: Api, topic: str) -> None:
    """Opaque bytes show as ``$bin``."""
    packed = b"\x81\xa7records\x91\x81\xa4data\xc4\x02\x00\xff"
    api.create(topic, type="queue")
    api.post_raw(f"/v0/topics/{topic}", packed, {"content-type": "application/msgpack"})
    assert Desk(api, topic).claim()[0]["data"] == {"$bin": "AP8="}


# ---- ack -----------------------------------------------------------------------------------------


def test_an_ack_deletes_for_ever(queue: Desk) -> None:
    """The record is gone from reads at once; what the caller does not hold is skipped, and the call succeeds."""
    queue.claim(2)
    told = queue.post("ack", seqs=[2, 3, 99])
    told.pop("performance")
    assert told == {"topic": queue.name, "acked": 1, "skipped": [3, 99], "ready": 1, "in_flight": 1}
    assert queue.data() == ["a", "c"]
    assert queue.post("ack", seqs=[2])["skipped"] == [2]
    assert queue.post("ack", seqs=[])["acked"] == 0


def test_only_the_holder_may_ack(queue: Desk) -> None:
    """Another worker's lease is another's."""
    queue.claim(1)
    assert queue.post("ack", node="other", seqs=[1])["skipped"] == [1]
    assert queue.data() == ["a", "b", "c"]


def test_a_seq_that_is_named_twice_counts_once(queue: Desk) -> None:
    """The second time it is not held any more."""
    queue.claim(1)
    told = queue.post("ack", seqs=[1, 1])
    assert (told["acked"], told["skipped"]) == (1, [1])


def test_a_fsync_queue_tells_its_sync(api: Api, topic: str) -> None:
    """An ack of many is one commit; ``fsync_ms`` is told where there is one."""
    api.create(topic, type="queue", durability="fsync")
    api.append(topic, *range(100))
    desk = Desk(api, topic)
    turns = api.told("GET", "/v0/actors")["journal"]["turns"]
    told = desk.post("ack", seqs=desk.seqs(100))
    assert told["acked"] == 100
    assert told["performance"]["fsync_ms"] > 0
    assert api.told("GET", "/v0/actors")["journal"]["turns"] - turns <= 2
    assert "fsync_ms" not in Desk(api, topic).post("claim")["performance"]


@pytest.mark.parametrize("verb", ["ack", "nack", "extend"])
def test_a_lease_of_before_settles_nothing(queue: Desk, verb: str) -> None:
    """The fence: the same worker got the record again, and its first self speaks late."""
    (first,) = queue.claim(1)
    queue.post("nack", seqs=[1])
    (second,) = queue.claim(1)
    assert (first["$seq"], second["$seq"], second["deliveries"]) == (1, 1, 2)
    body = {"seqs": [1], "lease_ids": [first["lease_id"]], "lease_ms": 1000}
    assert queue.post(verb, **body)["skipped"] == [1]
    body["lease_ids"] = [second["lease_id"]]
    assert queue.post(verb, **body)["skipped"] == []


def test_an_empty_lease_id_is_no_fence(queue: Desk) -> None:
    """``""`` means: whatever lease of mine it is."""
    leases = [job["lease_id"] for job in queue.claim(2)]
    assert queue.post("ack", seqs=[1, 2], lease_ids=["", leases[1]])["acked"] == 2


@pytest.mark.parametrize("verb", ["ack", "nack", "extend"])
@pytest.mark.parametrize(
    "body",
    [
        {"seqs": [1], "lease_ids": []}, {"seqs": [1], "lease_ids": ["lease_1", "lease_2"]},
        {"seqs": [1], "lease_ids": ["1"]}, {"seqs": [1], "lease_ids": ["lease_"]},
        {"seqs": [1], "lease_ids": ["lease_A"]},
        {"seqs": [1], "lease_ids": ["lease_01"]}, {"seqs": [1], "lease_ids": ["lease_0"]},
        {"seqs": [1], "lease_ids": ["lease_-1"]}, {"seqs": [1], "lease_ids": ["lease_ 1"]},
        {"seqs": [1], "lease_ids": [1]}, {"seqs": [1], "lease_ids": "lease_1"}, {"seqs": [-1]}, {"seqs": ["1"]},
        {"seqs": [1.5]}, {"seqs": None}, {}, {"seqs": [1], "node": ""}, {"seqs": [1], "node": "x" * 129},
    ],
)  # fmt: skip
def test_a_settlement_that_cannot_be_read(queue: Desk, verb: str, body: dict[str, Any]) -> None:
    """400, and the lease stands."""
    queue.claim(1)
    body = {"node": "w", "lease_ms": 1000, **body}
    refused(queue.api.post(f"/v0/topics/{queue.name}/{verb}", json=body), 400, "invalid_request")
    assert queue.counts == (2, 1, 0)


@pytest.mark.parametrize("verb", ["ack", "nack", "extend"])
def test_more_than_a_thousand_seqs(queue: Desk, verb: str) -> None:
    """Refused as a whole, with both numbers."""
    body = {"node": "w", "seqs": list(range(1, 1002)), "lease_ms": 1000}
    response = queue.api.post(f"/v0/topics/{queue.name}/{verb}", json=body)
    assert refused(response, 400, "batch_too_large") == {"seqs": 1001, "max": 1000}
    assert len(queue.post(verb, seqs=list(range(1, 1001)), lease_ms=1000)["skipped"]) == 1000


# ---- nack, extend, expiry ------------------------------------------------------------------------


def test_a_nack_gives_back_at_once(queue: Desk) -> None:
    """Claimable again, before what is fresh, with one delivery more."""
    queue.claim(2)
    told = queue.post("nack", seqs=[2, 3])
    told.pop("performance")
    assert told == {"topic": queue.name, "nacked": 1, "skipped": [3], "ready": 2, "in_flight": 1}
    assert [(job["$seq"], job["deliveries"]) for job in queue.claim(5)] == [(2, 2), (3, 1)]


def test_a_delayed_nack_is_neither_ready_nor_in_flight(queue: Desk) -> None:
    """Hidden until the delay is over."""
    queue.claim(1)
    told = queue.post("nack", seqs=[1], delay_ms=400)
    assert (told["ready"], told["in_flight"]) == (2, 0)
    assert queue.seqs() == [2, 3]
    assert until(lambda: queue.seqs()) == [1]


@pytest.mark.parametrize("delay_ms", [-1, 1.5, "1s"])
def test_a_delay_that_cannot_be_read(queue: Desk, delay_ms: Any) -> None:
    """400."""
    body = {"node": "w", "seqs": [1], "delay_ms": delay_ms}
    refused(queue.api.post(f"/v0/topics/{queue.name}/nack", json=body), 400, "invalid_request")


def test_a_delay_is_cut_to_a_day(queue: Desk) -> None:
    """Longer is not refused."""
    queue.claim(1)
    assert queue.post("nack", seqs=[1], delay_ms=10 * DAY_MS)["nacked"] == 1


def test_an_extension_holds_for_longer(queue: Desk) -> None:
    """A new deadline for what is held, by seq; the lease id and the deliveries stay."""
    (job,) = queue.claim(1, lease_ms=100)
    told = queue.post("extend", seqs=[1, 2], lease_ms=60_000)
    told.pop("performance")
    deadlines = told.pop("deadlines")
    assert told == {"topic": queue.name, "extended": 1, "skipped": [2]}
    assert set(deadlines) == {"1"}
    assert deadlines["1"] >= job["deadline"] + 59_000
    until(lambda: time.time() * 1000 > job["deadline"] + 200)
    assert queue.post("ack", seqs=[1], lease_ids=[job["lease_id"]])["acked"] == 1


def test_an_extension_needs_a_length(queue: Desk) -> None:
    """Required."""
    body = {"node": "w", "seqs": [1]}
    refused(queue.api.post(f"/v0/topics/{queue.name}/extend", json=body), 400, "invalid_request")


def test_a_lease_that_ran_out_is_over(queue: Desk) -> None:
    """The record is claimable, an ack of it is skipped although nobody took it."""
    queue.claim(1, lease_ms=100)
    until(lambda: queue.counts == (3, 0, 0))
    assert queue.post("ack", seqs=[1])["skipped"] == [1]
    assert [(job["$seq"], job["deliveries"]) for job in queue.claim(1, node="other")] == [(1, 2)]


# ---- records that go -----------------------------------------------------------------------------


def test_what_is_deleted_while_it_is_held_drops_out(queue: Desk) -> None:
    """Its lease is over, its ack is skipped, the counters follow."""
    queue.claim(2)
    queue.api.told("POST", f"/v0/topics/{queue.name}/delete", {"before_seq": 2})
    assert queue.counts == (1, 1, 0)
    assert queue.post("ack", seqs=[1, 2])["skipped"] == [1]
    assert queue.seqs() == [3]


def test_what_expired_is_not_given_out(api: Api, topic: str) -> None:
    """A ttl counts for queues too."""
    api.create(topic, type="queue", ttl_ms=150)
    api.append(topic, "old")
    until(lambda: api.state(topic)["count"] == 0)
    api.append(topic, "new")
    assert [job["data"] for job in Desk(api, topic).claim(5)] == ["new"]


def test_a_full_queue_never_loses_what_is_not_done(api: Api, topic: str) -> None:
    """``discard = reject``: acks out of order make room; no seq arithmetic takes the unacknowledged (upstream's S1)."""
    api.create(topic, type="queue", cap_records=10, discard="reject")
    api.append(topic, *range(1, 11))
    desk = Desk(api, topic)
    desk.claim(10)
    response = api.post(f"/v0/topics/{topic}", json={"records": [{"data": 0}]})
    assert refused(response, 422, "topic_full")["cap_records"] == 10
    desk.post("ack", seqs=[6, 7, 8, 9, 10])
    api.append(topic, *range(11, 16))
    assert desk.data() == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
    assert desk.counts == (5, 5, 0)


def test_reading_leases_nothing(queue: Desk) -> None:
    """A diff of a queue is a diff."""
    assert queue.data() == ["a", "b", "c"]
    assert queue.counts == (3, 0, 0)


def test_a_queue_that_is_deleted_and_made_again(queue: Desk) -> None:
    """The new one knows nothing of the old one's leases."""
    queue.claim(3)
    queue.api.told("DELETE", f"/v0/topics/{queue.name}")
    refused(queue.api.post(f"/v0/topics/{queue.name}/claim", json={"node": "w"}), 404, "topic_not_found")
    queue.api.create(queue.name, type="queue")
    queue.api.append(queue.name, "x")
    assert queue.counts == (1, 0, 0)
    assert [(job["data"], job["deliveries"]) for job in queue.claim(5)] == [("x", 1)]


# ---- dead letters --------------------------------------------------------------------------------


def test_dead_letters(api: Api, topic: str) -> None:
    """The claim that would be one too many moves the record, with where it came from, as strings; then it is gone."""
    dead = topic + ".dead"
    api.create(topic, type="queue", max_deliveries=2, dead_letter=dead)
    body = {
        "records": [{"data": "poison", "tag": "t", "meta": {"m": 1}}, {"data": "odd", "meta": [1]}, {"data": "good"}]
    }
    api.told("POST", f"/v0/topics/{topic}", body)
    desk = Desk(api, topic)
    for _ in range(2):
        assert desk.seqs(2) == [1, 2]
        desk.post("nack", seqs=[1, 2])
    refused(api.get(f"/v0/topics/{dead}"), 404, "topic_not_found")
    assert desk.seqs(5) == [3]
    until(lambda: desk.counts == (0, 1, 2))
    records = api.diff(dead, include_tags=True)["records"]
    told = {"$dead_letter_from": topic, "$dead_letter_deliveries": "2"}
    assert [(r["data"], r.get("$tag"), r["meta"]) for r in records] == [
        ("poison", "t", {"m": 1, **told, "$dead_letter_src_seq": "1"}),
        ("odd", None, {"$dead_letter_meta": [1], **told, "$dead_letter_src_seq": "2"}),
    ]
    assert desk.data() == ["good"]
    assert api.state(dead)["type"] == "log"


def test_dead_letters_that_find_no_room_stay(api: Api, topic: str) -> None:
    """Nothing is lost when the topic for them is full: they are tried again."""
    dead = topic + ".dead"
    api.create(dead, cap_records=1, discard="reject")
    api.append(dead, "full")
    api.create(topic, type="queue", max_deliveries=1, dead_letter=dead)
    api.append(topic, "poison")
    desk = Desk(api, topic)
    desk.claim(1)
    desk.post("nack", seqs=[1])
    assert desk.seqs() == []
    assert desk.data() == ["poison"]
    api.told("POST", f"/v0/topics/{dead}/delete", {"before_seq": 2})

    def moved() -> bool:
        assert desk.seqs() == []
        return desk.data() == []

    until(moved)
    assert [r["data"] for r in api.diff(dead)["records"]] == ["poison"]


def test_without_a_topic_for_them_there_are_no_dead_letters(api: Api, topic: str) -> None:
    """``max_deliveries`` alone sets nothing aside."""
    api.create(topic, type="queue", max_deliveries=1)
    api.append(topic, 1)
    desk = Desk(api, topic)
    for deliveries in (1, 2, 3):
        assert [job["deliveries"] for job in desk.claim()] == [deliveries]
        desk.post("nack", seqs=[1])


# ---- claims that gather --------------------------------------------------------------------------


def test_claims_gather_and_share(api: Api, topic: str) -> None:
    """Within the window nobody goes before the others: round-robin, each its own lease time."""
    api.create(topic, type="queue", claim_jitter_ms=700)
    api.append(topic, *range(6))
    desk, found = Desk(api, topic), dict[str, list[dict[str, Any]]]()

    def claim(node: str, most: int) -> None:
        with Api(api.address) as own:
            found[node] = Desk(own, topic).claim(most, node=node, lease_ms=60_000 if node == "a" else 1000)

    workers = [threading.Thread(target=claim, args=(node, most)) for node, most in (("a", 4), ("b", 4), ("c", 1))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    shares = sorted(len(jobs) for jobs in found.values())
    assert sum(shares) == 6
    assert shares in ([1, 2, 3], [1, 1, 4], [0, 2, 4], [0, 3, 3]), "who came first was in an earlier window at most"
    assert sorted(job["$seq"] for jobs in found.values() for job in jobs) == [1, 2, 3, 4, 5, 6]
    assert desk.counts == (0, 6, 0)


# ---- the push stream -----------------------------------------------------------------------------


class Working:
    """One open ``/work`` stream, read frame by frame."""

    def __init__(self, api: Api, name: str, **query: Any) -> None:
        self._stream = api.stream("GET", f"/v0/topics/{name}/work", params={"node": "w", **query})
        self.response = self._stream.__enter__()
        self._lines: Iterator[str] = self.response.iter_lines()

    def frame(self) -> dict[str, str]:
        """The next frame that is no comment: its fields."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and fields:
                return fields
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        return {}

    def close(self) -> None:
        self._stream.__exit__(None, None, None)


@pytest.fixture
def streams(api: Api, topic: str) -> Iterator[Any]:
    """Streams of the queue of this case; closed behind it."""
    opened: list[Working] = []

    def work(**query: Any) -> Working:
        opened.append(Working(api, topic, **query))
        return opened[-1]

    yield work
    for one in opened:
        one.close()


def _job(frame: dict[str, str]) -> dict[str, Any]:
    import json

    assert set(frame) == {"id", "event", "data"}, frame
    assert frame["event"] == "job"
    job: dict[str, Any] = json.loads(frame["data"])
    assert frame["id"] == str(job["$seq"])
    return job


def test_work_is_pushed(queue: Desk, streams: Any) -> None:
    """The head of the answer, ``retry``, then jobs: never more than ``max`` at a time, the next one as one is done."""
    work = streams(max=2)
    headers = work.response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert work.frame() == {"retry": "2000"}
    first, second = _job(work.frame()), _job(work.frame())
    assert set(first) == {"topic", "$seq", "lease_id", "deadline", "$ts", "deliveries", "data"}
    assert (first["topic"], first["data"], second["data"]) == (queue.name, "a", "b")
    assert queue.counts == (1, 2, 0)
    queue.post("ack", seqs=[first["$seq"]], lease_ids=[first["lease_id"]])
    assert _job(work.frame())["data"] == "c"
    queue.post("ack", seqs=[2])
    queue.api.append(queue.name, "d")
    assert _job(work.frame())["data"] == "d"


def test_one_at_a_time_by_default(queue: Desk, streams: Any) -> None:
    """``max`` is 1, also when it cannot be read."""
    for query in ({}, {"max": "many"}, {"max": "0"}):
        work = streams(**query)
        work.frame()
        _job(work.frame())
    assert queue.counts == (0, 3, 0)


def test_whoever_hangs_up_gives_back_at_once(queue: Desk, streams: Any) -> None:
    """No lease of a closed stream has to run out."""
    work = streams(max=3, lease_ms=DAY_MS)
    for _ in range(4):
        work.frame()
    assert queue.counts == (0, 3, 0)
    work.close()
    until(lambda: queue.counts == (3, 0, 0))
    assert [job["deliveries"] for job in queue.claim(3)] == [2, 2, 2]


def test_what_ran_out_is_pushed_again(queue: Desk, streams: Any) -> None:
    """The end of a lease wakes a stream by itself: no poll, and nobody has to call."""
    queue.api.create(queue.name, lease_ms=200)
    queue.claim(3, node="slow")
    work = streams(max=3)
    work.frame()
    assert [(_job(work.frame())["$seq"]) for _ in range(3)] == [1, 2, 3]


def test_streams_share_round_robin(api: Api, topic: str, streams: Any) -> None:
    """Nobody is passed over while it has room."""
    api.create(topic, type="queue")
    one, two = streams(max=5), streams(max=5)
    assert (one.frame(), two.frame()) == ({"retry": "2000"}, {"retry": "2000"})
    until(lambda: api.told("GET", "/v0/actors")["actors"])
    api.append(topic, *range(4))
    assert sorted([_job(s.frame())["$seq"] for s in (one, two) for _ in range(2)]) == [1, 2, 3, 4]


def test_a_stream_needs_a_worker_and_takes_events(queue: Desk) -> None:
    """400 without a node, 406 for a client that takes no events, 404, 409, 405."""
    path = f"/v0/topics/{queue.name}/work"
    refused(queue.api.get(path), 400, "invalid_request")
    refused(queue.api.get(path, params={"node": ""}), 400, "invalid_request")
    refused(queue.api.get(path, params={"node": "w", "lease_ms": "soon"}), 400, "invalid_request")
    refused(queue.api.get(path, params={"node": "w"}, headers={"accept": "application/json"}), 406, "not_acceptable")
    refused(queue.api.get("/v0/topics/nope-queue/work", params={"node": "w"}), 404, "topic_not_found")
    queue.api.append(queue.name + "log", 1)
    refused(queue.api.get(f"/v0/topics/{queue.name}log/work", params={"node": "w"}), 409, "not_a_queue")
    refused(queue.api.post(path, json={}), 405, "method_not_allowed")


def test_a_stream_cuts_what_is_too_large(queue: Desk, streams: Any) -> None:
    """As a claim does: whatever number a lease is asked for, it ends."""
    work = streams(max=1, lease_ms=10**18)
    work.frame()
    assert _job(work.frame())["deadline"] <= time.time() * 1000 + DAY_MS
    assert queue.counts == (2, 1, 0)


def test_a_stream_ends_with_its_queue(queue: Desk, streams: Any) -> None:
    """The last frame tells why."""
    work = streams()
    work.frame()
    _job(work.frame())
    queue.api.told("DELETE", f"/v0/topics/{queue.name}")
    last = work.frame()
    assert last["event"] == "error"
    assert re.search(r'"code":404.*"reason":"topic_not_found"', last["data"])
    assert work.frame() == {}
