"""Merging as arithmetic."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mirrord.storage.packing import MOST_TAGS, Extent, index_tags, merge_parts, plan
from mirrord.storage.store import MANY_TAGS, Part

extents = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1), st.integers(1, 120)), max_size=40)


def line_up(told: list[tuple[int, int, int]]) -> list[Extent]:
    """Packs in log order, some with a hole before them."""
    lined, seq = [], 1
    for count, hole, size in told:
        lined.append(Extent(seq + hole, seq + hole + count - 1, size))
        seq = lined[-1].last + 1
    return lined


@given(told=extents)
def test_groups_are_whole_full_and_without_holes(told: list[tuple[int, int, int]]) -> None:
    """A group holds neighbours only, fits into a pack, and is closed by what follows; looking again from
    ``done`` finds nothing new."""
    packs = line_up(told)
    planned = plan(packs, 100)
    at = {pack.seq: index for index, pack in enumerate(packs)}
    for first, last in planned.groups:
        group = packs[at[first] : at[last] + 1]
        assert len(group) > 1
        assert sum(pack.size for pack in group) <= 100
        assert all(a.last + 1 == b.seq for a, b in pairwise(group))
        follower = packs[at[last] + 1]
        assert follower.seq > group[-1].last + 1 or sum(pack.size for pack in group) + follower.size > 100
    rest = [pack for pack in packs if pack.seq >= planned.done]
    assert plan(rest, 100).groups == []
    assert bool(packs) == bool(planned.done)


def test_runs_that_touch_become_one() -> None:
    """Two writers that took turns leave one run each, not one per record."""
    parts = [Part(1, 1, 1), Part(2, 1, 2), Part(1, 2, 2), Part(2, 4, 4), Part(1, 3, 9)]
    assert merge_parts(parts) == (Part(1, 1, 9), Part(2, 1, 2), Part(2, 4, 4))


def test_too_many_tags_are_one_mark() -> None:
    """The index stays small however many tags a pack has."""
    assert index_tags(["b", "a", "b"]) == ("a", "b")
    assert index_tags(str(i) for i in range(MOST_TAGS + 1)) == (MANY_TAGS,)
    assert index_tags(["a", MANY_TAGS]) == (MANY_TAGS,)
