"""One run: a plan carried out on virtual time with a seeded scheduler, healed, judged. A seed repeats it exactly."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import trio
import trio.testing
from msgspec import Struct
from trio._core import _run as scheduler

from .plan import Plan
from .proof.cluster import End, Halts, check
from .proof.dump import dump_of
from .proof.living import check_living, halts_of, is_settled
from .proof.readers import check_places
from .workers import Workers
from .world.story import Story
from .world.world import World

CONVERGE_S = 90.0  # virtual; after the last fault everything must be everywhere within so long
LOOK_EVERY_S = 0.5
WORKERS = 3


class Report(Struct, frozen=True):
    """How a run ended. ``failures`` are broken promises and what broke them."""

    plan: Plan
    trace_hash: str
    failures: dict[str, list[str]]
    counts: dict[str, int]
    lines: list[str] | None

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures


def run(plan: Plan, *, keep_lines: bool = False) -> Report:
    """Carry out a plan from its first to its last moment."""
    story = Story(keep_lines)
    with seeded(plan.seed):
        try:
            trio.run(_run, plan, story, clock=trio.testing.MockClock(autojump_threshold=0))
        except* Exception as errors:  # noqa: BLE001 -- a fault of ours is a finding: it needs seed and plan beside it
            story.failures.setdefault("always_no_unnamed_fault", []).append(_innermost(errors))
    return Report(plan, story.trace_hash, story.failures, dict(story.counts), story.lines)


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """trio shuffles tasks that are ready at once; here it does so from a seed, as for its Hypothesis plugin."""
    core: Any = scheduler
    before, state = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r.getstate()
    core._ALLOW_DETERMINISTIC_SCHEDULING = True
    core._r.seed(seed)
    try:
        yield
    finally:
        core._ALLOW_DETERMINISTIC_SCHEDULING = before
        core._r.setstate(state)


async def _run(plan: Plan, story: Story) -> None:
    world = World(plan, story)
    async with trio.open_nursery() as nursery:
        if plan.home:
            names = [name for name, _ in plan.topics]
            workers = Workers(world.places[plan.home], story, names, Random(f"workers {plan.seed}"))
            for _ in range(WORKERS):
                nursery.start_soon(workers.work, plan.heal_at)
        await world.carry_out(nursery)
        healed_at = trio.current_time()
        settled = await _until(lambda: is_settled(world), CONVERGE_S)
        story.counts["converged_ms"] = int((trio.current_time() - healed_at) * 1000)
        await _judge(world, settled)
        nursery.cancel_scope.cancel()


async def _until(holds: Callable[[], bool], limit_s: float) -> bool:
    deadline = trio.current_time() + limit_s
    while not holds():
        if trio.current_time() >= deadline:
            return False
        await trio.sleep(LOOK_EVERY_S)
    return True


async def _judge(world: World, settled: bool) -> None:
    story = world.story
    halts: Halts = halts_of(world)
    dumps = {name: dump_of(name, place.disk) for name, place in world.places.items()}
    for promise, what in check(End(world.plan, story, dumps, halts)):
        story.fail(promise, what)
    async for promise, what in check_living(world, halts):
        story.fail(promise, what)
    for promise, what in check_places(story, {name: place.follower.shown for name, place in world.places.items()}):
        story.fail(promise, what)
    if not settled and not story.failures:
        story.fail("eventually_settled", "everything has arrived, yet some link does not say so")
    for dump in dumps.values():
        for topic in dump.topics.values():
            story.note("end", dump.node, topic.name, topic.head, sorted((n, s.last) for n, s in topic.strands.items()))
