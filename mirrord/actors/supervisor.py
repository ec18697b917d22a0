"""Keeps actors alive: runs each, refuses its open asks when it dies, waits as the policy says, runs it again.

An actor is anything with a ``name`` and a ``live()``; if it can be asked, it has a ``mailbox``. The tree of them, with
counts, is what ``GET /v0/actors`` shows. This is the one place of the code that catches every Exception (law 8).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Protocol

import trio
from msgspec import Struct, field, to_builtins

from ..clock import Clock
from ..errors import ActorDied
from .mailbox import Mailbox
from .restart import RestartPolicy


class Actor(Protocol):
    """What can be kept alive."""

    name: str

    async def live(self) -> None:
        """One life: begins by reading its state back, ends by returning (done) or raising (dead)."""
        ...


class Death(Struct, frozen=True):
    """A fact for logs: which actor, of what, and when it lives again."""

    actor: str
    error: str
    lives_again_s: float


class _Kept(Struct):
    """One actor as the supervisor sees it."""

    actor: Actor
    policy: RestartPolicy
    scope: trio.CancelScope
    state: str = "alive"
    deaths: int = 0
    last_error: str | None = None
    ended: trio.Event = field(default_factory=trio.Event)


class Supervisor:
    """Owns a nursery of actors. ``note`` hears of each death."""

    def __init__(self, clock: Clock, rng: Random, note: Callable[[Death, BaseException], None]) -> None:
        self._clock, self._rng, self._note = clock, rng, note
        self._kept: dict[str, _Kept] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled; ``keep`` works from ``started`` on."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(trio.sleep_forever)
            task_status.started()

    def keep(self, actor: Actor) -> None:
        """Start an actor and keep it alive. Its name must be new."""
        if self._nursery is None:
            raise RuntimeError("the supervisor does not run yet")
        if actor.name in self._kept:
            raise ValueError(f"an actor named {actor.name} lives already")
        kept = _Kept(actor, RestartPolicy(), trio.CancelScope())
        self._kept[actor.name] = kept
        self._nursery.start_soon(self._keep_alive, kept, name=actor.name)

    def keeps(self, name: str) -> bool:
        """Whether an actor of this name is kept alive."""
        return name in self._kept

    async def end(self, name: str) -> None:
        """Stop an actor for good and wait until it has; unknown names are fine."""
        kept = self._kept.get(name)
        if kept is not None:
            kept.scope.cancel()
            await kept.ended.wait()

    async def _keep_alive(self, kept: _Kept) -> None:
        actor = kept.actor
        try:
            with kept.scope:
                while True:
                    try:
                        kept.state = "alive"
                        await actor.live()
                        return
                    except Exception as error:  # noqa: BLE001 -- the one catch-all (law 8)
                        await trio.sleep(self._bury(kept, error))
        finally:
            self._refuse_asks(actor, "ended")
            self._kept.pop(actor.name, None)
            kept.ended.set()

    def _bury(self, kept: _Kept, error: Exception) -> float:
        kept.deaths += 1
        kept.state = "dead"
        kept.last_error = f"{type(error).__name__}: {error}"
        wait = kept.policy.died(self._clock.monotonic(), self._rng)
        self._refuse_asks(kept.actor, f"died: {kept.last_error}")
        self._note(Death(kept.actor.name, kept.last_error, wait), error)
        return wait

    def _refuse_asks(self, actor: Actor, why: str) -> None:
        mailbox: Mailbox[Any] | None = getattr(actor, "mailbox", None)
        if mailbox is not None:
            mailbox.refuse_all(ActorDied(f"{actor.name} {why}; try again"))

    def unwell(self) -> list[str]:
        """Why the node is not ready: actors that died five times within a minute, with their last error."""
        now = self._clock.monotonic()
        return [f"{k.actor.name} keeps dying: {k.last_error}" for k in self._kept.values() if k.policy.too_often(now)]

    def statistics(self) -> list[dict[str, Any]]:
        """The tree of actors with counts, by name."""
        return [_describe(kept) for _, kept in sorted(self._kept.items())]


async def shielded(
    note: Callable[[BaseException], None], fn: Callable[..., Awaitable[object]], *args: object
) -> BaseException | None:
    """Run ``fn``, whose fault must stay its own (one connection of many): an Exception is noted and returned.

    Cancellation and the like pass.
    """
    try:
        await fn(*args)
    except Exception as error:  # noqa: BLE001 -- the one catch-all (law 8), for what is not worth an actor
        note(error)
        return error
    return None


def _describe(kept: _Kept) -> dict[str, Any]:
    told: dict[str, Any] = {"name": kept.actor.name, "state": kept.state, "deaths": kept.deaths}
    if kept.last_error:
        told["last_error"] = kept.last_error
    mailbox: Mailbox[Any] | None = getattr(kept.actor, "mailbox", None)
    if mailbox is not None:
        told["mailbox"] = to_builtins(mailbox.statistics())
    return told
