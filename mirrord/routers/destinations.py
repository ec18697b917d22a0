"""The topics that routers write: whoever reads one finds there what was written to its sources before."""

from __future__ import annotations

import trio

from ..actors.bell import Ear
from .router import Router

MOST_LAG = 10_000  # records: a read does not wait for a router that is further behind


class Destinations:
    """Which routers write which topic. A read waits for them no longer than ``wait_s``."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._routers: dict[str, dict[str, Router]] = {}

    def add(self, router: Router) -> None:
        """It writes its destination from now on."""
        self._routers.setdefault(router.definition.dest, {})[router.definition.name] = router

    def remove(self, router: Router) -> None:
        """It is no more."""
        dest = router.definition.dest
        del self._routers[dest][router.definition.name]
        if not self._routers[dest]:
            del self._routers[dest]

    def __contains__(self, topic: str) -> bool:
        return topic in self._routers

    async def catch_up(self, topic: str) -> None:
        """Wait until what is in the sources now has come to the topic. Routers that stand still or are far behind are
        not waited for."""
        if topic in self._routers and self._wait_s:
            with trio.move_on_after(self._wait_s):
                await self._bring(topic, {topic})

    async def _bring(self, topic: str, seen: set[str]) -> None:
        for router in list(self._routers.get(topic, {}).values()):
            if router.definition.source not in seen:
                seen.add(router.definition.source)
                await self._bring(router.definition.source, seen)
            await _reaches(router, router.position.seq + router.lag)


async def _reaches(router: Router, seq: int) -> None:
    ear, refusals = router.bell.attach(Ear()), router.refusals
    tries = router.try_again()
    try:
        while router.position.seq < seq and seq - router.position.seq < MOST_LAG:
            if router.waiting and not (tries and router.refusals == refusals):
                return
            await ear.wait()
    finally:
        ear.close()
