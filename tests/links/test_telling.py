"""What a feed tells of positions: each move once, and a digest that both ends compute alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrord.links.feeds.telling import Tally, Telling, position_digest
from mirrord.topics.messages import Apply, Introduce

from ..topics.rig import Origin, Rig, config


async def test_moves_are_told_once() -> None:
    """A heartbeat tells what changed since the last one, and the digest is that of all that was told."""
    one, tally = Origin(5), Tally()
    async with Rig().run() as registry:
        topic, _ = await registry.ensure("orders", config())
        await topic.mailbox.ask(Introduce(one.descriptor))
        await topic.mailbox.ask(Apply(one.write(2)))
        telling = Telling(1, topic, tally)
        assert [told[:2] for told in telling.info().vector] == [(5, 2)]
        assert telling.moves() == []
        await topic.mailbox.ask(Apply(one.write(1)))
        assert [move[1:3] for move in telling.moves()] == [(5, 3)]
        assert telling.moves() == []
        assert tally.digest == position_digest(1, 5, 3)
        assert (telling.farewell().vector, tally.positions, tally.digest) == ([], 0, 0)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5))))
def test_the_digest_is_that_of_what_was_told_last(steps: list[tuple[int, int, int]]) -> None:
    """In whatever order positions are told and topics go (oseq 0 here), two ends that heard the same have the same."""
    tally, told = Tally(), dict[tuple[int, int], int]()
    for no, strand, oseq in steps:
        if oseq:
            tally.note(no, strand, oseq)
            told[no, strand] = oseq
        else:
            tally.forget(no)
            told = {place: at for place, at in told.items() if place[0] != no}
    digest = 0
    for (no, strand), oseq in told.items():
        digest ^= position_digest(no, strand, oseq)
        assert (no, strand, oseq) in tally
        assert (no, strand, oseq + 1) not in tally
    assert (tally.digest, tally.positions) == (digest, len(told))
