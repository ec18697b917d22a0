"""Mailboxes: the only door into an actor. ``ask`` waits for the answer; the actor takes all that waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeVar

import trio
from msgspec import Struct

from ..errors import MirrordError, Throttled
from .waking import wake

M = TypeVar("M")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.1


class MailboxStatistics(Struct, frozen=True):
    """``waiting`` of ``room`` places taken, ``open`` asks not answered, ``handled`` since birth."""

    waiting: int
    room: int
    open: int
    handled: int


class Envelope(Struct, Generic[M], eq=False):
    """One message on its way, and the place where its answer will lie."""

    message: M
    box: Mailbox[M] | None = None
    """Where it is among the open ones; one that is answered at once never is."""
    done: bool = False
    _answer: Any = None
    _error: MirrordError | None = None
    _task: trio.lowlevel.Task | None = None

    def answer(self, value: Any) -> None:
        """Give the answer. Only the first of answer and refuse counts."""
        if not self.done:
            self.done, self._answer = True, value
            if self.box is not None:
                self._leave(self.box)

    def refuse(self, error: MirrordError) -> None:
        """Raise this at the asker."""
        if not self.done:
            self.done, self._error = True, error
            if self.box is not None:
                self._leave(self.box)

    def _leave(self, box: Mailbox[M]) -> None:
        box.settled(self)
        if self._task is not None:
            wake(self._task)
            self._task = None

    async def wait(self) -> Any:
        """The answer; raises what it was refused with. A cancelled wait leaves the message in the box."""
        if not self.done:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
        return self._answer if self._error is None else self.told()

    def _give_up(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def told(self) -> Any:
        """The answer of one that is ``done``; raises what it was refused with."""
        if self._error is not None:
            # One error may refuse many askers: tracebacks must not pile up on it.
            raise copy(self._error).with_traceback(None)
        return self._answer


class Mailbox(Generic[M]):
    """Bounded by ``room`` waiting messages; a full box refuses at once (Throttled)."""

    def __init__(self, room: int = 4096) -> None:
        self._room = room
        self.at_once: Callable[[Envelope[M]], bool] | None = None
        """The actor's own way to decide a lone message while it sleeps, in the asker's task; False: not this one."""
        self._waiting: deque[Envelope[M]] = deque()
        self._open: dict[Envelope[M], None] = {}
        self._reader: trio.lowlevel.Task | None = None
        self._handled = 0

    def put(self, message: M, *, bounded_elsewhere: bool = False) -> Envelope[M]:
        """Leave a message. Raises Throttled when the box is full, unless the sender is bounded by a window of its own
        (links are: limits bind writers only)."""
        envelope = Envelope(message)
        if self._reader is not None:
            if self.at_once is not None and self.at_once(envelope):
                self._handled += 1
                return envelope if envelope.done else self._keep(envelope)
            wake(self._reader)
            self._reader = None
        elif len(self._waiting) >= self._room and not bounded_elsewhere:
            raise Throttled("too many requests wait for this topic; try again", retry_after_s=1.0)
        self._waiting.append(envelope)
        return self._keep(envelope)

    def _keep(self, envelope: Envelope[M]) -> Envelope[M]:
        envelope.box = self
        self._open[envelope] = None
        return envelope

    async def ask(self, message: M) -> Any:
        """Leave a message and wait for its answer. Raises what the actor refuses with, or Throttled."""
        return await self.put(message).wait()

    async def insist(self, message: M, within_s: float) -> Any:
        """``ask``, but while there is too much at once try again for so long. Raises what the actor refuses
        with, or Throttled: at once when a limit is reached (it has a detail), which waiting does not help."""
        until, pause_s = trio.current_time() + within_s, FIRST_PAUSE_S
        while True:
            try:
                return await self.ask(message)
            except Throttled as error:
                left_s = until - trio.current_time()
                if error.detail is not None or left_s <= 0:
                    raise
            await trio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def batch(self, most: int) -> list[Envelope[M]]:
        """All that waits, at most ``most``; sleeps while the box is empty. For the actor inside only."""
        if not self._waiting:
            self._reader = trio.lowlevel.current_task()

            def abort(_: Any) -> trio.lowlevel.Abort:
                self._reader = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        count = min(most, len(self._waiting))
        self._handled += count
        return [self._waiting.popleft() for _ in range(count)]

    def settled(self, envelope: Envelope[M]) -> None:
        """Called by an envelope when it has its answer."""
        self._open.pop(envelope, None)

    def refuse_all(self, error: MirrordError) -> None:
        """The actor died: nobody may wait for a dead one."""
        self._waiting.clear()
        for envelope in list(self._open):
            envelope.refuse(error)

    def statistics(self) -> MailboxStatistics:
        """Numbers for ``GET /v0/actors``."""
        return MailboxStatistics(len(self._waiting), self._room, len(self._open), self._handled)
