"""What the library does when a node says no, says nothing, or is somewhere else."""

from __future__ import annotations

import random

import pytest

from mirrord import Client, MirrordError
from mirrord.errors import ProtocolViolation, Throttled, TopicFull, Unacknowledged

from .loops import under_both
from .scripted import Reply, fault, lossy, scripted


@under_both
async def test_what_passes_is_tried_again() -> None:
    """429, 503 and a lost answer: the very same request again, with the same idempotency key, until it is kept."""
    async with (
        scripted(
            fault(429, "throttled", "retry-after: 0\r\n"), fault(503, "disk_full"), Reply(0),
            fault(503, "actor_died"), Reply(),
        ) as node,
        Client(node.url) as client,
    ):  # fmt: skip
        assert (await client.topic("t").append({"a": 1})).first_seq == 1
        assert len(node.bodies) == 5
        assert len(set(node.bodies)) == 1
        assert b'"idempotency_key":"' in node.bodies[0]


@under_both
async def test_a_call_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried again; who wants to know of each try has the level for it."""
    with caplog.at_level("DEBUG", logger="mirrord.client"):
        async with scripted(*[fault(503, "disk_full")] * 4, Reply()) as node, Client(node.url) as client:
            await client.topic("t").append(1)
    told = [record.levelname for record in caplog.records if record.name == "mirrord.client"]
    assert told == ["WARNING", "DEBUG", "DEBUG", "DEBUG"]


@under_both
async def test_a_node_is_waited_for_as_it_asks() -> None:
    """Longer than there is time: told at once, with the wait that the node named."""
    async with (
        scripted(fault(429, "throttled", "retry-after: 7\r\n")) as node,
        Client(node.url, give_up_after_s=3) as client,
    ):
        with pytest.raises(Throttled) as found:
            await client.topic("t").append(1)
        assert found.value.retry_after_s == 7.0
        assert len(node.bodies) == 1


@under_both
async def test_what_does_not_pass_is_told_at_once() -> None:
    """A full topic, a fault of the node, an answer that is not a node's: one request, and its name."""
    for reply, kind in (
        (fault(422, "topic_full"), TopicFull),
        (fault(500, "internal"), MirrordError),
        (fault(418, "brewing"), MirrordError),
        (Reply(502, b"<html>"), ProtocolViolation),
        (Reply(200, b"[]"), ProtocolViolation),
    ):
        async with scripted(reply) as node, Client(node.url) as client:
            with pytest.raises(kind):
                await client.topic("t").append(1)
            assert len(node.bodies) == 1


@under_both
async def test_a_producer_that_is_never_answered_stops() -> None:
    """Answers lost until patience ends: what was on its way may be kept, which is what its receipt says; what came
    behind it was not sent out of turn."""
    async with scripted(*[Reply(0)] * 50) as node, Client(node.url, give_up_after_s=0.5) as client:
        producer = client.topic("t").producer(batch_records=1, linger_ms=0)
        with pytest.raises(Unacknowledged):
            async with producer as opened:
                receipts = [await opened.send(i) for i in range(3)]
        assert [type(receipt.error) for receipt in receipts] == [Unacknowledged] * 3
        assert all(b'"data":0' in body for body in node.bodies)


@under_both
async def test_a_wild_line_does_not_hang_a_producer() -> None:
    """A failure in the middle: those before it are kept with their seqs, those behind are told."""
    second = Reply(200, b'{"topic":"t","first_seq":2,"last_seq":2,"head_seq":2,"count":1}')
    async with scripted(Reply(), second, fault(403, "forbidden")) as node, Client(node.url) as client:
        producer = client.topic("t").producer(batch_records=1, linger_ms=0)
        with pytest.raises(MirrordError, match="as the case wants it"):
            async with producer as opened:
                receipts = [await opened.send(i) for i in range(4)]
        assert [receipt.seq for receipt in receipts] == [1, 2, None, None]
        assert len(node.bodies) == 3


@under_both
async def test_lost_answers_double_nothing(url: str, name: str) -> None:
    """Every third answer is lost after the node has kept the records: each is there once, in order, and receipts and
    appends tell the seqs under which they are."""
    dice = random.Random(7)
    async with lossy(url, lambda: dice.random() < 0.3) as line, Client(line) as client:
        topic = client.topic(name)
        async with topic.producer(batch_records=5) as producer:
            receipts = [await producer.send(i) for i in range(100)]
        assert [receipt.seq for receipt in receipts] == list(range(1, 101))
        for i in range(100, 110):
            assert (await topic.append(i)).first_seq == i + 1
        assert [record.data for record in (await topic.read(limit=1000)).records] == list(range(110))
