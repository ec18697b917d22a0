"""The order in which sights change: whoever is told page by page hears each place once it stands, and nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrord.links.board import matrix
from mirrord.links.board.matrix import Matrix
from mirrord.links.wire import Sight

STARTED = (1, 1)
moves = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.integers(1, 3)), max_size=200)


@given(moves, st.integers(1, 5))
def test_pages_tell_each_change_once_and_in_order(moved: list[tuple[str, int, int]], most: int) -> None:
    """Read page by page while places move on: in the end everything newest was told, of nobody's own, none twice."""
    seen, told, change = Matrix("me"), list[Sight](), 0
    places: dict[tuple[str, int], int] = {}
    for number, (node, strand, step) in enumerate(moved):
        places[node, strand] = places.get((node, strand), 0) + step
        assert seen.see(node, "t", strand, places[node, strand], 0, (*STARTED, number))
        if not number % 3:
            page, change = seen.since(change, most, but="c")
            assert len(page) <= most
            told += page
    while True:
        page, change = seen.since(change, most, but="c")
        if not page:
            break
        told += page
    assert len({sight[:4] for sight in told}) == len(told)
    newest = {(node, strand): oseq for node, _, strand, oseq, _, _ in told}
    assert newest == {place: oseq for place, oseq in places.items() if place[0] != "c"}


def test_what_was_followed_by_a_newer_change_is_forgotten() -> None:
    """A place that moves for ever takes no more room than one that moved once."""
    seen = Matrix("me")
    for oseq in range(1, 1000):
        seen.see("a", "t", 1, oseq, 0, (*STARTED, oseq))
        assert len(seen._order) <= 2 + matrix.SPARE
    assert [sight[3] for sight in seen.since(0, 10, but="")[0]] == [999]
