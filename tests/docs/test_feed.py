"""The bytes that docs/FEED.md shows are those that the code makes: others write their nodes after them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import Raw
from xxhash import xxh3_64_intdigest

from mirrord.links import frames, wire
from mirrord.links.feeds.telling import position_digest
from mirrord.records import chunk
from mirrord.records.batch import batches_of, encode
from mirrord.records.draft import Draft
from mirrord.records.strand import Descriptor
from mirrord.records.stripped import strip
from mirrord.topics.erasure.contents import ERASE, erase_orders

FEED = (Path(__file__).parents[2] / "docs" / "FEED.md").read_text()
STRAND = 0x1122334455667788
DESCRIPTOR = Descriptor(STRAND, "orders", bytes(range(16)), "fra", bytes(range(16, 32)))
TS = 1795311534098
FIRST, HASH, _ = encode(
    STRAND,
    1,
    DESCRIPTOR.id_hash,
    TS,
    batches_of(
        [
            Draft(Raw(b'{"item": "tea"}')),
            Draft(Raw(b'"x"'), tag="eu", node="till-7", meta=Raw(b'{"by":"me"}')),
        ]
    ),
)
NEXT = encode(STRAND, 3, HASH, TS + 102, batches_of([Draft(Raw(b"3"))]))[0]
STRIPPED = strip(FIRST, 0, chunk.header_at(FIRST, 0), 0b10)
ORDER = Draft(Raw(next(erase_orders({STRAND: [(2, 2)]}))[1]), tag=ERASE)
CONTROL = encode(STRAND, 4, NEXT[:16], TS + 204, batches_of([ORDER]), chunk.CONTROL)[0]
HEAD = b"".join(frames.frame(wire.Head(TS, 0)))


def shown(name: str) -> bytes:
    """A hex block of the page; what stands behind two blanks of a line is for people."""
    block = re.search(rf"```hex {name}\n(.*?)```", FEED, re.DOTALL)
    assert block is not None, name
    return bytes.fromhex("".join(line.split("  ")[0] for line in block[1].splitlines()))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("descriptor", DESCRIPTOR.encode()),
        ("chunk", FIRST),
        ("next", NEXT),
        ("stripped", STRIPPED),
        ("control", CONTROL),
        ("head", HEAD),
    ],
)
def test_the_bytes_shown_are_the_bytes_made(name: str, made: bytes) -> None:
    """A worked example that is wrong by one bit is worse than none."""
    assert shown(name) == made


def test_the_hashes_shown_are_right() -> None:
    """The descriptor's hash and the digest of one position, as the page tells them."""
    assert DESCRIPTOR.id_hash.hex() in FEED
    digest = xxh3_64_intdigest(b"1 1234605616436508552 2")
    assert digest == position_digest(1, STRAND, 2)
    assert f"`{digest:016x}`" in FEED


def test_every_field_of_a_request_is_told() -> None:
    """Whoever writes another caller finds every key of request and change, and every key of every frame."""
    structs = [wire.FeedRequest, wire.FeedChange, wire.TopicInfo, *wire.Frame.__args__]
    for struct in structs:
        for field in struct.__struct_fields__:
            assert f"`{field}`" in FEED, f"{struct.__name__}.{field}"
