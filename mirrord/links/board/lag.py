"""Who lacks how much of whose records, as far as gossip has come: what ``GET /v0/lag`` tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from ...config.topology import Flow
from .matrix import Key

Place = tuple[int, int]  # how far a node is in a strand: oseq, and the commit time (ms) of the record there
State = tuple[str, str]  # a node and a topic's name there
Cell = dict[str, Any]  # {"records", "seconds"}, both None where nothing is known
Rows = dict[str, dict[str, Cell]]  # origin -> holder

NOTHING: Place = (0, 0)


class Lag:
    """The matrix of one moment; ``holders`` are its columns."""

    def __init__(self, flow: Flow, holders: Iterable[str], now_ms: int) -> None:
        self._flow, self._holders, self._now_ms = flow, sorted(holders), now_ms
        self._reach: dict[State, Set[State]] = {}

    def by_topic(self, places: Mapping[Key, Place], origins: Mapping[int, str]) -> dict[str, Rows]:
        """topic -> origin -> holder. A holder that is heard of lacks what links bring to it and it has not: of a topic
        that no link brings to it, it lacks nothing, and nothing is told. ``origins`` are those of strands."""
        heard = {node for node, _, _ in places}
        held: dict[int, dict[State, Place]] = {}
        for (node, topic, strand), place in places.items():
            held.setdefault(strand, {})[node, topic] = place
        topics: dict[str, Rows] = {}
        for strand, at in held.items():
            head, origin = max(at.values()), origins.get(strand, "?")
            for node, topic in self._everywhere(at):
                cells = topics.setdefault(topic, {}).setdefault(origin, self._unknown())
                if node in heard:
                    _add(cells[node], *self._lacks(at.get((node, topic), NOTHING), head))
        return {topic: dict(sorted(topics[topic].items())) for topic in sorted(topics)}

    def over_topics(self, topics: Mapping[str, Rows]) -> Rows:
        """The same over all topics: origin -> holder."""
        origins: Rows = {}
        for rows in topics.values():
            for origin, cells in rows.items():
                sums = origins.setdefault(origin, self._unknown())
                for holder, cell in cells.items():
                    if cell["records"] is not None:
                        _add(sums[holder], cell["records"], cell["seconds"])
        return origins

    def _unknown(self) -> dict[str, Cell]:
        return {holder: {"records": None, "seconds": None} for holder in self._holders}

    def _everywhere(self, held: Mapping[State, Place]) -> Set[State]:
        """Where a strand is, and where links will bring it to."""
        found: set[State] = set()
        for state in held:
            if state not in found:
                found |= self._onward(state)
        return found

    def _onward(self, state: State) -> Set[State]:
        if state not in self._reach:
            self._reach[state] = self._flow.reach(*state)
        return self._reach[state]

    def _lacks(self, at: Place, head: Place) -> tuple[int, float]:
        """How many records behind ``at``, and how old (s) about the first of them is: as if they had come evenly."""
        (oseq, ts), (last, last_ts) = at, head
        if oseq >= last:
            return 0, 0.0
        first_ts = ts + (last_ts - ts) // (last - oseq) if ts else last_ts
        return last - oseq, round(max(0, self._now_ms - first_ts) / 1000, 3)


def _add(cell: Cell, records: int, seconds: float) -> None:
    cell["records"] = (cell["records"] or 0) + records
    cell["seconds"] = max(cell["seconds"] or 0.0, seconds)
