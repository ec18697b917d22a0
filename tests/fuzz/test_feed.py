"""What a peer may send: frames, requests for feeds, chunks. Named refusals, bounded memory, no other exception."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from xxhash import xxh3_128_digest

from mirrord.errors import ChunkCorrupt, InvalidRequest, ProtocolViolation
from mirrord.links.frames import FrameReader, frame
from mirrord.links.wire import Chunks, FeedChange, FeedRequest, Frame, Head, Hello, decode_change, decode_request
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Copy, Draft, Via
from mirrord.records.record import records
from mirrord.records.strand import Descriptor
from mirrord.records.stripped import strip

from .mutation import mutated, pieces

H = b"h" * 16
LIMIT = 4096
FRAMES: list[tuple[Frame, bytes]] = [
    (Hello(1, "fra", H, H, 1_700_000_000_000, H, 1), b""),
    (Head(1_700_000_000_000, 0), b""),
    (Chunks(3), b"bytes of chunks" * 9),
]
DRAFTS = [Draft(Raw(b'{"n":1}')), Draft(b"\x00\xff" * 40, "tag", "node", Raw(b'{"m":1}')), Draft(Raw(b"[2]"), tag="b")]
COPIES = [Copy(Raw(b"1"), via=Via(("a", "b"), 7, 9, "r")), Copy(b"\x01", tag="t", via=Via(("a",), 7, 10, "r"))]
PACK = b"".join(
    encode(9, first, H, 1_700_000_000_000, batches_of(drafts))[0] for first, drafts in ((1, DRAFTS), (4, COPIES))
)
_fuzz = settings(max_examples=150, deadline=None)


def wired(frames: list[tuple[Frame, bytes]]) -> bytes:
    return b"".join(bytes(part) for header, body in frames for part in frame(header, [body] if body else []))


def read(parts: list[bytes]) -> tuple[list[tuple[Frame, bytes]], bool]:
    """The frames before the first that cannot be, and whether there was one."""
    reader = FrameReader(LIMIT)
    found: list[tuple[Frame, bytes]] = []
    try:
        for part in parts:
            found.extend(reader.feed(part))
    except ProtocolViolation:
        return found, True
    return found, False


@_fuzz
@given(data=st.data())
def test_any_frames(data: st.DataObject) -> None:
    """Garbage ends the feed by name, wherever the network cuts it."""
    stream = data.draw(st.binary(max_size=200) | mutated(wired(FRAMES)))
    assert read(data.draw(pieces(stream))) == read([stream])


@_fuzz
@given(header=st.integers(0, 2**32 - 1), body=st.integers(0, 2**32 - 1))
def test_a_length_that_lies_takes_no_memory(header: int, body: int) -> None:
    """Four gigabytes are refused when they are announced, not when they are there."""
    tracemalloc.start()
    read([struct.pack("<II", header, body), b"x" * 100])
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 100_000


@_fuzz
@given(data=st.data())
def test_any_request_for_a_feed(data: st.DataObject) -> None:
    """The bodies of both feed routes."""
    asked = FeedRequest(1, "c", "n", H, H, H, 1, {})
    for good, decode in ((asked, decode_request), (FeedChange(H), decode_change)):
        body = data.draw(st.binary(max_size=60) | mutated(msgspec.msgpack.encode(good)))
        try:
            decode(body)
        except InvalidRequest:
            continue


@_fuzz
@given(data=st.data())
def test_any_stripped_chunk(data: st.DataObject) -> None:
    """A chunk that lost records, with something wrong in it; and one to lose records of that is wrong itself."""
    gone = data.draw(st.integers(0, 15))
    whole = strip(PACK, 0, chunks.header_at(PACK, 0), gone)
    assert _records(whole) == len(DRAFTS) - (gone & 7).bit_count()
    bad = data.draw(mutated(whole))
    with suppress(ChunkCorrupt, ProtocolViolation):
        assert _records(bad) <= len(bad)
    with suppress(ChunkCorrupt, ProtocolViolation):
        for at, _, header in chunks.chunks_in(bad):
            strip(bad, at, header, gone)


def test_a_chunk_loses_no_more_than_it_tells_to_hold() -> None:
    """What the fuzzer found once: a header that tells no records at all, beside a mask that has one."""
    told = chunks.header_at(PACK, 0)
    lying: Any = (*told[: chunks.COUNT], 0, *told[chunks.COUNT + 1 :])
    assert strip(PACK, 0, lying, 1) == PACK[: chunks.size_of(told)]


def _records(body: bytes) -> int:
    """All that is read of a pack from the disk, or of chunks from a peer."""
    count = 0
    for at, _, header in chunks.chunks_in(body):
        chunks.tags_of(body, at, header)
        count += len(records(body, at, header))
    return count


@_fuzz
@given(body=st.binary(max_size=300) | mutated(PACK))
def test_any_pack(body: bytes) -> None:
    """Bytes that the disk turned are corrupt by name, and never read as more records than they can hold."""
    try:
        assert _records(body) <= len(body)
    except (ChunkCorrupt, ProtocolViolation):
        return


@_fuzz
@given(data=st.data())
def test_any_chunk_with_the_right_hash(data: st.DataObject) -> None:
    """A hostile peer hashes its garbage rightly: shape and content are judged all the same."""
    bad = data.draw(mutated(PACK[16:]))
    body = xxh3_128_digest(bad) + bad
    if len(body) < chunks.HEADER_LEN:
        return
    header = chunks.header_at(body, 0)
    try:
        size = chunks.check_shape(header, len(body))
        chunks.check_hash(memoryview(body), 0, size, header)
        chunks.tags_of(body, 0, header)
        records(body, 0, header)
    except (ChunkCorrupt, ProtocolViolation):
        return


@_fuzz
@given(data=st.binary(max_size=120) | mutated(Descriptor(7, "orders", H, "fra", H, (6, 9, H)).encode()))
def test_any_descriptor(data: bytes) -> None:
    """What a strand is, as a peer tells it: what is taken can be told on."""
    try:
        found = Descriptor.decode(data)
    except ProtocolViolation:
        return
    assert Descriptor.decode(found.encode()) == found
