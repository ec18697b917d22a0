"""Promises of routers: what a node holds of a source, it holds once in the destination, whoever died in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ..graphs import reachable
from ..plan import COPIES, Plan, number_of
from ..world.story import Story
from .dump import Dump
from .logs import Finding


def check_routers(plan: Plan, story: Story, dumps: Mapping[str, Dump]) -> Iterator[Finding]:
    """Each record as often among the copies as it stands in its source: once. Only its origin copies it: one that the
    origin lost, and that no link brings back to it, needs none; and where the origin lost the tail of its store, it
    copies again what others hold copies of that no link brings back to it."""
    held = {node: _texts(dump, plan.sources) for node, dump in dumps.items()}
    for node, dump in dumps.items() if plan.sources else ():
        copies = dump.texts(COPIES)
        for text, times in held[node].items():
            told = story.told.get(number_of(text))
            origin, found = told.write.node if told is not None else node, copies.get(text, 0)
            what = f"{node} holds {text} of {origin} {times} times, and {found} copies of it"
            if found < times and held[origin][text] >= times:
                yield "finally_copied", what
            elif found > times and (origin in reachable(node, plan.links) or not _lost(story, origin)):
                yield "finally_copied_once", what


def _lost(story: Story, node: str) -> bool:
    return any(who == node and how in ("power", "wipe") for _, who, how in story.struck)


def _texts(dump: Dump, sources: tuple[str, ...]) -> Counter[str]:
    found: Counter[str] = Counter()
    for source in sources:
        found.update(dump.texts(source))
    return found
