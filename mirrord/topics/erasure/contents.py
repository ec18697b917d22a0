"""The contents of control chunks, and the least that says what many of them said. Pure.

An ``erase`` content adds oseqs to what is to go, a ``group`` content raises how far a group is done; so all that was
said is a set of ranges for every strand and a vector for every group, however many contents it took. A ``supersedes``
content says that control chunks of the same node, up to there, were said anew before it: they need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from ...errors import ProtocolViolation
from ..vectors import GROUP, MOST_GROUPS, Vector, raise_to, tell, told_of

ERASE, SUPERSEDES = "erase", "supersedes"
RANGES_AT_ONCE = 4096  # in one content

Range = tuple[int, int]
Span = tuple[int, int, bytes]  # first and last oseq, and the chain's hash there
Content = tuple[str, bytes]  # its word, and JSON
_ranges = msgspec.json.Decoder(dict[str, list[Range]]).decode
_spans = msgspec.json.Decoder(dict[str, tuple[int, int, str]]).decode
_encode = msgspec.json.Encoder().encode


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same oseqs, in order, with as few ranges as can be."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def erase_orders(by_strand: Mapping[int, Iterable[Range]]) -> Iterator[Content]:
    """The contents that have these ranges of strands erased everywhere."""
    told: dict[str, list[Range]] = {}
    room = RANGES_AT_ONCE
    for strand, ranges in by_strand.items():
        for span in merged(ranges):
            told.setdefault(f"{strand:016x}", []).append(span)
            room -= 1
            if not room:
                yield ERASE, _encode(told)
                told, room = {}, RANGES_AT_ONCE
    if told:
        yield ERASE, _encode(told)


def ranges_of(text: str | bytes) -> dict[int, tuple[Range, ...]]:
    """What an ``erase`` content means. Raises ProtocolViolation when it cannot be."""
    try:
        told = {int(strand, 16): merged(ranges) for strand, ranges in _ranges(text).items()}
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolViolation("a control chunk does not tell what to erase") from error
    for ranges in told.values():
        if any(not 0 < first <= last < 1 << 53 for first, last in ranges):
            raise ProtocolViolation("a control chunk tells oseqs to erase that cannot be")
    return told


def supersedes(spans: Mapping[int, Span]) -> Content:
    """The content that says what was said anew: of each strand a range, at whose end the chain has this hash."""
    told = {f"{strand:016x}": (first, last, digest.hex()) for strand, (first, last, digest) in spans.items()}
    return SUPERSEDES, _encode(told)


def spans_of(text: str | bytes) -> dict[int, Span]:
    """What a ``supersedes`` content means. Raises ProtocolViolation when it cannot be."""
    try:
        told = {int(n, 16): (first, last, bytes.fromhex(digest)) for n, (first, last, digest) in _spans(text).items()}
    except (ValueError, msgspec.MsgspecError) as error:
        raise ProtocolViolation("a control chunk does not tell what it says anew") from error
    if any(not 0 < first <= last < 1 << 53 for first, last, _ in told.values()):
        raise ProtocolViolation("a control chunk says anew what cannot be")
    return told


class Said:
    """All that was said, as far as it was heard here."""

    def __init__(self) -> None:
        self._erased: dict[int, list[Range]] = {}
        self._groups: dict[str, Vector] = {}
        self._others: list[Content] = []  # words of another version of this node: kept as they are

    def hear(self, word: str, text: str | bytes) -> None:
        """One content more."""
        if word == SUPERSEDES:
            return  # what it told of is gone from here
        try:
            if word == ERASE:
                for strand, ranges in ranges_of(text).items():
                    self._erased.setdefault(strand, []).extend(ranges)
                return
            if word == GROUP:
                group, vector = told_of(text)
                self._groups[group] = raise_to(self._groups.pop(group, {}), vector)
                return
        except ProtocolViolation:
            pass  # nobody can follow it; it is passed on like any word that is not known
        self._others.append((word, text.encode() if isinstance(text, str) else text))

    def contents(self, joined: Callable[[int, tuple[Range, ...]], Iterable[Range]]) -> Iterator[Content]:
        """The same in few words. ``joined`` may join ranges of a strand over oseqs that are no records, or let go of
        what nobody asks for any more."""
        yield from erase_orders({strand: joined(strand, merged(ranges)) for strand, ranges in self._erased.items()})
        for group in list(self._groups)[-MOST_GROUPS:]:
            yield tell(group, self._groups[group])
        yield from self._others


def bridged(ranges: Iterable[Range], no_records: Iterable[Range]) -> tuple[Range, ...]:
    """The ranges, in order, joined where only oseqs that are no live records lie between them."""
    ranges = tuple(ranges)
    blocks, until = iter(merged((*ranges, *no_records))), 0
    found: list[Range] = []
    for first, last in ranges:
        if found and first <= until:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
            until = next(end for _, end in blocks if end >= first)
    return tuple(found)
