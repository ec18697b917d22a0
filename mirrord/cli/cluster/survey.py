"""One look at a whole cluster: what every node told of itself at one moment, gathered from all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio
from msgspec import Struct

from ...client import call
from ...client.answer import Answer
from ...client.api import AsyncApi
from ...client.call import Call
from ...errors import MirrordError, NotReady, PeerError, PeerUnreachable
from ..target import Place

LOOK_TIMEOUT_S = 2.0


class Sight(Struct, frozen=True):
    """One node: ``ready``, ``not ready`` or ``unreachable``. What it did not tell is empty."""

    name: str
    url: str
    state: str
    why: str = ""
    told: Mapping[str, Answer] = {}  # health, ready, topics, links, lag, actors

    @property
    def node(self) -> str:
        """The node's own name, where it tells it."""
        return str(self.object("health").get("node", self.name))

    def object(self, what: str) -> dict[str, Any]:
        """What the node told under this word, or an empty object."""
        answer = self.told.get(what)
        return answer.object() if answer is not None else {}

    def records(self) -> int:
        """Live records over its topics (the first thousand)."""
        return sum(topic["count"] for topic in self.object("topics").get("topics", ()))


class Survey(Struct, frozen=True):
    """All nodes, in the order in which they were asked for, and when: monotonic seconds."""

    at_s: float
    nodes: tuple[Sight, ...]

    def lag(self) -> dict[str, dict[str, Any]]:
        """origin -> holder -> {records, seconds}. A node knows best what it lacks itself."""
        matrix: dict[str, dict[str, Any]] = {}
        for own in (False, True):
            for sight in self.nodes:
                told = sight.object("lag")
                for origin, held in told.get("origins", {}).items():
                    row = matrix.setdefault(origin, {})
                    row.update({h: v for h, v in held.items() if not own or h == told.get("node")})
        return matrix


_QUESTIONS: Mapping[str, Call] = {
    "health": call.health(),
    "topics": call.topics(),
    "links": call.links(),
    "lag": call.lag(),
    "actors": call.actors(),
}


async def look(places: Sequence[Place], apis: Mapping[str, AsyncApi], at_s: float) -> Survey:
    """Ask all nodes everything, at once. Never raises for a node that is away or refuses."""
    found: dict[str, Sight] = {}

    async def one(place: Place) -> None:
        found[place.name] = await _sight(place, apis[place.name])

    async with trio.open_nursery() as nursery:
        for place in places:
            nursery.start_soon(one, place)
    return Survey(at_s, tuple(found[place.name] for place in places))


async def _sight(place: Place, api: AsyncApi) -> Sight:
    told: dict[str, Answer] = {}
    state, why = "ready", ""
    with trio.move_on_after(LOOK_TIMEOUT_S) as scope:
        try:
            told["ready"] = await api.ask(call.ready())
        except NotReady as error:
            state, why = "not ready", str(error)
        except MirrordError as error:
            return Sight(place.name, place.url, "unreachable", _why(error))
        for what, question in _QUESTIONS.items():
            try:
                told[what] = await api.ask(question)
            except PeerUnreachable as error:
                return Sight(place.name, place.url, "unreachable", _why(error), told)
            except PeerError as error:
                return Sight(place.name, place.url, "unreachable", str(error))
            except MirrordError as error:
                why = why or f"{what}: {error}"
    if scope.cancelled_caught:
        return Sight(place.name, place.url, "unreachable", f"no answer within {LOOK_TIMEOUT_S:.0f} s", told)
    return Sight(place.name, place.url, state, why, told)


def _why(error: MirrordError) -> str:
    """What stands beside a node's URL."""
    return str((error.detail or {}).get("why", error))
