"""How a sleeping task is woken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import Any

import trio
from outcome import Outcome


class _Nothing(Outcome[None]):
    """What a task is told when it is woken. trio makes a new one for each waking, to be told once, which costs as much
    as the waking itself; this one is told to all."""

    def unwrap(self) -> None:
        return None

    def send(self, gen: Generator[Any, None, object]) -> Any:
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[Any, None]) -> Any:
        return await agen.asend(None)


wake: Callable[[trio.lowlevel.Task], None] = partial(trio.lowlevel.reschedule, next_send=_Nothing())
"""The task, which sleeps in ``wait_task_rescheduled``, goes on in the next round."""
