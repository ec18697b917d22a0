"""What a crowd of watchers costs, and how soon each of them has what was appended."""

from __future__ import annotations

from ..connection import Connection
from ..daemon import Daemon, Stretch
from ..figure import Bound, Figure, percentile
from ..ground import Ground, connections
from ..load import Aside, Crowd, Steady
from ..topology import mesh
from ..wire import append, payload, request, watch

_TOPIC, _PER_S, _WRITERS = "events", 50.0, 8


def crowd(ground: Ground) -> list[Figure]:
    """Appends at 50/s, each pushed to a thousand event streams; delays over all streams and appends of a repeat."""
    watchers, wanted = ground.sizes.watchers, ground.sizes.watched
    p50, p99, cpu = [], [], []
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        with connections(node, _WRITERS) as writers, connections(node, watchers) as streams:
            writers[0].ask(append(_TOPIC, [payload()]))
            for stream in streams:
                _open(stream)
            for _ in range(ground.repeat):
                delays, share = _pushed(node, writers, streams, wanted)
                p50.append(percentile(delays, 0.5))
                p99.append(percentile(delays, 0.99))
                cpu.append(share)
    return [
        Figure("p50", "ms", tuple(p50)),
        Figure("p99", "ms", tuple(p99), Bound(250)),
        Figure("CPU of the node", "cores", tuple(cpu), Bound(1.0)),
    ]


def _open(stream: Connection) -> None:
    url = stream.ask(watch(_TOPIC)).object()["stream_url"]
    stream.send(request("GET", url))
    while b"caught-up" not in stream.receive_some():
        pass


def _pushed(
    node: Daemon, writers: list[Connection], streams: list[Connection], wanted: int
) -> tuple[list[float], float]:
    """How long each record took to each watcher, in ms, and how many cores the node used meanwhile."""
    crowd = Crowd(streams)
    listening = Aside(lambda: crowd.listen(wanted * len(streams)))
    stretch = Stretch(node)
    steady = Steady(writers, lambda number: append(_TOPIC, [payload(number)]), _PER_S)
    steady.run(lambda sent: sent >= wanted)
    listening.join()
    spent = stretch.spent()
    pairs = zip(crowd.numbers, crowd.seen_s, strict=True)
    return [1e3 * (seen_s - steady.due_s[number]) for number, seen_s in pairs], spent.cpu_s / spent.wall_s
