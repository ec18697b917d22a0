"""A log that is dropped, and what else its turn holds: nothing of it comes back in the one that follows."""

from __future__ import annotations

import pytest

from mirrord.config.topic import DEFAULT
from mirrord.errors import TopicNotFound
from mirrord.records.batch import batches_of
from mirrord.topics.messages import Append, Appended, Configure, DropTopic, Erase, Key, Message

from .rig import Rig, Together, config, draft
from .test_topic import everything, put

DROP = DropTopic(forget=False, if_empty=False)
AGAIN = Configure(DEFAULT, put=False)


async def test_an_append_behind_a_delete_is_refused_and_not_hidden() -> None:
    """Both wait for the same turn: the log is gone by then, so nothing may be acknowledged that nobody can read, and
    that would show in a log that is made under the name later. A key of the log before is not known either."""
    rig, once = Rig(), Append(batches_of([draft("1")]), Key("k", b"1"))
    rig.journals = Together
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        await topic.mailbox.ask(once)
        drop, late = topic.mailbox.put(DROP), topic.mailbox.put(once)
        await drop.wait()
        with pytest.raises(TopicNotFound, match="append again"):
            await late.wait()
        for message in (AGAIN, once):
            await topic.mailbox.ask(message)
        drop, _, again = [topic.mailbox.put(one) for one in (DROP, AGAIN, once)]
        assert await again.wait() == Appended(1, 1, 1)
        assert everything(topic) == [1]


@pytest.mark.parametrize("looked_at", [True, False])
async def test_what_was_appended_before_a_delete_in_one_turn_goes_with_it(looked_at: bool) -> None:
    """It is in no log and in no memory, and takes no seq of the next one. ``looked_at``: its pack was made already,
    because a message in between had to look into it."""
    rig = Rig()
    rig.journals = Together
    keyed = Append(batches_of([draft("1")]), Key("k", b"1"))
    messages: list[Message] = [keyed, *([Erase((99,))] if looked_at else []), DROP, AGAIN]
    async with rig.run() as registry:
        topic, _ = await registry.ensure("orders")
        envelopes = [topic.mailbox.put(one) for one in (*messages, keyed, DROP, AGAIN)]
        told = [await envelope.wait() for envelope in envelopes]
        assert [one for one in told if isinstance(one, Appended)] == [Appended(1, 1, 1)] * 2
        assert (topic.head, topic.count, topic.bytes) == (0, 0, 0)
        for text in "23":
            await put(topic, text)
        assert everything(topic) == [2, 3]


async def test_what_was_deleted_in_a_log_is_not_in_the_next_one() -> None:
    """Seqs begin at 1 again, and mean other records."""
    async with Rig().run() as registry:
        topic, _ = await registry.ensure("orders")
        await put(topic, "1", "2", "3")
        await topic.mailbox.ask(Erase((2,)))
        for message in (DROP, AGAIN):
            await topic.mailbox.ask(message)
        await put(topic, "4", "5", "6")
        assert everything(topic) == [4, 5, 6]


async def test_what_was_known_of_a_log_says_nothing_of_the_next_one() -> None:
    """Neither why its front went, nor how long its records were."""
    async with Rig().run() as registry:
        capped = config(cap_records=2)
        topic, _ = await registry.ensure("orders", capped)
        await put(topic, "0")
        await topic.mailbox.ask(Erase((1,)))
        await put(topic, "1", "2", "3")
        for message in (DROP, Configure(capped, put=False)):
            await topic.mailbox.ask(message)
        await put(topic, '"long"')
        await put(topic, "4")
        await topic.mailbox.ask(Erase((1,)))
        assert everything(topic) == [4]
        assert (topic.count, topic.bytes, dict(topic.taken)) == (1, 1, {})
