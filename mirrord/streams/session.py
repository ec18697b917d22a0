"""Watch sessions: what a client asked to be pushed and how far it has come, in memory, forgotten some time after its
last stream ended. A session has any number of streams; each goes on by itself from where the session stood.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from msgspec import Struct, field

from ..errors import NotFound, Throttled
from ..topics.read.face import View
from .cursor import EventId
from .place import Place

WID_BYTES = 16


class Start(Struct, frozen=True):
    """Where a stream begins in a topic."""

    seq: int
    log_id: str


class Session(Struct, eq=False):
    """One session. ``owner`` may open its streams. ``starts`` is how far the session has come by streams that ended."""

    wid: str
    owner: object
    view: View
    heartbeat_ms: int
    strong: bool
    starts: dict[str, Start]
    named: frozenset[str]  # asked for by name; other topics came by a prefix
    prefixes: tuple[str, ...] = ()
    changes: int = 0  # how many logs were replaced since
    changed: dict[str, int] = field(default_factory=dict)  # topic -> the number of its newest change
    streams: list[Mapping[str, Place]] = field(default_factory=list)  # the places of those that are open
    idle_since_s: float = 0.0

    @property
    def asked(self) -> list[str]:
        """The names and the patterns such as ``chat:*`` that it watches."""
        return [*self.named, *(prefix + "*" for prefix in self.prefixes)]

    def begin(self, last: EventId | None) -> dict[str, Start]:
        """Where a new stream begins in each topic that the session knows. ``last`` can only take it back."""
        found: dict[str, Start] = {}
        for name, start in self._furthest().items():
            seq = start.seq
            if last is not None:
                told = last.seqs.get(name)
                if told is None:
                    seq = seq if name in self.named else 0
                else:
                    seq = min(seq, told) if self.changed.get(name, 0) <= last.changes else 0
            found[name] = Start(seq, start.log_id)
        return dict(sorted(found.items()))

    def _furthest(self) -> dict[str, Start]:
        found = dict(self.starts)
        for places in self.streams:
            _go_on(found, places.values())
        return found

    def opened(self, places: Mapping[str, Place]) -> None:
        """A stream began; it keeps its places in this mapping."""
        self.streams.append(places)

    def closed(self, places: Mapping[str, Place], now_s: float) -> None:
        """A stream ended."""
        self.streams = [one for one in self.streams if one is not places]
        _go_on(self.starts, places.values())
        self.idle_since_s = now_s

    def log_changed(self, name: str, log_id: str) -> None:
        """A stream met another log of the topic: ids from before speak of one that is gone."""
        known = self.starts.get(name)
        if known is None or known.log_id != log_id:
            self.starts[name] = Start(0, log_id)
            self.changes += 1
            self.changed[name] = self.changes


def _go_on(starts: dict[str, Start], places: Iterable[Place]) -> None:
    for place in places:
        known = starts.get(place.name)
        if known is None or (known.log_id == place.log_id and known.seq < place.seq):
            starts[place.name] = Start(place.seq, place.log_id)


class Sessions:
    """All sessions, at most ``most`` (0: any number). One without a stream lives for ``ttl_s`` more seconds."""

    def __init__(self, rng: Random, ttl_s: float, most: int) -> None:
        self._rng, self._ttl_s, self._most = rng, ttl_s, most
        self._busy: dict[str, Session] = {}
        self._idle: dict[str, Session] = {}  # the longest idle first

    def open(self, now_s: float, **fields: Any) -> Session:
        """A new session. Raises Throttled at [limits] max_watch_sessions."""
        self._forget(now_s)
        if self._most and len(self) >= self._most:
            told = "this node has as many watch sessions as it may; let some end"
            raise Throttled(told, {"limit": "max_watch_sessions", "max": self._most}, 1.0)
        wid = "wid_" + urlsafe_b64encode(self._rng.randbytes(WID_BYTES)).rstrip(b"=").decode()
        session = self._idle[wid] = Session(wid=wid, idle_since_s=now_s, **fields)
        return session

    def find(self, wid: str, now_s: float) -> Session:
        """Raises NotFound for a session that there is not, or no more."""
        self._forget(now_s)
        session = self._busy.get(wid) or self._idle.get(wid)
        if session is None:
            raise NotFound("no such watch, or it was idle for too long; POST /v0/watch again with your cursors")
        return session

    def began(self, session: Session, places: Mapping[str, Place]) -> None:
        """A stream of the session began."""
        session.opened(places)
        if self._idle.pop(session.wid, None) is not None:
            self._busy[session.wid] = session

    def ended(self, session: Session, places: Mapping[str, Place], now_s: float) -> None:
        """One ended; with the last one the session is idle."""
        session.closed(places, now_s)
        if not session.streams and self._busy.pop(session.wid, None) is not None:
            self._idle[session.wid] = session

    def _forget(self, now_s: float) -> None:
        while self._idle:
            oldest = next(iter(self._idle.values()))
            if oldest.idle_since_s + self._ttl_s > now_s:
                return
            del self._idle[oldest.wid]

    def count(self, now_s: float) -> int:
        """How many there are."""
        self._forget(now_s)
        return len(self)

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)
