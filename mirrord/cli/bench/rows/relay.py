"""What the machine itself adds to a delay: a byte through processes that sleep."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise

from ....errors import PeerUnreachable
from ..connection import WITHIN_S
from ..machine import aside

_PROCESSES = 2  # as many as nodes that a record goes through
_A_BYTE = b"."


def bare_delays_ms(bytes_sent: int, per_s: float) -> list[float]:
    """What a byte takes through two processes and back, each counted from when it was due.

    It wakes a sleeping process as often as an append that is looked for on another node does, and costs nothing else:
    no node can be faster. Raises PeerUnreachable when one does not come back within WITHIN_S.
    """
    delays: list[float] = []
    with _relay() as (way_in, way_out):
        began_s = time.perf_counter()
        for number in range(bytes_sent):
            due_s = began_s + number / per_s
            time.sleep(max(0.0, due_s - time.perf_counter()))
            delays.append(1e3 * (_come_back(way_in, way_out) - due_s))
    return delays


def _come_back(way_in: socket.socket, way_out: socket.socket) -> float:
    way_in.send(_A_BYTE)
    try:
        way_out.recv(1)
    except TimeoutError as error:
        raise PeerUnreachable(f"a byte did not come back within {WITHIN_S:.0f} s") from error
    return time.perf_counter()


@contextmanager
def _relay() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        lines = [_line(stack) for _ in range(_PROCESSES + 1)]
        for (_, come), (go, _) in pairwise(lines):
            stack.enter_context(aside(partial(_pass_on, come, go)))
        yield lines[0][0], lines[-1][1]


def _line(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = stack.enter_context(socket.create_connection(server.getsockname(), timeout=WITHIN_S))
        far = stack.enter_context(server.accept()[0])
    far.settimeout(WITHIN_S)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def _pass_on(come: socket.socket, go: socket.socket) -> None:
    come.settimeout(None)
    while byte := come.recv(1):
        go.send(byte)
