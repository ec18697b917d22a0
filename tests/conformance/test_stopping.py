"""SIGTERM while requests come in (design 5.1): what had begun is answered, and told that the node stops."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress

from .daemon import WITHIN_S, Daemon, until
from .frames import UPGRADE

BODY = b'{"records":[{"data":1}]}'
JSON = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(BODY)
CUT = {  # where a request is cut, and what of it comes after the node was told to stop
    "append": (b"POST /v0/topics/t HTTP/1.1\r\nhost: x\r\n" + JSON + b"\r\n" + BODY[:9], BODY[9:]),
    "put": (b"PUT /v0/topics/new HTTP/1.1\r\nhost: x\r\n", b"\r\n"),
    "probe": (b"GET /v0/ready HTTP/1.1\r\nhost: x\r\n", b"\r\n"),
    "socket": (
        ("\r\n".join(["GET /v0/ws HTTP/1.1", "host: x", *UPGRADE]) + "\r\n").encode(),
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
}


def _everything(door: socket.socket) -> bytes:
    parts = []
    while part := door.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def _is_closed(address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(address, timeout=WITHIN_S):
        return False
    return True


def test_a_node_that_stops_takes_no_more_work(mortal: Daemon) -> None:
    """A request that began before is refused by name and its connection closed; nothing of it is done."""
    mortal.api.create("t")
    host, port = mortal.api.address.split(":")
    address = host, int(port)
    stopping = threading.Thread(target=mortal.stop)
    with ExitStack() as stack:
        doors = {kind: stack.enter_context(socket.create_connection(address, WITHIN_S)) for kind in CUT}
        for kind, door in doors.items():
            door.sendall(CUT[kind][0])
        for _ in range(3):  # by then the node has read what was sent before
            mortal.api.told("GET", "/v0/health")
        stopping.start()
        until(lambda: _is_closed(address))
        for kind, door in doors.items():
            door.sendall(CUT[kind][1])
            answer = _everything(door)
            assert answer.startswith(b"HTTP/1.1 503 "), (kind, answer)
            assert b'"code":"shutting_down"' in answer
            assert b"\r\nconnection: close\r\n" in answer
    stopping.join()
    mortal.start()
    assert mortal.api.get("/v0/topics/new").status_code == 404
    assert mortal.api.state("t")["count"] == 0
