"""Chunks: bytes that mean the same for ever, and that refuse to be anything else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from xxhash import xxh3_128_digest

from mirrord.errors import ChunkCorrupt, HashMismatch, ProtocolViolation
from mirrord.records import chunk as chunks
from mirrord.records.batch import CHUNK_BYTES, Batch, batches_of, batches_of_text, encode
from mirrord.records.draft import NO_TEXT, Draft
from mirrord.records.record import Record, records

# Version 1, as released. These bytes lie in stores: a change that breaks this test breaks every data
# directory.
GOLDEN_PREV = bytes.fromhex("4c2980b5115e1ede15683b27aef20767")
GOLDEN = bytes.fromhex(
    "4638de834baa9462311c57f515fd6b16"  # hash
    "4c2980b5115e1ede15683b27aef20767"  # prev_hash
    "01"
    "00"
    "5400"
    "0000"
    "0500"  # version, kind, header_len, flags, tags_len
    "efcdab8967452301"
    "0100000000000000"  # strand, first
    "03000000"
    "36000000"
    "1c000000"  # count, body_len, text_len
    "0068e5cf8b010000"
    "0068e5cf8b010000"  # ts_first, ts_last
    "92a161a162"  # tags: ["a", "b"]
    "9500c0c0c0a77b226e223a317d"  # [0, nil, nil, nil, '{"n":1}']
    "9500a161a674696c6c2d33aa7b226d223a747275657da35b325d"  # [0, "a", "till-3", '{"m":true}', '[2]']
    "9500a162c0c0a87b226f6b223a317d"  # [0, "b", nil, nil, '{"ok":1}']
)
GOLDEN_DRAFTS = [
    Draft(Raw(b'{"n":1}')),
    Draft(Raw(b"[2]"), tag="a", node="till-3", meta=Raw(b'{"m":true}')),
    Draft(Raw(b'{"ok":1}'), tag="b"),
]
GOLDEN_STRAND, GOLDEN_TS = 0x0123456789ABCDEF, 1_700_000_000_000

json_texts = st.text(min_size=1, max_size=400).map(lambda text: Raw(text.encode()))
labels = st.none() | st.text(max_size=40)
payloads = json_texts | st.binary(max_size=400) | st.sampled_from([255, 256, 65_535, 65_536]).map(bytes)
drafts = st.builds(Draft, data=payloads, tag=labels, node=labels, meta=st.just(NO_TEXT) | json_texts)


def _shown(data: Raw | bytes) -> str | bytes:
    return data if isinstance(data, bytes) else bytes(data).decode()


def checked(buffer: bytes, at: int = 0) -> chunks.Header:
    """All that is asked of a chunk before it is believed, in the order in which apply asks it."""
    if len(buffer) - at < chunks.HEADER_LEN:
        raise ProtocolViolation("short")
    header = chunks.header_at(buffer, at)
    size = chunks.check_shape(header, len(buffer) - at)
    chunks.check_hash(memoryview(buffer), at, size, header)
    return header


def sealed(**fields: int) -> bytes:
    """A chunk whose header lies but whose hash is right, as a hostile peer can make it."""
    told = {
        "version": 1,
        "kind": 0,
        "header_len": 84,
        "flags": 0,
        "tags_len": 0,
        "strand": 1,
        "first": 1,
        "count": 1,
        "body_len": 7,
        "text_len": 1,
        "ts_first": 5,
        "ts_last": 5,
    } | fields
    rest = struct.pack("<16sBBHHHQQIIIqq", bytes(16), *told.values()) + b"\x95\x00\xc0\xc0\xc0\xa1" + b"1"
    return xxh3_128_digest(rest) + rest


def test_the_bytes_of_version_1_stay_as_they_are() -> None:
    """A chunk written by any released version reads back, and the same records give the same bytes for
    ever."""
    packed, digest, tags = encode(GOLDEN_STRAND, 1, GOLDEN_PREV, GOLDEN_TS, batches_of(GOLDEN_DRAFTS))
    assert packed.hex() == GOLDEN.hex()
    assert (digest, tags) == (GOLDEN[:16], ("a", "b"))
    header = checked(GOLDEN)
    assert chunks.tags_of(GOLDEN, 0, header) == ("a", "b")
    assert records(GOLDEN, 0, header) == [
        Record(1, GOLDEN_TS, None, None, None, '{"n":1}'),
        Record(2, GOLDEN_TS, "a", "till-3", '{"m":true}', "[2]"),
        Record(3, GOLDEN_TS, "b", None, None, '{"ok":1}'),
    ]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from([1, 31, 32, 255, 256, 1023, 1024, 65_535, 65_536]), min_size=1, max_size=20),
    st.sampled_from([0, 6, 7, 32_766, 32_767]),
)
def test_column_by_column_gives_the_same_bytes(sizes: list[int], more: int) -> None:
    """Records that are text alone are packed in another way, and nobody can tell."""
    sizes = [*sizes, *([1] * more)]
    texts = [Raw(b"1" * size) for size in sizes]
    found = batches_of_text(texts)
    assert found == batches_of([Draft(text) for text in texts])
    assert sum(batch.records for batch in found) == len(sizes)
    assert all(batch.text_bytes <= CHUNK_BYTES for batch in found)


@given(st.lists(drafts, min_size=1, max_size=10), st.lists(drafts, min_size=1, max_size=10))
def test_appends_that_share_a_chunk_are_as_one(some: list[Draft], more: list[Draft]) -> None:
    """Whoever shares a turn shares a chunk, with the bytes of one append of all their records."""
    together = batches_of([*some, *more])
    assume(len(together) == 1)
    found: list[Batch] = [*batches_of(some), *batches_of(more)]
    assert encode(1, 1, bytes(16), 0, found) == encode(1, 1, bytes(16), 0, together)


@given(st.lists(drafts, min_size=1, max_size=30), st.integers(1, 1 << 40), st.integers(0, 1 << 45))
def test_what_was_written_is_read(found: list[Draft], first: int, ts: int) -> None:
    """Payloads, labels and tags come back as the very text that the writer sent."""
    packed, _, tags = encode(9, first, bytes(16), ts, batches_of(found))
    header = checked(packed)
    assert chunks.size_of(header) == len(packed)
    told = [
        Record(first + i, ts, d.tag, d.node, bytes(d.meta).decode() or None, _shown(d.data))
        for i, d in enumerate(found)
    ]
    assert records(packed, 0, header) == told
    assert header[chunks.TEXT_LEN] == sum(d.text_bytes for d in found)
    assert set(tags or ()) == {d.tag for d in found if d.tag is not None}
    assert chunks.tags_of(packed, 0, header) == tags


@pytest.mark.parametrize("length", [1, 31, 32, 255, 256, 65_535, 65_536, 70_000])
def test_texts_of_every_msgpack_size_class_come_back(length: int) -> None:
    """Text heads are written by hand for speed; each of their size classes must be msgpack."""
    text = b'"' + b"x" * (length - 1)
    packed, _, _ = encode(1, 1, bytes(16), 0, batches_of([Draft(Raw(text), meta=Raw(text))]))
    (record,) = records(packed, 0, checked(packed))
    assert record.data == record.meta == text.decode()


def test_every_truncation_is_refused() -> None:
    """A chunk that lost bytes anywhere at its end is never believed."""
    for length in range(len(GOLDEN)):
        with pytest.raises(ProtocolViolation):
            checked(GOLDEN[:length])


def test_every_flipped_bit_is_refused() -> None:
    """One hash covers every byte of a chunk but itself, and itself by being compared."""
    for bit in range(8 * len(GOLDEN)):
        spoiled = bytearray(GOLDEN)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolViolation):
            checked(bytes(spoiled))


@pytest.mark.parametrize(
    "lie",
    [
        {"version": 0},
        {"header_len": 83},
        {"header_len": 0xFFFF},
        {"tags_len": 0xFFFF},
        {"count": 0},
        {"first": 0},
        {"body_len": 0xFFFFFFFF},
        {"count": 0xFFFFFFFF},
        {"count": 8},
        {"first": (1 << 53) - 1},
        {"first": (1 << 64) - 1},
        {"ts_first": 6},
        {"text_len": 8},
        {"text_len": 0xFFFFFFFF},
    ],
    ids=str,
)
def test_a_header_that_cannot_be_true_is_refused(lie: dict[str, int]) -> None:
    """A right hash does not make a lie true: lengths and counts are compared with what is there."""
    assert checked(sealed())
    with pytest.raises(ProtocolViolation):
        checked(sealed(**lie))


@given(st.binary(max_size=400))
def test_bytes_that_are_no_chunk_are_refused_by_name(noise: bytes) -> None:
    """Whatever a peer or a rotten disk gives, the answer is a named error."""
    with pytest.raises(ProtocolViolation):
        checked(noise)
    if noise:
        with pytest.raises(ChunkCorrupt):
            list(chunks.chunks_in(noise + b"\xff" * 83))


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=200), st.integers(1, 1 << 31))
def test_a_body_that_holds_no_records_is_refused_by_name(body: bytes, count: int) -> None:
    """A chunk with a right hash and a senseless body costs its reader a named error and no memory."""
    header = (b"", b"", 1, 0, 0, 0, 0, 1, 1, count, len(body), 0, 0, 0)
    try:
        found = records(body, 0, header)
    except ChunkCorrupt:
        return
    assert len(found) == count
    assert all(isinstance(r.data, str | bytes) for r in found)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xdb\xff\xff\xff\xffab",  # a text of four thousand million bytes
        b"\x95\x00\xc0\xc0\xc0",  # no data
        b"\x94\x00\xc0\xc0\xa11",  # four fields
        b"\x95\xa11\xc0\xc0\xc0\xa11",  # a time that is text
        b"\x95\x00\x01\xc0\xc0\xa11",  # a tag that is a number
        b"\x95\x00\xc0\x01\xc0\xa11",  # a label that is a number
        b"\x95\x00\xc0\xc0\x01\xa11",  # meta that is a number
        b"\x95\x00\xc0\xc0\xc0\x01",  # data that is a number
        b"\x95\x00\xc0\xc0\xc0\xc0",  # data that is nothing
        b"\x95\x00\xc0\xc0\xc0\xa1\xff",  # text that is not UTF-8
        b"\x81" * 5000,  # nested without end
    ],
)
def test_records_of_another_shape_are_refused(body: bytes) -> None:
    """What cannot be shown to a reader is called corrupt, and no length that it tells is believed."""
    header = (b"", b"", 1, 0, 0, 0, 0, 1, 1, 1, len(body), 0, 0, 0)
    with pytest.raises(ChunkCorrupt):
        records(body, 0, header)


def test_fields_of_a_later_version_are_skipped() -> None:
    """A newer node may put more into the header: this one reads what it knows and keeps the hash whole."""
    packed, _, _ = encode(5, 1, bytes(16), 7, batches_of([Draft(Raw(b"1"), tag="t")]))
    longer = bytearray(packed[16:84] + b"new!" + packed[84:])
    longer[16] = 2  # version
    struct.pack_into("<H", longer, 18, 88)  # header_len
    newer = xxh3_128_digest(bytes(longer)) + bytes(longer)
    header = checked(newer)
    assert chunks.tags_of(newer, 0, header) == ("t",)
    assert [r.data for r in records(newer, 0, header)] == ["1"]


def test_chunks_stand_one_after_the_other() -> None:
    """A pack is nothing but its chunks' bytes."""
    first, digest, _ = encode(5, 1, bytes(16), 7, batches_of([Draft(Raw(b"1")), Draft(Raw(b"2"))]))
    second, _, _ = encode(5, 3, digest, 8, batches_of([Draft(Raw(b"3"))]))
    body = first + second
    assert [(at, size, h[chunks.FIRST]) for at, size, h in chunks.chunks_in(body)] == [
        (0, len(first), 1),
        (len(first), len(second), 3),
    ]
    for cut in range(1, len(body)):
        if cut != len(first):
            with pytest.raises(ChunkCorrupt):
                list(chunks.chunks_in(body[:cut]))


def test_more_than_64_tags_are_not_listed() -> None:
    """The list beside the header stays small: with too many tags it says `many` and every reader must look
    inside."""
    few = [Draft(Raw(b"1"), tag=f"t{i}") for i in range(64)]
    packed, _, tags = encode(1, 1, bytes(16), 0, batches_of(few))
    assert len(tags or ()) == 64
    assert chunks.tags_of(packed, 0, checked(packed)) == tags
    packed, _, _ = encode(1, 1, bytes(16), 0, batches_of([*few, Draft(Raw(b"1"), tag="one more")]))
    header = checked(packed)
    assert header[chunks.FLAGS] & chunks.MANY_TAGS
    assert header[chunks.TAGS_LEN] == 0
    assert chunks.tags_of(packed, 0, header) is None


@pytest.mark.parametrize(
    "tags", [b"\xc0", b"\x91\x01", b"\xff", b"\x92\xa1a", b"\x91\xa1\xff", b"\xa1a", b"\x81\xa1a\x01"]
)
def test_tags_that_are_no_list_of_texts_are_refused(tags: bytes) -> None:
    """The tag list of a peer's chunk is parsed on apply: what is no list of texts is a violation."""
    header = (b"", b"", 1, 0, 84, 0, len(tags), 1, 1, 1, 0, 0, 0, 0)
    with pytest.raises(ProtocolViolation):
        chunks.tags_of(bytes(84) + tags, 0, header)


def test_a_hash_mismatch_has_its_own_name() -> None:
    """Bit rot and forgery are told apart from nonsense."""
    with pytest.raises(HashMismatch):
        checked(GOLDEN[:-1] + b"~")
