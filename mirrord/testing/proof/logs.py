"""Promises about one log by itself: each record once, in its strand's order, on a whole chain, at a seq of its own."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from ...records.gap import CONTROL, DELETED, ERASED, EVICTED
from .dump import Dump, StrandDump, TopicDump

Finding = tuple[str, str]  # promise, what broke it


class Run(Struct, frozen=True):
    """A stretch of a strand that a log accounts for."""

    first: int
    last: int
    prev_hash: bytes | None
    hash: bytes | None
    what: str


def check_log(dump: Dump, capped: bool, deleted: bool, erased: bool) -> Iterator[Finding]:
    """Everything that must hold inside one node's store. The flags tell which gaps there may be."""
    reasons = {EVICTED} if capped else set()
    reasons |= {DELETED} if deleted or erased else set()
    reasons |= {ERASED, CONTROL} if erased else set()
    for topic in dump.topics.values():
        yield from _dense(dump.node, topic)
        for number, strand in topic.strands.items():
            where = f"{dump.node} {topic.name} {number:016x}"
            yield from _accounted(where, strand)
            yield from _in_order(where, strand)
            for gap in strand.gaps:
                if gap.reason not in reasons:
                    yield "always_gaps_explained", f"{where}: {gap.first}..{gap.last} {gap.reason}: nothing did that"


def _accounted(where: str, strand: StrandDump) -> Iterator[Finding]:
    """Each oseq up to the position is held once, or in one gap; and hashes follow each other."""
    runs = [Run(c.first, c.last, c.prev_hash, c.hash, "chunk") for c in strand.held]
    runs += [Run(g.first, g.last, g.prev_hash, g.hash, g.reason) for g in strand.gaps]
    at, digest = 0, strand.descriptor.id_hash or None
    for run in sorted(runs, key=lambda run: run.first):
        if run.first <= at:
            yield "always_exactly_once", f"{where}: {run.what} {run.first}..{run.last} after {at}"
        elif run.first > at + 1:
            yield "always_contiguous", f"{where}: {at + 1}..{run.first - 1} is neither held nor explained"
        elif digest is not None and run.prev_hash is not None and run.prev_hash != digest:
            yield "always_chained", f"{where}: {run.what} {run.first}..{run.last} follows another hash"
        at, digest = max(at, run.last), run.hash
    if at != strand.last:
        yield "always_contiguous", f"{where}: the position is {strand.last}, accounted for is {at}"
    elif strand.last and digest is not None and strand.hash and strand.hash != digest:
        yield "always_chained", f"{where}: the position's hash is not that of its record"


def _in_order(where: str, strand: StrandDump) -> Iterator[Finding]:
    for before, after in zip(strand.held, strand.held[1:], strict=False):
        if after.first <= before.last or after.times[0] < before.times[-1]:
            yield "always_in_order", f"{where}: {after.first} stands behind {before.last}"
    for chunk in strand.held:
        if not chunk.sound:
            yield "always_sound", f"{where}: chunk {chunk.first} has not the hash that it tells"


def _dense(node: str, topic: TopicDump) -> Iterator[Finding]:
    """Every local seq above the floor belongs to one pack or gap, up to the head, and not beyond the ceiling."""
    where, at = f"{node} {topic.name}", topic.floor
    for first, last in topic.spans:
        if last <= topic.floor:
            continue
        if (first > at + 1 and not topic.masks.covers(at + 1, first - 1)) or (first <= at and at != topic.floor):
            yield "always_dense", f"{where}: {first}..{last} follows {at} (floor {topic.floor})"
        at = last
    if at != topic.head and not topic.masks.covers(at + 1, topic.head):
        yield "always_dense", f"{where}: ends at {at}, the head is {topic.head}"
    if topic.head > topic.ceiling:
        yield "always_below_ceiling", f"{where}: head {topic.head}, ceiling {topic.ceiling}"
