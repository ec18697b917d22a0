"""What a node costs by what it holds: doing nothing, growing, and starting again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ..daemon import Daemon, Stretch, rest, settle, until
from ..figure import Bound, Figure
from ..ground import BATCH, Ground, connections, fill
from ..load import Lane, saturate
from ..topology import mesh, pullers
from ..wire import append, payload
from .mirroring import pulled
from .reading import LIMIT, read

_PULLED = 100_000  # records a repeat, for what catch-up costs
_BULK = "events"


def idle(ground: Ground) -> list[Figure]:
    """One of five nodes, each linked to the four others, with a thousand topics, while nothing happens."""
    wanted = ground.sizes.idle_topics
    shares = []
    with ground.cluster(mesh, *"abcde") as nodes:
        for node in nodes:
            node.start()
        with connections(nodes[0], 1) as (connection,):
            for number in range(wanted):
                connection.ask(append(f"topic-{number}", [payload()]))
        for node in nodes:
            until(lambda: node.records("topic-") == wanted, f"all topics on {node.name}")  # noqa: B023
        settle(*nodes)
        for _ in range(ground.repeat):
            stretch = Stretch(nodes[0])
            rest(ground.sizes.idle_s / ground.repeat)
            spent = stretch.spent()
            shares.append(100 * spent.cpu_s / spent.wall_s)
        memory = tuple(node.rss_bytes() / 1e6 for node in nodes)
    return [
        Figure("memory (RSS) of each node", "MB", memory, Bound(90)),
        Figure("CPU of one node", "%", tuple(shares), Bound(1.0)),
    ]


def growth(ground: Ground) -> list[Figure]:
    """CPU a record on a large log as a multiple of that on a small one, measured in turns."""
    with (
        ground.cluster(pullers, "small", "small-peer") as (small, small_peer),
        ground.cluster(pullers, "large", "large-peer") as (large, large_peer),
    ):
        pairs = ((small, small_peer, ground.sizes.small), (large, large_peer, ground.sizes.large))
        for source, peer, records in pairs:
            source.start()
            peer.start()
            fill(source, _BULK, records)
            until(lambda: peer.records(_BULK) == records, "catch-up", 600.0, 0.05)  # noqa: B023
            settle(source, peer)
        for peer in (small_peer, large_peer):
            peer.kill()
        reads = _ratios(ground, lambda node, _: _read_cost(ground, node), pairs)
        appends = _ratios(ground, lambda node, _: _append_cost(ground, node), pairs)
        catch_ups = _ratios(ground, _pull_cost, pairs)
    return [
        Figure("append", "x", appends, Bound(1.2)),
        Figure("diff", "x", reads, Bound(1.2)),
        Figure("catch-up", "x", catch_ups, Bound(1.2)),
    ]


Pair = tuple[Daemon, Daemon, int]


def _ratios(ground: Ground, cost: Callable[[Daemon, Daemon], float], pairs: tuple[Pair, Pair]) -> tuple[float, ...]:
    (small, small_peer, _), (large, large_peer, _) = pairs
    ratios = []
    for _ in range(ground.repeat):
        least = cost(small, small_peer)
        ratios.append(cost(large, large_peer) / least)
    return tuple(ratios)


def _append_cost(ground: Ground, node: Daemon) -> float:
    requests = ground.sizes.requests_in_turn // 4
    with connections(node, 1) as opened:
        stretch = Stretch(node)
        saturate([Lane(connection, append(_BULK, [payload()])) for connection in opened], requests)
        return stretch.spent().cpu_s / requests


def _read_cost(ground: Ground, node: Daemon) -> float:
    """Pages anywhere in the log, most of them long out of memory when it is large."""
    pages, random = ground.sizes.pages // 4, Random(1)
    last = max(1, node.records(_BULK) - LIMIT)
    return read(node, [random.randrange(last) for _ in range(pages)]).cpu_s / (pages * LIMIT)


def _pull_cost(source: Daemon, peer: Daemon) -> float:
    fill(source, _BULK, _PULLED)
    peer.start()
    records, spent = pulled(source, peer, _BULK)
    peer.kill()
    return spent.cpu_s / records


def start(ground: Ground) -> list[Figure]:
    """From the start of the process after a kill -9 in the middle of appends until ``/v0/ready`` says 200."""
    took = []
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        fill(node, _BULK, ground.sizes.stored)
        for _ in range(ground.repeat):
            fill(node, _BULK, 20 * BATCH)  # so that there is a write-ahead log to recover
            node.kill()
            took.append(node.start())
    return [Figure("until ready", "s", tuple(took), Bound(2.0))]
