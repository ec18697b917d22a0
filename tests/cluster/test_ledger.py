"""The judge of all tests with real nodes: each way in which records can be wrong is seen, and counted as that."""

from __future__ import annotations

import pytest

from mirrord.testing.cluster.ledger import Dump, Held, Ledger, Mark, Origin, Verdict, payload


def held(seq: int, mark: Mark, oseq: int, node: str = "ada") -> Held:
    return Held(seq, node, Origin(node, f"strand of {node}", oseq), payload(mark))


MARKS = [Mark("ada-1", 1), Mark("ada-1", 2), Mark("ada-1", 3)]
RIGHT = [held(1, MARKS[0], 1), held(2, MARKS[1], 2), held(3, MARKS[2], 3)]
FALSE = Mark("ada-1", 4)


def ledger() -> Ledger:
    """Three records were acknowledged by ada, a fourth was refused, a fifth never answered."""
    kept = Ledger()
    assert kept.next_marks("orders", kept.new_writer("ada"), 5)[:3] == MARKS
    kept.acknowledge("orders", "ada", MARKS)
    kept.refuse("orders", [FALSE])
    return kept


@pytest.mark.parametrize(
    ("records", "verdict"),
    [
        (RIGHT, Verdict()),
        (RIGHT[:2], Verdict(lost=1)),
        ([], Verdict(lost=3)),
        ([*RIGHT, held(4, MARKS[2], 4)], Verdict(doubled=1, disordered=1)),
        ([RIGHT[0], held(2, MARKS[2], 2), held(3, MARKS[1], 3)], Verdict(disordered=1)),
        ([RIGHT[0], RIGHT[1], held(3, MARKS[2], 4)], Verdict(disordered=1)),
        ([*RIGHT[:2], held(2, MARKS[2], 3)], Verdict(disordered=1)),
        ([*RIGHT, held(4, FALSE, 4)], Verdict(foreign=1)),
        ([*RIGHT, held(4, Mark("ada-1", 5), 4)], Verdict(foreign=1)),
        ([*RIGHT[:2], held(3, MARKS[2], 1, "bob")], Verdict(foreign=1)),
    ],
    ids=["right", "lost", "all lost", "doubled", "out of order", "a hole in the strand", "a seq used twice",
         "refused", "never answered", "wrong origin"],
)  # fmt: skip
def test_what_is_wrong_is_counted(records: list[Held], verdict: Verdict) -> None:
    """Without this a broken node could pass every test of this folder."""
    found = ledger().judge("orders", Dump(tuple(records)))
    assert found == verdict
    assert found.right == (verdict == Verdict())


def test_unsure_lets_in_what_was_not_answered_and_never_what_was_refused() -> None:
    """A node that was killed may have kept an append whose answer was lost; it may not keep what it refused."""
    open_question, refused = held(4, Mark("ada-1", 5), 4), held(4, FALSE, 4)
    assert ledger().judge("orders", Dump((*RIGHT, open_question)), unsure=True).right
    assert ledger().judge("orders", Dump((*RIGHT, refused)), unsure=True) == Verdict(foreign=1)


def test_what_may_be_gone_is_not_lost_and_nothing_else_is_forgiven() -> None:
    """After deletions a strand has holes; what nobody deleted is still owed, once and in order."""
    left = [RIGHT[0], RIGHT[2]]
    assert ledger().judge("orders", Dump(tuple(left)), may_lack={MARKS[1]}).right
    assert ledger().judge("orders", Dump(tuple(left)), may_lack=()) == Verdict(lost=1)
    assert ledger().judge("orders", Dump((RIGHT[2], RIGHT[0])), may_lack={MARKS[1]}).disordered
