"""[limits] max_total_bytes: what all topics hold together, kept as they change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.actors.mailbox import Envelope
from mirrord.errors import Throttled
from mirrord.records.batch import batches_of
from mirrord.records.draft import Draft
from mirrord.topics.messages import Append, Apply, Delete, Introduce, Key
from mirrord.topics.quota import Quota

from .rig import Origin, Rig, config


def of(*sizes: int) -> Append:
    return Append(batches_of([Draft(Raw(b'"' + b"x" * (size - 2) + b'"')) for size in sizes]))


def test_nothing_is_refused_without_a_limit() -> None:
    """0 is off."""
    quota = Quota()
    quota.held = 1 << 60
    quota.admit(1 << 60)


@given(st.integers(1, 1000), st.integers(0, 2000), st.integers(0, 2000))
def test_what_fits_is_admitted_and_nothing_more(most: int, held: int, size: int) -> None:
    """To the byte, and the refusal names the limit."""
    quota = Quota(most)
    quota.held = held
    if held + size <= most:
        quota.admit(size)
        return
    with pytest.raises(Throttled) as caught:
        quota.admit(size)
    assert caught.value.detail == {"limit": "max_total_bytes", "max": most}


async def test_all_topics_count_together_over_everything_that_changes_them() -> None:
    """Appends, deletes, retention, deleted topics, and a start: what is held is what the topics say they hold."""
    rig = Rig()
    async with rig.run() as registry:
        quota = rig.ground.quota
        quota.most = 1000
        one, _ = await registry.ensure("one")
        two, _ = await registry.ensure("two", config(cap_records=2))
        await one.mailbox.ask(of(300, 300))
        await two.mailbox.ask(of(100, 100, 100))
        assert quota.held == one.bytes + two.bytes == 800
        with pytest.raises(Throttled):
            await one.mailbox.ask(of(201))
        await one.mailbox.ask(of(200))
        await one.mailbox.ask(Delete(2, None))
        assert quota.held == one.bytes + two.bytes == 700
        await registry.delete("two", if_empty=False, forget=False)
        assert quota.held == one.bytes == 500
    async with rig.run() as registry:
        quota = rig.ground.quota
        assert quota.held == 500  # before any topic is born
        one = await registry.find("one")
        assert quota.held == one.bytes == 500
        await registry.delete("one", if_empty=False, forget=True)
        assert quota.held == 0


async def test_a_write_that_was_done_before_is_told_so_even_when_nothing_more_fits() -> None:
    """A retry takes no room."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("one")
        rig.ground.quota.most = 100
        keyed = Append(of(100).batches, Key("k", b"d"))
        await topic.mailbox.ask(keyed)
        assert (await topic.mailbox.ask(keyed)).deduped
        with pytest.raises(Throttled):
            await topic.mailbox.ask(of(2))


async def test_appends_of_one_turn_count_together() -> None:
    """Many that come at once do not pass where one by one would not."""
    rig = Rig()
    async with rig.run() as registry:
        topic, _ = await registry.ensure("one")
        rig.ground.quota.most = 100
        envelopes = [topic.mailbox.put(of(60)) for _ in range(3)]
        answers = [await _answer(envelope) for envelope in envelopes]
        assert [isinstance(answer, Throttled) for answer in answers] == [False, True, True]
        assert topic.bytes == 60


async def _answer(envelope: Envelope[Any]) -> Any:
    try:
        return await envelope.wait()
    except Throttled as error:
        return error


async def test_links_are_never_refused() -> None:
    """Limits bind writers: what another node has acknowledged comes."""
    rig, origin = Rig(), Origin(7)
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        rig.ground.quota.most = 1
        await topic.mailbox.ask(Introduce(origin.descriptor))
        await topic.mailbox.ask(Apply(origin.write(3)))
        assert topic.count == 3
        assert rig.ground.quota.held == topic.bytes > 1
