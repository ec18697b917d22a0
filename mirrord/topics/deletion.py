"""A delete from outside, step by step: each is one turn, so that writers go in between and nobody waits long."""

from __future__ import annotations

from ..records.selector import Selector
from .messages import Delete, Deleted
from .topic import Topic


async def delete(topic: Topic, before_seq: int | None, match: Selector | None) -> Deleted:
    """Delete what is in the log now and meant. What comes meanwhile stays, be it in a log that follows this one. Raises
    what a turn raises; what was deleted until then stays deleted."""
    until, log_id, after, records, text = topic.head, topic.log_id_hex, 0, 0, 0
    while True:
        done: Deleted = await topic.mailbox.ask(Delete(before_seq, match, after, until, log_id))
        records, text = records + done.records, text + done.bytes
        if done.after is None:
            return Deleted(records, text, done.until)
        after = done.after
