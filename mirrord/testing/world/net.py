"""The network between simulated nodes: every line with its own conditions, every peer with the real one's errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Protocol

import trio

from ...errors import PeerUnreachable
from ..faults import FAIR, Conditions, Fault, Pace, worst
from .stream import Stream

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 10.0

Direction = tuple[str, str]  # from, to


class Host(Protocol):
    """A node as the network sees it."""

    @property
    def answers(self) -> bool:
        """Whether somebody listens; else connections are refused."""
        ...

    @property
    def has_power(self) -> bool:
        """Whether the machine can refuse; else nothing comes back."""
        ...

    def serve(self, request: bytes, stream: Stream) -> None:
        """Begin to serve a feed."""
        ...

    async def change(self, feed_no: int, change: bytes) -> None:
        """Carry out a change of a feed. Raises what the node refuses with, or PeerUnreachable when it dies."""
        ...


class FakeNet:
    """All lines. Their conditions are those of the faults that are on."""

    def __init__(self, names: tuple[str, ...], rng: Random) -> None:
        self.hosts: dict[str, Host] = {}
        self._rng = rng
        self._latency = {(a, b): rng.uniform(0.001, 0.03) for a in names for b in names if a != b}
        self._faults: list[Fault] = []
        self._conditions: dict[Direction, Conditions] = {}
        self._of_streams: dict[Direction, Conditions] = {}
        self._streams: dict[Stream, Direction] = {}
        self._rung = trio.Event()
        self.unclean: dict[frozenset[str], float] = {}  # lines with a fault on, and since when
        self.clean: dict[frozenset[str], tuple[float, float]] = {}  # lines without: of the last fault, begin and end

    def peer(self, caller: str, source: str) -> SimPeer:
        """What a link of ``caller`` pulls from."""
        return SimPeer(self, caller, source)

    # ---- faults -----------------------------------------------------------------------------------------------------

    def begin(self, fault: Fault) -> None:
        """A fault comes over a line."""
        line = frozenset((fault.node, fault.peer))
        if fault.kind == "halfopen":
            self._each(line, Stream.lose)
        self._faults.append(fault)
        if line not in self.unclean:
            self.unclean[line] = trio.current_time()
        self._changed()
        if fault.kind == "cut":
            self._each(line, lambda stream: stream.break_off("the connection was reset"))

    def end(self, fault: Fault) -> None:
        """It is over."""
        self._faults.remove(fault)
        line = frozenset((fault.node, fault.peer))
        if not any({f.node, f.peer} == line for f in self._faults):
            self.clean[line] = (self.unclean.pop(line), trio.current_time())
        self._changed()

    def _changed(self) -> None:
        found: dict[Direction, list[Conditions]] = {}
        self._of_streams = {}
        for fault in self._faults:
            there, back = (fault.node, fault.peer), (fault.peer, fault.node)
            for direction in (there,) if fault.kind == "oneway" else (there, back):
                found.setdefault(direction, []).append(_conditions(fault))
        self._conditions = {direction: worst(all_) for direction, all_ in found.items()}
        for (a, b), here in self._conditions.items():
            # An acknowledgement that cannot come back stops the bytes as well.
            self._of_streams[a, b] = worst((here, Conditions(silent=self.conditions(b, a).silent)))
            self._of_streams.setdefault((b, a), Conditions(silent=here.silent))
        self._rung.set()
        self._rung = trio.Event()
        for stream in self._streams:
            stream.ring()

    def _each(self, line: frozenset[str], do: Callable[[Stream], None]) -> None:
        for stream, direction in list(self._streams.items()):
            if set(direction) == line:
                do(stream)

    def conditions(self, a: str, b: str) -> Conditions:
        """Of the way from ``a`` to ``b``."""
        return self._conditions.get((a, b), FAIR)

    def disconnect(self, name: str, *, silently: bool) -> None:
        """The process of a node is gone: its kernel resets connections, unless the machine is gone too."""
        for stream, direction in list(self._streams.items()):
            if name in direction:
                if silently:
                    stream.lose()
                else:
                    stream.break_off("the connection was reset")
            if name == direction[0]:
                self.forget(stream)

    # ---- ways -------------------------------------------------------------------------------------------------------

    async def travel(self, a: str, b: str, limit_s: float) -> None:
        """From ``a`` to ``b``. Raises PeerUnreachable when it is refused, or not there in time."""
        with trio.move_on_after(limit_s):
            while self.conditions(a, b).silent:
                await self._rung.wait()
            wait_s = self._latency[a, b] + self.conditions(a, b).delay_s
            await trio.sleep(wait_s + self._rng.expovariate(1.0) * 0.002)
            if self.conditions(a, b).cut:
                raise PeerUnreachable(f"{b}: connection refused")
            return
        raise PeerUnreachable(f"{b}: timed out")

    async def _arrive(self, caller: str, source: str) -> Host:
        await self.travel(caller, source, CONNECT_TIMEOUT_S)
        host = self.hosts[source]
        if not host.answers:
            if not host.has_power:
                await trio.sleep(CONNECT_TIMEOUT_S)
                raise PeerUnreachable(f"{source}: timed out")
            await self.travel(source, caller, CONNECT_TIMEOUT_S)
            raise PeerUnreachable(f"{source}: connection refused")
        return host

    async def open(self, caller: str, source: str, request: bytes) -> Stream:
        """A feed, once its first answer has come. Raises PeerUnreachable."""
        host = await self._arrive(caller, source)
        if self._rng.random() < self.conditions(caller, source).doubled:
            twin = self._stream(caller, source)
            twin.close()
            host.serve(request, twin)
        stream = self._stream(caller, source)
        host.serve(request, stream)
        await self.travel(source, caller, float("inf"))
        return stream

    def _stream(self, caller: str, source: str) -> Stream:
        pace = Pace(self._latency[source, caller], 0.002)
        stream = Stream(pace, lambda: self._of_streams.get((source, caller), FAIR), self._rng)
        self._streams[stream] = (source, caller)
        return stream

    def forget(self, stream: Stream) -> None:
        """Nobody serves it any more."""
        self._streams.pop(stream, None)

    async def change(self, caller: str, source: str, feed_no: int, change: bytes) -> None:
        """Change a feed; perhaps twice, perhaps without an answer."""
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            host = await self._arrive(caller, source)
            conditions = self.conditions(caller, source)
            await host.change(feed_no, change)
            if self._rng.random() < conditions.doubled:
                await trio.sleep(self._rng.uniform(0, 0.2))
                await host.change(feed_no, change)
            if self._rng.random() >= conditions.unanswered:
                await self.travel(source, caller, ANSWER_TIMEOUT_S)
                return
        raise PeerUnreachable(f"{source}: no answer came")


class SimPeer:
    """A peer as a link sees it, at the other end of a line. Passes the contract of ``links.peer.Peer``."""

    def __init__(self, net: FakeNet, caller: str, source: str) -> None:
        self._net, self._caller, self._source = net, caller, source
        self.round_trip_s = 0.0

    @asynccontextmanager
    async def feed(self, request: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        stream = await self._net.open(self._caller, self._source, request)
        try:
            yield stream
        finally:
            stream.close()

    async def change(self, feed_no: int, change: bytes) -> None:
        await self._net.change(self._caller, self._source, feed_no, change)

    async def aclose(self) -> None:
        """There is nothing to let go of."""


def _conditions(fault: Fault) -> Conditions:
    match fault.kind:
        case "cut":
            return Conditions(cut=True)
        case "oneway" | "silent":
            return Conditions(silent=True)
        case "delay":
            return Conditions(delay_s=fault.amount)
        case "slow":
            return Conditions(rate_bytes_s=fault.amount)
        case "doubled":
            return Conditions(doubled=fault.amount)
        case "unanswered":
            return Conditions(unanswered=fault.amount)
        case _:
            return FAIR
