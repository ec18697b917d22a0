"""The client, with ``with``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

from ..client import client as of_client
from ..client.patience import GIVE_UP_AFTER_S
from .queue import Queue
from .thread import Face, Held, Loop, blocking
from .topic import Topic


class Client(Face):
    """As ``mirrord.Client``, with ``with``."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        key: str | None = None,
        ca: str | None = None,
        cert: tuple[str, str] | None = None,
        give_up_after_s: float = GIVE_UP_AFTER_S,
        may_double: bool = False,
    ) -> None:
        inner = of_client.Client(url, key=key, ca=ca, cert=cert, give_up_after_s=give_up_after_s, may_double=may_double)
        super().__init__(Loop(), inner)
        self._stack = ExitStack()

    def __enter__(self) -> Client:
        with ExitStack() as stack:
            stack.enter_context(self._loop)
            stack.enter_context(Held(self._loop, self._inner, Face))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def topic(self, name: str) -> Topic:
        """A topic, whether it is there yet or not."""
        return Topic(self._loop, self._inner.topic(name))

    def queue(self, name: str) -> Queue:
        """A topic of type queue."""
        return Queue(self._loop, self._inner.queue(name))

    topics = blocking(of_client.Client.topics)
    routers = blocking(of_client.Client.routers)
    drop_router = blocking(of_client.Client.drop_router)
    links = blocking(of_client.Client.links)
    ready = blocking(of_client.Client.ready)

    def put_router(self, name: str, source: str, dest: str, **config: Any) -> bool:
        """Copy from one topic to another; whether the router is new."""
        return bool(self._loop.run(partial(self._inner.put_router, name, source, dest, **config)))
