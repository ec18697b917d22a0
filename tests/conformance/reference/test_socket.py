"""Reference 2.10: JSON over a WebSocket, and what an odd client sends there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..daemon import Api, refused
from ..frames import Wire, frame
from ..test_websocket import Talk, data_of


def test_subscribe(api: Api, topic: str) -> None:
    """2.10: both forms at once, each with where it stands; records and caught_up; snake_case."""
    api.append(topic, 1, 2)
    api.append(topic + "b", 3)
    with Talk(api) as talk:
        talk.order("subscribe", request_id="r", topic=topic, from_seq=1, topics={topic + "b": {"tail": True}})
        told = talk.next()
        assert (told["op"], told["request_id"]) == ("subscribed", "r")
        assert told["topics"][topic].items() >= {"from_seq": 1, "head_seq": 2, "earliest_seq": 1}.items()
        assert told["topics"][topic + "b"]["from_seq"] == 1
        seen = [talk.next() for _ in range(3)]
        record = next(one for one in seen if one["op"] == "record")
        assert record.keys() == {"op", "topic", "from_seq", "to_seq", "head_seq", "records"}
        assert data_of(seen) == [2]
        assert {"op": "caught_up", "topic": topic, "head_seq": 2} in seen
        api.append(topic + "b", 4)
        assert data_of([talk.next()]) == [4]


def test_options_of_subscriptions(api: Api, topic: str) -> None:
    """2.10: node filter, limit, flags; subscribing again replaces."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": n, "tag": "t", "meta": n} for n in range(3)]})
    api.append(topic, 3, node="own")
    with Talk(api) as talk:
        talk.order(
            "subscribe", topic=topic, node="own", limit=1, include_tags=True, include_meta=False, include_data=False
        )
        pages = [one for one in talk.until("caught_up") if one["op"] == "record" and one["records"]]
        assert [[record["$seq"] for record in page["records"]] for page in pages] == [[1], [2], [3]]
        assert pages[0]["records"][0].keys() == {"$seq", "$ts", "$node", "$tag"}
        talk.order("subscribe", topic=topic, from_seq=3)
        assert data_of(talk.until("caught_up")) == [3]


def test_unsubscribe(api: Api, topic: str) -> None:
    """2.10, 12.96: what was taken back brings nothing more."""
    for name in (topic, topic + "b"):
        api.create(name)
    with Talk(api) as talk:
        talk.ask("subscribe", topics={topic: {}, topic + "b": {}})
        told = talk.ask("unsubscribe", topic=topic, topics=[topic + "none"])
        assert (told["op"], topic in told["topics"]) == ("unsubscribed", True)
        api.append(topic, 1)
        api.append(topic + "b", 2)
        assert data_of(talk.until("record")) == [2]


def test_publish(api: Api, topic: str) -> None:
    """2.10, 12.97: an ack with every field; keys dedupe; seqs null when not wanted."""
    with Talk(api) as talk:
        ack = talk.ask("publish", topic=topic, records=[{"data": 1}, {"data": 2}], node="n", idempotency_key="k")
        assert ack.items() >= {
            "op": "ack", "topic": topic, "first_seq": 1, "last_seq": 2, "seqs": [1, 2], "head_seq": 2, "count": 2,
            "created": True, "deduped": False,
        }.items()  # fmt: skip
        assert ack["performance"]["server_total_ms"] >= 0
        again = talk.ask("publish", topic=topic, records=[{"data": 1}, {"data": 2}], node="n", idempotency_key="k")
        assert (again["deduped"], again["seqs"]) == (True, [1, 2])
        ack = talk.ask("publish", topic=topic, records=[{"data": 3}], return_seqs=False, disable_backpressure=True)
        assert ack["seqs"] is None
        assert (
            talk.ask("publish", topic=topic + "q", records=[{"data": 3}], config={"type": "queue"})["created"] is True
        )
    assert api.state(topic + "q")["type"] == "queue"
    assert [record["$node"] for record in api.diff(topic)["records"]] == ["n", "n", "solo"]


@pytest.mark.parametrize(("fields", "code"), [
    ({"op": "publish", "records": [{"data": 1}]}, "invalid_request"),
    ({"op": "publish", "topic": "-", "records": [{"data": 1}]}, "invalid_request"),
    ({"op": "publish", "topic": "t", "records": []}, "invalid_request"),
    ({"op": "publish", "topic": "t", "records": [{}]}, "invalid_request"),
    ({"op": "publish", "topic": "absent", "records": [{"data": 1}], "create": False}, "topic_not_found"),
    ({"op": "publish", "topic": "t", "records": [{"data": 1, "tag": "x" * 257}]}, "invalid_request"),
    ({"op": "publish", "topic": "t", "records": [{"data": "x" * (1 << 20)}]}, "record_too_large"),
    ({"op": "subscribe"}, "invalid_request"),
    ({"op": "subscribe", "topic": "absent"}, "topic_not_found"),
    ({"op": "subscribe", "topic": "absent", "from_seq": -1}, "invalid_request"),
    ({"op": "claim", "topic": "t", "node": "w"}, "invalid_request"),
    ({"op": "nope"}, "invalid_request"), ({"op": None}, "invalid_request"), ({}, "invalid_request"),
])  # fmt: skip
def test_refusals(api: Api, fields: dict[str, Any], code: str) -> None:
    """2.10: an error with the request_id, the code and words; the connection goes on."""
    with Talk(api) as talk:
        talk.raw(json.dumps({"request_id": "r", **fields}))
        told = talk.next()
        assert (told["op"], told["request_id"], told["code"]) == ("error", "r", code)
        assert told["message"]
        assert talk.ask("ping")["op"] == "pong"


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[1]", "null", '"x"', "{'op':'ping'}", "🦊"])
def test_what_is_no_order(api: Api, text: str) -> None:
    """2.10: invalid_json (or invalid_request, for JSON that is no object), and the connection goes on."""
    with Talk(api) as talk:
        talk.raw(text)
        assert talk.next()["code"] in ("invalid_json", "invalid_request")
        assert talk.ask("ping")["op"] == "pong"


def test_tombstones_and_deletion(api: Api, topic: str) -> None:
    """2.10: the real reason; topic_deleted, and the connection goes on."""
    api.create(topic, cap_records=1)
    api.append(topic, 1, 2)
    with Talk(api) as talk:
        talk.order("subscribe", topic=topic)
        loss = next(one for one in talk.until("caught_up") if one["op"] == "tombstone")
        expected = {"topic": topic, "reason": "cap", "gap_from": 1, "gap_to": 1, "earliest_seq": 2, "head_seq": 2}
        assert loss.items() >= expected.items()
        api.told("DELETE", f"/v0/topics/{topic}")
        assert talk.until("topic_deleted")[-1].items() >= {"topic": topic, "reason": "deleted"}.items()
        assert talk.ask("ping")["op"] == "pong"


def test_binary_messages(api: Api) -> None:
    """2.10: unsupported_message, and the connection goes on."""
    with Wire(api) as wire:
        wire.send(frame(2, b'{"op":"ping"}'))
        assert wire.told()["code"] == "unsupported_message"
        wire.send(frame(2, b"\x00" * 100, final=False) + frame(0, b"\x01" * 100))
        assert wire.told()["code"] == "unsupported_message"
        wire.send(frame(1, b'{"op":"ping"}'))
        assert wire.told()["op"] == "pong"


def test_fragmented_text(api: Api) -> None:
    """2.10: a message in pieces, cut inside a letter, a protocol ping between them: one order, and a protocol pong."""
    order = '{"op":"ping","request_id":"grün 🦊"}'.encode()
    with Wire(api) as wire:
        for n in range(len(order)):
            wire.send(frame(1 if n == 0 else 0, order[n : n + 1], final=n == len(order) - 1))
            if n == len(order) // 2:
                wire.send(frame(9, b"alive?"))
        assert wire.next() == (10, b"alive?")
        assert wire.told() == {"op": "pong", "request_id": "grün 🦊"}
        wire.send(frame(1, order) * 3)
        assert [wire.told()["op"] for _ in range(3)] == ["pong"] * 3


BROKEN = [frame(1, b"\xff\xfe"), frame(3, b"x"), frame(1, b"{}", masked=False), frame(0, b"x"), frame(9, b"x" * 126)]


@pytest.mark.parametrize("bad", BROKEN)
def test_broken_frames_end_the_connection(api: Api, bad: bytes) -> None:
    """2.10: what breaks the protocol ends this connection with a close frame, and only this one."""
    with Wire(api) as wire:
        wire.send(bad)
        opcode, payload = wire.next()
        assert (opcode, int.from_bytes(payload[:2], "big") in (1002, 1003, 1007)) == (8, True)
    assert api.get("/v0/health").status_code == 200


def test_close(api: Api) -> None:
    """2.10: a close is answered by a close."""
    with Wire(api) as wire:
        wire.send(frame(8, (1000).to_bytes(2, "big") + b"bye"))
        opcode, payload = wire.next()
        assert (opcode, payload[:2]) == (8, (1000).to_bytes(2, "big"))


def test_a_get_without_upgrade(api: Api) -> None:
    """2.10: a plain GET, or another version, is refused in words of HTTP; the words of an upgrade have no case."""
    assert api.get("/v0/ws").status_code in (400, 426)
    refused(api.post("/v0/ws"), 405, "method_not_allowed")
    with Wire(api, "connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 12") as wire:
        assert wire.status in (400, 426)
    with Wire(api, "connection: keep-alive, upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13") as wire:
        assert wire.status == 101
