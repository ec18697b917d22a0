"""A node that knows mirrord only from docs/FEED.md: msgpack, XXH3 and struct, and nothing of the package."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgpack
import trio
from xxhash import xxh3_64_intdigest, xxh3_128_digest

HEADER = "<16s16sBBHHHQQIIIqq"  # §4
HEAD_BYTES = struct.calcsize(HEADER)
ORIGIN_ID, LIFE, STRAND = b"o" * 16, b"l" * 16, 0x0123456789ABCDEF
TS = 1_795_311_534_098


def descriptor(topic: str, origin: str) -> bytes:
    """§5."""
    packed: bytes = msgpack.packb([STRAND, topic, ORIGIN_ID, origin, LIFE, None])
    return packed


def chunk(first: int, prev_hash: bytes, texts: list[str]) -> bytes:
    """§4: records without tag, label and meta."""
    body = b"".join(msgpack.packb([0, None, None, None, text]) for text in texts)
    text_len = sum(len(text.encode()) for text in texts)
    counts = (first, len(texts), len(body), text_len, TS, TS)
    rest = struct.pack(HEADER, b"", prev_hash, 1, 0, HEAD_BYTES, 0, 0, STRAND, *counts)[16:] + body
    return xxh3_128_digest(rest) + rest


def chunks_of(body: bytes) -> list[tuple[int, bytes, bytes, int, list[str]]]:
    """§4: (strand, hash, prev_hash, first, payloads) of each; the hash is checked."""
    found, at = [], 0
    while at < len(body):
        told = struct.unpack_from(HEADER, body, at)
        digest, prev_hash, _, kind, head_len, _, tags_len, strand, first, count, body_len = told[:11]
        end = at + head_len + tags_len + body_len
        assert kind == 0
        assert xxh3_128_digest(body[at + 16 : end]) == digest
        records = msgpack.Unpacker()
        records.feed(body[at + head_len + tags_len : end])
        payloads = [data for _, _, _, _, data in records]
        assert len(payloads) == count
        found.append((strand, digest, prev_hash, first, payloads))
        at = end
    return found


def frame(body: bytes = b"", **header: Any) -> bytes:
    """§3."""
    packed: bytes = msgpack.packb(header)
    return struct.pack("<II", len(packed), len(body)) + packed + body


async def frames(port: int, cluster: str, wants: dict[str, list[Any]]) -> AsyncGenerator[tuple[dict[str, Any], bytes]]:
    """§1: what a node sends to the caller `bob`."""
    asked = msgpack.packb({
        "proto": 1, "cluster": cluster, "node": "bob", "origin_id": ORIGIN_ID, "life": LIFE,
        "topology_hash": b"?" * 16, "feed_no": 1, "wants": wants, "heartbeat_ms": 50,
    })  # fmt: skip
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream, aclosing(_pieces(stream)) as pieces:
        head = b"POST /v0/feed HTTP/1.1\r\nhost: x\r\ncontent-type: application/msgpack\r\ncontent-length: %d\r\n\r\n"
        await stream.send_all(head % len(asked) + asked)
        held = b""
        async for piece in pieces:
            held += piece
            while len(held) >= 8 and len(held) >= 8 + sum(lengths := struct.unpack_from("<II", held)):
                body_at = 8 + lengths[0]
                end = body_at + lengths[1]
                yield msgpack.unpackb(held[8:body_at]), held[body_at:end]
                held = held[end:]


async def _pieces(stream: trio.SocketStream) -> AsyncGenerator[bytes]:
    """The pieces of a chunked HTTP body."""
    held = b""
    while b"\r\n\r\n" not in held:
        held += await stream.receive_some()
    head, _, held = held.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    while True:
        while b"\r\n" not in held:
            held += await stream.receive_some()
        size, _, held = held.partition(b"\r\n")
        while len(held) < int(size, 16) + 2:
            held += await stream.receive_some()
        yield held[: int(size, 16)]
        held = held[int(size, 16) + 2 :]


class Feed:
    """The serving side: one topic, one strand of two chunks, heartbeats, and every change taken."""

    def __init__(self, topic: str, commits: list[list[str]]) -> None:
        self._topic = topic
        self.asked: dict[str, Any] = {}
        told = descriptor(topic, "bob")
        self._frames, prev_hash, first = [frame(f="strand", topic=1, descriptor=told)], xxh3_128_digest(told), 1
        for texts in commits:
            piece = chunk(first, prev_hash, texts)
            self._frames.append(frame(piece, f="chunks", topic=1))
            prev_hash, first = piece[:16], first + len(texts)
        self._last, self._hash = first - 1, prev_hash

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection: requests until it ends, or one feed."""
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                if not (piece := await stream.receive_some()):
                    return
                held += piece
            head, _, held = held.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(held) < length:
                held += await stream.receive_some()
            asked, held = msgpack.unpackb(held[:length]), held[length:]
            if head.startswith(b"POST /v0/feed "):
                self.asked = asked
                await self._feed(stream)
                return
            answer = b'{"feed_no": 1}'
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))

    async def _feed(self, stream: trio.SocketStream) -> None:
        topic = {
            "no": 1, "name": self._topic, "log_id": b"logidlog", "type": "log", "ttl_ms": 0, "durability": "disk",
            "head": self._last, "count": self._last, "text_bytes": 9,
            "vector": [[STRAND, self._last, self._hash, 1, TS]],
        }  # fmt: skip
        ids = {"origin_id": ORIGIN_ID, "life": LIFE, "topology_hash": b"?" * 16}
        hello: dict[str, Any] = {"proto": 1, "node": "bob", "clock_ms": TS, **ids}
        digest = xxh3_64_intdigest(b"1 %d %d" % (STRAND, self._last))
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/msgpack\r\nconnection: close\r\n\r\n")
        await stream.send_all(frame(f="hello", topics=1, **hello) + frame(f="topic", event="there", topics=[topic]))
        await stream.send_all(b"".join(self._frames))
        while True:
            await stream.send_all(frame(f="head", clock_ms=TS, digest=digest) + frame(f="of a later version", x=1))
            await trio.sleep(self.asked["heartbeat_ms"] / 1000)
