"""A topic, its producer and its followers, without async."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar, overload

from ..client import topic as of_topic
from ..client.records import follow as of_follow
from ..client.records.record import Cursor, Record, Tombstone
from ..client.sending import producer as of_producer
from ..client.sending import receipt as of_receipt
from ..errors import MirrordError
from .group import Group
from .thread import Face, Held, Steps, blocking

E = TypeVar("E", Record, Record | Tombstone)


class Topic(Face):
    """As ``mirrord.Topic``."""

    _inner: of_topic.Topic

    append = blocking(of_topic.Topic.append)
    read = blocking(of_topic.Topic.read)
    groups = blocking(of_topic.Topic.groups)
    state = blocking(of_topic.Topic.state)
    delete = blocking(of_topic.Topic.delete)
    drop = blocking(of_topic.Topic.drop)

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._inner.name

    def producer(self, **bounds: Any) -> AbstractContextManager[Producer]:
        """Batches by themselves, with back-pressure: ``with topic.producer() as p: p.send(...)``."""
        return Held(self._loop, self._inner.producer(**bounds), Producer)

    @overload
    def follow(
        self,
        after: of_topic.After = None,
        *,
        match: Any = None,
        without: Sequence[str] = (),
        wait_for_topic: bool = False,
    ) -> Follow[Record | Tombstone]: ...
    @overload
    def follow(
        self,
        after: of_topic.After = None,
        *,
        match: Any = None,
        without: Sequence[str] = (),
        wait_for_topic: bool = False,
        on_gap: Callable[[Tombstone], object],
    ) -> Follow[Record]: ...
    def follow(self, after: of_topic.After = None, **more: Any) -> Follow[Any]:
        """Every record after a cursor, and then each new one; gaps as in ``mirrord.Topic.follow``."""
        return Follow(self._loop, self._inner.follow(after, **more))

    def group(self, name: str) -> Group:
        """A group of readers who share the topic's records among them."""
        return Group(self._loop, self._inner.group(name))

    def create(self, **config: Any) -> bool:
        """Make it, with this configuration over the defaults, or give it that; whether it is new."""
        return self._loop.run(partial(self._inner.create, **config))

    def configure(self, **config: Any) -> None:
        """Change these keys and leave the others."""
        self._loop.run(partial(self._inner.configure, **config))


class Follow(Steps[E]):
    """As ``mirrord.Follow``, with ``for``."""

    _inner: of_follow.Follow[Any]

    @property
    def cursor(self) -> Cursor:
        """The place after what came out last."""
        return self._inner.cursor


class Producer(Face):
    """As ``mirrord.Producer``."""

    _inner: of_producer.Producer

    flush = blocking(of_producer.Producer.flush)

    def send(self, data: Any, *, tag: str | None = None, node: str | None = None, meta: Any = None) -> Receipt:
        """Hand over one record; waits while the buffer is full."""
        send = partial(self._inner.send, data, tag=tag, node=node, meta=meta)
        return Receipt(self._loop, self._loop.run(send))

    @property
    def waiting(self) -> int:
        """Records that are not acknowledged yet."""
        return self._inner.waiting


class Receipt(Face):
    """As ``mirrord.Receipt``: ``wait()`` for the record's seq."""

    _inner: of_receipt.Receipt

    wait = blocking(of_receipt.Receipt.wait)

    @property
    def seq(self) -> int | None:
        """The record's seq, once it is known."""
        return self._inner.seq

    @property
    def error(self) -> MirrordError | None:
        """Why it was not kept, or is not known to be."""
        return self._inner.error
