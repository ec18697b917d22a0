"""The thread in which the async library lives, and how a call gets there and back.

A signal's exception may come between any two steps of a caller. So the thread never waits for a lock that a caller may
hold, a call is taken back wherever its caller was interrupted, and what is left over ends with the thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial, update_wrapper
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import trio
from outcome import Error, Outcome, acapture

from ..errors import InvalidRequest

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F")
OUTSIDE = "use it within 'with Client(...) as client:'"
END_WITHIN_S = 10.0  # for connections to close; a callback of the user's own may hold the thread up
LOOK_UP_EVERY_S = 0.2  # a signal that comes right before a wait does not end it: so no wait is longer
_Why = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Loop:
    """The thread with the event loop, from the client's ``with`` to its end. It keeps no process alive."""

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._ident = 0
        self._thread: Thread | None = None

    def __enter__(self) -> Loop:
        begun: SimpleQueue[None] = SimpleQueue()
        self._thread = Thread(target=self._run, args=(begun,), name="mirrord.sync", daemon=True)
        self._thread.start()
        begun.get()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is None or self._nursery is None or self._thread is None:
            return
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join(END_WITHIN_S)

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Have it done in the thread, and wait. Who stops waiting (Ctrl-C) stops the call.

        Raises InvalidRequest outside of the client's block, also when that ends meanwhile, and in the thread itself.
        """
        token = self._token
        if token is None:
            raise InvalidRequest(OUTSIDE)
        if get_ident() == self._ident:
            raise InvalidRequest("a callback cannot wait for the client that calls it; have another thread do it")
        asked = _Asked(call)
        try:
            token.run_sync_soon(self._begin, asked)
            return asked.answer()
        except (trio.Cancelled, trio.RunFinishedError):
            raise InvalidRequest(OUTSIDE) from None
        finally:
            if not asked.over:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(asked.scope.cancel)

    async def begin(self, task: Callable[..., Awaitable[object]]) -> Any:
        """In the thread: have a task live there until the thread ends, and wait for what it says once it has begun."""
        assert self._nursery is not None
        return await self._nursery.start(task)

    def _begin(self, asked: _Asked[Any]) -> None:
        assert self._nursery is not None
        try:
            self._nursery.start_soon(asked.live)
        except RuntimeError:  # the nursery has closed
            asked.told.put(Error(InvalidRequest(OUTSIDE)))

    def _run(self, begun: SimpleQueue[None]) -> None:
        try:
            trio.run(self._live, begun)
        finally:
            begun.put(None)  # also when there is no descriptor left to begin with

    async def _live(self, begun: SimpleQueue[None]) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token, self._ident = trio.lowlevel.current_trio_token(), get_ident()
            begun.put(None)
            await trio.sleep_forever()


class _Asked(Generic[T]):
    """A call on its way through the thread."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self.scope = trio.CancelScope()
        self.told: SimpleQueue[Outcome[T]] = SimpleQueue()
        self.over = False
        self._call = call

    async def live(self) -> None:
        with self.scope:
            told = await acapture(self._call)
            self.over = True
            self.told.put(told)

    def answer(self) -> T:
        """Wait for it."""
        while True:
            with suppress(Empty):
                return self.told.get(timeout=LOOK_UP_EVERY_S).unwrap()


class Held(Generic[T, F]):
    """An ``async with`` of the library as a ``with``. Its whole life is one task of the thread."""

    def __init__(self, loop: Loop, inner: AbstractAsyncContextManager[T], face: Callable[[Loop, T], F]) -> None:
        self._loop, self._inner, self._face = loop, inner, face
        self._why: _Why = (None, None, None)
        self._scope, self._leave, self._left = trio.CancelScope(), trio.Event(), trio.Event()
        self._exited: Outcome[object] | None = None

    def __enter__(self) -> F:
        return self._face(self._loop, self._loop.run(partial(self._loop.begin, self._live)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._why = kind, error, trace
        self._loop.run(self._end)

    async def _live(self, *, task_status: trio.TaskStatus[T]) -> None:
        with self._scope:
            task_status.started(await self._inner.__aenter__())
            try:
                await self._leave.wait()
            finally:
                self._exited = await acapture(self._inner.__aexit__, *self._why)
                self._left.set()

    async def _end(self) -> None:
        self._leave.set()
        try:
            await self._left.wait()
        finally:
            self._scope.cancel()  # whoever was interrupted here does not wait for the rest
        if self._exited is not None:
            self._exited.unwrap()


class Face:
    """Something of the async library, and the thread that it lives in."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner


class Steps(Face, Generic[F]):
    """With ``for``: each step waits for the next."""

    def __iter__(self) -> Steps[F]:
        return self

    def __next__(self) -> F:
        return self._shown(self._loop.run(self._inner.__anext__))

    def _shown(self, item: Any) -> F:
        found: F = item
        return found


def blocking(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], T]:
    """The async method, waited for."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop: Loop = self._loop
        return loop.run(partial(method, self._inner, *args, **kwargs))

    update_wrapper(call, method)
    return call
