"""Who may still bring back what earlier lives of this node wrote: its peers, and the nodes behind them. Pure.

What comes back may have a long way: a peer that has just started, or lags, tells nothing of what it is yet to pull.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from ...config.topology import Flow
from ...records.strand import Descriptor
from .board import Board
from .matrix import Matrix


class Holders:
    """``place`` tells where our log stands in (topic, strand); ``since`` is when this node started."""

    def __init__(
        self, me: str, board: Board, matrix: Matrix, flow: Flow, place: Callable[[str, int], tuple[int, int]],
        descriptor: Callable[[str, int], Descriptor | None], since: float,
    ) -> None:  # fmt: skip
        self._me, self._board, self._matrix, self._flow = me, board, matrix, flow
        self._place, self._descriptor, self._since = place, descriptor, since

    def everywhere(self, topic: str, now: float) -> list[str]:
        """For a new life: peers and nodes behind them, each once."""
        return list(dict.fromkeys([*self.peers(topic, now), *self.behind_peers(topic, now)]))

    def peers(self, topic: str, now: float, patience_s: float = inf) -> list[str]:
        """Those that tell more of what earlier lives wrote to the topic than is here, and those that were not heard
        yet, as long as their link's patience, and this one."""
        found: list[str] = []
        for line in self._board.lines.values():
            if not line.wants(topic) or line.paused:
                continue
            side = line.sides.get(topic)
            if not line.up:
                if now - line.down_since < min(line.patience_s, patience_s):
                    found.append(line.peer)
            elif side is not None and any(
                strand not in side.halted and self._lacks(topic, strand, told.oseq)
                for strand, told in side.told.items()
            ):
                found.append(line.peer)
        return found

    def behind_peers(self, topic: str, now: float) -> list[str]:
        """Nodes that our records of the topic come to, and come back from: those that are known to hold more of them
        than is here, and those further away than our peers that were not heard of yet, as long as the most patient
        link."""
        lines = [line for line in self._board.lines.values() if line.wants(topic)]
        early = now - self._since < max((line.patience_s for line in lines), default=0.0)
        peers = {line.peer for line in lines}
        holders = self._flow.returns(self._me, topic)
        found = {
            node
            for (node, name, strand), seen in self._matrix.rows()
            if (node, name) in holders and self._lacks(topic, strand, seen.oseq)
        }
        if early:
            found |= {node for node, _ in holders if node not in peers and not self._matrix.knows(node)}
        return sorted(found)

    def _lacks(self, topic: str, strand: int, oseq: int) -> bool:
        """Whether this is more of a strand of ours than is here. One that is not described yet may be ours."""
        descriptor = self._descriptor(topic, strand)
        return oseq > self._place(topic, strand)[0] and (descriptor is None or descriptor.origin == self._me)
