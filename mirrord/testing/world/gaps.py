"""Watches each gap that a link brings: nobody may give up what a reachable holder still has (design §3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from ...storage.store import Change, Gap
from ..graphs import Link
from .disk import SimDisk, link_gaps, stripped
from .net import FakeNet
from .place import Place
from .story import Story

CAUGHT_HOLD_S = 14.0  # after a fault a link may need so long to find back: the watchdog's patience, and more
TOLD_S = 1.5  # a record that came so recently may not have been told yet


class GapWatch:
    """Judges at the commit of a gap whether its node should have waited, or had nothing to wait for."""

    def __init__(
        self, places: Mapping[str, Place], links: Sequence[Link], net: FakeNet, story: Story, patience_s: float
    ) -> None:
        self._places, self._links, self._net, self._story = places, links, net, story
        self._patience_s = patience_s

    def look(self, place: Place, disk: SimDisk, changes: Sequence[Change]) -> None:
        """A commit of a node."""
        for gap in link_gaps(changes):
            topic = next((row.name for row in disk.topics() if row.tid == gap.tid), "")
            strand = next((row.strand for row in disk.strands(gap.tid) if row.sid == gap.sid), 0)
            self._story.counts["gaps"] += 1
            self._story.note("gap", place.name, topic, gap.reason, gap.first, gap.last, gap.seq_from)
            self._judge(place, topic, strand, gap)
        for tid, strand, first, last, gone in stripped(changes):
            self._story.counts["stripped"] += 1
            if all((strand, oseq) in self._story.ordered for oseq in gone):
                continue  # nobody is to have these
            topic = next((row.name for row in disk.topics() if row.tid == tid), "")
            holder = self._could_get(place, topic, strand, first)
            if holder is not None and self._has_all(holder, topic, strand, first, last):
                what = f"{place.name} takes what is left of {topic} {strand:016x}/{first}, which {holder} has whole"
                self._story.fail("always_waits_for_holders", what)

    def _judge(self, place: Place, topic: str, strand: int, gap: Gap) -> None:
        for oseq in {gap.first: None, gap.last: None}:
            holder = self._could_get(place, topic, strand, oseq)
            if holder is not None:
                what = f"{place.name} gives up {topic} {strand:016x}/{oseq} ({gap.reason}), which {holder} has"
                self._story.fail("always_waits_for_holders", what)

    def _has_all(self, holder: str, topic: str, strand: int, first: int, last: int) -> bool:
        disk = self._places[holder].disk
        known = disk.sid(topic, strand)
        return known is not None and all(disk.holds_since(known[1], oseq) for oseq in range(first, last + 1))

    def _could_get(self, place: Place, topic: str, strand: int, oseq: int) -> str | None:
        """A holder from which the record would still come."""
        for name, other in self._places.items():
            known = other.disk.sid(topic, strand) if other is not place else None
            since = other.disk.holds_since(known[1], oseq) if known is not None else None
            if since is None or trio.current_time() - since < TOLD_S:
                continue
            if self._way(name, place, topic, strand, oseq):
                return name
        return None

    def _way(self, holder: str, place: Place, topic: str, strand: int, oseq: int) -> bool:
        seen, todo = {holder}, [holder]
        while todo:
            here = todo.pop()
            for puller, source in self._links:
                direct = here == holder and puller == place.name
                if source != here or puller in seen or not self._open(puller, source, direct):
                    continue
                if puller == place.name:
                    return True
                if self._position(self._places[puller], topic, strand) < oseq:
                    seen.add(puller)
                    todo.append(puller)
        return False

    def _position(self, place: Place, topic: str, strand: int) -> int:
        known = place.disk.sid(topic, strand)
        return place.disk.place(known[1], known[0]) if known is not None else 0

    def _open(self, puller: str, source: str, direct: bool) -> bool:
        """Whether the link must be up, or, if it is the direct one, must still be waited for."""
        if not self._places[puller].pulls_from(source):
            return False
        now, line = trio.current_time(), frozenset((puller, source))
        ends = [self._places[puller], self._places[source]]
        begun = self._net.unclean.get(line)
        bad_since, bad_until = (begun, now) if begun is not None else self._net.clean.get(line, (0.0, -CAUGHT_HOLD_S))
        for end in ends:
            if end.node is None:
                bad_since, bad_until = min(bad_since, end.down_since) if begun is not None else end.down_since, now
            else:
                if bad_until < end.up_since and end.up_since > 0.0:
                    bad_since, bad_until = end.down_since, end.up_since
        if now - bad_until >= CAUGHT_HOLD_S:
            return all(end.node is not None for end in ends)
        waited_from = max(bad_since, ends[0].up_since)
        return direct and now - waited_from < self._patience_s * 0.9
