"""Where a caller stands in each strand of a topic: as it told, or as was sent to it since."""

from __future__ import annotations

from msgspec import Struct

from ...records.strand import Identity
from ...topics.topic import Topic
from ..wire import At, Rewound, Take

SEND, PASS, GAP, FORKED = "send", "pass", "gap", "forked"  # what becomes of a chunk


class Standing(Struct):
    """In one strand. Some reasons for which nothing of it is sent end when the caller tells anew where it stands."""

    oseq: int = 0
    rests: bool = False  # the caller was told something that it must answer first, such as a cover
    skipped: bool = False  # it takes the strand over another link
    forked: bool = False  # its position contradicts what is here
    own: bool | None = None  # it writes the strand itself in its present life; None: not looked at yet
    told: bool = False  # it knows the strand
    introduced: bool = False  # it was sent the strand's descriptor
    strip_to: int = 0  # it takes chunks as they are left, if they end at or before this

    def verdict(self, first: int, last: int) -> str:
        """What becomes of a chunk."""
        after = self.oseq
        if last <= after or self.own or self.skipped or self.rests or self.forked:
            return PASS
        if first <= after:  # the caller stands inside a chunk, where no boundary can be
            return FORKED
        return SEND if first == after + 1 else GAP

    def wants(self, last: int) -> bool:
        """Whether the caller is to be sent what there is up to here; of what it writes itself, that there is such a
        strand: if it does not know it, its store was put back."""
        if self.own:
            return not (self.told or self.introduced)
        return last > self.oseq and not (self.skipped or self.rests or self.forked)


class Standings:
    """In all strands of one topic, those that are not known here included."""

    def __init__(self, topic: Topic, caller: Identity) -> None:
        self._topic, self._caller = topic, caller
        self._by_strand: dict[int, Standing] = {}

    def of(self, number: int) -> Standing:
        """In a strand that the topic has."""
        standing = self._by_strand.get(number)
        if standing is None or standing.own is None:
            standing = self._held(number)
            standing.own = self._caller.wrote(self._topic.strands[number].descriptor)
        return standing

    def _held(self, number: int) -> Standing:
        return self._by_strand.setdefault(number, Standing())

    def place(self, vector: list[At]) -> None:
        """The caller stands here now."""
        for number, oseq, _ in vector:
            standing = self._held(number)
            standing.oseq, standing.strip_to = oseq, 0
            standing.told = True
            standing.rests = standing.skipped = standing.forked = False

    def go_on_from(self, before: Standings) -> None:
        """The topic was deleted and made anew: what the caller said of it still holds. It is told anew what there is,
        so nothing rests."""
        for number, standing in before._by_strand.items():
            skipped, forked, strip_to = standing.skipped, standing.forked, standing.strip_to
            kept = Standing(standing.oseq, skipped=skipped, forked=forked, strip_to=strip_to, told=standing.told)
            self._by_strand[number] = kept

    def skip(self, strands: list[int]) -> None:
        """The caller takes these over another link. Only strands that it knows count."""
        for number in strands:
            self._held(number).skipped = True

    def take(self, takes: list[Take]) -> None:
        """The caller knows that nobody has more of these strands, up to there: it takes what is left."""
        for number, last in takes:
            self._held(number).strip_to = last

    def proves_rewind(self, vector: list[At]) -> int | None:
        """Our open strand, if the caller stands above our head in it or holds other content there: we were rewound."""
        own = self._topic.own_strand
        if own is not None:
            ours = own.descriptor.strand
            if any(n == ours and (oseq > own.durable_last or self._held(n).forked) for n, oseq, _ in vector):
                return ours
        return None

    def rewinds_of_caller(self, no: int) -> list[Rewound]:
        """Strands that the caller writes in its present life and of which we hold more than it told. It compares this
        with where it stands by then: only a node whose store was put back stands lower."""
        found: list[Rewound] = []
        for number, strand in self._topic.strands.items():
            standing = self.of(number)
            if standing.own and strand.durable_last > standing.oseq:
                found.append(Rewound(no, number, strand.durable_last, standing.oseq))
        return found
