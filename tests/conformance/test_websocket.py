"""Orders over a WebSocket (reference 2.10): every op, field, push and error."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Request, TextMessage

from .daemon import WITHIN_S, Api, Daemon, daemons, until

BRISK = """
[cluster]
name = "brisk"
[nodes.brisk]
listen = "127.0.0.1:0"
data_dir = "data"
[limits]
keep_alive_timeout_ms = "2s"
max_sse = 2
max_prefix_topics = 2
max_watch_topics = 3
"""


class Talk:
    """One WebSocket."""

    def __init__(self, api: Api) -> None:
        host, port = api.address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=WITHIN_S)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self._send(Request(host="x", target="/v0/ws"))
        self.greeting = self.event()

    def _send(self, event: Event) -> None:
        self._socket.sendall(self._ws.send(event))

    def event(self) -> Event:
        while not self._events:
            data = self._socket.recv(1 << 16)
            self._ws.receive_data(data or None)
            self._events += self._ws.events()
        return self._events.pop(0)

    def order(self, op: str, **fields: Any) -> None:
        self._send(TextMessage(json.dumps({"op": op, **fields})))

    def raw(self, message: str | bytes) -> None:
        self._send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    def next(self) -> dict[str, Any]:
        """The next message."""
        text = ""
        while True:
            event = self.event()
            if isinstance(event, Ping):
                self._send(event.response())
                continue
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                told: dict[str, Any] = json.loads(text)
                return told

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """An order and its reply; what is pushed meanwhile is lost."""
        self.order(op, request_id=op, **fields)
        while (told := self.next()).get("request_id") != op:
            pass
        return told

    def until(self, op: str) -> list[dict[str, Any]]:
        """All messages up to one of that op."""
        found = [self.next()]
        while found[-1]["op"] != op:
            found.append(self.next())
        return found

    def __enter__(self) -> Talk:
        assert isinstance(self.greeting, AcceptConnection)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A node with low bounds, which may be stopped."""
    with daemons(tmp_path_factory.mktemp("brisk"), BRISK, "brisk") as (daemon,):
        yield daemon


def data_of(messages: list[dict[str, Any]]) -> list[Any]:
    return [record["data"] for one in messages if one["op"] == "record" for record in one["records"]]


def test_ping(api: Api) -> None:
    """Whatever a request_id is, it comes back."""
    with Talk(api) as talk:
        for request_id in (7, "x", None, {"a": [1]}):
            talk.order("ping", request_id=request_id)
            assert talk.next() == {"op": "pong", "request_id": request_id}
        talk.order("ping")
        assert talk.next() == {"op": "pong", "request_id": None}


def test_subscribe(api: Api, topic: str) -> None:
    """The reply comes before the first record; then the backlog, that it is over, and what comes."""
    api.append(topic, 1, 2, 3)
    with Talk(api) as talk:
        talk.order("subscribe", request_id=1, topic=topic, from_seq=1)
        reply, record, caught_up = talk.until("caught_up")
        log_id = api.diff(topic)["log_id"]
        assert reply == {
            "op": "subscribed", "request_id": 1,
            "topics": {topic: {"from_seq": 1, "head_seq": 3, "earliest_seq": 1, "log_id": log_id}},
        }  # fmt: skip
        assert [record[k] for k in ("topic", "from_seq", "to_seq", "head_seq")] == [topic, 1, 3, 3]
        assert (data_of([record]), caught_up) == ([2, 3], {"op": "caught_up", "topic": topic, "head_seq": 3})
        api.append(topic, 4)
        assert data_of([talk.next()]) == [4]


def test_subscribe_again(api: Api, topic: str) -> None:
    """A topic that is subscribed already begins anew, with what is asked for now."""
    api.told("POST", f"/v0/topics/{topic}", {"records": [{"data": 1, "tag": "t", "meta": {}}]})
    with Talk(api) as talk:
        assert talk.ask("subscribe", topics={topic: {"tail": True}})["topics"][topic]["from_seq"] == 1
        talk.order("subscribe", topic=topic, include_tags=True, include_meta=False, include_data=False)
        (record,) = talk.until("record")[-1]["records"]
        assert set(record) == {"$seq", "$ts", "$node", "$tag"}


def test_unsubscribe(api: Api, topic: str) -> None:
    """Told is what was subscribed; nothing more comes of it."""
    for name in ("-a", "-b", "-c"):
        api.append(topic + name, 1)
    with Talk(api) as talk:
        talk.order("subscribe", topics={topic + "-a": {}, topic + "-b": {}, topic + "-c": {}})
        for _ in range(3):
            talk.until("caught_up")
        gone = talk.ask("unsubscribe", topic=topic + "-b", topics=[topic + "-a", "never"])
        assert gone["topics"] == [topic + "-a", topic + "-b"]
        for name in ("-a", "-b", "-c"):
            api.append(topic + name, 2)
        assert talk.next()["topic"] == topic + "-c"


def test_publish(api: Api, topic: str) -> None:
    """An append, acknowledged as over HTTP."""
    with Talk(api) as talk:
        ack = talk.ask("publish", topic=topic, records=[{"data": {"b": [1]}, "tag": "t"}, {"data": None}], node="n")
        fields = ("topic", "first_seq", "last_seq", "seqs", "head_seq", "count", "created", "deduped")
        assert [ack[k] for k in fields] == [topic, 1, 2, [1, 2], 2, 2, True, False]
        assert set(ack["performance"]) == {"server_total_ms", "wal_append_ms", "fsync_ms"}
        for deduped in (False, True):
            ack = talk.ask("publish", topic=topic, records=[{"data": 1}], idempotency_key="k", return_seqs=False)
            assert (ack["seqs"], ack["first_seq"], ack["deduped"]) == (None, 3, deduped)
        assert '"data":{"b": [1]}' in api.post_raw(f"/v0/topics/{topic}/diff", "{}").text


def test_prefixes_and_matches(api: Api, topic: str) -> None:
    """A prefix brings topics that are created later; only what matches is pushed."""
    with Talk(api) as talk:
        assert talk.ask("subscribe", topics={f"{topic}:*": {}}, match="a*")["topics"] == {}
        for data, tag in ((1, "b"), (2, "ab")):
            talk.ask("publish", topic=f"{topic}:{data}", records=[{"data": data, "tag": tag}])
            talk.ask("publish", topic=f"{topic}:{data}", records=[{"data": -1}])
        api.told("POST", f"/v0/topics/{topic}:3", {"records": [{"data": 3, "tag": "a"}]})
        found: list[Any] = []
        while 3 not in found:
            found += data_of([talk.next()])
        assert set(found) <= {2, 3}
        assert talk.ask("unsubscribe", topic=f"{topic}:*")["topics"] == [f"{topic}:*"]
        api.append(f"{topic}:4", 1)
        assert talk.ask("ping")["op"] == "pong"


def test_losses_and_deletions(api: Api, topic: str) -> None:
    """A loss by its true reason, a deleted topic by name; the connection stays."""
    api.create(topic, cap_records=1)
    api.append(topic, 1, 2, 3)
    with Talk(api) as talk:
        talk.order("subscribe", topic=topic)
        _, loss, *_ = talk.until("caught_up")
        assert [loss[k] for k in ("op", "topic", "reason", "gap_from", "gap_to")] == ["tombstone", topic, "cap", 1, 2]
        assert "alias" not in loss
        api.delete(f"/v0/topics/{topic}")
        assert talk.next() == {"op": "topic_deleted", "topic": topic, "head_seq": 0, "reason": "deleted"}
        assert talk.ask("ping")["op"] == "pong"


@pytest.mark.parametrize(("message", "code"), [
    ("{", "invalid_json"), ("", "invalid_json"), ("[" * 5000, "invalid_request"), (b"{}", "unsupported_message"),
    ("[]", "invalid_request"), ("7", "invalid_request"), ("{}", "invalid_request"),
    ('{"op":"dance","request_id":1}', "invalid_request"), ('{"op":"subscribe","request_id":1}', "invalid_request"),
    ('{"op":"subscribe","request_id":1,"topic":"no/name"}', "invalid_request"),
    ('{"op":"subscribe","request_id":1,"topic":"nowhere"}', "topic_not_found"),
    ('{"op":"subscribe","request_id":1,"topic":"nowhere","from_seq":-1}', "invalid_request"),
    ('{"op":"subscribe","request_id":1,"topic":"nowhere","from_seq":18446744073709551616}', "invalid_request"),
    ('{"op":"publish","request_id":1,"topic":"x"}', "invalid_request"),
    ('{"op":"publish","request_id":1,"topic":"x","records":[]}', "invalid_request"),
    ('{"op":"publish","request_id":1,"topic":"no/name","records":[{"data":1}]}', "invalid_request"),
    ('{"op":"publish","request_id":1,"topic":"nowhere","create":false,"records":[{"data":1}]}', "topic_not_found"),
])  # fmt: skip
def test_errors(api: Api, message: str | bytes, code: str) -> None:
    """A broken order is refused by name, and the conversation goes on."""
    with Talk(api) as talk:
        talk.raw(message)
        told = talk.next()
        known = isinstance(message, str) and '"request_id":1' in message
        assert (told["op"], told["code"], told["request_id"]) == ("error", code, 1 if known else None)
        assert told["message"]
        assert talk.ask("ping")["op"] == "pong"


def test_lenient(api: Api, topic: str) -> None:
    """Unknown topics are left out for who says so."""
    api.append(topic, 1)
    with Talk(api) as talk:
        told = talk.ask("subscribe", topics={topic: {}, "nowhere": {}}, lenient=True)
        assert list(told["topics"]) == [topic]


def test_bounds(brisk: Daemon) -> None:
    """As many connections and topics as the file says, and no more."""
    for name in ("q:1", "q:2", "r"):
        brisk.api.append(name, 1)
    with Talk(brisk.api) as talk, Talk(brisk.api):
        refused = Talk(brisk.api)
        assert not isinstance(refused.greeting, AcceptConnection)
        refused.__exit__()
        assert talk.ask("subscribe", topic="q:*")["op"] == "subscribed"
        told = talk.ask("subscribe", topic="r")
        assert (told["code"], told["detail"]) == ("invalid_request", {"limit": "max_prefix_topics", "max": 2})
        assert talk.ask("subscribe", topics={"a:*": {}, "b:*": {}})["op"] == "subscribed"
        told = talk.ask("subscribe", topic="c:*")
        assert (told["code"], told["detail"]) == ("invalid_request", {"limit": "max_watch_topics", "max": 3})
    until(lambda: _talks(brisk.api))


def _talks(api: Api) -> bool:
    with_room = Talk(api)
    with_room.__exit__()
    return isinstance(with_room.greeting, AcceptConnection)


def test_the_node_pings(brisk: Daemon) -> None:
    """A silent connection is known to live."""
    until(lambda: _talks(brisk.api))
    with Talk(brisk.api) as talk:
        assert isinstance(talk.event(), Ping)


def test_a_node_that_stops_says_so(brisk: Daemon) -> None:
    """A notice first, then 1001: go elsewhere, or come again."""
    until(lambda: _talks(brisk.api))
    with Talk(brisk.api) as talk:
        assert talk.ask("ping")["op"] == "pong"
        assert brisk.stop() == 0
        while not isinstance(event := talk.event(), TextMessage):
            assert isinstance(event, Ping)
        assert json.loads(event.data)["code"] == "server_shutting_down"
        closed = talk.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1001
    brisk.start()
