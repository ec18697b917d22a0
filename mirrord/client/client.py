"""The client: one object for a node, or for several of one cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from msgspec import Struct

from . import call
from .api import trust
from .nodes import Nodes
from .patience import GIVE_UP_AFTER_S, Manner, Patience
from .queues.queue import Queue
from .topic import Topic


class Router(Struct, frozen=True):
    """A router: everything in ``source`` (that has the filter's tag) is copied to ``dest``, on one node."""

    router: str
    source: str
    dest: str
    forwarded_total: int = 0


class Client:
    """``async with Client("http://127.0.0.1:4001") as client:``, under trio and under asyncio. Tasks may share it.

    ``url`` may be several nodes of one cluster: reads go on at the next one when one is down; appends too, as long as
    it is certain that the one before has not kept them (``may_double``: even when it may have). ``key`` is an access
    key; ``ca``, ``cert``, ``cert_key`` are PEM files for https. Calls that fail in passing are repeated for
    ``give_up_after_s``, with back-off; keep it below the topics' ``idempotency_window_ms``.
    """

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
        urls = [url] if isinstance(url, str) else list(url)
        context = None
        if ca is not None or cert is not None:
            context = trust(ca, *(cert or ()))
        self._nodes = Nodes(urls, key, context, Patience(give_up_after_s, may_double=may_double))

    def topic(self, name: str) -> Topic:
        """A topic, whether it is there yet or not."""
        return Topic(self._nodes, name)

    def queue(self, name: str) -> Queue:
        """A topic of type queue."""
        return Queue(self._nodes, name)

    async def topics(self, prefix: str = "") -> list[str]:
        """The names of all topics at the node."""
        return [str(found["topic"]) for found in await self._nodes.every(call.topics(prefix), "topics")]

    async def put_router(self, name: str, source: str, dest: str, **config: Any) -> bool:
        """Copy from one topic to another; whether the router is new. ``config``: filter, preserve_tag, ..."""
        asked = call.put_router(name, {"source": source, "dest": dest, **config})
        return bool((await self._nodes.ask(asked, Manner.HERE)).object().get("created"))

    async def routers(self, prefix: str = "") -> list[Router]:
        """All routers at the node, by name."""
        return [_router(found) for found in await self._nodes.every(call.routers(prefix), "routers")]

    async def drop_router(self, name: str) -> bool:
        """Stop copying; whether there was such a router. What it has copied stays."""
        return bool((await self._nodes.ask(call.delete_router(name), Manner.HERE)).object().get("deleted"))

    async def links(self) -> list[Mapping[str, Any]]:
        """What the node pulls from whom, and how that goes: as ``GET /v0/links`` tells it."""
        return list((await self._nodes.ask(call.links(), Manner.HERE)).object()["links"])

    async def ready(self) -> None:
        """Returns once the node can work; raises NotReady or PeerUnreachable when it cannot in time."""
        await self._nodes.ask(call.ready(), Manner.HERE)

    async def aclose(self) -> None:
        """Let all connections go; ``async with`` does it."""
        await self._nodes.aclose()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _router(told: Mapping[str, Any]) -> Router:
    return Router(told["router"], told["source"], told["dest"], told.get("forwarded_total", 0))
