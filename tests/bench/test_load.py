"""The load generator against a door that answers as told: what it sends, counts and charges."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from mirrord.cli.bench.connection import Connection
from mirrord.cli.bench.load import Aside, Lane, Reader, Steady, saturate
from mirrord.cli.bench.wire import append, payload
from mirrord.errors import PeerUnreachable, Throttled

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BUSY_BODY = b'{"error":{"code":"throttled","message":"later"}}'
BUSY = b"HTTP/1.1 429 Busy\r\ncontent-length: %d\r\n\r\n" % len(BUSY_BODY) + BUSY_BODY
REQUEST = append("events", [payload()])


class Door:
    """A server that answers each request with what ``reply`` says, which may wait."""

    def __init__(self, reply: Callable[[int], bytes]) -> None:
        self._reply, self._count = reply, threading.Lock()
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                door, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(door,), daemon=True).start()

    def _serve(self, door: socket.socket) -> None:
        with door, suppress(ConnectionError):  # who measures may leave in the middle
            while door.recv(1 << 16):
                with self._count:
                    number, self.requests = self.requests, self.requests + 1
                door.sendall(self._reply(number))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def doors() -> Iterator[Callable[[Callable[[int], bytes]], Door]]:
    with ExitStack() as stack:

        def make(reply: Callable[[int], bytes]) -> Door:
            door = Door(reply)
            stack.callback(door.close)
            return door

        yield make


Doors = Callable[[Callable[[int], bytes]], Door]


@pytest.mark.parametrize(("lanes", "total"), [(1, 7), (5, 100), (8, 3)])
def test_exactly_so_many_requests_are_sent(doors: Doors, lanes: int, total: int) -> None:
    """A rate is a count over a time: the count must be true, also with more lanes than work."""
    door = doors(lambda _: OK)
    opened = [Connection(door.port) for _ in range(lanes)]
    saturate([Lane(one, REQUEST) for one in opened], total)
    assert door.requests == total
    for one in opened:
        one.close()


def test_a_refusal_ends_the_measuring(doors: Doors) -> None:
    """Refused appends are quick, and would be counted as speed."""
    door = doors(lambda number: BUSY if number == 3 else OK)
    connection = Connection(door.port)
    with pytest.raises(Throttled):
        saturate([Lane(connection, REQUEST)], 10)
    connection.close()


def test_a_node_that_goes_away_is_told(doors: Doors) -> None:
    """It must not hang, nor end with a number."""
    door = doors(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{")
    connection = Connection(door.port, within_s=0.05)
    with pytest.raises(PeerUnreachable):
        connection.ask(REQUEST)
    connection.close()


def test_who_could_not_be_sent_in_time_is_charged_from_when_it_was_due(doors: Doors) -> None:
    """Coordinated omission: a node that stops must not be measured only when it is well."""
    gate = threading.Event()

    def reply(number: int) -> bytes:
        if number == 0:
            gate.wait(5)
        return OK

    door = doors(reply)
    connection = Connection(door.port)
    steady = Steady([connection], lambda _: REQUEST, per_s=100.0)
    opener = threading.Timer(0.1, gate.set)
    opener.start()
    steady.run(lambda sent: sent >= 5)
    opener.join()
    connection.close()
    gaps = [round(b - a, 6) for a, b in zip(steady.due_s, steady.due_s[1:], strict=False)]
    assert gaps == [0.01] * 4
    waited = [steady.answered_s[n] - due_s for n, due_s in enumerate(steady.due_s)]
    assert waited[0] > waited[1] > waited[2] > waited[3] > 0.05


def test_the_reader_notes_each_record_once_and_goes_on_behind_it(doors: Doors) -> None:
    """Seen is when it came first; the next question begins where the last page ended."""
    seen: list[bytes] = []

    def page(number: int) -> bytes:
        body = b'{"records":[{"data":%s}],"next_from_seq":%d}' % (payload(number), number + 10)
        seen.append(body)
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    door = doors(page)
    reader = Reader(Connection(door.port), "live", 9)
    reader.wait()
    reader.take()
    first_s = reader.seen_s[0]
    reader.take()
    assert set(reader.seen_s) == {0, 1}
    assert reader.seen_s[0] == first_s
    reader.connection.close()


def test_aside_tells_when_it_came_about_even_if_it_fails() -> None:
    """A load that waits for something that failed would go on for ever."""
    gate = threading.Event()

    def wait() -> None:
        gate.wait(5)

    aside = Aside(wait)
    assert aside.over_s is None
    gate.set()
    aside.join()
    assert aside.over_s is not None
