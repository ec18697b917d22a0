"""``mirror_groups``: a group goes on at another node where it stood (design 5.2), between two real nodes."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Pair
from .test_groups import Group, seqs


@pytest.fixture
def groups(pair: Pair, mirrored: str) -> tuple[Group, Group]:
    """One group of a mirrored topic, as each of the two nodes has it. Each node wrote six records."""
    for api in pair:
        api.create(mirrored, mirror_groups=True)
        api.append(mirrored, *(f"{api.address} {i}" for i in range(6)))
    for api in pair:
        _until_head(api, mirrored, 12)
    return Group(pair.fra, mirrored), Group(pair.iad, mirrored)


def _until_head(api: Any, topic: str, head: int) -> None:
    page = api.diff(topic)
    while page["head_seq"] < head:
        page = api.diff(topic, from_seq=page["head_seq"], wait_ms=10_000)


def payloads(page: dict[str, Any]) -> set[str]:
    return {record["data"] for record in page["records"]}


def _when(group: Group, pending: int) -> None:
    """Waits until the node has heard that all but so many pending records are done."""
    for _ in range(400):
        if group.state()["pending"] == pending:
            return
        group.read("waiter", limit=1, wait_ms=50, min_idle_ms=3_600_000)
    raise AssertionError(group.state())


def test_a_reader_goes_on_at_the_other_node(groups: tuple[Group, Group]) -> None:
    """What one node's group committed from the beginning on is not handed out at the other, all else is."""
    fra, iad = groups
    first = fra.read("ann", limit=7)
    fra.commit(*seqs(first)[:5])
    done = {record["data"] for record in first["records"][:5]}
    held = iad.read("bob", limit=12)
    assert len(held["records"]) == 12 or not payloads(held) & done
    if len(held["records"]) == 12:  # it had not heard yet: then what it holds and is done elsewhere goes from it
        _when(iad, 7)
        held = iad.reclaim("bob", min_idle_ms=0)
    assert payloads(held).isdisjoint(done)
    assert len(payloads(held)) == 7


def test_a_group_that_is_made_later_begins_where_the_other_stands(groups: tuple[Group, Group]) -> None:
    """Also one that is made after everything was committed elsewhere: it has nothing to hand out but what comes."""
    fra, iad = groups
    fra.read("ann")
    fra.commit(up_to=12)
    page = iad.read("bob")
    if page["records"]:
        _when(iad, 0)
    fra.api.append(fra.topic, "new")
    page = iad.read("bob", wait_ms=10_000)
    while not page["records"]:
        page = iad.read("bob", wait_ms=10_000)
    assert payloads(page) == {"new"}


def test_without_the_key_groups_are_strangers(pair: Pair, mirrored: str) -> None:
    """Nothing is told to peers by who was not asked to."""
    pair.fra.append(mirrored, 1, 2)
    fra = Group(pair.fra, mirrored)
    fra.commit(*seqs(fra.read()))
    pair.fra.append(mirrored, 3)
    iad_api = pair.iad
    page = {"head_seq": 0}
    while page["head_seq"] < 3:
        if iad_api.get(f"/v0/topics/{mirrored}").status_code == 200:
            page = iad_api.diff(mirrored, from_seq=page["head_seq"], wait_ms=2000)
    assert seqs(Group(iad_api, mirrored).read()) == [1, 2, 3]
