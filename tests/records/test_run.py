"""Runs: as far as chunks follow each other without a doubt, and not a byte further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.errors import HashMismatch
from mirrord.records.batch import batches_of, encode
from mirrord.records.chunk import MOST_TAGS, check_shape, header_at
from mirrord.records.draft import Draft
from mirrord.records.run import Run, run_from

STRAND = 9


def run_of(buffer: bytes, most_bytes: int = 1 << 20) -> tuple[Run, int]:
    """The run at the begin of a buffer, and where it ends."""
    header = header_at(buffer, 0)
    return run_from(buffer, 0, check_shape(header, len(buffer)), header, most_bytes)


def chained(sizes: list[int], strand: int = STRAND, first: int = 1, before: bytes = b"0" * 16) -> list[bytes]:
    """Chunks of so many records each, in one chain."""
    found, ts = [], 1000
    for size in sizes:
        drafts = [Draft(Raw(b"%d" % n), tag=f"t{size}") for n in range(size)]
        packed, before, _ = encode(strand, first, before, ts, batches_of(drafts))
        found.append(packed)
        first, ts = first + size, ts + 1
    return found


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_a_whole_chain_is_one_run(sizes: list[int]) -> None:
    """What a run tells is what its chunks tell together."""
    packed = chained(sizes)
    run, end = run_of(b"".join(packed))
    last = header_at(packed[-1], 0)
    assert (end, run.first, run.records) == (sum(map(len, packed)), 1, sum(sizes))
    assert (run.hash, run.ts_last, run.tags) == (
        last[0],
        999 + len(sizes),
        tuple(dict.fromkeys(f"t{n}" for n in sizes)),
    )
    assert run.text_bytes == sum(header_at(one, 0)[11] for one in packed)


@pytest.mark.parametrize(
    "second",
    [
        chained([1], strand=10)[0], chained([1], first=3)[0], chained([1], first=2)[0], b"x" * 30, b"\0" * 200,
    ],
    ids=["strand", "hole", "another-chain", "half-a-header", "nothing"],
)  # fmt: skip
def test_what_does_not_follow_ends_it(second: bytes) -> None:
    """It is left to the rules, which name it."""
    (packed,) = chained([1])
    run, end = run_of(packed + second)
    assert (end, run.records) == (len(packed), 1)


@given(st.data())
def test_a_changed_byte_is_never_taken(data: st.DataObject) -> None:
    """Wherever a bit is wrong behind the first chunk, the run ends before that chunk."""
    packed = chained([2, 3, 1])
    buffer = bytearray(b"".join(packed))
    at = data.draw(st.integers(len(packed[0]), len(buffer) - 1))
    buffer[at] ^= 1 << data.draw(st.integers(0, 7))
    _, end = run_of(bytes(buffer))
    assert end <= at


def test_a_first_chunk_with_a_changed_byte_is_refused() -> None:
    """There is no run to keep."""
    (packed,) = chained([2])
    with pytest.raises(HashMismatch):
        run_of(packed[:-1] + b"\xff")


def test_a_run_ends_where_a_pack_is_full() -> None:
    """At least one chunk, then only what fits."""
    packed = chained([1, 1, 1])
    buffer, size = b"".join(packed), len(packed[0])
    found = [run_of(buffer, most)[0].records for most in (0, size, 2 * size, 3 * size - 1)]
    assert found == [1, 1, 2, 2]


def test_too_many_tags_to_tell_stay_so() -> None:
    """A chunk that lists none because they are many makes the whole run so."""
    drafts = [Draft(Raw(b"1"), tag=str(n)) for n in range(MOST_TAGS + 1)]
    (first,) = chained([1])
    many, _, _ = encode(STRAND, 2, header_at(first, 0)[0], 1001, batches_of(drafts))
    run, _ = run_of(first + many)
    assert (run.records, run.tags) == (MOST_TAGS + 2, None)
