"""Promises between nodes at the end: everyone has what its sources have, the same, and nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from ..graphs import Link, reachable
from ..plan import COPIES, ERASING, Plan, number_of
from ..world.story import Story, Told
from .dump import Dump
from .logs import Finding, check_log
from .routers import check_routers

Halts = Mapping[str, set[tuple[str, str, int]]]  # node: (peer, topic, strand) that stand still there


class End(Struct, frozen=True):
    """The end of a run, as the checker is given it."""

    plan: Plan
    story: Story
    dumps: dict[str, Dump]
    halts: Halts


def check(end: End) -> list[Finding]:
    """All promises that are about stores. Linear in what they hold."""
    plan, found = end.plan, list[Finding]()
    for dump in end.dumps.values():
        found += check_log(dump, bool(plan.caps), end.story.has_deletes(), plan.menu in ERASING)
    for link in plan.links:
        found += _arrived(end, link)
    found += _same(end)
    found += _nothing_lost(end)
    found += _nothing_doubled(end)
    found += _erased_everywhere(end)
    found += _halts_have_reasons(end)
    found += check_routers(plan, end.story, end.dumps)
    return found


def arrived(puller: Dump, source: Dump, halted: set[tuple[str, str, int]]) -> Iterator[tuple[str, int, int, int]]:
    """(topic, strand, ours, theirs) of every strand in which a node stands below a node that it pulls from."""
    for topic in source.topics.values():
        for number, strand in topic.strands.items():
            if (source.node, topic.name, number) in halted:
                continue
            ours = puller.strand(topic.name, number)
            at = ours.last if ours is not None else 0
            if at < strand.last:
                yield topic.name, number, at, strand.last


def _arrived(end: End, link: Link) -> Iterator[Finding]:
    puller, source = link
    halted = end.halts.get(puller, set())
    for topic, number, ours, theirs in arrived(end.dumps[puller], end.dumps[source], halted):
        what = f"{puller} has {ours} of {theirs} records of {topic} {number:016x} that {source} has"
        yield "eventually_arrives", what


def _same(end: End) -> Iterator[Finding]:
    """Equal (strand, oseq) is equal content; where a rewind made it differ, each link between the two says so."""
    for puller, source in end.plan.links:
        halted = end.halts.get(puller, set())
        for name, topic in end.dumps[source].topics.items():
            for number, strand in topic.strands.items():
                ours = end.dumps[puller].strand(name, number)
                if ours is None:
                    continue
                theirs, mine = strand.texts(), ours.texts()
                differ = [oseq for oseq in theirs if oseq in mine and mine[oseq] != theirs[oseq]]
                ends = {c.last: c.hash for c in strand.held}
                differ += [c.last for c in ours.held if ends.get(c.last, c.hash) != c.hash]
                if not differ:
                    continue
                where = f"{puller} and {source} differ in {name} {number:016x}/{differ[0]}"
                if not end.story.has_rewinds():
                    yield "always_same", where
                elif (source, name, number) not in halted:
                    yield "eventually_named", f"{where}, and the link does not say so"


def _halts_have_reasons(end: End) -> Iterator[Finding]:
    for node, halts in end.halts.items():
        for peer, topic, number in sorted(halts):
            if not end.story.has_rewinds():
                yield "always_fork_free", f"{node} halts {topic} {number:016x} of {peer}, and nobody was rewound"


def _nothing_lost(end: End) -> Iterator[Finding]:
    held = {topic: {text for dump in end.dumps.values() for text in dump.texts(topic)} for topic, _ in end.plan.topics}
    for told in end.story.told.values():
        for text in told.write.texts:
            there = text in held[told.write.topic]
            excused = text in end.story.lost or text in end.story.let_go
            if told.acked and not there and not excused:
                yield "always_acked_is_kept", f"{text} was acknowledged by {told.write.node} and is nowhere"
            if there and _is_refused(told):
                yield "always_refused_is_nowhere", f"{text} was refused by {told.write.node} and is there"


def _erased_everywhere(end: End) -> Iterator[Finding]:
    """What was erased for all is nowhere that the order could come to."""
    for node, dump in end.dumps.items():
        held = {(n, oseq) for topic in dump.topics.values() for n, s in topic.strands.items() for oseq in s.texts()}
        for place in sorted(held & end.story.removed.get(node, {}).keys()):
            yield "always_deleted_stays_so", f"{node} holds {place}, which was deleted there"
        for place in sorted(held & end.story.erased.keys()):
            if node in reachable(who := end.story.erased[place], end.plan.links):
                yield "finally_erased", f"{node} holds {place}, which was erased at {who}"


def _is_refused(told: Told) -> bool:
    return told.refused and not told.acked and not told.unknown


def _nothing_doubled(end: End) -> Iterator[Finding]:
    for node, dump in end.dumps.items():
        for topic, _ in end.plan.topics:
            for text, times in dump.texts(topic).items() if topic != COPIES else ():
                told = end.story.told.get(number_of(text))
                if told is None:
                    yield "always_as_written", f"{node} holds {text}, which nobody wrote"
                elif times > 1 and not end.story.was_struck(told.write.node, told.began, told.ended):
                    yield "always_idempotent", f"{node} holds {text} {times} times"
