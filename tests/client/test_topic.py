"""Append, read, follow and the topic itself, from the library to a real daemon and back."""

from __future__ import annotations

import anyio
import anyio.abc
import pytest
from msgspec import Raw

from mirrord import Client, Cursor, Draft, Record, Tombstone
from mirrord.errors import (
    IdempotencyConflict,
    InvalidRequest,
    PeerUnreachable,
    ProtocolViolation,
    RecordTooLarge,
    TopicNotFound,
)

from .loops import under_both
from .scripted import Reply, fault, scripted


@under_both
async def test_what_is_appended_is_read(url: str, name: str) -> None:
    """Data, tag, label and meta come back as they were given, in order, with the place to go on from."""
    async with Client(url) as client:
        topic = client.topic(name)
        kept = await topic.append({"item": "tea"}, Draft("x", tag="t", meta={"k": 1}), None, tag="all", node="till-7")
        assert (kept.first_seq, kept.last_seq, kept.created, list(kept.seqs)) == (1, 3, True, [1, 2, 3])
        page = await topic.read(limit=2, origins=True)
        assert [r.data for r in page.records] == [{"item": "tea"}, "x"]
        assert [r.tag for r in page.records] == ["all", "t"]
        assert [r.meta for r in page.records] == [None, {"k": 1}]
        assert page.records[0].node == "till-7"
        assert page.records[0].origin is not None
        assert page.records[0].origin.node == "solo"
        assert (page.caught_up, page.lag, page.tombstones) == (False, 1, ())
        rest = await topic.read(page.cursor)
        assert [r.data for r in rest.records] == [None]
        assert rest.caught_up
        again = await topic.read(str(page.records[0].cursor))
        assert [r.seq for r in again.records] == [2, 3]


@under_both
async def test_an_append_with_a_key_is_kept_once(url: str, name: str) -> None:
    """The same key and records are the same append; other records under it are refused by name."""
    async with Client(url) as client:
        topic = client.topic(name)
        first = await topic.append(1, 2, key="k")
        second = await topic.append(1, 2, key="k")
        assert (second.deduped, second.first_seq) == (True, first.first_seq)
        with pytest.raises(IdempotencyConflict):
            await topic.append(3, key="k")
        assert (await topic.state()).count == 2


@under_both
async def test_errors_are_the_classes_of_their_codes(url: str, name: str) -> None:
    """A caller catches by class what the node names by code, at once and without a second try."""
    async with Client(url) as client:
        with pytest.raises(TopicNotFound):
            await client.topic(name).read()
        with pytest.raises(RecordTooLarge):
            await client.topic(name).append("x" * 5000)
        with pytest.raises(InvalidRequest):
            await client.topic(name).append()
        with pytest.raises(InvalidRequest):
            await client.topic("-no").append(1)
        with pytest.raises(InvalidRequest):
            await client.topic(name).read("nonsense")


@under_both
async def test_follow_goes_on_with_what_comes(url: str, name: str) -> None:
    """First what is there, then each new record as it comes; the cursor of one reader is the start of the next."""
    async with Client(url) as client, anyio.create_task_group() as tasks:
        topic = client.topic(name)
        await topic.append(*range(3))

        async def write() -> None:
            for i in range(3, 6):
                await topic.append(i)

        tasks.start_soon(write)
        seen = []
        follow = topic.follow()
        async for record in follow:
            assert isinstance(record, Record)
            seen.append(record.data)
            if len(seen) == 5:
                break
        assert seen == [0, 1, 2, 3, 4]
        async for record in topic.follow(after=str(follow.cursor)):
            assert isinstance(record, Record)
            assert record.data == 5
            break


@under_both
async def test_follow_shows_what_is_gone(url: str, name: str) -> None:
    """A reader whose place was evicted is told so, once, in its place; one that begins anew has lost nothing."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.create(cap_records=2)
        place = (await topic.append(0)).first_seq
        await topic.append(1)
        for i in range(2, 5):
            await topic.append(i)
        events = [await anext(follow) for follow in [topic.follow(after=place)] for _ in range(3)]
        gap = events[0]
        assert isinstance(gap, Tombstone)
        assert (gap.gap_from, gap.gap_to, gap.reason, gap.missed) == (2, 3, "cap", 2)
        assert [e.data for e in events[1:] if isinstance(e, Record)] == [3, 4]
        assert events[0].cursor == Cursor(3, gap.log_id)
        gaps: list[Tombstone] = []
        record = await anext(topic.follow(after=place, on_gap=gaps.append))
        assert (record.data, gaps) == (3, [gap])
        fresh = await anext(topic.follow())
        assert isinstance(fresh, Record)
        assert fresh.data == 3


@under_both
async def test_a_topic_that_vanishes_is_told(url: str, name: str) -> None:
    """Dropped under a reader: TopicNotFound, or waiting, as it chose; made anew: `recreated`, from the beginning."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append("old", "old")
        strict, patient = topic.follow(), topic.follow(wait_for_topic=True)
        for follow in (strict, patient):
            assert [(await anext(follow)).cursor.seq for _ in range(2)] == [1, 2]
        assert await topic.drop()
        with pytest.raises(TopicNotFound):
            await anext(strict)
        async with anyio.create_task_group() as tasks:

            async def anew() -> None:
                await topic.append("new")

            tasks.start_soon(anew)
            told = await anext(patient)
            assert isinstance(told, Tombstone)
            assert told.reason == "recreated"
            record = await anext(patient)
            assert isinstance(record, Record)
            assert record.data == "new"
        assert not await client.topic(name + "-never").drop()


@under_both
async def test_state_and_lists(url: str, name: str) -> None:
    """What the node tells of a topic is there as attributes, and all pages of a list come."""
    async with Client(url) as client:
        topic = client.topic(name)
        assert await topic.create(durability="fsync")
        assert not await topic.create(durability="fsync")
        await topic.append(1, 2)
        state = await topic.state()
        assert (state.head_seq, state.count, state.type) == (2, 2, "log")
        assert state.config["durability"] == "fsync"
        assert name in await client.topics()
        assert await client.topics(name) == [name]
        await client.ready()
        assert await client.links() == []
        assert (await topic.read(state.cursor)).caught_up


@under_both
async def test_nobody_there_is_told_in_time() -> None:
    """A dead address is tried for as long as was asked, and then named."""
    async with Client("http://127.0.0.1:9", give_up_after_s=0.3) as client:
        with pytest.raises(PeerUnreachable, match=r"127\.0\.0\.1:9") as found:
            await client.topic("t").append(1)
        assert "tried" in "".join(found.value.__notes__)


@under_both
async def test_something_else_there_is_told(name: str) -> None:
    """What answers without being mirrord is named, and not tried again."""

    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, greet)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with Client(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(ProtocolViolation):
                await client.topic(name).append(1)
        tasks.cancel_scope.cancel()


@under_both
async def test_deletes_and_changes(url: str, name: str) -> None:
    """By seq, by tag, by both; a change of one key leaves the others."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.create(cap_records=100)
        await topic.configure(ttl_ms=3_600_000)
        config = (await topic.state()).config
        assert (config["cap_records"], config["ttl_ms"]) == (100, 3_600_000)
        await topic.append(*range(6), tag="eu:1")
        await topic.append(6, tag="us:1")
        assert (await topic.delete(before=3)).deleted == 2
        gone = await topic.delete(before=5, match="eu:*")
        assert (gone.deleted, gone.count, gone.head_seq) == (2, 3, 7)
        assert (await topic.delete(match="eu:1")).deleted == 2
        assert [record.data for record in (await topic.read()).records] == [6]
        with pytest.raises(InvalidRequest):
            await topic.delete()


@under_both
async def test_routers(url: str, name: str) -> None:
    """What one topic gets is copied to another, as long as the router is there."""
    async with Client(url) as client:
        assert await client.put_router(name, f"{name}-a", f"{name}-b", filter="eu:*")
        assert not await client.put_router(name, f"{name}-a", f"{name}-b", filter="eu:*")
        source, dest = client.topic(f"{name}-a"), client.topic(f"{name}-b")
        await source.append(Draft(1, tag="eu:1"), Draft(2, tag="us:1"), Draft(3, tag="eu:2"))
        follow = dest.follow(wait_for_topic=True, on_gap=print)
        assert [(await anext(follow)).data for _ in range(2)] == [1, 3]
        found = [router for router in await client.routers() if router.router == name]
        assert [(r.source, r.dest) for r in found] == [(source.name, dest.name)]
        assert await client.drop_router(name)
        assert not await client.drop_router(name)


@under_both
async def test_only_some_tags(url: str, name: str) -> None:
    """One tag, or all that begin so; what is left out moves the cursor all the same."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append(*(Draft(i, tag=f"{'eu' if i % 2 else 'us'}:{i}") for i in range(6)))
        assert [r.data for r in (await topic.read(match="eu:*")).records] == [1, 3, 5]
        assert [r.data for r in (await topic.read(match="us:2")).records] == [2]
        follow = topic.follow(match="eu:*")
        assert [(await anext(follow)).cursor.seq for _ in range(3)] == [2, 4, 6]


@under_both
async def test_all_topics_of_a_prefix(url: str, name: str) -> None:
    """`chat:*`: each record tells its topic, topics made later come too, and the saved cursor leads on."""
    async with Client(url) as client:
        for room in ("a", "b"):
            await client.topic(f"{name}:{room}").append(*(f"{room}{i}" for i in range(3)))
        follow = client.topic(f"{name}:*").follow(on_gap=print)
        seen = [await anext(follow) for _ in range(6)]
        for room in ("a", "b"):
            assert [r.data for r in seen if r.topic == f"{name}:{room}"] == [f"{room}{i}" for i in range(3)]
        async with anyio.create_task_group() as tasks:

            async def later() -> None:
                await client.topic(f"{name}:c").append("c0")

            tasks.start_soon(later)
            record = await anext(follow)
        assert (record.topic, record.data) == (f"{name}:c", "c0")
        place = str(follow.cursor)
        await client.topic(f"{name}:a").append("a3")
        assert (await anext(client.topic(f"{name}:*").follow(place, on_gap=print))).data == "a3"


@under_both
async def test_only_what_comes(url: str, name: str) -> None:
    """From the end of the topic on, which a prefix does not have."""
    async with Client(url) as client, anyio.create_task_group() as tasks:
        topic = client.topic(name)
        await topic.append("old")
        follow = topic.follow("latest", on_gap=print)

        async def write() -> None:
            while not seen:
                await topic.append("new")

        seen: list[str] = []
        tasks.start_soon(write)
        seen.append((await anext(follow)).data)
        assert seen == ["new"]
        with pytest.raises(InvalidRequest):
            client.topic("t*").follow("latest")


@under_both
async def test_what_comes_first_to_a_topic_that_was_waited_for() -> None:
    """Whoever follows from the end of a topic that is not there is there before its first record."""
    page = (
        b'{"records":[{"$seq":1,"$ts":1,"$node":"n","data":"first"}],"next_from_seq":1,"head_seq":1,"caught_up":true,'
        b'"log_id":"aa"}'
    )
    async with scripted(fault(404, "topic_not_found"), Reply(200, page)) as node, Client(node.url) as client:
        follow = client.topic("t").follow("latest", wait_for_topic=True, on_gap=print)
        assert (await anext(follow)).data == "first"
        assert b"from_seq" not in node.bodies[1]


@under_both
async def test_bytes_stay_bytes(url: str, name: str) -> None:
    """A payload of bytes comes back as those bytes, beside others that are JSON, from append and producer alike."""
    async with Client(url) as client:
        topic = client.topic(name)
        every = bytes(range(256))
        wrote: list[object] = [every, {"a": 1}, b"", Raw(b'{"b":  2}'), "text"]
        await topic.append(*wrote, tag="t", meta={"m": 1})
        async with topic.producer(linger_ms=100) as producer:
            receipts = [await producer.send(data) for data in (1, every, bytearray(b"x"), 2)]
        assert [receipt.seq for receipt in receipts] == [6, 7, 8, 9]
        page = await topic.read()
        assert [r.data for r in page.records] == [every, {"a": 1}, b"", {"b": 2}, "text", 1, every, b"x", 2]
        assert [(r.tag, r.meta) for r in page.records[:2]] == [("t", {"m": 1})] * 2


@under_both
async def test_a_follower_can_be_left_and_taken_up(url: str, name: str) -> None:
    """Cancelled in the middle of a long-poll it leaves nothing behind, and goes on where it stood."""
    async with Client(url) as client:
        topic = client.topic(name)
        await topic.append(1)
        follow = topic.follow(on_gap=print)
        assert (await anext(follow)).data == 1
        with anyio.move_on_after(0.2) as scope:
            await anext(follow)
        assert scope.cancelled_caught
        await topic.append(2)
        assert (await anext(follow)).data == 2
