"""The load: requests as fast as they are answered, or at a steady pace whatever the answers do."""

from __future__ import annotations

import selectors
import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import cast

from msgspec import Struct

from ...errors import PeerUnreachable
from .connection import WITHIN_S, Connection
from .wire import diff, numbers_in, records_in


class Lane(Struct, frozen=True):
    """A connection and the request that it repeats."""

    connection: Connection
    request: bytes


def saturate(lanes: Sequence[Lane], total: int) -> None:
    """Send ``total`` requests, one in flight on each lane, the next as soon as one is answered."""
    with selectors.DefaultSelector() as selector:
        for lane in lanes[:total]:
            selector.register(lane.connection, selectors.EVENT_READ, lane)
            lane.connection.send(lane.request)
        left, flying = total - len(lanes[:total]), len(lanes[:total])
        while flying:
            for lane in _ready(selector):
                lane.connection.confirm()
                flying -= 1
                if left:
                    lane.connection.send(lane.request)
                    left, flying = left - 1, flying + 1


def _ready(selector: selectors.BaseSelector) -> list[Lane]:
    ready = [key.data for key, _ in selector.select(WITHIN_S)]
    if not ready:
        raise PeerUnreachable(f"no answer within {WITHIN_S:.0f} s")
    return ready


class Reader:
    """Long-polls a topic on a node and notes when each record, by its number, was seen there."""

    def __init__(self, connection: Connection, topic: str, from_seq: int) -> None:
        self.connection = connection
        self.seen_s: dict[int, float] = {}
        self._topic = topic
        self._from_seq = from_seq

    def wait(self) -> None:
        """Ask for what comes next."""
        fields = {"from_seq": self._from_seq, "limit": 1000, "wait_ms": 30_000}
        self.connection.send(diff(self._topic, **fields))

    def take(self) -> None:
        """Note what came, and wait again."""
        now_s = perf_counter()
        page = self.connection.confirm().object()
        self._from_seq = page["next_from_seq"]
        for number in records_in(page):
            self.seen_s.setdefault(number, now_s)
        self.wait()


class Steady:
    """One request each ``1 / per_s`` seconds, due at fixed moments. An answer's delay counts from the moment its
    request was due, so a node that stops for a while is charged for all that should have been sent meanwhile."""

    def __init__(self, connections: Sequence[Connection], request: Callable[[int], bytes], per_s: float) -> None:
        self._free = deque(connections)
        self._request = request
        self._gap_s = 1 / per_s
        self._flying: dict[Connection, int] = {}
        self.due_s: list[float] = []
        self.answered_s: dict[int, float] = {}

    def run(self, over: Callable[[int], bool], reader: Reader | None = None) -> None:
        """Until ``over`` (given how many were sent), all are answered, and the reader has seen them all."""
        with selectors.SelectSelector() as selector:  # its timeouts are exact to the microsecond
            for connection in self._free:
                selector.register(connection, selectors.EVENT_READ, self._answered)
            if reader is not None:
                selector.register(reader.connection, selectors.EVENT_READ, lambda _: reader.take())
                reader.wait()
            began_s = perf_counter()
            while not over(len(self.due_s)):
                self._turn(selector, began_s)
            self._await_the_last(selector, reader)

    def _turn(self, selector: selectors.BaseSelector, began_s: float) -> None:
        due_s = began_s + len(self.due_s) * self._gap_s
        wait_s = due_s - perf_counter()
        if wait_s <= 0 and self._free:
            self._send(due_s)
            wait_s = 0
        self._listen(selector, max(0.0, wait_s) if self._free else WITHIN_S)

    def _send(self, due_s: float) -> None:
        connection, number = self._free.popleft(), len(self.due_s)
        self.due_s.append(due_s)
        self._flying[connection] = number
        connection.send(self._request(number))

    def _listen(self, selector: selectors.BaseSelector, within_s: float) -> bool:
        found = selector.select(within_s)
        for key, _ in found:
            key.data(key.fileobj)
        return bool(found)

    def _answered(self, connection: Connection) -> None:
        connection.confirm()
        self.answered_s[self._flying.pop(connection)] = perf_counter()
        self._free.append(connection)

    def _await_the_last(self, selector: selectors.BaseSelector, reader: Reader | None) -> None:
        while self._flying or (reader is not None and len(reader.seen_s) < len(self.due_s)):
            if not self._listen(selector, WITHIN_S):
                raise PeerUnreachable(f"what was appended was not seen within {WITHIN_S:.0f} s")


class Crowd:
    """Watchers, each on an event stream of its own. Notes when which record came, by its number, to anyone of them."""

    def __init__(self, streams: Sequence[Connection]) -> None:
        self._rests = dict.fromkeys(streams, b"")
        self.numbers = array("l")
        self.seen_s = array("d")

    def listen(self, events: int) -> None:
        """Until so many records have come, counted over all watchers. Raises PeerUnreachable."""
        with selectors.DefaultSelector() as selector:
            for stream in self._rests:
                selector.register(stream, selectors.EVENT_READ)
            while len(self.numbers) < events:
                found = selector.select(WITHIN_S)
                if not found:
                    raise PeerUnreachable(f"watchers were pushed nothing for {WITHIN_S:.0f} s")
                for key, _ in found:
                    self._take(cast(Connection, key.fileobj))

    def _take(self, stream: Connection) -> None:
        data = self._rests[stream] + stream.receive_some()
        now_s = perf_counter()
        whole, end, rest = data.rpartition(b"\n\n")
        self._rests[stream] = rest
        for number in numbers_in(whole) if end else ():
            self.numbers.append(number)
            self.seen_s.append(now_s)


class Aside:
    """Something that is waited for in a thread while the load goes on."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.over_s: float | None = None  # when it came about
        self._wait = wait
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._wait()
        finally:
            self.over_s = perf_counter()

    def join(self) -> None:
        """Until it has come about, or failed to."""
        self._thread.join(10 * WITHIN_S)
