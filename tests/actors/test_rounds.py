"""Who comes alone is told apart from a crowd by the rounds of the event loop."""

from __future__ import annotations

import trio

from mirrord.actors.rounds import Crowd, Rounds


async def test_rounds_are_counted_only_while_asked_for() -> None:
    """Each look of the loop for news is a round; outside of the block nothing is counted."""
    rounds = Rounds()
    with rounds.counted():
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        counted = rounds.no
    assert counted >= 2
    await trio.lowlevel.checkpoint()
    assert rounds.no == counted


def test_a_crowd_is_remembered_for_one_round() -> None:
    """One a round is alone. Of several in a round only the first is, and not even that one in the round behind: many
    writers share turns from their second round on, and one who stays behind is alone again after the next."""
    rounds = Rounds()
    crowd = Crowd(rounds)
    told = []
    for many in (1, 1, 3, 3, 1, 1):
        rounds.no += 1
        told.append([crowd.lone() for _ in range(many)])
    assert told == [[True], [True], [True, False, False], [False, False, False], [False], [True]]


def test_without_rounds_nobody_is_alone_twice() -> None:
    """Where rounds are not counted (a simulation) only the very first message is taken for a lone one."""
    crowd = Crowd(Rounds())
    assert [crowd.lone() for _ in range(3)] == [True, False, False]
