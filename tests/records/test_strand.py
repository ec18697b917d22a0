"""Descriptors and gaps: what names a strand, and how places inside a dropped range stay comparable."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.errors import ProtocolViolation
from mirrord.records import gap
from mirrord.records.gap import Cover, find_end, pack_end
from mirrord.records.strand import Descriptor, Identity

ORIGIN, LIFE = bytes(range(16)), bytes(range(16, 32))
DESCRIPTOR = Descriptor(0x0123456789ABCDEF, "orders", ORIGIN, "fra", LIFE, (7, 8, bytes(16)))
GOLDEN = bytes.fromhex(
    "96cf0123456789abcdefa66f7264657273c410000102030405060708090a0b0c0d0e0fa3667261c410101112131415161718191a1b1c1d1e1f"
    "930708c41000000000000000000000000000000000"
)

descriptors = st.builds(
    Descriptor,
    strand=st.integers(1, (1 << 63) - 1),
    topic=st.text(st.characters(codec="ascii"), min_size=1, max_size=255),
    origin_id=st.binary(min_size=16, max_size=16),
    origin=st.text(st.characters(codec="ascii"), min_size=1, max_size=63),
    life=st.binary(min_size=16, max_size=16),
    after=st.none() | st.tuples(st.integers(1, 99), st.integers(0, 99), st.binary(min_size=16, max_size=16)),
)


def test_the_bytes_of_a_descriptor_stay_as_they_are() -> None:
    """A strand's chain begins with the hash of these bytes: another encoding would be another strand."""
    assert DESCRIPTOR.encode().hex() == GOLDEN.hex()
    assert Descriptor.decode(GOLDEN) == DESCRIPTOR
    assert DESCRIPTOR.id_hash.hex() == "4c2980b5115e1ede15683b27aef20767"


@given(descriptors)
def test_a_descriptor_comes_back(descriptor: Descriptor) -> None:
    """What travelled is what was sent, and hashes alike on every node."""
    twin = Descriptor.decode(descriptor.encode())
    assert twin == descriptor
    assert twin.id_hash == descriptor.id_hash


def test_fields_of_a_later_version_are_skipped_in_a_descriptor() -> None:
    """A seventh field does not stop an older node."""
    longer = msgpack.packb([*msgpack.unpackb(GOLDEN), "more"])
    assert Descriptor.decode(longer).topic == "orders"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, 0),
        (0, 1 << 63),
        (0, "x"),
        (1, ""),
        (1, "t" * 256),
        (1, 5),
        (2, b"short"),
        (2, "x" * 16),
        (3, ""),
        (3, "n" * 64),
        (4, b""),
        (4, None),
        (5, [1, 2]),
        (5, [1, 2, "x"]),
        (5, 7),
        (5, ["a", 1, b""]),
    ],
)
def test_a_descriptor_that_cannot_be_true_is_refused(field: int, value: object) -> None:
    """Every field has its type and size, whatever a peer sends."""
    fields = msgpack.unpackb(GOLDEN)
    fields[field] = value
    with pytest.raises(ProtocolViolation):
        Descriptor.decode(msgpack.packb(fields))


@given(st.binary(max_size=100))
def test_noise_is_no_descriptor(noise: bytes) -> None:
    """Whatever the bytes, the answer is a named error."""
    with pytest.raises(ProtocolViolation):
        Descriptor.decode(noise)


def test_truncated_descriptors_are_refused() -> None:
    """No prefix of a descriptor is one."""
    for length in range(len(GOLDEN)):
        with pytest.raises(ProtocolViolation):
            Descriptor.decode(GOLDEN[:length])


def test_a_node_wrote_only_the_strands_of_its_present_life() -> None:
    """Echo suppression and nothing else: what an earlier life wrote comes back to its origin."""
    assert Identity("fra", ORIGIN, LIFE).wrote(DESCRIPTOR)
    assert not Identity("fra", ORIGIN, bytes(16)).wrote(DESCRIPTOR)
    assert not Identity("fra", bytes(16), LIFE).wrote(DESCRIPTOR)


@given(st.sets(st.integers(1, 10_000), max_size=60), st.integers(0, 10_001))
def test_inner_ends_of_a_dropped_range_are_found(oseqs: set[int], wanted: int) -> None:
    """A position inside a range whose bodies are gone is still comparable, if it is a chunk's end."""
    ends = b"".join(pack_end(oseq, oseq.to_bytes(16, "big")) for oseq in sorted(oseqs))
    assert find_end(ends, wanted) == (wanted.to_bytes(16, "big") if wanted in oseqs else None)


@pytest.mark.parametrize(
    ("first", "last", "reason", "sound"),
    [
        (1, 1, "expired", True),
        (1, (1 << 53) - 1, "lost", True),
        (0, 5, "lost", False),
        (5, 4, "lost", False),
        (1, 1 << 53, "lost", False),
        (1, 2, "because", False),
        (-1, 2, "lost", False),
    ],
)
def test_a_cover_that_cannot_be_true_is_not_sound(first: int, last: int, reason: str, sound: bool) -> None:
    """Ranges lie within what oseqs can be, and the reason is a word of the protocol."""
    assert Cover(1, first, last, reason, None, None).is_sound() is sound


def test_a_cut_cover_does_not_tell_a_hash_that_it_does_not_know() -> None:
    """The hash of a cover stands at its end; at an inner end it would be a lie that looks like a fork."""
    cover = Cover(1, 3, 9, "expired", b"p" * 16, b"h" * 16)
    assert cover.cut(9) is cover
    assert cover.cut(12) is cover
    assert cover.cut(5) == Cover(1, 3, 5, "expired", b"p" * 16, None)


def test_only_losses_take_a_seq() -> None:
    """Readers see a loss once, as a seq of its own; what somebody wanted is silent."""
    assert {r for r in gap.REASONS if gap.takes_a_seq(r)} == {"expired", "evicted", "lost"}
