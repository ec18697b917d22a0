"""A node as the command line sees it: httpx's own fake of a server, answering as the API's pages say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mirrord.cli.doors import Doors
from mirrord.cli.main import answer

Handler = Callable[[httpx.Request], httpx.Response | None]


class Node:
    """Keeps what is appended, by key once. ``trouble`` answers first: None lets the node answer."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.raw_bodies: list[bytes] = []
        self.fixed: dict[str, Any] = {}  # path -> the object that GET answers
        self.trouble: list[Handler] = []
        self._keys: dict[str, dict[str, Any]] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.trouble:
            answered = self.trouble.pop(0)(request)
            if answered is not None:
                return answered
        return self.serve(request)

    def serve(self, request: httpx.Request) -> httpx.Response:
        """What a node in good health does."""
        path = request.url.path
        if path in self.fixed:
            return httpx.Response(200, json=self.fixed[path])
        topic = path.removeprefix("/v0/topics/").split("/")[0]
        if request.method == "POST" and path.endswith("/diff"):
            return self._diff(topic, json.loads(request.content))
        if request.method == "POST":
            return self._append(topic, request.content)
        if request.method == "GET" and topic in self.records:
            return httpx.Response(200, json={"topic": topic, "head_seq": len(self.records[topic])})
        return error(404, "topic_not_found", f"no topic {topic}")

    def _append(self, topic: str, raw: bytes) -> httpx.Response:
        self.raw_bodies.append(raw)
        body = json.loads(raw)
        key = body["idempotency_key"]
        if key not in self._keys:
            log = self.records.setdefault(topic, [])
            first = len(log) + 1
            for i, record in enumerate(body["records"]):
                tag = {"$tag": record["tag"]} if "tag" in record else {}
                log.append(
                    {
                        "$seq": first + i,
                        "$ts": 1_700_000_000_000,
                        "$node": "fra",
                        **tag,
                        "data": record["data"],
                    }
                )
            told = {"topic": topic, "first_seq": first, "last_seq": len(log), "count": len(body["records"])}
            self._keys[key] = told
            return httpx.Response(200, json={**told, "deduped": False})
        return httpx.Response(200, json={**self._keys[key], "deduped": True})

    def _diff(self, topic: str, query: dict[str, Any]) -> httpx.Response:
        if topic not in self.records:
            return error(404, "topic_not_found", f"no topic {topic}")
        log = self.records[topic]
        page = log[query.get("from_seq", 0) :][: query.get("limit", 256)]
        after = page[-1]["$seq"] if page else query.get("from_seq", 0)
        told = {"records": page, "next_from_seq": after, "head_seq": len(log), "caught_up": after == len(log)}
        return httpx.Response(200, json={**told, "tombstone": None, "lag": len(log) - after, "log_id": "aa"})


def error(status: int, code: str, message: str = "no", retry_after: str | None = None) -> httpx.Response:
    """The one error shape."""
    headers = {"retry-after": retry_after} if retry_after else None
    return httpx.Response(status, json={"error": {"code": code, "message": message}}, headers=headers)


class Time:
    """A clock that moves only when somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.at_pause: Callable[[], None] = lambda: None

    def wall_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds
        self.at_pause()


class Shell:
    """Runs commands against nodes by URL; ``run`` tells exit code, stdout, stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.nodes: dict[str, Node] = {"http://127.0.0.1:4001": Node()}
        self.time = Time()
        self.stdin_fd = 0
        self._capsys = capsys
        self._tokens = 0

    @property
    def node(self) -> Node:
        return self.nodes["http://127.0.0.1:4001"]

    def run(self, *words: str) -> tuple[int, str, str]:
        doors = Doors(httpx.MockTransport(self._route), self.time, self.time.pause, self._token, self.stdin_fd)
        code = answer(list(words), doors)
        out, err = self._capsys.readouterr()
        return code, out, err

    def _route(self, request: httpx.Request) -> httpx.Response:
        node = self.nodes.get(f"{request.url.scheme}://{request.url.host}:{request.url.port}")
        if node is None:
            raise httpx.ConnectError("Connection refused", request=request)
        return node(request)

    def _token(self) -> str:
        self._tokens += 1
        return f"token{self._tokens}"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("MIRRORD_URL", "MIRRORD_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Shell(capsys)


@pytest.fixture
def refusal() -> Callable[..., httpx.Response]:
    return error
