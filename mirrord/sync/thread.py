"""The thread in which the async library lives, and how a call gets there and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal

from ..errors import InvalidRequest

P = ParamSpec("P")
T = TypeVar("T")


class Loop:
    """The thread with the event loop, from the client's ``with`` to its end."""

    def __init__(self) -> None:
        self.portal: BlockingPortal | None = None

    def inside(self) -> BlockingPortal:
        """The way into the thread. Raises InvalidRequest outside of the client's block."""
        if self.portal is None:
            raise InvalidRequest("use it within 'with Client(...) as client:'")
        return self.portal

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Have it done in the thread, and wait. Who stops waiting (Ctrl-C) stops the call."""
        future = self.inside().start_task_soon(call)
        try:
            return future.result()
        finally:
            future.cancel()

    def hold(self, inner: Any) -> AbstractContextManager[Any]:
        """An ``async with`` whose whole life is one task of the thread."""
        return self.inside().wrap_async_context_manager(inner)


class Face:
    """Something of the async library, and the thread that it lives in."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner


def blocking(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], T]:
    """The async method, waited for."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop: Loop = self._loop
        return loop.run(partial(method, self._inner, *args, **kwargs))

    update_wrapper(call, method)
    return call


@contextmanager
def held(loop: Loop, inner: Any, face: Callable[[Loop, Any], T]) -> Iterator[T]:
    """Something with an ``async with``, entered in the thread for as long as the block lasts."""
    with loop.hold(inner) as entered:
        yield face(loop, entered)
