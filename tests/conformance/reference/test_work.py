"""Reference 2.11, 3.10: lease queues and their push stream."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ..daemon import Api, refused, until
from ..events import EventStream


def queue(api: Api, topic: str, *data: Any, **config: Any) -> None:
    api.create(topic, type="queue", **config)
    if data:
        api.append(topic, *data)


def claim(api: Api, topic: str, node: str = "w", most: int = 1, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(api, topic, "claim", node=node, max=most, **fields)["claimed"]
    return found


def call(api: Api, topic: str, verb: str, **body: Any) -> dict[str, Any]:
    return api.told("POST", f"/v0/topics/{topic}/{verb}", body)


def seqs(jobs: list[dict[str, Any]]) -> list[int]:
    return [job["$seq"] for job in jobs]


def counts(api: Api, topic: str) -> tuple[int, int, int]:
    told = api.state(topic)["queue"]
    return told["ready"], told["in_flight"], told["dead_lettered"]


def test_the_answer_of_a_claim(api: Api, topic: str) -> None:
    """2.11, 12.116: every field; absent tag and meta are left out; no $node; one job unless told."""
    queue(api, topic)
    records = [{"data": 1, "tag": "t", "node": "p", "meta": {"m": 1}}, {"data": None}]
    api.told("POST", f"/v0/topics/{topic}", {"records": records})
    before = time.time() * 1000
    told = call(api, topic, "claim", node="w")
    assert told.items() >= {"topic": topic, "count": 1, "ready": 1}.items()
    (job,) = told["claimed"]
    assert job.keys() == {"$seq", "lease_id", "deadline", "$ts", "$tag", "deliveries", "data", "meta"}
    assert job.items() >= {"$seq": 1, "lease_id": "lease_1", "$tag": "t", "deliveries": 1, "data": 1}.items()
    assert before + 29_000 <= job["deadline"] <= time.time() * 1000 + 30_000
    (job,) = claim(api, topic)
    assert job.keys() == {"$seq", "lease_id", "deadline", "$ts", "deliveries", "data"}
    assert call(api, topic, "claim", node="w")["claimed"] == []


@pytest.mark.parametrize(("sent", "leased_ms"), [(0, 100), (99, 100), (5000, 5000), (2**40, 86_400_000)])
def test_lease_ms_is_clamped(api: Api, topic: str, sent: int, leased_ms: int) -> None:
    """2.11, 4: 100 ms to 24 h, of a claim and of an extension."""
    queue(api, topic, 1)
    before = time.time() * 1000
    (job,) = claim(api, topic, lease_ms=sent)
    assert before + leased_ms - 1 <= job["deadline"] <= time.time() * 1000 + leased_ms
    if leased_ms > 100:
        told = call(api, topic, "extend", node="w", seqs=[1], lease_ms=sent)
        assert before + leased_ms - 1 <= told["deadlines"]["1"] <= time.time() * 1000 + leased_ms


@pytest.mark.parametrize("verb", ["claim", "ack", "nack", "extend"])
def test_refusals(api: Api, topic: str, verb: str) -> None:
    """2.11, 1.1: absent 404, a log 409, no node or one over 128 bytes 400, wrong seqs and tokens 400."""
    whole = {"node": "w", "seqs": [1], "lease_ms": 1000}
    path = f"/v0/topics/{topic}/{verb}"
    assert refused(api.post(path, json=whole), 404, "topic_not_found") == {"topic": topic}
    api.create(topic)
    assert refused(api.post(path, json=whole), 409, "not_a_queue") == {"topic": topic}
    path = path.replace(topic, topic + "q")
    queue(api, topic + "q", 1)
    for node in ("", None, 1, "x" * 129, "é" * 65):
        refused(api.post(path, json=whole | {"node": node}), 400, "invalid_request")
    refused(api.post(path, json={"seqs": [1], "lease_ms": 1}), 400, "invalid_request")
    if verb != "claim":
        for wrong in (None, 1, ["1"], [-1], [1.5]):
            refused(api.post(path, json=whole | {"seqs": wrong}), 400, "invalid_request")
        for ids in (["x"], ["lease_"], ["lease_g"], [], ["", ""]):
            refused(api.post(path, json=whole | {"lease_ids": ids}), 400, "invalid_request")
        told = refused(api.post(path, json=whole | {"seqs": list(range(1, 1002))}), 400, "batch_too_large")
        assert told == {"seqs": 1001, "max": 1000}
    if verb == "extend":
        refused(api.post(path, json={"node": "w", "seqs": [1]}), 400, "invalid_request")


def test_ack(api: Api, topic: str) -> None:
    """2.11, 12.119: permanent; what is not held by this node is skipped, and it is 200 all the same."""
    queue(api, topic, *range(4))
    claim(api, topic, "w", 2)
    claim(api, topic, "other", 1)
    told = call(api, topic, "ack", node="w", seqs=[1, 3, 4, 99])
    assert told.items() >= {"topic": topic, "acked": 1, "skipped": [3, 4, 99], "ready": 1, "in_flight": 2}.items()
    assert call(api, topic, "ack", node="w", seqs=[1])["skipped"] == [1]
    assert [record["$seq"] for record in api.diff(topic)["records"]] == [2, 3, 4]


def test_nack(api: Api, topic: str) -> None:
    """2.11, 12.120, 3.10: at once; with a delay neither ready nor in flight until it is over; deliveries count on."""
    queue(api, topic, 1, 2)
    claim(api, topic, "w", 2)
    told = call(api, topic, "nack", node="w", seqs=[1, 9])
    assert told.items() >= {"topic": topic, "nacked": 1, "skipped": [9], "ready": 1, "in_flight": 1}.items()
    (job,) = claim(api, topic)
    assert (job["$seq"], job["deliveries"], job["lease_id"]) == (1, 2, "lease_3")
    call(api, topic, "nack", node="w", seqs=[1], delay_ms=50)
    assert until(lambda: claim(api, topic))[0]["deliveries"] == 3
    told = call(api, topic, "nack", node="w", seqs=[1, 2], delay_ms=2**40)
    assert (told["nacked"], told["ready"], told["in_flight"], claim(api, topic)) == (2, 0, 0, [])
    assert api.post(f"/v0/topics/{topic}/nack", json={"node": "w", "seqs": [1], "delay_ms": -1}).status_code == 400


def test_extend(api: Api, topic: str) -> None:
    """2.11, 12.121: a new deadline for each, the same lease, deliveries untouched."""
    queue(api, topic, 1, 2)
    jobs = claim(api, topic, "w", 2, lease_ms=500)
    told = call(
        api, topic, "extend", node="w", seqs=[1, 2, 7], lease_ms=60_000, lease_ids=[jobs[0]["lease_id"], "", ""]
    )
    assert told.items() >= {"topic": topic, "extended": 2, "skipped": [7]}.items()
    assert told["deadlines"].keys() == {"1", "2"}
    assert min(told["deadlines"].values()) > jobs[0]["deadline"] + 50_000
    assert call(api, topic, "ack", node="w", seqs=[1], lease_ids=[jobs[0]["lease_id"]])["acked"] == 1


def test_fencing(api: Api, topic: str) -> None:
    """2.11, 12.118, 3.10: a stale lease id is skipped although the node holds the job again; "" is no fence."""
    queue(api, topic, 1)
    (old,) = claim(api, topic)
    call(api, topic, "nack", node="w", seqs=[1])
    (new,) = claim(api, topic)
    for verb, more in (("ack", {}), ("nack", {}), ("extend", {"lease_ms": 1000})):
        told = call(api, topic, verb, node="w", seqs=[1], lease_ids=[old["lease_id"]], **more)
        assert told["skipped"] == [1]
    assert old["lease_id"] != new["lease_id"]
    assert call(api, topic, "ack", node="w", seqs=[1], lease_ids=[""])["acked"] == 1


def test_expiry(api: Api, topic: str) -> None:
    """12.122, 3.10: after the deadline the job is anyone's, and the late ack is skipped even if nobody took it."""
    queue(api, topic, 1)
    claim(api, topic, lease_ms=100)
    until(lambda: counts(api, topic) == (1, 0, 0))
    assert call(api, topic, "ack", node="w", seqs=[1])["skipped"] == [1]
    (job,) = claim(api, topic, "other")
    assert job["deliveries"] == 2


def test_order(api: Api, topic: str) -> None:
    """12.117, 3.10: what came back first, lowest seq first, then fresh ones."""
    queue(api, topic, *range(5))
    claim(api, topic, "w", 3)
    call(api, topic, "nack", node="w", seqs=[3, 1])
    assert seqs(claim(api, topic, most=1)) == [1]
    assert seqs(claim(api, topic, most=10)) == [3, 4, 5]


def test_dead_letter(api: Api, topic: str) -> None:
    """12.126, 3.10: on the claim beyond max_deliveries; provenance as strings in meta; counted; the topic is a log."""
    queue(api, topic, max_deliveries=2, dead_letter=topic + ".dead")
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": "d", "tag": "t", "node": "p", "meta": {"own": 1}}]})
    for _ in range(2):
        assert len(claim(api, topic)) == 1
        call(api, topic, "nack", node="w", seqs=[1])
    assert claim(api, topic) == []
    assert counts(api, topic) == (0, 0, 1)  # there when the claim that moved it has answered
    (dead,) = api.diff(topic + ".dead", include_tags=True)["records"]
    assert (dead["data"], dead["$tag"], dead["$node"]) == ("d", "t", "p")
    assert dead["meta"] == {
        "own": 1, "$dead_letter_from": topic, "$dead_letter_deliveries": "2", "$dead_letter_src_seq": "1",
    }  # fmt: skip
    assert (api.state(topic)["count"], api.state(topic + ".dead")["type"]) == (0, "log")


def test_work_stream(api: Api, topic: str) -> None:
    """2.11, 12.124: retry, then jobs with their fields; never more than max; the next when one is settled."""
    queue(api, topic, "a", "b", "c")
    with EventStream(api, f"/v0/topics/{topic}/work?node=w&max=2") as stream:
        assert "content-type: text/event-stream" in stream.head
        first = [stream.next() for _ in range(3)]
        assert (first[0].name, first[0].data) == ("retry", 2000)  # type: ignore[union-attr]
        jobs = [event.data for event in first[1:] if event]
        assert [(event.name, event.id) for event in first[1:] if event] == [("job", "1"), ("job", "2")]
        assert jobs[0].keys() == {"topic", "$seq", "lease_id", "deadline", "$ts", "deliveries", "data"}
        assert counts(api, topic) == (1, 2, 0)
        call(api, topic, "ack", node="w", seqs=[1], lease_ids=[jobs[0]["lease_id"]])
        assert stream.until("job")[-1].data["data"] == "c"
    until(lambda: counts(api, topic) == (2, 0, 0))
    assert [job["deliveries"] for job in claim(api, topic, most=5)] == [2, 2]


def test_head_of_a_work_stream(api: Api, topic: str) -> None:
    """1, 2.11: HEAD is GET without the body: it takes no job, and the connection is free for the next request."""
    queue(api, topic, 1)
    for _ in range(2):
        got = api.head(f"/v0/topics/{topic}/work?node=w", timeout=5)
        assert (got.status_code, got.headers["content-type"]) == (200, "text/event-stream")
    assert [job["deliveries"] for job in claim(api, topic)] == [1]


def test_work_stream_is_woken(api: Api, topic: str) -> None:
    """8.2 C8: a nack, an expiry and an append each bring the next job without polling."""
    queue(api, topic)
    with EventStream(api, f"/v0/topics/{topic}/work?node=w&lease_ms=60000") as stream:
        api.append(topic, 1)
        stream.until("job", deliveries=1)
        call(api, topic, "nack", node="w", seqs=[1])
        stream.until("job", deliveries=2)


def test_work_refusals(api: Api, topic: str) -> None:
    """2.11: no node 400, absent 404, a log 409, Accept of something else 406; an unreadable max is one."""
    refused(api.get(f"/v0/topics/{topic}/work?node=w"), 404, "topic_not_found")
    api.create(topic)
    refused(api.get(f"/v0/topics/{topic}/work?node=w"), 409, "not_a_queue")
    queue(api, topic + "q", 1, 2)
    for query in ("", "?node=", "?max=1"):
        refused(api.get(f"/v0/topics/{topic}q/work{query}"), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}q/work?node=w", headers={"accept": "text/html"}), 406, "not_acceptable")
    for most in ("x", "", "-1", "0"):
        with EventStream(api, f"/v0/topics/{topic}q/work?node=w&max={most}") as stream:
            stream.until("job")
            assert counts(api, topic + "q")[1] == 1
        until(lambda: counts(api, topic + "q")[1] == 0)
