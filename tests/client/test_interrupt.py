"""Ctrl-C in the library without async: whatever a call was about when it came, it ends, and so does the client."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
import trio

from mirrord.errors import InvalidRequest
from mirrord.sync import thread as of_thread
from mirrord.sync.thread import Loop

ROOT = Path(__file__).parents[2]
WITHIN_S = 10.0


class CtrlC:
    """KeyboardInterrupt, once: before the n-th statement from here on of ``mirrord.sync.thread``.

    A caller that waits before it has come so far is to be sent a real signal: nothing else reaches who waits.
    """

    def __init__(self, at: int) -> None:
        self.sent = False
        self._left = at
        self._armed = self._raised = False

    def place(self) -> None:
        """A statement begins."""
        if self._armed and threading.current_thread() is threading.main_thread():
            self._left -= 1
            if self._left == 0:
                self._raise()

    def send(self) -> None:
        """For the thread that is waited for. It is not heard when the n-th statement was reached already.

        The signal goes to this thread: CPython marks it for the main one, which is not woken by it. That is how it
        looks to a caller whose signal comes after the last look at the mark and before the wait.
        """
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """As long as anybody may send it."""
        before = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def interrupts(self, step: Callable[[], object]) -> None:
        """The step, which waits for ever: it ends by the interrupt and by nothing else."""
        self._armed = True
        with pytest.raises(KeyboardInterrupt):
            step()
        self._armed = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.sent = not self._raised
        self._raise()

    def _raise(self) -> None:
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt


def interruptible(ctrl_c: CtrlC) -> Any:
    """``mirrord.sync.thread`` once more, where every statement of what a caller runs is a place to be interrupted."""
    tree = ast.parse(Path(of_thread.__file__).read_text())
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for node in ast.walk(function):
            for block in ("body", "orelse", "finalbody"):
                statements = getattr(node, block, None)
                if isinstance(statements, list):
                    place = ast.parse("place()").body
                    setattr(node, block, [one for statement in statements for one in (*place, statement)])
    module: Any = ModuleType("mirrord.sync.interruptible")
    module.__package__, module.place = "mirrord.sync", ctrl_c.place
    exec(compile(ast.fix_missing_locations(tree), of_thread.__file__, "exec"), module.__dict__)
    return module


class Endless:
    """Waits for ever, as a call and at the end of an ``async with``. ``inside``: how often it does, now."""

    def __init__(self, ctrl_c: CtrlC) -> None:
        self.inside = 0
        self._ctrl_c = ctrl_c

    async def wait(self) -> None:
        self.inside += 1
        try:
            self._ctrl_c.send()
            await trio.sleep_forever()
        finally:
            self.inside -= 1

    async def nobody(self) -> None:
        """Until nobody waits here."""
        with trio.fail_after(WITHIN_S):
            while self.inside:
                await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Endless:
        self.inside += 1
        return self

    async def __aexit__(self, *_why: object) -> None:
        self.inside -= 1
        await self.wait()


def places() -> Iterator[CtrlC]:
    """One Ctrl-C for each statement before the wait, and one that comes while it waits."""
    for at in count(1):
        ctrl_c = CtrlC(at)
        with ctrl_c.heard():
            yield ctrl_c
        if ctrl_c.sent:
            assert at > 10
            return


def test_wherever_it_comes_the_call_ends() -> None:
    """At no step between asking and waiting is a call left behind in the thread, which goes on with others."""
    for ctrl_c in places():
        endless = Endless(ctrl_c)
        with interruptible(ctrl_c).Loop() as loop:
            ctrl_c.interrupts(partial(loop.run, endless.wait))
            loop.run(endless.nobody)
        assert endless.inside == 0


def test_wherever_it_comes_what_is_held_ends_with_the_client() -> None:
    """Entering and leaving a block may be interrupted at every step; leaving the client leaves what was entered. A
    block that waits at its end is not waited for any more."""

    def block(thread: Any, loop: Loop, endless: Endless) -> None:
        with thread.Held(loop, endless, thread.Face):
            pass

    for ctrl_c in places():
        endless, thread = Endless(ctrl_c), interruptible(ctrl_c)
        with thread.Loop() as loop:
            ctrl_c.interrupts(partial(block, thread, loop, endless))
            if ctrl_c.sent:
                loop.run(endless.nobody)
        assert endless.inside == 0


def test_what_other_threads_wait_for_ends_with_the_client() -> None:
    """Who leaves the block is not held up by a follower in another thread: it is told."""
    told: list[InvalidRequest] = []
    waits = threading.Event()

    async def forever() -> None:
        waits.set()
        await trio.sleep_forever()

    def follower(loop: Loop) -> None:
        with pytest.raises(InvalidRequest, match="with Client") as refused:
            loop.run(forever)
        told.append(refused.value)

    with Loop() as loop:
        other = threading.Thread(target=follower, args=(loop,))
        other.start()
        assert waits.wait(WITHIN_S)
    other.join(WITHIN_S)
    assert told


def test_a_callback_cannot_wait_for_its_own_thread() -> None:
    """It would wait for itself: refused by name."""

    async def callback(loop: Loop, endless: Endless) -> None:
        with pytest.raises(InvalidRequest, match="another thread"):
            loop.run(endless.nobody)

    with Loop() as loop:
        loop.run(partial(callback, loop, Endless(CtrlC(1))))


def _python(script: str) -> list[str]:
    """The words that a process of its own prints. SIGINT is heard also where our own shell ignores it, as one does for
    what it runs in the background."""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    done = subprocess.run(
        [sys.executable, "-c", heard + script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_ctrl_c_ends_a_call_that_waits(url: str, name: str) -> None:
    """A follower that waits for ever ends at SIGINT, whenever that comes, and with it the process."""
    script = f"""
import os, threading
from mirrord.sync import Client
with Client({url!r}) as client:
    client.topic({name!r}).append(1)
    follow = client.topic({name!r}).follow()
    next(follow)
    try:
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        next(follow)
    except KeyboardInterrupt:
        print("interrupted")
print("over")
"""
    assert _python(script) == ["interrupted", "over"]


def test_a_client_that_is_not_left_keeps_no_process_alive(url: str, name: str) -> None:
    """Without its `with` at an end, or interrupted in it, the thread ends with the process."""
    script = f"""
from mirrord.sync import Client
client = Client({url!r}).__enter__()
client.topic({name!r}).append(1)
producer = client.topic({name!r}).producer().__enter__()
producer.send(2)
print("over")
"""
    assert _python(script) == ["over"]
