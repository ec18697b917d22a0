"""How groups lie in the store: one mark with the cursor, and one for every block that has something pending."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgpack

from ..storage.store import Change, DropMark, PutMark, marks_of_log
from .group import Group

VERSION = 1


def prefix(tid: int) -> str:
    """What all marks of a topic's groups begin with. A group's name has no slash."""
    return f"{marks_of_log(tid)}group/"


def changes(tid: int, group: Group) -> Iterator[Change]:
    """Store what changed since this was asked last; only blocks that were touched are written anew."""
    key = prefix(tid) + group.name
    yield PutMark(key, msgpack.packb([VERSION, group.cursor, group.created_ms, group.told_to]))
    for block in sorted(group.touched):
        runs = [[first, last, d.consumer, d.at_ms, d.times] for first, last, d in group.runs(block)]
        mark = f"{key}/{block:08x}"
        yield PutMark(mark, msgpack.packb(runs)) if runs else DropMark(mark)
    group.touched.clear()
    group.place_moved = False


def dropped(tid: int, group: Group) -> Iterator[Change]:
    """Nothing of the group stays."""
    key = prefix(tid) + group.name
    yield DropMark(key)
    for block in group.blocks:
        yield DropMark(f"{key}/{block:08x}")


def groups(tid: int, marks: Iterable[tuple[str, bytes]]) -> dict[str, Group]:
    """All groups of a topic, as its marks tell, by name."""
    found: dict[str, Group] = {}
    runs: dict[str, list[tuple[int, int, str, int, int]]] = {}
    for key, value in sorted(marks):
        name, _, block = key[len(prefix(tid)) :].partition("/")
        if block:
            runs.setdefault(name, []).extend(msgpack.unpackb(value))
        else:
            _, cursor, created_ms, told_to = msgpack.unpackb(value)[:4]
            found[name] = Group(name, created_ms, cursor, told_to=told_to)
    for name, some in runs.items():
        found[name].restore(some)
    return found
