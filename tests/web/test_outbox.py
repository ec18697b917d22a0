"""What waits for a WebSocket's client: a few messages and a bounded number of bytes, whatever there is to tell."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from mirrord.web.routes.streams.outbox import MOST_MESSAGES, Outbox


async def test_what_is_full_says_so() -> None:
    """By number and by bytes; it is room again only when messages have gone, not when they were taken out."""
    few, small = Outbox(1 << 20), Outbox(10)
    assert [few.gone("t") for _ in range(MOST_MESSAGES)] == [True] * (MOST_MESSAGES - 1) + [False]
    assert not small.gone("t")
    for outbox in (few, small):
        assert outbox.full
        assert not outbox.beat()
        message = await outbox.next()
        assert outbox.full
        outbox.sent(message)
        assert not outbox.full


async def test_replies_wait_for_room() -> None:
    """A client that orders on and takes nothing costs no more than that: its next order is not looked at."""
    outbox, said = Outbox(1 << 20), []

    async def say() -> None:
        for number in range(2 * MOST_MESSAGES):
            await outbox.say(b"%d" % number)
            said.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        await wait_all_tasks_blocked()
        assert said == list(range(MOST_MESSAGES))
        told: list[bytes] = []
        while len(told) < 2 * MOST_MESSAGES:
            told.append(await outbox.next())
            outbox.sent(told[-1])
        assert told == [b"%d" % number for number in range(2 * MOST_MESSAGES)]
