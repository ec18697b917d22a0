"""gzip and zstd, in steps and with an end: what was compressed comes back, and a bomb is stopped at the limit."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from mirrord.web.formats.compression import CODINGS, MOST_FRAMES, STEP_BYTES, deflate, inflate

MIB = 1 << 20
PACK: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"zstd": zstd.compress}
every_coding = pytest.mark.parametrize("coding", CODINGS)
_few = settings(max_examples=25, deadline=None)


class Noise(bytes):
    """What does not compress, and does not print itself."""

    def __repr__(self) -> str:
        return f"Noise({len(self)})"


bodies = st.binary(max_size=2000) | st.integers(0, STEP_BYTES + 9).map(lambda n: Noise(random.Random(n).randbytes(n)))


def inflated(coding: bytes, body: bytes, most: int = 64 * MIB) -> bytes:
    return b"".join(inflate(coding, body, most))


@every_coding
@_few
@given(pieces=st.lists(bodies, max_size=3))
def test_what_we_compress_is_what_others_read(coding: bytes, pieces: list[bytes]) -> None:
    """The standard library's own reader gives the body back, however it lay in pieces."""
    packed = b"".join(deflate(coding, pieces))
    unpack = gzip.decompress if coding == b"gzip" else zstd.decompress
    assert unpack(packed) == b"".join(pieces)


@every_coding
@_few
@given(parts=st.lists(bodies, min_size=1, max_size=4))
def test_what_others_compress_is_read(coding: bytes, parts: list[bytes]) -> None:
    """One compressed stream, or several one behind the other."""
    assert inflated(coding, b"".join(map(PACK[coding], parts))) == b"".join(parts)


@every_coding
@pytest.mark.parametrize("size", [STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 2 * STEP_BYTES])
def test_nothing_is_lost_at_the_edge_of_a_step(coding: bytes, size: int) -> None:
    """A body that ends just where a step does is whole."""
    for body in (bytes(size), random.Random(size).randbytes(size)):
        assert inflated(coding, PACK[coding](body)) == body


@every_coding
def test_a_bomb_is_stopped_at_the_limit(coding: bytes) -> None:
    """A small body that would become a gigabyte costs the limit, not the gigabyte."""
    bomb = PACK[coding](bytes(64 * MIB)) * 16
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge):
        for _ in inflate(coding, bomb, 8 * MIB):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


@every_coding
def test_a_limit_is_a_limit(coding: bytes) -> None:
    """Just as much as may come is read; one byte more is not."""
    packed = PACK[coding](bytes(1000))
    assert len(inflated(coding, packed, 1000)) == 1000
    with pytest.raises(PayloadTooLarge) as refused:
        inflated(coding, packed, 999)
    assert refused.value.detail == {"max": 999}


@every_coding
def test_a_body_that_ends_too_early_is_refused(coding: bytes) -> None:
    """Half a body must not pass for a whole one, wherever it was cut."""
    packed = PACK[coding](random.Random(1).randbytes(300))
    for end in range(1, len(packed)):
        with pytest.raises(InvalidRequest):
            inflated(coding, packed[:end])


@every_coding
def test_endless_empty_streams_are_refused(coding: bytes) -> None:
    """Streams of nothing cost time and never reach the limit of bytes."""
    with pytest.raises(InvalidRequest, match="send it as one"):
        inflated(coding, PACK[coding](b"") * (MOST_FRAMES + 1))


def test_a_window_that_asks_for_much_memory_is_refused() -> None:
    """A zstd frame says how much memory its reader must keep: beyond 8 MiB it is refused before any is taken."""
    wide = zstd.compress(bytes(100), options={zstd.CompressionParameter.window_log: 27})
    assert inflated(b"zstd", wide) == bytes(100)  # a known small size asks for little
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    with pytest.raises(InvalidRequest):
        inflated(b"zstd", packer.compress(bytes(100)) + packer.flush())


@pytest.mark.parametrize("coding", [b"br", b"deflate", b"gzip, gzip", b"\xff", b"*"])
def test_other_codings_are_refused_by_name(coding: bytes) -> None:
    """What is not read is told, and what is read instead."""
    with pytest.raises(UnsupportedMediaType, match="gzip, zstd or plain"):
        inflated(coding, b"x")


@every_coding
@_few
@given(data=st.data())
def test_any_bytes_are_read_or_refused(coding: bytes, data: st.DataObject) -> None:
    """Garbage, and good bodies with one byte turned: a named error or some bytes, never another exception."""
    body = data.draw(st.binary(max_size=200))
    if data.draw(st.booleans()):
        packed = bytearray(PACK[coding](body))
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
        body = bytes(packed)
    with suppress(InvalidRequest, PayloadTooLarge):
        assert len(inflated(coding, body, MIB)) <= MIB
