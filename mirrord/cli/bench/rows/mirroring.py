"""Catch-up of a peer that has nothing."""

from __future__ import annotations

from collections.abc import Callable

from ..daemon import Daemon, Spent, Stretch, settle, until
from ..figure import Bound, Figure
from ..ground import Ground, fill, fill_alone
from ..topology import pullers

WITHIN_S = 600.0
LOOK_EVERY_S = 0.02  # seldom enough not to be what the peer is busy with


def in_chunks(ground: Ground) -> list[Figure]:
    """Records of one topic that were appended a thousand at a time."""
    rates, cpu = _caught_up(ground, "events", lambda node: fill(node, "events", ground.sizes.mirrored))
    return [
        Figure("records", "/s", rates, Bound(1e6, 2e6, more=True)),
        Figure("CPU of both nodes", "s per M", cpu, Bound(1.0, 0.5)),
    ]


def alone(ground: Ground) -> list[Figure]:
    """Records of sixteen topics, each in a chunk of its own."""
    rates, cpu = _caught_up(ground, "alone-", lambda node: fill_alone(node, "alone-", ground.sizes.alone))
    return [
        Figure("records", "/s", rates, Bound(200_000, more=True)),
        Figure("CPU of both nodes", "s per M", cpu),
    ]


def _caught_up(
    ground: Ground, prefix: str, load: Callable[[Daemon], None]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Records a second, and CPU seconds a million, of a fresh peer for each repeat."""
    rates, cpu = [], []
    with ground.cluster(pullers, "a", *(f"b{n}" for n in range(ground.repeat))) as (source, *peers):
        source.start()
        load(source)
        settle(source)
        for peer in peers:
            peer.start()
            records, spent = pulled(source, peer, prefix)
            rates.append(records / spent.wall_s)
            cpu.append(1e6 * spent.cpu_s / records)
            peer.kill()
    return tuple(rates), tuple(cpu)


def pulled(source: Daemon, peer: Daemon, prefix: str) -> tuple[int, Spent]:
    """What the peer lacks comes: how many records, and what they cost both, from the first one seen there on."""
    goal, before = source.records(prefix), peer.records(prefix)
    until(lambda: peer.records(prefix) > before, f"{peer.name} to begin", WITHIN_S)
    stretch, begun = Stretch(source, peer), peer.records(prefix)
    until(lambda: peer.records(prefix) >= goal, f"{peer.name} to catch up", WITHIN_S, LOOK_EVERY_S)
    return goal - begun, stretch.spent()
