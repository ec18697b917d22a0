"""Lease queues: claimed and acknowledged by several workers at once."""

from __future__ import annotations

import selectors
from collections.abc import Sequence

from ..connection import Connection
from ..daemon import Daemon, Spent, Stretch
from ..figure import Figure
from ..ground import Ground, connections, fill
from ..topology import mesh
from ..wire import ack, claim, configure, seqs_in

_WORKERS = 16
_SHARE = 10  # of the requests of other rows: each job is two


def queue(ground: Ground) -> list[Figure]:
    """Jobs that are claimed and acknowledged, one and a hundred at a time, of class disk and of class fsync."""
    figures: list[Figure] = []
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        for durability in ("disk", "fsync"):
            for batch in (1, 100):
                jobs = max(1, ground.sizes.requests // _SHARE) * (1 if batch == 1 else 20)
                spent = [
                    _drain(node, f"{durability}-{batch}-{i}", durability, batch, jobs) for i in range(ground.repeat)
                ]
                what = f"class {durability}, {batch} at a time"
                figures.append(Figure(what, "jobs/s", tuple(jobs / one.wall_s for one in spent)))
                cpu = tuple(1e6 * one.cpu_s / jobs for one in spent)
                figures.append(Figure(f"{what}, CPU of the node", "us a job", cpu))
    return figures


def _drain(node: Daemon, topic: str, durability: str, batch: int, jobs: int) -> Spent:
    """Fill a queue, then have _WORKERS workers empty it."""
    with connections(node, _WORKERS) as opened:
        opened[0].ask(configure(topic, type="queue", durability=durability))
        fill(node, topic, jobs)
        stretch = Stretch(node)
        done = _work(opened, topic, batch)
        spent = stretch.spent()
    if done != jobs:
        raise AssertionError(f"{done} of {jobs} jobs were done")
    return spent


def _work(workers: Sequence[Connection], topic: str, batch: int) -> int:
    """Each worker claims, then acknowledges what it was given, until there is nothing; how many jobs that were."""
    done, acking = 0, set[Connection]()
    names = {worker: f"w{i}" for i, worker in enumerate(workers)}
    ask = {worker: claim(topic, name, batch) for worker, name in names.items()}
    with selectors.SelectSelector() as selector:
        for each in workers:
            selector.register(each, selectors.EVENT_READ, each)
            each.send(ask[each])
        while selector.get_map():
            for key, _ in selector.select():
                worker: Connection = key.data
                answer = worker.confirm()
                seqs = [] if worker in acking else seqs_in(answer.body)
                if seqs:
                    done += len(seqs)
                    acking.add(worker)
                    worker.send(ack(topic, names[worker], seqs))
                elif worker in acking:
                    acking.discard(worker)
                    worker.send(ask[worker])
                else:
                    selector.unregister(worker)
    return done
