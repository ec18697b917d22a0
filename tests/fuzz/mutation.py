"""Good input with something wrong in it: what finds faults that random bytes never reach."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

ODD = [
    b"\x00", b"\xff", b"\r\n", b"\n", b" ", b":", b"[", b"]", b"{", b"}", b'"', b"\\", b"\xc1", b"\xdf", b"=", b"%",
    b"-1", b"9" * 25,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """Cut, spliced, doubled, filled or turned at one to three places."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 8) | st.integers(0, len(data)))
        part = draw(st.sampled_from(ODD) | st.binary(min_size=1, max_size=4))
        data = draw(st.sampled_from([
            data[:at],
            data[:at] + data[at + size :],
            data[:at] + part + data[at:],
            data[:at] + part + data[at + len(part) :],
            data[: at + size] + data[at:],
        ]))  # fmt: skip
    return data


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes as a network may cut them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]
