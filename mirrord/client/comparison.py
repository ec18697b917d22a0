"""Whether two nodes hold the same records of a topic, from what both tell of their strands. Pure.

A hash is a chain over everything up to its position, so equal hashes at one position prove equal histories
up to there; what of it is still held is told by the gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

Kind = Literal["missing", "gap", "different", "unverified", "damaged"]
Range = tuple[int, int]  # first and last oseq, both included

CONTROL = "control"  # what is there is no record: some nodes keep it, and others what was said anew for it
MEANINGS: Mapping[Kind, str] = {
    "missing": "has not come so far",
    "gap": "does not hold these, the other does",
    "different": "the two hold different records here: a fork",
    "unverified": "no hash to compare by",
    "damaged": "what is stored does not have its hash",
}


class GapRange(Struct, frozen=True):
    """Records of a strand that a node does not hold, and why."""

    first: int
    last: int
    reason: str = "unknown"


class Position(Struct, frozen=True):
    """The chain hash of a strand at an oseq; None where the node cannot tell it."""

    oseq: int
    hash: str | None = None


class StrandDigest(Struct, frozen=True):
    """How far a node is in one strand, with the hash there."""

    strand: str
    origin: str
    oseq: int
    hash: str | None = None
    gaps: tuple[GapRange, ...] = ()
    at: Position | None = None
    deep: dict[str, Any] | None = None


class Digest(Struct, frozen=True):
    """What a node tells of one topic; ``{}`` strands is a topic that it does not have."""

    topic: str
    strands: tuple[StrandDigest, ...] = ()

    def by_strand(self) -> dict[str, StrandDigest]:
        """Strand id to its digest."""
        return {strand.strand: strand for strand in self.strands}


class Finding(Struct, frozen=True, order=True):
    """One way in which the two differ. ``side`` is 0 or 1: at which of the two; None: between them."""

    kind: Kind
    topic: str
    origin: str
    strand: str
    first: int
    last: int
    side: int | None = None
    reason: str = ""


def questions(mine: Digest, theirs: Digest) -> dict[str, int]:
    """At which oseqs ``mine`` is to tell its hash, because the other node is not so far."""
    others = theirs.by_strand()
    return {
        strand.strand: others[strand.strand].oseq
        for strand in mine.strands
        if strand.strand in others and 0 < others[strand.strand].oseq < strand.oseq
    }


def compare(a: Digest, b: Digest) -> list[Finding]:
    """All differences; an empty list means that both hold the same, proven by hashes."""
    left, right = a.by_strand(), b.by_strand()
    findings: list[Finding] = []
    for name in sorted(left.keys() | right.keys()):
        pair = (left.get(name) or _nothing_of(right[name]), right.get(name) or _nothing_of(left[name]))
        findings += _histories(a.topic, *pair)
        findings += _holdings(a.topic, *pair)
        findings += _damage(a.topic, *pair)
    return findings


def held(strand: StrandDigest, upto: int) -> list[Range]:
    """The ranges of ``1..upto`` of which the node holds the records."""
    return without([(1, upto)] if upto else [], [(gap.first, gap.last) for gap in strand.gaps])


def without(ranges: Sequence[Range], taken: Iterable[Range]) -> list[Range]:
    """What is left of ranges, in order, when others are taken out."""
    left = list(ranges)
    for low, high in taken:
        pieces = [
            piece for first, last in left for piece in ((first, min(last, low - 1)), (max(first, high + 1), last))
        ]
        left = sorted({(first, last) for first, last in pieces if first <= last})
    return left


def _nothing_of(strand: StrandDigest) -> StrandDigest:
    return StrandDigest(strand.strand, strand.origin, 0)


def _histories(topic: str, a: StrandDigest, b: StrandDigest) -> list[Finding]:
    """The hashes where the one behind stands, and what it lacks after that."""
    both = min(a.oseq, b.oseq)
    found: list[Finding] = []
    if both:
        hashes = (_hash_at(a, both), _hash_at(b, both))
        if None in hashes:
            side = None if hashes[0] == hashes[1] else hashes.index(None)
            found.append(Finding("unverified", topic, a.origin, a.strand, 1, both, side))
        elif hashes[0] != hashes[1]:
            found.append(Finding("different", topic, a.origin, a.strand, 1, both))
    if a.oseq != b.oseq:
        ahead, behind = (a, 1) if a.oseq > b.oseq else (b, 0)
        gaps = [(gap.first, gap.last) for gap in ahead.gaps if gap.reason != CONTROL]
        lacking = [piece for piece in without([(1, ahead.oseq)], gaps) if piece[1] > both]
        found += [
            Finding("missing", topic, a.origin, a.strand, max(first, both + 1), last, behind) for first, last in lacking
        ]
    return found


def _hash_at(strand: StrandDigest, oseq: int) -> str | None:
    if strand.oseq == oseq:
        return strand.hash
    return strand.at.hash if strand.at is not None and strand.at.oseq == oseq else None


def _holdings(topic: str, a: StrandDigest, b: StrandDigest) -> list[Finding]:
    """Of what both have come past, what only one of them still holds."""
    both = min(a.oseq, b.oseq)
    found: list[Finding] = []
    for side, here, there in ((0, a, b), (1, b, a)):
        for first, last in without(held(there, both), held(here, both)):
            reason = ", ".join(sorted({gap.reason for gap in here.gaps if gap.first <= last and gap.last >= first}))
            found.append(Finding("gap", topic, a.origin, a.strand, first, last, side, reason))
    return found


def _damage(topic: str, a: StrandDigest, b: StrandDigest) -> list[Finding]:
    return [
        Finding("damaged", topic, strand.origin, strand.strand, 1, strand.oseq, side)
        for side, strand in ((0, a), (1, b))
        if strand.deep is not None and not strand.deep.get("ok", False)
    ]
