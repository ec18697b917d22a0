"""The rules of apply, stated a second time in another way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.records.gap import Cover
from mirrord.topics.log import rules

HASHES = [bytes([n]) * 16 for n in range(3)]


def header(first: int, count: int, prev: bytes = HASHES[0], digest: bytes = HASHES[1]) -> tuple[object, ...]:
    return (digest, prev, 1, 0, 84, 0, 0, 7, first, count, 9, 0, 0, 0)


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 30))
def test_a_chunk_is_next_known_ahead_or_a_fork(last: int, first: int, count: int) -> None:
    """Compare-and-append as sets: what the log has is 1..last, what the chunk has is its range, boundaries agree."""
    log, chunk = set(range(1, last + 1)), set(range(first, first + count))
    verdict = rules.follows(last, header(first, count))  # type: ignore[arg-type]
    if chunk <= log:
        assert verdict is rules.KNOWN
    elif chunk & log:
        assert verdict is rules.FORKED
    else:
        assert verdict is (rules.NEXT if min(chunk) - 1 == last else rules.AHEAD)


@pytest.mark.parametrize(
    ("ours", "told", "holds"),
    [(HASHES[0], HASHES[0], True), (HASHES[0], HASHES[1], False), (None, HASHES[1], True)],
)
def test_the_chain_holds(ours: bytes | None, told: bytes, holds: bool) -> None:
    """A chunk names the hash before it; after a cover that told none, its hash is adopted."""
    assert rules.chains(ours, header(1, 1, prev=told)) is holds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "ours", "first", "count", "digest", "same"),
    [
        (5, HASHES[1], 4, 2, HASHES[1], True),
        (5, HASHES[1], 4, 2, HASHES[2], False),  # ends where we end, with another hash: a fork
        (5, HASHES[1], 2, 2, HASHES[2], True),  # ends before: nothing to compare with here
        (5, None, 4, 2, HASHES[2], True),  # our hash is not known
    ],
)
def test_a_known_chunk_may_still_prove_a_fork(
    last: int, ours: bytes | None, first: int, count: int, digest: bytes, same: bool
) -> None:
    """Both ends compare: a repeat that ends at our head must end with our hash."""
    assert rules.same_end(last, ours, header(first, count, digest=digest)) is same  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "told", "holds"),
    [
        (HASHES[0], HASHES[0], True),
        (HASHES[0], HASHES[1], False),
        (HASHES[0], None, True),
        (None, HASHES[1], True),
        (None, None, True),
    ],
)
def test_a_cover_chains_like_a_chunk(ours: bytes | None, told: bytes | None, holds: bool) -> None:
    """A cover tells the hash before its first oseq, or null; a different one is a fork."""
    assert rules.cover_chains(ours, Cover(1, 1, 2, "lost", told, None)) is holds


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30), st.floats(0, 1e6))
def test_the_ceiling_is_above_every_readable_seq(head: int, ceiling: int, per_second: float) -> None:
    """It moves only when passed, and then by two seconds of appends or 4 096, so syncs for it stay rare."""
    raised = rules.raise_ceiling(head, ceiling, per_second)
    assert raised >= head
    if head <= ceiling:
        assert raised == ceiling
    else:
        assert raised - head >= max(4096, int(2 * per_second))


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_a_new_life_re_uses_no_seq(head: int, ceiling: int) -> None:
    """Whatever may have been readable before is below where the new life goes on."""
    assert rules.after_ceiling(head, ceiling) >= max(head, ceiling)
