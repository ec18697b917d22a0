"""Who may still bring back what earlier lives of this node wrote: its peers, and the nodes behind them. Pure.

What comes back may have a long way: a peer that has just started, or lags, tells nothing of what it is yet to pull.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from ...config.topology import Flow
from ...records.strand import Identity
from ...topics.log.log import Strand
from .board import Board
from .matrix import Matrix


class Holders:
    """``me`` is this node in its present life, which began (or went on) at ``since``; ``strands`` are those of a topic
    here."""

    def __init__(
        self, me: Callable[[], Identity], board: Board, matrix: Matrix, flow: Flow,
        strands: Callable[[str], Mapping[int, Strand]], since: float,
    ) -> None:  # fmt: skip
        self._me, self._board, self._matrix, self._flow = me, board, matrix, flow
        self._strands, self._since = strands, since

    def begin_life(self, now: float) -> None:
        """The node began a new life while running. What was heard of others before may be from before the loss."""
        self._since = now
        self._matrix.clear()

    def everywhere(self, topic: str, now: float, patience_s: float = inf) -> list[str]:
        """For a new life: peers and, for so long after its beginning, nodes behind them, each once."""
        found = self.peers(topic, now, patience_s)
        if now - self._since < patience_s:
            found += self.behind_peers(topic, now)
        return list(dict.fromkeys(found))

    def peers(self, topic: str, now: float, patience_s: float = inf) -> list[str]:
        """Those that tell more of what earlier lives wrote to the topic than is here, and those that were not heard
        yet, as long as their link's patience, and this one."""
        found, strands = list[str](), self._strands(topic)
        for line in self._board.lines.values():
            if not line.wants(topic) or line.paused:
                continue
            side = line.sides.get(topic)
            if not line.up:
                if now - line.down_since < min(line.patience_s, patience_s):
                    found.append(line.peer)
            elif side is not None and any(
                strand not in side.halted and self._lacks(strands.get(strand), told.oseq)
                for strand, told in side.told.items()
            ):
                found.append(line.peer)
        return found

    def behind_peers(self, topic: str, now: float) -> list[str]:
        """Nodes that our records of the topic come to, and come back from: those that are known to hold more of them
        than is here, and those further away than our peers of which nothing was heard yet, or that they lack what is
        here (so that is old, or they will lack it no longer), as long as the most patient link."""
        lines = [line for line in self._board.lines.values() if line.wants(topic)]
        early = now - self._since < max((line.patience_s for line in lines), default=0.0)
        peers = {line.peer for line in lines}
        strands, holders = self._strands(topic), self._flow.returns(self._me().name, topic)
        found = {
            node
            for (node, name, strand), seen in self._matrix.rows()
            if (node, name) in holders and self._lacks(strands.get(strand), seen.oseq)
        }
        if early:
            found |= {node for node, name in holders if node not in peers and not self._has_told(node, name, strands)}
        return sorted(found)

    def _has_told(self, node: str, name: str, strands: Mapping[int, Strand]) -> bool:
        """Whether the node is heard of, and has come as far as we in what earlier lives of ours wrote."""
        me = self._me()
        return self._matrix.knows(node) and all(
            (self._matrix.place(node, name, number) or 0) >= strand.durable_last
            for number, strand in strands.items()
            if strand.descriptor.origin == me.name and not me.wrote(strand.descriptor)
        )

    def _lacks(self, strand: Strand | None, oseq: int) -> bool:
        """Whether this is more of a strand of ours than is here. One that is not described yet may be ours."""
        if strand is None:
            return oseq > 0
        return oseq > strand.durable_last and strand.descriptor.origin == self._me().name
