"""Chunks of copies: what they tell, what others see of them, and that they hold nothing else."""

from __future__ import annotations

from typing import cast

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mirrord.errors import ChunkCorrupt
from mirrord.records import chunk as chunks
from mirrord.records.batch import batches_of, encode
from mirrord.records.chunk import BODY_LEN, FLAGS, ROUTED, Header, chunks_in, header_at
from mirrord.records.draft import Copy, Draft, Via
from mirrord.records.record import records, rows, vias

from ..topics.rig import log_of, turn_of

VIA = Via(("orders", "audit"), 7, 3, "orders->audit")
drafts = st.builds(
    Copy,
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: Raw(text.encode())),
    st.none() | st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.sampled_from([Raw(b""), Raw(b'{"a":1}')]),
    st.none() | st.builds(Via, st.lists(st.text(max_size=5), max_size=3).map(tuple), st.integers(1, 1 << 62),
                          st.integers(1, 1 << 50), st.text(max_size=5)),
)  # fmt: skip


@given(st.lists(drafts, min_size=1, max_size=5))
def test_copies_read_back(made: list[Copy]) -> None:
    """Records as those of any chunk, and beside them where they came from."""
    packed, _, _ = encode(5, 1, b"p" * 16, 1000, batches_of(made))
    header = header_at(packed, 0)
    assert header[FLAGS] & ROUTED
    assert vias(packed, 0, header) == [copy.via for copy in made]
    plain, _, _ = encode(5, 1, b"p" * 16, 1000, batches_of([Draft(c.data, c.tag, c.node, c.meta) for c in made]))
    assert rows(packed, 0, header) == rows(plain, 0, header_at(plain, 0))
    assert records(packed, 0, header) == records(plain, 0, header_at(plain, 0))
    assert vias(plain, 0, header_at(plain, 0)) == []


@pytest.mark.parametrize("via", [1, [], ["x", 1, 2, "r"], [["x"], "1", 2, "r"], [[1], 1, 2, "r"]])
def test_a_copy_that_tells_nonsense_is_corrupt(via: object) -> None:
    """Named, not followed."""
    packed, _, _ = encode(5, 1, b"p" * 16, 1000, batches_of([Copy(Raw(b"1"), via=VIA)]))
    body = b"\x96\x00\xc0\xc0\xc0\xa11" + msgpack.packb(via)
    header = list(header_at(packed, 0))
    header[BODY_LEN] = len(body)
    with pytest.raises(ChunkCorrupt):
        vias(packed[: chunks.HEADER_LEN] + body, 0, cast("Header", tuple(header)))


def test_what_shares_a_turn_with_copies_does_not_share_their_chunk() -> None:
    """One commit may hold both; each chunk is of one kind, and no copy loses its path."""
    log = log_of()
    turn = turn_of(log)
    for made in ([Draft(Raw(b"1"))], [Copy(Raw(b"2"), via=VIA)], [Copy(Raw(b"3"), via=VIA)], [Draft(Raw(b"4"))]):
        turn.append(batches_of(made))
    (pack,) = turn.closed_packs()
    told = [(h[FLAGS] & ROUTED, [row[4] for row in rows(pack.body, at, h)]) for at, _, h in chunks_in(pack.body)]
    assert told == [(0, ["1"]), (ROUTED, ["2", "3"]), (0, ["4"])]
    found = [via for at, _, header in chunks_in(pack.body) for via in vias(pack.body, at, header)]
    assert found == [VIA, VIA]
