"""The judges of work under faults: each way in which a promise can be broken is seen, and what is allowed is not."""

from __future__ import annotations

import pytest
from msgspec import json

from mirrord.testing.cluster.ledger import Mark
from mirrord.testing.work.account import Account
from mirrord.testing.work.leases import Lease, Leases
from mirrord.testing.work.seen import Seen

JOB = Mark("ada-1", 1)


def lease(since_s: float, until_s: float, process: int = 7) -> Lease:
    return Lease(1, f"lease_{since_s}", JOB, process, since_s, until_s)


def judged(second: Lease, sent_s: float, *, settled: bool = False) -> dict[str, int]:
    """A first lease from 1 to 3 s; then the second, for which was asked at ``sent_s``."""
    account = Account()
    leases, first = Leases(account), lease(1.0, 3.0)
    leases.grant(first, 0.9)
    if settled:
        leases.settle([first], ack=False)
    leases.grant(second, sent_s)
    return dict(account.wrong)


def test_a_job_in_two_hands_is_seen() -> None:
    """Without this a home that grants twice could pass every round."""
    assert judged(lease(2.0, 4.0), 1.5) == {"leased to two": 1}


@pytest.mark.parametrize(
    ("second", "sent_s", "settled"),
    [
        (lease(3.1, 5.0), 1.5, False),
        (lease(2.0, 4.0), 0.95, False),
        (lease(2.0, 4.0, process=8), 1.5, False),
        (lease(2.0, 4.0, process=0), 1.5, False),
        (lease(2.0, 4.0), 1.5, True),
    ],
    ids=["after its end", "asked before", "another home", "maybe another home", "given back"],
)
def test_a_job_that_comes_again_rightly_is_not(second: Lease, sent_s: float, settled: bool) -> None:
    """A judge that cries wolf is switched off."""
    assert judged(second, sent_s, settled=settled) == {}


def test_what_was_acknowledged_and_comes_again_is_seen() -> None:
    """Asked for after the ack was answered, and counted twice; not what was asked for before."""
    account = Account()
    leases, one = Leases(account), lease(1.0, 3.0)
    leases.settle([one], ack=True)
    leases.acknowledged([JOB], 2.0)
    leases.grant(lease(2.2, 4.0), 1.9)
    assert not account.wrong
    leases.grant(lease(9.0, 11.0), 8.0)
    leases.acknowledged([JOB], 9.5)
    assert account.wrong == {"delivered again": 1, "settled twice": 1}
    assert leases.maybe_acked == {JOB}


def event(from_seq: int, to_seq: int, *seqs: int) -> bytes:
    records = [{"$seq": seq, "data": Mark("ada-1", seq)} for seq in seqs]
    return json.encode({"from_seq": from_seq, "to_seq": to_seq, "records": records})


@pytest.mark.parametrize(
    ("name", "data", "wrong"),
    [
        ("record", event(2, 4, 3, 4), {}),
        ("record", event(2, 9, 5), {}),
        ("record", event(2, 4, 2, 4), {"shown twice, or turned round": 1}),
        ("record", event(2, 4, 4, 3), {"shown twice, or turned round": 1}),
        ("record", event(1, 3, 3), {"not where it was": 1}),
        ("tombstone", b"{}", {"told as gone": 1}),
        ("caught-up", b"{}", {}),
    ],
    ids=["next", "with seqs that are gone", "again", "turned round", "elsewhere", "gone", "caught up"],
)
def test_what_a_watcher_sees_is_judged(name: str, data: bytes, wrong: dict[str, int]) -> None:
    """Each record once and in order, from the place where the stream was asked to go on."""
    account = Account()
    seen = Seen(account, "ada")
    seen.take("record", event(0, 2, 1, 2))
    seen.take(name, data)
    assert dict(account.wrong) == wrong
