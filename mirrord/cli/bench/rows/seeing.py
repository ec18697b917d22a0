"""How long a record takes from its append on one node until it is seen on another; appends during a back-fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ..daemon import Daemon, settle, until
from ..figure import Bound, Figure, percentile
from ..ground import Ground, connections, fill
from ..load import Aside, Reader, Steady
from ..topology import mesh
from ..wire import append, payload
from .mirroring import LOOK_EVERY_S, WITHIN_S
from .relay import bare_delays_ms

_TOPIC, _BULK = "live", "bulk"
_SEEN_PER_S, _BUSY_PER_S = 100.0, 1000.0
_WRITERS = 64


def seen(ground: Ground) -> list[Figure]:
    """Appends on a at 100/s, seen on b by a long poll, nothing else going on; what a bare byte takes that way."""
    delays: list[list[float]] = []
    bare: list[list[float]] = []
    with ground.cluster(mesh, "a", "b") as (a, b):
        a.start()
        b.start()
        _meet(a, b)
        for _ in range(ground.repeat):
            bare.append(bare_delays_ms(ground.sizes.seen, _SEEN_PER_S))
            steady, reader = _watched(a, b, lambda sent: sent >= ground.sizes.seen)
            delays.append(_delays_ms(steady, reader, None))
    return [
        Figure("p50", "ms", _shares(delays, 0.5), Bound(2)),
        Figure("p99", "ms", _shares(delays, 0.99), Bound(6)),
        Figure("p99.9", "ms", _shares(delays, 0.999), Bound(20)),
        Figure("a bare byte, p50", "ms", _shares(bare, 0.5)),
        Figure("a bare byte, p99", "ms", _shares(bare, 0.99)),
        Figure("a bare byte, p99.9", "ms", _shares(bare, 0.999)),
    ]


def seen_meanwhile(ground: Ground) -> list[Figure]:
    """The same while b catches up on another topic over the same link; all repeats taken together."""
    delays: list[float] = []
    with ground.cluster(mesh, "a", "b") as (a, b):
        a.start()
        b.start()
        _meet(a, b)
        for _ in range(ground.repeat):
            with _back_fill(ground, a, b) as aside:
                steady, reader = _watched(a, b, lambda _: aside.over_s is not None)
            delays += _delays_ms(steady, reader, aside.over_s)
    return [
        Figure("p50", "ms", (percentile(delays, 0.5),)),
        Figure("p99", "ms", (percentile(delays, 0.99),), Bound(25)),
        Figure("appends looked for", "", (len(delays),)),
    ]


def append_meanwhile(ground: Ground) -> list[Figure]:
    """Appends on a at 1 000/s while b back-fills from it; all repeats taken together."""
    delays: list[float] = []
    with ground.cluster(mesh, "a", "b") as (a, b):
        a.start()
        b.start()
        _meet(a, b)
        for _ in range(ground.repeat):
            with _back_fill(ground, a, b) as aside, connections(a, _WRITERS) as opened:
                steady = Steady(opened, _numbered, _BUSY_PER_S)
                steady.run(lambda _: aside.over_s is not None)
            delays += [1e3 * (steady.answered_s[n] - due_s) for n, due_s in enumerate(steady.due_s)]
    return [
        Figure("p50", "ms", (percentile(delays, 0.5),)),
        Figure("p99", "ms", (percentile(delays, 0.99),), Bound(25)),
        Figure("p99.9", "ms", (percentile(delays, 0.999),)),
        Figure("appends", "", (len(delays),)),
    ]


def _numbered(number: int) -> bytes:
    return append(_TOPIC, [payload(number)])


def _meet(a: Daemon, b: Daemon) -> None:
    """Both know the topic and have come to rest."""
    with connections(a, 1) as (connection,):
        connection.ask(_numbered(0))
    until(lambda: b.records(_TOPIC) == 1, "the first record to come over")
    settle(a, b)


@contextmanager
def _back_fill(ground: Ground, a: Daemon, b: Daemon) -> Iterator[Aside]:
    """b was away, and much has happened: it catches up from here on. Both are at rest afterwards."""
    b.kill()
    fill(a, _BULK, ground.sizes.mirrored)
    goal = a.records(_BULK)
    b.start()
    aside = Aside(lambda: until(lambda: b.records(_BULK) >= goal, "catch-up", WITHIN_S, LOOK_EVERY_S))
    yield aside
    aside.join()
    settle(a, b)


def _watched(a: Daemon, b: Daemon, over: Callable[[int], bool]) -> tuple[Steady, Reader]:
    with ExitStack() as stack:
        writers = stack.enter_context(connections(a, _WRITERS))
        (watcher,) = stack.enter_context(connections(b, 1))
        reader = Reader(watcher, _TOPIC, a.records(_TOPIC))
        steady = Steady(writers, _numbered, _SEEN_PER_S)
        steady.run(over, reader)
        return steady, reader


def _delays_ms(steady: Steady, reader: Reader, before_s: float | None) -> list[float]:
    """From the moment when each append was due, of those that were due before then."""
    due = [(n, due_s) for n, due_s in enumerate(steady.due_s) if before_s is None or due_s < before_s]
    return [1e3 * (reader.seen_s[n] - due_s) for n, due_s in due]


def _shares(repeats: list[list[float]], share: float) -> tuple[float, ...]:
    return tuple(percentile(delays, share) for delays in repeats)
