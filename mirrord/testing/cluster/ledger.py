"""What was acknowledged, what nodes hold, and where the two do not agree. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct, field


class Mark(Struct, frozen=True, order=True):
    """A record's payload: the writer's how-many-th it is. No two records of one ledger are the same."""

    writer: str
    number: int


class Origin(Struct, frozen=True):
    """Who wrote a record first, and its place there."""

    node: str
    strand: str
    oseq: int


class Held(Struct, frozen=True):
    """A record as a node shows it."""

    seq: int = field(name="$seq")
    node: str = field(name="$node")
    origin: Origin = field(name="$origin")
    data: msgspec.Raw


class Dump(Struct, frozen=True):
    """All that one node shows of one topic, in its order."""

    records: tuple[Held, ...] = ()
    tombstones: tuple[dict[str, Any], ...] = ()


class Verdict(Struct, frozen=True):
    """How many records of a node's dump are not as they must be."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0  # not behind the one that their writer, or their strand, has before them
    foreign: int = 0  # nobody wrote them, or they were refused, or they have the wrong origin

    @property
    def right(self) -> bool:
        """Whether every acknowledged record is there exactly once, in order, and nothing else."""
        return not (self.lost or self.doubled or self.disordered or self.foreign)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.disordered + other.disordered,
            self.foreign + other.foreign,
        )


class Ledger:
    """Per topic: what was tried, what was acknowledged, what was refused for good."""

    def __init__(self) -> None:
        self._acknowledged: dict[str, dict[Mark, str]] = {}  # topic: mark: the node that acknowledged it
        self._refused: dict[str, set[Mark]] = {}
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._writers = 0

    def new_writer(self, node: str) -> str:
        """A name that no other writer has."""
        self._writers += 1
        return f"{node}-{self._writers}"

    def next_marks(self, topic: str, writer: str, count: int) -> list[Mark]:
        """The payloads of a writer's next records."""
        first = self._numbers[topic, writer] + 1
        self._numbers[topic, writer] += count
        return [Mark(writer, number) for number in range(first, first + count)]

    def acknowledge(self, topic: str, node: str, marks: Iterable[Mark]) -> None:
        """A node said that it has these."""
        self._acknowledged.setdefault(topic, {}).update(dict.fromkeys(marks, node))

    def refuse(self, topic: str, marks: Iterable[Mark]) -> None:
        """A node said that it does not have these; they must not be seen anywhere."""
        self._refused.setdefault(topic, set()).update(marks)

    def acknowledged(self, topic: str) -> Mapping[Mark, str]:
        """Each with the node that acknowledged it."""
        return self._acknowledged.get(topic, {})

    def count(self) -> int:
        """Acknowledged records of all topics."""
        return sum(len(marks) for marks in self._acknowledged.values())

    def judge(
        self, topic: str, dump: Dump, *, unsure: bool = False, may_lack: Collection[Mark] | None = None
    ) -> Verdict:
        """What is wrong with a dump. With ``unsure`` what was tried and never answered may be there too.

        ``may_lack``: what may be gone, if anything may; strands then may have holes.
        """
        seen = [mark_of(record) for record in dump.records]
        counts = Counter(seen)
        acknowledged, refused = self.acknowledged(topic), self._refused.get(topic, set())
        foreign = 0
        for mark, record in zip(seen, dump.records, strict=True):
            expected = mark not in refused and (unsure or mark in acknowledged)
            foreign += not expected or acknowledged.get(mark, record.origin.node) != record.origin.node
        return Verdict(
            lost=sum(mark not in counts for mark in acknowledged if mark not in (may_lack or ())),
            doubled=sum(times - 1 for times in counts.values()),
            disordered=_disordered(seen) + _holes(dump.records, may_lack is not None) + _seqs_back(dump.records),
            foreign=foreign,
        )


def payload(mark: Mark) -> msgspec.Raw:
    """The JSON text to append."""
    return msgspec.Raw(msgspec.json.encode(mark))


def mark_of(record: Held) -> Mark:
    """What a record was appended as. Raises msgspec.ValidationError for one that no ledger made."""
    return msgspec.json.decode(record.data, type=Mark)


def _disordered(marks: Sequence[Mark]) -> int:
    """Records that do not follow their writer's last one before them."""
    last: dict[str, int] = {}
    wrong = 0
    for mark in marks:
        wrong += mark.number <= last.get(mark.writer, 0)
        last[mark.writer] = mark.number
    return wrong


def _holes(records: Sequence[Held], may_be: bool) -> int:
    """Records that are not their strand's next one; if holes ``may_be``, that do not come after the last one."""
    last: dict[str, int] = {}
    wrong = 0
    for record in records:
        before = last.get(record.origin.strand, 0)
        wrong += record.origin.oseq <= before if may_be else record.origin.oseq != before + 1
        last[record.origin.strand] = record.origin.oseq
    return wrong


def _seqs_back(records: Sequence[Held]) -> int:
    return sum(later.seq <= earlier.seq for earlier, later in pairwise(records))
