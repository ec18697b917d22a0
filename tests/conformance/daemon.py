"""A real daemon as its clients see it: a process to start, kill and stop, and the API over HTTP."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from mirrord.testing.cluster.daemon import Daemon as Process

WITHIN_S = 30.0
JSON = {"content-type": "application/json"}
READY = re.compile(r"^mirrord: ready at (\S+)$", re.MULTILINE)


class Api(httpx.Client):
    """The API of one node. ``told`` and what stands on it hold every answer to the one shape of answers."""

    def __init__(self, address: str) -> None:
        super().__init__(base_url=f"http://{address}", trust_env=False, timeout=WITHIN_S)
        self.address = address

    def told(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """A call that must succeed; its answer."""
        return answered(self.request(method, path, json=body, params=query))

    def create(self, topic: str, **config: Any) -> dict[str, Any]:
        return self.told("PUT", f"/v0/topics/{topic}", config)

    def append(self, topic: str, *data: Any, **fields: Any) -> dict[str, Any]:
        """One append of these payloads."""
        return self.told("POST", f"/v0/topics/{topic}", {"records": [{"data": one} for one in data], **fields})

    def diff(self, topic: str, **fields: Any) -> dict[str, Any]:
        return self.told("POST", f"/v0/topics/{topic}/diff", fields)

    def state(self, topic: str, **query: Any) -> dict[str, Any]:
        return self.told("GET", f"/v0/topics/{topic}", **query)

    def post_raw(self, path: str, body: bytes | str, headers: Mapping[str, str] = JSON) -> httpx.Response:
        """A POST of exactly these bytes."""
        return self.post(path, content=body, headers=dict(headers))

    def texts(self, topic: str) -> list[tuple[bytes, bytes]]:
        """The JSON texts of data and meta of every record, to the byte as the node answers them (b"": no meta)."""
        found: list[tuple[bytes, bytes]] = []
        page, after = _Page([], 0, False), 0
        while not page.caught_up:
            got = self.post(f"/v0/topics/{topic}/diff", json={"from_seq": after, "limit": 1000})
            page = msgspec.json.decode(got.content, type=_Page)
            after = page.next_from_seq
            found += [(bytes(r.data), bytes(r.meta)) for r in page.records]
        return found


class _Record(msgspec.Struct):
    data: msgspec.Raw
    meta: msgspec.Raw = msgspec.Raw(b"")


class _Page(msgspec.Struct):
    records: list[_Record]
    next_from_seq: int
    caught_up: bool


def answered(response: httpx.Response) -> dict[str, Any]:
    """A success's body: one bare JSON object that tells how long it took."""
    assert response.status_code in (200, 201), response.text
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert body["performance"]["server_total_ms"] >= 0
    return body


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """A refusal in the one shape, nothing else in it; its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    error = body["error"]
    assert set(body) == {"error"}
    assert set(error) - {"detail"} == {"code", "message"}
    assert error["code"] == code
    assert isinstance(error["message"], str)
    assert error["message"]
    detail = error.get("detail", {})
    assert isinstance(detail, dict)
    return detail


class Daemon:
    """One node of a file as its own process; ``api`` speaks to the present one."""

    def __init__(self, file: Path, node: str) -> None:
        self._log = file.with_name(f"{node}.log")
        self._process = Process(file, node, self._log, {})
        self.start()

    def start(self) -> None:
        """Returns when the node has said that it is ready."""
        said = len(self.log_text()) if self._log.exists() else 0
        self._process.start()
        until(lambda: not self._process.running or READY.search(self.log_text(), said))
        ready = READY.search(self.log_text(), said)
        if ready is None:
            raise AssertionError(f"the node did not start: {self.log_text()}")
        self.api = Api(ready[1])

    @property
    def url(self) -> str:
        return f"http://{self.api.address}"

    def kill(self) -> None:
        """kill -9."""
        self.api.close()
        self._process.kill()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._process.signal(signal.SIGTERM)
        until(lambda: not self._process.running)
        self.api.close()
        return self._process.exit_code or 0

    def reload(self) -> None:
        """SIGHUP."""
        self._process.signal(signal.SIGHUP)

    def log_text(self) -> str:
        """What it has told in all its lives."""
        return self._log.read_text()

    def raw(self, request: bytes) -> bytes:
        """Exactly these bytes on a new connection; all that comes until the node closes it."""
        host, port = self.api.address.split(":")
        with socket.create_connection((host, int(port)), timeout=WITHIN_S) as door:
            door.sendall(request)
            parts = []
            while part := door.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)


def until(holds: Callable[[], Any]) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := holds()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


@contextmanager
def daemons(folder: Path, text: str, *nodes: str) -> Iterator[list[Daemon]]:
    """These nodes of a file that says ``text``, killed at the end."""
    file = folder / "mirrord.toml"
    file.write_text(text)
    with ExitStack() as stack:
        found = []
        for node in nodes:
            found.append(Daemon(file, node))
            stack.callback(found[-1].kill)
        yield found
