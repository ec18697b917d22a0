"""A client of WebSockets that decides every byte."""

from __future__ import annotations

import base64
import json
import os
import socket
from typing import Any

from .daemon import WITHIN_S, Api

UPGRADE = ["connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13"]


def frame(opcode: int, payload: bytes, final: bool = True, masked: bool = True) -> bytes:
    """One frame of a client, as the RFC draws it."""
    head = bytes([(0x80 if final else 0) | opcode])
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    if not masked:
        return head + length + payload
    mask = os.urandom(4)
    return head + bytes([length[0] | 0x80]) + length[1:] + mask + bytes(b ^ mask[n % 4] for n, b in enumerate(payload))


class Wire:
    """A WebSocket to the byte."""

    def __init__(self, api: Api, *lines: str) -> None:
        host, port = api.address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=WITHIN_S)
        key = base64.b64encode(os.urandom(16)).decode()
        head = ["GET /v0/ws HTTP/1.1", "host: x", *(lines or UPGRADE), f"sec-websocket-key: {key}", "", ""]
        self.send("\r\n".join(head).encode())
        self._bytes = b""
        while b"\r\n\r\n" not in self._bytes:
            self._bytes += self._socket.recv(1 << 16)
        head_bytes, _, self._bytes = self._bytes.partition(b"\r\n\r\n")
        self.status = int(head_bytes.split()[1])

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def order(self, **fields: Any) -> None:
        """A text message of this object."""
        self.send(frame(1, json.dumps(fields).encode()))

    def _take(self, size: int) -> bytes:
        while len(self._bytes) < size:
            data = self._socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._bytes += data
        taken, self._bytes = self._bytes[:size], self._bytes[size:]
        return taken

    def next(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload; a client's frames are masked, a server's are not."""
        first, size = self._take(2)
        assert size & 0x80 == 0
        if size == 126:
            size = int.from_bytes(self._take(2), "big")
        return first & 0x0F, self._take(size)

    def told(self) -> dict[str, Any]:
        opcode, payload = self.next()
        assert opcode == 1, (opcode, payload)
        found: dict[str, Any] = json.loads(payload)
        return found

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
