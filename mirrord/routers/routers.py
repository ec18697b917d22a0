"""All routers of a node: define, change, delete, list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, assert_never

from msgspec import Struct, structs

from ..actors.mailbox import Envelope, Mailbox
from ..actors.supervisor import Supervisor
from ..config.routers import cycle_closed_by
from ..errors import (
    DeclaredInFile,
    MirrordError,
    RouterCycle,
    RouterNotFound,
    Throttled,
    TopicExistsIncompatible,
    TopicNotFound,
)
from ..storage.store import Change, DropMark, PutMark
from .definition import Definition
from .destinations import Destinations
from .ground import Ground
from .position import DEFINED, ROUTED, Position
from .router import Router


class Define(Struct, frozen=True):
    """Make a router, or change one."""

    definition: Definition
    create_dest: bool


class Undefine(Struct, frozen=True):
    """Delete a router. What it has copied stays."""

    name: str


class LetTopicGo(Struct, frozen=True):
    """Delete a topic, and the routers from and to it."""

    topic: str
    if_empty: bool
    forget: bool


Message = Define | Undefine | LetTopicGo


class Routers:
    """The one who changes the set of routers; each routes by itself. ``boot`` before anybody asks."""

    name = "routers"

    def __init__(
        self, ground: Ground, supervisor: Supervisor, declared: Mapping[str, Definition], most: int, wait_ms: int
    ) -> None:
        self.mailbox: Mailbox[Message] = Mailbox(256)
        self._ground, self._supervisor, self._declared = ground, supervisor, declared
        self._most = most
        self._routers: dict[str, Router] = {}
        self._names: list[str] = []
        self.into = Destinations(wait_ms / 1000)
        self._stale: list[Change] = []  # marks as they should be, of routers that the file changed or that are no more
        self._newborn: list[Definition] = []

    # ---- life ------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Know every router of the store and the file; the topics must be known by then."""
        store, registry = self._ground.store, self._ground.registry
        kept = {packed[0].removeprefix(DEFINED): Definition.decode(packed[1]) for packed in store.marks(DEFINED)}
        for name, definition in kept.items():
            gone = registry.known(definition.source) is None or registry.known(definition.dest) is None
            if name not in self._declared and (definition.declared or gone):
                self._stale += _drops(name)  # out of the file, or the node died while a topic of it was deleted
            elif name not in self._declared:
                self._know(Router(definition, self._ground))
        for name, definition in self._declared.items():
            self._declare(definition, kept.get(name))
        positions = {name.removeprefix(ROUTED) for name, _ in store.marks(ROUTED)}
        self._stale += [DropMark(ROUTED + name) for name in positions - kept.keys() - self._declared.keys()]

    def _declare(self, definition: Definition, before: Definition | None) -> None:
        """Know a router of the file. A new one begins at its source's head as it is now, before anybody writes."""
        router = Router(definition, self._ground)
        source = self._ground.registry.known(definition.source)
        same = before is not None and (before.source, before.dest) == (definition.source, definition.dest)
        if definition != before:
            self._stale.append(PutMark(DEFINED + definition.name, definition.encode()))
        if not same or source is None:  # life 0: on a node that was wiped it may be an old one
            begin = source.head if source is not None and not definition.backfill else 0
            self._stale.append(PutMark(ROUTED + definition.name, Position(begin).encode()))
            self._newborn.append(definition)
        self._know(router)

    async def live(self) -> None:
        """Let go of what is no more, keep every router alive, then take one message after the other."""
        if self._stale:
            await self._ground.journal.commit(self._stale, sync=False, urgent=True, size=64)
            self._stale = []
        while self._newborn:
            await self._make_topics(self._newborn.pop())
        for router in self._routers.values():
            if not self._supervisor.keeps(router.name):
                self._supervisor.keep(router)
        while True:
            for envelope in await self.mailbox.batch(1):
                await self._answer(envelope)

    async def _make_topics(self, definition: Definition) -> None:
        with suppress(MirrordError):  # then they are made at their first use
            await self._ground.registry.ensure(definition.source)
            await self._ground.registry.ensure(definition.dest)

    async def _answer(self, envelope: Envelope[Message]) -> None:
        try:
            envelope.answer(await self._on(envelope.message))
        except MirrordError as error:
            envelope.refuse(error)

    async def _on(self, message: Message) -> Any:
        match message:
            case Define():
                return await self._define(message)
            case Undefine():
                return await self._undefine(message.name)
            case LetTopicGo():
                return await self._let_topic_go(message)
            case _:
                assert_never(message)

    def _know(self, router: Router) -> None:
        self._routers[router.definition.name] = router
        self._names = sorted(self._routers)
        self.into.add(router)

    def _forget(self, router: Router) -> None:
        del self._routers[router.definition.name]
        self._names = sorted(self._routers)
        self.into.remove(router)

    # ---- changing --------------------------------------------------------------------------------

    async def _define(self, message: Define) -> tuple[Router, bool]:
        """The router, and whether it is new. What is refused leaves nothing behind."""
        wanted, registry = message.definition, self._ground.registry
        self._refuse_declared(wanted.name)
        if not message.create_dest and registry.known(wanted.dest) is None:
            told = f"no topic {wanted.dest!r} on this node; create it, or leave create_dest out"
            raise TopicNotFound(told, {"topic": wanted.dest})
        router = self._routers.get(wanted.name)
        if router is not None:
            _refuse_repointing(router.definition, wanted)
        elif self._most and len(self._routers) >= self._most:
            told = "this node has as many routers as it may ([limits] max_routers)"
            raise Throttled(told, {"limit": "max_routers", "max": self._most}, 1.0)
        self._refuse_cycle(wanted)
        if router is not None:
            await router.define(wanted)
            return router, False
        router = Router(wanted, self._ground)
        await router.define(wanted)
        self._know(router)
        self._supervisor.keep(router)
        return router, True

    def _refuse_declared(self, name: str) -> None:
        if name in self._declared:
            told = f"router {name} stands in the TOML file, which wins; change it there"
            raise DeclaredInFile(told, {"router": name})

    def _refuse_cycle(self, wanted: Definition) -> None:
        others = [r.definition for r in self._routers.values() if r.definition.name != wanted.name]
        cycle = cycle_closed_by(wanted.source, wanted.dest, [(d.source, d.dest) for d in others])
        if cycle and not wanted.allow_cycle:
            told = f"{' -> '.join(cycle)} is a cycle; with allow_cycle each record comes into each topic once"
            raise RouterCycle(told, {"cycle": cycle})

    async def _undefine(self, name: str) -> bool:
        """Whether there was one. Raises DeclaredInFile, StorageFailed."""
        self._refuse_declared(name)
        router = self._routers.get(name)
        if router is None:
            return False
        await self._supervisor.end(router.name)
        try:
            await router.settle()
            await self._ground.journal.commit(_drops(name), sync=True, urgent=True, size=64)
        except MirrordError:
            self._supervisor.keep(router)  # its marks stand, so it does too
            raise
        self._forget(router)
        router.bell.ring()
        return True

    async def _let_topic_go(self, message: LetTopicGo) -> tuple[bool, list[str]]:
        """Whether there was a topic, and which routers went with it. Those of the file go on when it comes back."""
        name, registry = message.topic, self._ground.registry
        there = registry.known(name) is not None
        ends = [r for r in self._routers.values() if name in (r.definition.source, r.definition.dest)]
        gone = [r for r in ends if not r.definition.declared]
        for router in ends:
            await self._supervisor.end(router.name)
        try:
            for router in ends:
                await router.settle()
            changes = [change for router in ends for change in _without(router, name)]
            deleted = await registry.delete(name, if_empty=message.if_empty, forget=message.forget, changes=changes)
        finally:
            went = there and registry.known(name) is None
            for router in gone if went else ():
                self._forget(router)
            self._keep([r for r in ends if r.definition.declared] if went else ends)  # each reads back where it stands
        return deleted, sorted(r.definition.name for r in gone) if deleted else []

    def _keep(self, routers: list[Router]) -> None:
        for router in routers:
            self._supervisor.keep(router)

    # ---- finding ---------------------------------------------------------------------------------

    def find(self, name: str) -> Router:
        """Raises RouterNotFound."""
        router = self._routers.get(name)
        if router is None:
            raise RouterNotFound(f"no router {name!r} on this node; PUT it to create it", {"router": name})
        return router

    def known(self, name: str) -> Router | None:
        """None when there is no such router."""
        return self._routers.get(name)

    def page(self, after: str) -> Iterator[Router]:
        """By name, behind ``after``."""
        for name in self._names[bisect_right(self._names, after) if after else 0 :]:
            yield self._routers[name]

    def __len__(self) -> int:
        return len(self._routers)

    # ---- numbers ---------------------------------------------------------------------------------

    def statistics(self) -> list[dict[str, Any]]:
        """Each router with its ends and numbers."""
        return [
            {"router": name, "source": r.definition.source, "dest": r.definition.dest, **r.statistics()}
            for name, r in ((name, self._routers[name]) for name in self._names)
        ]


def _drops(name: str) -> list[Change]:
    return [DropMark(DEFINED + name), DropMark(ROUTED + name)]


def _without(router: Router, topic: str) -> list[Change]:
    """A router's marks once a topic of its is deleted: one of the file begins anew when the topic comes back."""
    if not router.definition.declared:
        return _drops(router.definition.name)
    position = router.position
    if router.definition.source == topic:
        begun = structs.replace(position, seq=0)
    else:
        begun = structs.replace(position, dest_seq=0)
    return [PutMark(ROUTED + router.definition.name, begun.encode())]


def _refuse_repointing(there: Definition, wanted: Definition) -> None:
    if (there.source, there.dest) != (wanted.source, wanted.dest):
        told = f"router {there.name} copies {there.source} to {there.dest}; delete it first, or use another name"
        detail = {"router": there.name, "source": there.source, "dest": there.dest}
        raise TopicExistsIncompatible(told, detail | {"reason": "router_repoint_forbidden"})
