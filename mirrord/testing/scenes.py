"""Scenes: faults that must fall together to show what they show, which chance would bring together too seldom."""

from __future__ import annotations

from random import Random

from .faults import Fault
from .graphs import Link


def slow_starts(
    late: tuple[tuple[str, float], ...], pulls: tuple[Link, ...], until: float, rng: Random
) -> tuple[Fault, ...]:
    """Some lines of the late node take their time, so that who answers it first differs."""
    found: list[Fault] = []
    for puller, source in pulls:
        if any(puller == node for node, _ in late) and rng.random() < 0.5:
            found.append(Fault(0.1, until + 2.0, "delay", source, puller, rng.uniform(0.05, 0.6)))
    return tuple(found)


def two_branches(nodes: tuple[str, ...], until: float, rng: Random) -> tuple[Fault, ...]:
    """A machine goes back in time and writes on while it is cut off, so that one strand has two branches. Another node
    was wiped: a slow line brings it one branch, and before that is done a fast one brings the other."""
    forked, empty, slow = nodes[0], nodes[1], nodes[2]
    copied_at = rng.uniform(0.3, 0.8)
    cut_at = copied_at + rng.uniform(0.5, 1.0)
    healed_at = min(cut_at + rng.uniform(1.3, 2.2), until)
    found = [Fault(cut_at, healed_at + rng.uniform(0.0, 0.5), "cut", forked, other) for other in nodes[1:]]
    found.append(Fault(copied_at, copied_at, "copy for memory", forked))
    found.append(Fault(cut_at + 0.05, cut_at + 0.1, "memory", forked))
    found.append(Fault(cut_at + 0.1, healed_at - rng.uniform(0.1, 0.8), "wipe", empty))
    for other in nodes[2:]:
        rate = rng.choice((1_000.0, 2_000.0, 4_000.0)) if other == slow or rng.random() < 0.5 else 0.0
        found.append(Fault(cut_at, until + 1.0, "slow", other, empty, rate))
    return tuple(sorted(found, key=lambda fault: fault.at))
