"""docs/FEED.md is enough: a node written after the page alone pulls from a real one, and is pulled from."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import msgpack
import trio
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from mirrord.client import call
from mirrord.client.call import DiffQuery
from mirrord.testing.cluster.graph import graph
from mirrord.testing.cluster.local import local_cluster

from . import stranger

TOPICS = {"orders": "fsync"}
TEXTS = ['{"item":  "tea"}', '"b"', "3"]


async def test_a_stranger_pulls(tmp_path: Path) -> None:
    """Hello, topics, descriptor, chunks with their chain, a cover of what was evicted, and the digest of it all."""
    async with local_cluster(tmp_path, graph("pair", 2), TOPICS) as cluster:
        await cluster.start("ada")
        for text in TEXTS:
            await cluster.append("ada", "orders", text)
        await cluster.api("ada").ask(call.put_topic("capped", {"cap_records": 1}))
        await cluster.append("ada", "capped", *["1"] * 3)
        await cluster.append("ada", "capped", "2")
        strands: dict[int, bytes] = {}
        payloads: list[str] = []
        digest = 0
        told = stranger.frames(cluster.ports["ada"], "test", {"orders": [], "capped": []})
        with trio.fail_after(20):
            async with aclosing(told) as feed:
                hello, _ = await anext(feed)
                assert (hello["f"], hello["proto"], hello["node"], hello["topics"]) == ("hello", 1, "ada", 2)
                covers = []
                async for header, body in feed:
                    if header["f"] == "topic":
                        for topic in header["topics"]:
                            for strand, oseq, *_ in topic["vector"]:
                                digest ^= xxh3_64_intdigest(b"%d %d %d" % (topic["no"], strand, oseq))
                    elif header["f"] == "strand":
                        packed = header["descriptor"]
                        strands[msgpack.unpackb(packed)[0]] = xxh3_128_digest(packed)
                    elif header["f"] == "chunks":
                        for strand, found, prev_hash, _, texts in stranger.chunks_of(body):
                            assert strands[strand] == prev_hash
                            strands[strand] = found
                            payloads += texts
                    elif header["f"] == "cover":
                        covers.append((header["first"], header["last"], header["reason"]))
                    elif header["f"] == "head":
                        assert header["digest"] == digest
                        if covers and len(payloads) == len(TEXTS):
                            break
        assert payloads == TEXTS
        assert covers == [(1, 3, "evicted")]


async def test_a_stranger_is_pulled_from(tmp_path: Path) -> None:
    """What it serves stands in the log of a real node: payloads to the byte, its name, its strand, caught up."""
    served = stranger.Feed("orders", [TEXTS[:2], TEXTS[2:]])
    async with local_cluster(tmp_path, graph("pair", 2), TOPICS) as cluster, trio.open_nursery() as nursery:
        await nursery.start(trio.serve_tcp, served.serve, cluster.ports["bob"])
        await cluster.start("ada")
        state = await cluster.link_state("ada", "bob", "caught-up")
        assert state["same_topology"] is False
        query = DiffQuery(wait_ms=20_000, include_origin=True)
        page = (await cluster.api("ada").ask(call.diff("orders", query))).page()
        origin = f'"$origin":{{"node":"bob","strand":"{stranger.STRAND:016x}","oseq":'
        for oseq, (text, record) in enumerate(zip(TEXTS, page.records, strict=True), 1):
            assert f"{origin}{oseq}}}".encode() in bytes(record)
            assert bytes(record).endswith(f'"data":{text}}}'.encode())
        assert served.asked["node"] == "ada"
        nursery.cancel_scope.cancel()
