"""Appends, and what they leave on disk."""

from __future__ import annotations

from collections.abc import Sequence

from ..daemon import Daemon, Spent, Stretch, settle
from ..figure import Bound, Figure
from ..ground import BATCH, Ground, connections, fill_alone
from ..load import Lane, saturate
from ..topology import SYNCED, mesh
from ..wire import append, payload

_WRITERS = 4  # of batches, at once
_FLYING = 64


def batches(ground: Ground) -> list[Figure]:
    """Appends of BATCH records, acknowledged, from several writers to one topic."""
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        request = append("events", [payload()] * BATCH)
        spent = _repeated(ground, node, _WRITERS, request, ground.sizes.batches)
    records = ground.sizes.batches * BATCH
    return [
        Figure("records", "/s", _rates(spent, records), Bound(600_000, more=True)),
        Figure("CPU of the node", "s per M", _per_million(spent, records)),
    ]


def singles(ground: Ground) -> list[Figure]:
    """Appends of one record, 64 in flight, to one topic of class disk and one of class fsync."""
    requests = ground.sizes.requests
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        disk = _repeated(ground, node, _FLYING, append("events", [payload()]), requests)
        synced = _repeated(ground, node, _FLYING, append(SYNCED, [payload()]), requests)
    return [
        Figure("class disk", "/s", _rates(disk, requests), Bound(16_000, 30_000, more=True)),
        Figure("class disk, CPU of the node", "us each", _per_million(disk, requests)),
        Figure("class fsync", "/s", _rates(synced, requests), Bound(8000, more=True)),
        Figure("class fsync, CPU of the node", "us each", _per_million(synced, requests)),
    ]


def in_turn(ground: Ground) -> list[Figure]:
    """Appends of one record over one connection, each after the answer to the one before."""
    requests = ground.sizes.requests_in_turn
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        spent = _repeated(ground, node, 1, append("events", [payload()]), requests)
    return [
        Figure("appends", "/s", _rates(spent, requests), Bound(4000, more=True)),
        Figure("CPU of the node", "us each", _per_million(spent, requests)),
    ]


def disk(ground: Ground) -> list[Figure]:
    """What a record that was appended alone occupies once background packing has come to rest."""
    records = ground.sizes.alone
    with ground.cluster(mesh, "a") as (node,):
        node.start()
        fill_alone(node, "alone-", records // 4)  # so that an empty store and the write-ahead log are not counted
        settle(node)
        before = node.stored_bytes()
        fill_alone(node, "alone-", records)
        at_once = node.stored_bytes() - before
        settle(node)
        packed = node.stored_bytes() - before
        node.kill()
    return [
        Figure("bytes a record", "B", (packed / records,), Bound(260)),
        Figure("before packing", "B", (at_once / records,)),
    ]


def _repeated(ground: Ground, node: Daemon, writers: int, request: bytes, total: int) -> list[Spent]:
    """The load, repeated on one growing topic, after a tenth of it to warm up."""
    spent = []
    with connections(node, writers) as opened:
        lanes = [Lane(connection, request) for connection in opened]
        saturate(lanes, max(1, total // 10))
        for _ in range(ground.repeat):
            stretch = Stretch(node)
            saturate(lanes, total)
            spent.append(stretch.spent())
    return spent


def _rates(spent: Sequence[Spent], records: int) -> tuple[float, ...]:
    return tuple(records / one.wall_s for one in spent)


def _per_million(spent: Sequence[Spent], records: int) -> tuple[float, ...]:
    return tuple(1e6 * one.cpu_s / records for one in spent)
