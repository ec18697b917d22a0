"""What all links of a node together know: each peer's positions, who brings which strand, which covers are held back.

A value without a task: links write what they hear, and read what to do. One upstream per strand (design §3.5): among
links whose peer told a position not below ours, first one that has not already answered our next record with a cover,
nor told that its chunk is stripped, then one that holds it whole, then the origin's own, then the one that is furthest.
The upstream stays unless another is of a better kind, so that equals do not take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from msgspec import structs

from ...records.gap import Cover
from ...records.strand import Descriptor, Position
from .covers import Offer, Witness
from .line import Halt, Line, Side, Told


class Board:
    """Shared by the links of a node. ``place`` tells where our log stands in (topic, strand): oseq, and commit time
    (ms) of the last record there."""

    def __init__(
        self,
        place: Callable[[str, int], tuple[int, int]],
        descriptor: Callable[[str, int], Descriptor | None],
    ) -> None:
        self.lines: dict[str, Line] = {}
        self._place, self._descriptor = place, descriptor
        self._upstream: dict[tuple[str, int], str] = {}
        self.moved_at: dict[tuple[str, int], float] = {}

    # ---- what links hear -------------------------------------------------------------------------

    def hear(self, peer: str, topic: str, strand: int, told: Told, now: float) -> None:
        """A peer told its position."""
        line = self.lines[peer]
        side = line.sides[topic]
        old = side.told.get(strand)
        if old is None or old.oseq != told.oseq:
            self.moved_at[topic, strand] = now
        whole_from = told.whole_from or (old.whole_from if old is not None else 1)
        before = old.oseq if old is not None else told.oseq
        side.told[strand] = Told(told.oseq, told.hash, whole_from, told.ts, before)
        if before != told.oseq:
            line.fresh[topic, strand] = None
        ours, ts = self._place(topic, strand)
        if told.oseq <= ours:
            side.behind.pop(strand, None)
        else:
            line.may_be_behind = True
            if strand not in side.behind:
                side.behind[strand] = ts if ts and told.whole_from else told.ts

    def beat(self, peer: str) -> None:
        """A heartbeat came: what the peer told in the one before it, it has had for a heartbeat now."""
        line = self.lines[peer]
        fresh, line.fresh = line.fresh, {}
        for topic, strand in fresh:
            told = line.sides[topic].told.get(strand)
            if told is not None:
                line.sides[topic].told[strand] = structs.replace(told, before=told.oseq)
                self.rejudge(topic, strand)

    def delivered(self, peer: str, topic: str, strand: int, oseq: int) -> None:
        """A link brought records up to here, so its peer has them, whatever its last heartbeat told."""
        side = self.lines[peer].sides[topic]
        told = side.told.get(strand)
        if told is None:  # a new strand: tell the other links at once that this one brings it
            side.told[strand] = Told(oseq, None, 1, 0, oseq)
            self.rejudge(topic, strand)
        elif told.oseq <= oseq:
            side.told[strand] = structs.replace(told, oseq=oseq, hash=None)
            side.behind.pop(strand, None)
            if self._others_have_more(peer, topic, strand, oseq):  # this peer has no more to bring, as far as it told
                self.rejudge(topic, strand)

    def reached(self, topic: str, strand: int, oseq: int) -> list[tuple[str, Position]]:
        """Positions that peers told when they lay beyond our log, and that it has come to: each can be compared
        now, and is given once."""
        found: list[tuple[str, Position]] = []
        for line in self.lines.values():
            side = line.sides.get(topic)
            told = side.told.get(strand) if side is not None else None
            if side is not None and told is not None and strand in side.behind and told.oseq <= oseq:
                del side.behind[strand]
                found.append((line.peer, Position(told.oseq, told.hash)))
        return found

    def _others_have_more(self, peer: str, topic: str, strand: int, oseq: int) -> bool:
        for line in self.lines.values():
            side = line.sides.get(topic) if line.peer != peer else None
            told = side.told.get(strand) if side is not None else None
            if told is not None and told.before > oseq:
                return True
        return False

    def up(self, peer: str) -> None:
        """The link's hello is complete."""
        self.lines[peer].up = True
        self.rejudge_all()

    def down(self, peer: str, now: float) -> None:
        """The link lost its feed; what its peer covered is forgotten, what it told is not."""
        line = self.lines[peer]
        if line.up or not line.down_since:
            line.down_since = now
        line.up = False
        for side in line.sides.values():
            side.covered.clear()
            side.stripped.clear()
            side.offers.clear()
            side.pending.clear()
            side.asked.clear()
            side.halted.clear()  # both ends compare anew at the next hello
        for strands in (line.dirty, line.offered, line.fresh):
            strands.clear()
        self.rejudge_all()

    def tells_only(self, peer: str, topic: str, strands: Collection[int]) -> None:
        """All that the peer has of a topic was told anew: what it told of other strands before it has no longer."""
        side = self.lines[peer].sides[topic]
        for strand in [strand for strand in side.told if strand not in strands]:
            del side.told[strand]
            side.behind.pop(strand, None)

    def offer(self, peer: str, topic: str, cover: Cover, now: float, *, stripped: bool = False) -> None:
        """A link's peer covers a range, or has only a part of its records left: remembered until its next hello,
        applied or taken when its time has come."""
        side = self.lines[peer].sides[topic]
        answered = side.stripped if stripped else side.covered
        answered[cover.strand] = max(answered.get(cover.strand, 0), cover.last)
        side.offers[cover.strand] = Offer(cover, now, stripped)
        self.lines[peer].offered[topic, cover.strand] = None
        self.lines[peer].bell.ring()
        self.rejudge(topic, cover.strand)

    def halt(self, peer: str, topic: str, strand: int, halt: Halt) -> None:
        """The strand stands still on this link; everything else goes on."""
        self.lines[peer].sides[topic].halted[strand] = halt
        self.rejudge(topic, strand)

    def refuse(self, peer: str, topic: str, source: str, reason: str) -> None:
        """Nothing of the topic comes over this link, until the peer tells of it anew."""
        side = self.lines[peer].sides.setdefault(topic, Side(source))
        side.refused = reason
        for strand in list(side.told):
            self.rejudge(topic, strand)

    # ---- one upstream per strand -----------------------------------------------------------------

    def rejudge_all(self) -> None:
        """After a link came or went: every strand that any peer told; others are forgotten."""
        strands = {(topic, s) for line in self.lines.values() for topic, side in line.sides.items() for s in side.told}
        self._upstream = {place: peer for place, peer in self._upstream.items() if place in strands}
        self.moved_at = {place: at for place, at in self.moved_at.items() if place in strands}
        for topic, strand in sorted(strands):
            self.rejudge(topic, strand)

    def rejudge(self, topic: str, strand: int) -> None:
        """Choose the strand's upstream anew, and ring the links whose feeds must be told."""
        best = self._best(topic, strand, self._place(topic, strand)[0])
        if best is not None and self._upstream.get((topic, strand)) != best:
            self._upstream[topic, strand] = best
        for line in self.lines.values():
            side = line.sides.get(topic)
            if line.up and side is not None and self.serves(line, topic, strand) is not side.asked.get(strand, True):
                line.dirty[topic, strand] = None
                line.bell.ring()

    def _best(self, topic: str, strand: int, ours: int) -> str | None:
        current = self._upstream.get((topic, strand))
        current = current if current is not None and self._is_live(current, topic) else None
        descriptor = self._descriptor(topic, strand)
        ranked: list[tuple[tuple[bool, ...], bool, int, str]] = []
        for line in self.lines.values():
            side = line.sides.get(topic)
            told = side.told.get(strand) if side is not None else None
            if side is None or told is None or strand in side.halted or told.oseq < ours:
                continue
            if not self._is_live(line.peer, topic):
                continue
            direct = descriptor is not None and descriptor.origin_id == line.origin_id
            # A peer that is not the upstream counts as ahead only if it was so a heartbeat ago: what the upstream is
            # just about to bring must not make links take turns.
            newest = told.oseq if current is None or current == line.peer else told.before
            kind = (
                newest <= ours,
                side.covered.get(strand, 0) > ours,
                side.stripped.get(strand, 0) > ours,
                told.whole_from > ours + 1,
                not direct,
            )
            ranked.append((kind, line.peer != current, -told.oseq, line.peer))
        return min(ranked)[3] if ranked else None

    def serves(self, line: Line, topic: str, strand: int) -> bool:
        """Whether this link should bring the strand: it is the upstream, or there is none."""
        upstream = self._upstream.get((topic, strand))
        return upstream is None or upstream == line.peer or not self._is_live(upstream, topic)

    def _is_live(self, peer: str, topic: str) -> bool:
        line = self.lines.get(peer)
        side = line.sides.get(topic) if line is not None else None
        return line is not None and line.up and not line.paused and side is not None and side.refused is None

    def upstream(self, topic: str, strand: int) -> str | None:
        """The link that brings the strand now."""
        return self._upstream.get((topic, strand))

    # ---- lag -------------------------------------------------------------------------------------

    def lag(self, peer: str, topic: str) -> tuple[int, int]:
        """Records that the peer has and we have not, and the commit time (ms) of about the first of them; 0: none."""
        side, records, oldest = self.lines[peer].sides[topic], 0, 0
        if side.refused is not None:
            return 0, 0
        for strand, told in side.told.items():
            ours, ts = self._place(topic, strand)
            if told.oseq > ours and strand not in side.halted:
                records += told.oseq - ours
                base = max(side.behind.get(strand, told.ts), ts if strand in side.behind else 0)
                oldest = min(oldest, base) if oldest else base
        return records, oldest

    # ---- covers ----------------------------------------------------------------------------------

    def witnesses(self, topic: str, strand: int, but: str) -> list[Witness]:
        """Every other link of the topic, as it bears on the strand."""
        found: list[Witness] = []
        for line in self.lines.values():
            if line.peer == but or not line.wants(topic):
                continue
            side = line.sides.get(topic)
            told = side.told.get(strand) if side is not None else None
            halted = line.paused or (side is not None and (strand in side.halted or side.refused is not None))
            found.append(
                Witness(
                    line.peer,
                    line.up,
                    told.oseq if told is not None and line.up else None,
                    side.covered.get(strand, 0) if side is not None else 0,
                    side.stripped.get(strand, 0) if side is not None else 0,
                    halted,
                    side.pending.get(strand) if side is not None else None,
                    line.patience_s,
                    line.down_since,
                )
            )
        return found

    def offers(self) -> Iterable[tuple[str, str, Offer]]:
        """All covers that are held back: peer, topic, offer."""
        for line in self.lines.values():
            for topic, strand in line.offered:
                offer = line.sides[topic].offers.get(strand)
                if offer is not None:
                    yield line.peer, topic, offer

    def withdraw(self, peer: str, topic: str, strand: int) -> None:
        """The cover was applied, or is not needed any more; the feed must hear where we stand now."""
        line = self.lines[peer]
        line.sides[topic].offers.pop(strand, None)
        line.offered.pop((topic, strand), None)
        line.dirty[topic, strand] = None
