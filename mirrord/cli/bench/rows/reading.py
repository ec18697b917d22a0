"""Reads over HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from ..daemon import Daemon, Spent, Stretch
from ..figure import Bound, Figure
from ..ground import Ground, connections, fill
from ..topology import mesh
from ..wire import diff

LIMIT = 1000


def pages(ground: Ground) -> list[Figure]:
    """``diff`` with a limit of 1000 over one connection, the log from its beginning to its end."""
    number = ground.sizes.pages
    rates, cpu_ms = [], []
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        fill(node, "events", number * LIMIT)
        for _ in range(ground.repeat):
            spent = read(node, [page * LIMIT for page in range(number)])
            rates.append(number * LIMIT / spent.wall_s)
            cpu_ms.append(1e3 * spent.cpu_s / number)
    return [
        Figure("records", "/s", tuple(rates), Bound(400_000, more=True)),
        Figure("CPU of the node", "ms a page", tuple(cpu_ms)),
    ]


def read(node: Daemon, cursors: Iterable[int]) -> Spent:
    """A page after each of these seqs, one after the other."""
    with connections(node, 1) as (connection,):
        stretch = Stretch(node)
        for from_seq in cursors:
            connection.ask(diff("events", from_seq=from_seq, limit=LIMIT))
        return stretch.spent()
