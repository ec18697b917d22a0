"""The outgoing side of a watch over server-sent events: each event with the whole place of its stream as its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .cursor import event_id
from .dialect import HEARTBEAT, RETRY, SSE
from .place import Batch, Place
from .session import Session

SHARED = 1  # places of a stream to which a fan's piece fits as it is


class Pipe(Protocol):
    """A body without an end. Raises OSError when the client is gone."""

    def send_now(self, buffers: Sequence[bytes]) -> bool:
        """Without waiting. False: not all of it went, and ``drained`` comes before anything else."""
        ...

    async def drained(self) -> None:
        """Returns when what ``send_now`` left has gone."""
        ...


class EventStream:
    """See ``Outlet``. ``places`` are those of the watcher that puts here."""

    def __init__(self, pipe: Pipe, session: Session) -> None:
        self._pipe, self._session = pipe, session
        self.places: Mapping[str, Place] = {}

    def begin(self) -> bool:
        """How soon a client should come back when the stream breaks."""
        return self._pipe.send_now([RETRY])

    def put(self, batch: Batch, place: Place) -> bool:
        """See ``Outlet``."""
        if batch.to_log_id != batch.log_id:
            self._session.log_changed(place.name, batch.to_log_id)
        if batch.alone and len(self.places) == SHARED and not self._session.changes:
            return self._pipe.send_now([batch.alone])
        buffers: list[bytes] = []
        for event in batch.events:
            buffers += (self._id({place.name: event.seq}), event.body)
        return self._pipe.send_now(buffers)

    def beat(self) -> bool:
        """See ``Outlet``."""
        return self._pipe.send_now([HEARTBEAT])

    def gone(self, name: str) -> bool:
        """See ``Outlet``."""
        return self._pipe.send_now([self._id({}), SSE.deleted(name)])

    async def drained(self) -> None:
        """See ``Outlet``."""
        await self._pipe.drained()

    def end(self, error_body: bytes) -> bool:
        """Why the stream ends, with the place to resume from."""
        return self._pipe.send_now([self._id({}), error_body])

    def _id(self, moved: Mapping[str, int]) -> bytes:
        seqs = {name: moved.get(name, place.seq) for name, place in self.places.items()}
        return b"id: %b\n" % event_id(seqs, self._session.changes)
