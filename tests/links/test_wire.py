"""Frames: cut anywhere, bounded by what they may be, and skipped when they are of a later version."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.errors import InvalidRequest, ProtocolViolation
from mirrord.links import wire
from mirrord.links.frames import MOST_HEADER_BYTES, FrameReader, frame
from mirrord.links.wire import (
    Chunks,
    CoverIs,
    FeedChange,
    FeedRequest,
    ForkIs,
    Frame,
    Head,
    Hello,
    NeedClosed,
    Refused,
    Rewound,
    StrandIs,
    TopicInfo,
    Topics,
)

H = b"h" * 16
INFO = TopicInfo(3, "orders", b"l" * 8, "log", 0, "disk", 9, 9, 90, [(5, 9, H, 1, 1700), (6, 1, None, 2, 1700)])
EVERY: list[tuple[Frame, bytes]] = [
    (Hello(1, "fra", H, H, 1_700_000_000_000, H, 1), b""),
    (Topics("there", [INFO]), b""),
    (StrandIs(3, b"descriptor"), b""),
    (Chunks(3), b"bytes of chunks" * 9),
    (CoverIs(3, 5, 1, 9, "expired", H, None), b""),
    (Head(1, 2, [(3, 5, 9, H, 1700)], [(3, 5, 1, 9)], [("iad", "orders", 5, 9, 1, (1, 1, 1))]), b""),
    (ForkIs(3, 5, (9, H), (9, None)), b""),
    (Rewound(3, 5, 9, 8), b""),
    (NeedClosed(), b""),
    (Refused("busy", "later", None, 1.5), b""),
]


def joined(frames: list[tuple[Frame, bytes]]) -> bytes:
    return b"".join(b"".join(frame(header, [body] if body else [])) for header, body in frames)


def raw(header: Any, body: bytes = b"") -> bytes:
    packed: bytes = msgpack.packb(header)
    return struct.pack("<II", len(packed), len(body)) + packed + body


def test_every_frame_comes_back() -> None:
    """What one end says is what the other hears."""
    assert list(FrameReader(1 << 20).feed(joined(EVERY))) == EVERY


def test_the_bytes_of_a_frame_stay_as_they_are() -> None:
    """Another implementation reads these very bytes (docs/FEED.md)."""
    assert joined([(CoverIs(3, 5, 1, 9, "lost", None, None), b"")]).hex() == (
        "3100000000000000"
        "86a166a5636f766572a5746f70696303a6737472616e6405a5666972737401a46c61737409a6726561736f6ea46c6f7374"
    )  # fmt: skip


@settings(max_examples=100)
@given(st.lists(st.sampled_from(EVERY), max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_frames_may_be_cut_anywhere(frames: list[tuple[Frame, bytes]], cuts: list[int]) -> None:
    """TCP knows no frames: whatever the pieces, the same frames come out, in order."""
    data, reader, found = joined(frames), FrameReader(1 << 20), []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += list(reader.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    assert found == frames


@pytest.mark.parametrize(
    ("header_len", "body_len"), [(1 << 31, 0), (MOST_HEADER_BYTES + 1, 0), (4, 1001), (4, (1 << 32) - 1)]
)
def test_lying_lengths_are_refused_before_anything_is_kept(header_len: int, body_len: int) -> None:
    """Eight bytes are enough to refuse four thousand million."""
    reader = FrameReader(1000)
    with pytest.raises(ProtocolViolation, match="length"):
        list(reader.feed(struct.pack("<II", header_len, body_len)))


def test_frames_and_fields_of_a_later_version_are_skipped() -> None:
    """An older node goes on hearing what it knows."""
    data = (
        raw({"f": "from-the-future", "x": [1, {"y": 2}]}, b"with a body")
        + raw({"f": "chunks", "topic": 3, "compressed": True}, b"abc")
        + raw({"f": "need-closed", "why": {"deep": [1]}})
    )
    assert list(FrameReader(1 << 20).feed(data)) == [(Chunks(3), b"abc"), (NeedClosed(), b"")]


@pytest.mark.parametrize(
    "header",
    [
        5,
        None,
        [],
        "chunks",
        {},
        {"f": None},
        {"f": 7},
        {"topic": 3},
        {"f": "chunks"},
        {"f": "chunks", "topic": "x"},
        {"f": "cover", "topic": 1, "strand": 1, "first": 1, "last": 2},
        {"f": "strand", "topic": 1, "descriptor": "text"},
        {"f": "head", "clock_ms": 1, "digest": 1, "moves": [[1, 2]]},
        {"f": "fork", "topic": 1, "strand": 2, "here": [1], "yours": [1]},
    ],
    ids=repr,
)
def test_known_frames_of_another_shape_are_a_violation(header: Any) -> None:
    """Nonsense under a known name is not skipped: the connection is closed, by name."""
    with pytest.raises(ProtocolViolation):
        list(FrameReader(1 << 20).feed(raw(header)))


@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_a_violation_or_nothing_yet(noise: bytes) -> None:
    """Whatever a peer sends: frames that it could mean, or a named error, and never another exception."""
    reader = FrameReader(1 << 16)
    framed = struct.pack("<II", len(noise), 0) + noise
    for data in (noise, framed):
        try:
            list(FrameReader(1 << 16).feed(data))
            list(reader.feed(data))
        except ProtocolViolation:
            reader = FrameReader(1 << 16)


@pytest.mark.parametrize(
    "noise", [b"\xa3\xff\xfe\xfd", b"\x81\xa1f\xa3\xff\xfe\xfd", b"\x91" * 200_000, b"\x81\xa1f" * 60_000]
)
def test_texts_that_are_none_and_nests_without_end_are_a_violation(noise: bytes) -> None:
    """Bad UTF-8 and deep nesting have the same names as all other garbage: a peer's, and an asker's."""
    with pytest.raises(ProtocolViolation):
        list(FrameReader(1 << 20).feed(struct.pack("<II", len(noise), 0) + noise))
    with pytest.raises(InvalidRequest):
        wire.decode_request(noise)
    with pytest.raises(InvalidRequest):
        wire.decode_change(noise)


def test_an_unknown_field_that_nests_without_end_is_a_violation() -> None:
    """Skipping is work too."""
    deep = b"\x82\xa1f\xabneed-closed\xa1x" + b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(ProtocolViolation):
        list(FrameReader(1 << 20).feed(struct.pack("<II", len(deep), 0) + deep))


def test_requests_and_changes_come_back() -> None:
    """The caller's half of the protocol."""
    request = FeedRequest(
        1, "shop", "fra", H, H, H, 7, {"orders": [(5, 9, H)], "chat:*": []}, closed_strands={"orders": [(4, 2, H)]}
    )
    assert wire.decode_request(wire.encode(request)) == request
    change = FeedChange(
        H, {"orders": [(5, 9, None)]}, {"orders": [6]}, {"orders": [(5, 12)]}, [("iad", "orders", 5, 9, 1, (1, 1, 1))]
    )
    assert wire.decode_change(wire.encode(change)) == change


@given(st.binary(max_size=200))
def test_a_request_that_is_none_is_invalid(noise: bytes) -> None:
    """The server's parser answers by name too."""
    for decode in (wire.decode_request, wire.decode_change):
        with pytest.raises(InvalidRequest):
            decode(noise)


def test_a_frame_is_sent_from_where_its_bytes_lie() -> None:
    """Law 11: the body's buffers are passed on, not copied."""
    body = memoryview(b"x" * 1000)
    buffers = frame(Chunks(1), [body, body])
    assert buffers[1] is body
    assert buffers[2] is body
