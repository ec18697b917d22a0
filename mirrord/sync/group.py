"""Reader groups, without async."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from ..client.groups import group as of_group
from ..client.groups import reader as of_reader
from ..client.records.record import Record
from .thread import Face, Held, Steps, blocking


class Group(Face):
    """As ``mirrord.Group``."""

    _inner: of_group.Group

    state = blocking(of_group.Group.state)
    seek = blocking(of_group.Group.seek)
    drop = blocking(of_group.Group.drop)

    def reader(self, consumer: str | None = None, **terms: Any) -> AbstractContextManager[GroupReader]:
        """One consumer of the group: ``with group.reader("me") as r: for d in r: ...``."""
        return Held(self._loop, self._inner.reader(consumer, **terms), GroupReader)


class GroupReader(Steps["Delivery"]):
    """As ``mirrord.GroupReader``, with ``for``."""

    _inner: of_reader.GroupReader

    @property
    def consumer(self) -> str:
        """Who holds what this reader gets."""
        return self._inner.consumer

    def commit(self, *deliveries: Delivery) -> int:
        """All of these are done with; how many were still ours."""
        return self._loop.run(partial(self._inner.commit, *(delivery._inner for delivery in deliveries)))

    def _shown(self, item: of_reader.Delivery) -> Delivery:
        return Delivery(self._loop, item)


class Delivery(Face):
    """As ``mirrord.Delivery``."""

    _inner: of_reader.Delivery

    commit = blocking(of_reader.Delivery.commit)

    @property
    def record(self) -> Record:
        """What was delivered."""
        return self._inner.record

    @property
    def data(self) -> Any:
        """The record's payload."""
        return self._inner.data

    @property
    def seq(self) -> int:
        """The record's seq on the group's node."""
        return self._inner.seq
