"""Whether two nodes hold the same, decided from their digests: checked against what they really hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mirrord.client.comparison import (
    Digest,
    Finding,
    GapRange,
    Position,
    StrandDigest,
    compare,
    held,
    questions,
    without,
)

SPAN = 12
gap_sets = st.sets(st.integers(1, SPAN))


def _ranges(oseqs: set[int], reason: str = "expired") -> tuple[GapRange, ...]:
    """A set of oseqs as ranges of one each: any cutting must do."""
    return tuple(GapRange(oseq, oseq, reason) for oseq in sorted(oseqs))


def _strand(history: str, gone: set[int], at: int | None = None, name: str = "5a") -> StrandDigest:
    """What a node with this history tells, one letter a record; the hash at n is its first n letters."""
    gaps = _ranges({oseq for oseq in gone if oseq <= len(history)})
    asked = Position(at, history[:at]) if at is not None and at <= len(history) else None
    return StrandDigest(name, "fra", len(history), history or None, gaps, asked)


def _found(a: StrandDigest, b: StrandDigest) -> list[Finding]:
    one, other = Digest("t", (a,)), Digest("t", (b,))
    return compare(one, other)


def _oseqs(findings: list[Finding], kind: str, side: int | None) -> set[int]:
    return {
        oseq
        for found in findings
        if (found.kind, found.side) == (kind, side)
        for oseq in range(found.first, found.last + 1)
    }


@given(st.integers(0, SPAN), st.integers(0, SPAN), gap_sets, gap_sets)
def test_of_one_history_exactly_what_is_lacking_is_named(n: int, m: int, gone_a: set[int], gone_b: set[int]) -> None:
    """Missing and gap ranges are exactly the records that one node holds and the other does not."""
    history = "abcdefghijklmnopqrst"
    a, b = _strand(history[:n], gone_a, min(n, m)), _strand(history[:m], gone_b, min(n, m))
    findings = _found(a, b)
    holds_a, holds_b = set(range(1, n + 1)) - gone_a, set(range(1, m + 1)) - gone_b
    assert _oseqs(findings, "missing", 1) | _oseqs(findings, "gap", 1) == holds_a - holds_b
    assert _oseqs(findings, "missing", 0) | _oseqs(findings, "gap", 0) == holds_b - holds_a
    assert not {found.kind for found in findings} & {"different", "unverified"}
    if n == m and gone_a == gone_b:
        assert findings == []


@given(st.text("ab", min_size=1, max_size=SPAN), st.text("ab", min_size=1, max_size=SPAN))
def test_a_fork_is_found_wherever_it_lies(one: str, other: str) -> None:
    """Two histories of one strand that differ in what both claim to have are never called equal."""
    both = min(len(one), len(other))
    findings = _found(_strand(one, set(), both), _strand(other, set(), both))
    assert any(found.kind == "different" for found in findings) == (one[:both] != other[:both])
    assert bool(findings) == (one != other)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))),
)
def test_range_subtraction_is_set_subtraction(ranges: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    """The interval arithmetic agrees with plain sets, and yields no empty range."""

    def members(found: list[tuple[int, int]]) -> set[int]:
        return {n for first, last in found for n in range(first, last + 1)}

    proper = [(first, last) for first, last in ranges if first <= last]
    left = without(proper, taken)
    assert members(left) == members(proper) - members(taken)
    assert all(first <= last for first, last in left)


def test_a_hash_that_is_not_known_proves_nothing() -> None:
    """No proof is not equality: neither where both stand, nor where the one behind does."""
    assert [f.kind for f in _found(StrandDigest("5a", "fra", 3), StrandDigest("5a", "fra", 3))] == ["unverified"]
    ahead = StrandDigest("5a", "fra", 5, "h5", at=Position(3, None))
    kinds = {found.kind for found in _found(ahead, StrandDigest("5a", "fra", 3, "h3"))}
    assert kinds == {"unverified", "missing"}


def test_an_answer_for_another_position_is_no_answer() -> None:
    """Only the hash at the other's very position counts."""
    ahead = StrandDigest("5a", "fra", 5, "h5", at=Position(2, "h3"))
    assert "unverified" in {found.kind for found in _found(ahead, StrandDigest("5a", "fra", 3, "h3"))}


def test_a_strand_that_one_node_never_saw_is_missing_there() -> None:
    """All of it that the other holds."""
    findings = compare(Digest("t", (_strand("abc", {1}),)), Digest("t"))
    assert [(f.kind, f.first, f.last, f.side) for f in findings] == [("missing", 2, 3, 1)]


def test_what_nobody_holds_any_more_is_no_difference() -> None:
    """A strand of which all has expired on one node, and which the other never saw, lacks nothing."""
    assert compare(Digest("t", (_strand("ab", {1, 2}),)), Digest("t")) == []


def test_a_control_chunk_is_the_same_as_what_was_said_anew_for_it() -> None:
    """One node keeps it, the other let go of it: no record is lacking anywhere. Who never had it does lack it."""
    kept = StrandDigest("5a", "fra", 5, "h5", (GapRange(2, 2, "control"), GapRange(5, 5, "control")))
    let_go = StrandDigest("5a", "fra", 5, "h5", (GapRange(2, 2, "erased"), GapRange(5, 5, "control")))
    assert _found(kept, let_go) == []
    behind = StrandDigest("5a", "fra", 4, "h4", (GapRange(2, 2, "control"),))
    told = structs.replace(kept, at=Position(4, "h4"))
    assert [(f.kind, f.first, f.last, f.side) for f in _found(told, behind)] == [("missing", 5, 5, 1)]


def test_damage_on_disk_is_a_finding() -> None:
    """A deep check that fails makes the nodes unequal though their positions agree."""
    good = StrandDigest("5a", "fra", 1, "h", deep={"ok": True})
    bad = StrandDigest("5a", "fra", 1, "h", deep={"ok": False, "checked": 1})
    assert _found(good, good) == []
    assert [(f.kind, f.side) for f in _found(good, bad)] == [("damaged", 1)]


def test_the_node_ahead_is_asked_at_the_others_position() -> None:
    """And only it, and not about what the other never saw."""
    mine = Digest("t", (_strand("abc", set(), name="1"), _strand("a", set(), name="2"), _strand("ab", set(), name="3")))
    theirs = Digest("t", (_strand("a", set(), name="1"), _strand("abc", set(), name="2")))
    assert questions(mine, theirs) == {"1": 1}
    assert questions(theirs, mine) == {"2": 1}


def test_held_is_what_gaps_leave() -> None:
    """The ranges that a node can still show."""
    strand = StrandDigest("5a", "fra", 10, "h", (GapRange(1, 2), GapRange(5, 5)))
    assert held(strand, 10) == [(3, 4), (6, 10)]
    assert held(strand, 0) == []
