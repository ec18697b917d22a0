"""The library without async: the same names, the same answers, and threads and Ctrl-C that end cleanly."""

from __future__ import annotations

import inspect
import threading

import pytest

import mirrord
from mirrord import Record, Tombstone, sync
from mirrord.errors import InvalidRequest, RecordTooLarge, TopicNotFound
from mirrord.sync import Client


def test_write_and_read(url: str, name: str) -> None:
    """Append, read, follow and state, as in async."""
    with Client(url) as client:
        topic = client.topic(name)
        assert topic.append(1, {"a": 2}, tag="t").last_seq == 2
        page = topic.read()
        assert [(r.data, r.tag) for r in page.records] == [(1, "t"), ({"a": 2}, "t")]
        follow = topic.follow()
        seen = [next(follow) for _ in range(2)]
        assert [event.data for event in seen if isinstance(event, Record)] == [1, {"a": 2}]
        topic.append(3)
        for event in topic.follow(after=follow.cursor):
            assert isinstance(event, Record)
            assert event.data == 3
            break
        assert topic.state().count == 3
        assert client.topics(name) == [topic.name]
        assert topic.create(cap_records=1) is False
        gaps: list[Tombstone] = []
        assert next(topic.follow(after=1, on_gap=gaps.append)).data == 3
        assert [gap.gap_to for gap in gaps] == [2]
        assert topic.drop()
        with pytest.raises(TopicNotFound):
            topic.read()


def test_a_producer_ships_behind_the_callers_back(url: str, name: str) -> None:
    """Records go out while the caller does something else; the end of the block waits for the last."""
    with Client(url) as client:
        topic = client.topic(name)
        with topic.producer(linger_ms=1, waiting_records=20) as producer:
            receipts = [producer.send(i) for i in range(100)]
            assert receipts[0].wait() == 1
            producer.flush()
            assert [receipt.seq for receipt in receipts] == list(range(1, 101))
            bad = producer.send("x" * 5000)
            with pytest.raises(RecordTooLarge):
                bad.wait()
            assert isinstance(bad.error, RecordTooLarge)
            producer.send("last")
            assert producer.waiting in (0, 1)
        assert topic.state().count == 101


def test_the_error_of_a_block_comes_out_as_it_is(url: str, name: str) -> None:
    """Not wrapped in a group, not replaced."""

    def block(client: Client) -> None:
        with client.topic(name).producer() as producer:
            producer.send(1)
            raise ZeroDivisionError

    with Client(url) as client:
        with pytest.raises(ZeroDivisionError):
            block(client)
        assert client.topic(name).state().count == 1


def test_threads_share_a_client(url: str, name: str) -> None:
    """Eight threads append at once, each of their records is there once."""
    with Client(url) as client:

        def write(who: int) -> None:
            for i in range(10):
                client.topic(name).append([who, i])

        threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [record.data for record in client.topic(name).read(limit=1000).records]
    assert sorted(found) == [[who, i] for who in range(8) for i in range(10)]


def test_outside_of_the_block_it_is_refused() -> None:
    """Before and after `with` there is no thread to do it: said by name, no hanging."""
    client = Client("http://127.0.0.1:9")
    with pytest.raises(InvalidRequest, match="with Client"):
        client.topic("t").append(1)
    with client:
        pass
    with pytest.raises(InvalidRequest, match="with Client"):
        client.topic("t").append(1)


@pytest.mark.parametrize("word", sync.__all__)
def test_the_same_names(word: str) -> None:
    """What the async library can do, the blocking one can, by the same name and the same parameters."""
    ours, theirs = getattr(sync, word), getattr(mirrord, word)
    waiting = {"aclose", "is_settled", "settle", "told", "topic", "group", "lessor"}
    for name, member in vars(theirs).items():
        if name.startswith("_") or name in waiting or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        assert hasattr(ours, name), f"{word}.{name}"
        if inspect.iscoroutinefunction(member) and not any(
            p.kind is p.VAR_KEYWORD for p in inspect.signature(getattr(ours, name)).parameters.values()
        ):
            here, there = inspect.signature(getattr(ours, name)), inspect.signature(member)
            assert list(here.parameters) == list(there.parameters), f"{word}.{name}"


def test_groups_and_queues(url: str, name: str) -> None:
    """Deliveries and jobs, committed and acknowledged, one by one and together; a block that raises gives back."""
    with Client(url) as client:
        topic = client.topic(name)
        topic.append(*range(4))
        with topic.group("g").reader("me", page_records=2) as reader:
            first = next(reader)
            assert (first.seq, first.data, first.record.node, reader.consumer) == (1, 0, "solo", "me")
            assert first.commit()
            assert reader.commit(*(next(reader) for _ in range(3))) == 3
        assert topic.groups() == ["g"]
        assert topic.group("g").state().pending == 0
        topic.group("g").seek("earliest")
        assert topic.group("g").drop()

        queue = client.queue(f"{name}-q")
        assert queue.create(lease_ms=10_000)
        queue.send("a", "b", "c")
        claimed = queue.claim("w", max_jobs=2)
        assert [job.data for job in claimed] == ["a", "b"]
        assert queue.ack(*claimed) == []
        assert queue.ack(claimed[0]) == [claimed[0]]
        seen = []
        with queue.worker("w") as worker:
            for job in worker:
                seen.append((job.data, job.it.deliveries))
                try:
                    with job:
                        if job.it.deliveries == 1:
                            raise ZeroDivisionError
                except ZeroDivisionError:
                    continue
                break
        assert seen == [("c", 1), ("c", 2)]
        assert worker.node == "w"
        assert queue.counts().ready == 0


def test_routers_and_configuration(url: str, name: str) -> None:
    """What is about the topic and the node, by keyword as in async."""
    with Client(url) as client:
        assert client.put_router(name, f"{name}-a", f"{name}-b", preserve_tag=False)
        assert [router.dest for router in client.routers(name)] == [f"{name}-b"]
        client.topic(f"{name}-a").configure(cap_records=7)
        assert client.topic(f"{name}-a").state().config["cap_records"] == 7
        assert client.drop_router(name)
        assert client.links() == []
        client.ready()
