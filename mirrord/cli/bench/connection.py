"""A connection of the load generator to a node: one request in flight at a time."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from ...client.answer import error_in
from ...errors import PeerUnreachable
from .wire import Answer, Inbox

WITHIN_S = 60.0  # a request that waits longer has failed


class Connection:
    """Raises PeerUnreachable when the node does not answer within WITHIN_S, or has gone."""

    def __init__(self, port: int, within_s: float = WITHIN_S) -> None:
        self._where = f"127.0.0.1:{port}"
        self._inbox = Inbox()
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=within_s)
        except OSError as error:
            raise PeerUnreachable(f"{self._where}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give it up."""
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        try:
            self._socket.sendall(request)
        except OSError as error:
            raise PeerUnreachable(f"{self._where}: {error}") from error

    def receive(self) -> Answer:
        """The answer, whole; whatever its status."""
        while (answer := self._inbox.take()) is None:
            try:
                data = self._socket.recv(1 << 18)
            except OSError as error:
                raise PeerUnreachable(f"{self._where}: {error}") from error
            if not data:
                raise PeerUnreachable(f"{self._where} closed the connection in the middle")
            self._inbox.put(data)
        return answer

    def receive_some(self) -> bytes:
        """What has come, of an answer without an end."""
        try:
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise PeerUnreachable(f"{self._where}: {error}") from error
        if not data:
            raise PeerUnreachable(f"{self._where} ended the stream")
        return data

    def confirm(self) -> Answer:
        """The answer; raises the error that it names when it is none of success."""
        answer = self.receive()
        if answer.status >= 400:
            raise error_in(self._where, answer.status, answer.body, None)
        return answer

    def ask(self, request: bytes) -> Answer:
        """Send and wait for the success."""
        self.send(request)
        return self.confirm()


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
